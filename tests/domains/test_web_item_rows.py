"""Items of many pages: spilled rows are those that memory would hold."""

from pathlib import Path
from random import Random

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from orchestration_project.domains.web import item_rows as module
from orchestration_project.domains.web.item_rows import ReadItems, ReadPage, item_rows
from orchestration_project.domains.web.sites import read_site
from orchestration_project.engine.spill import DiskSpill

SITE = """
site: shop
base_url: https://shop.example
start: [/]
item:
  key: [sku]
  each: li
  duplicates: {duplicates}
  fields:
    sku: {{css: i, required: true}}
    name: {{css: b}}
"""


def pages_with_repeated_keys(count: int) -> list[ReadPage]:
    random = Random(7)  # noqa: S311 - to be repeated
    return [
        ReadPage(
            f"https://shop.example/{number}",
            "".join(
                f"<li><i>{random.randrange(40) or ''}</i><b>{random.choice('xy')}</b></li>"
                for _ in range(5)
            ).encode(),
            "text/html",
            number + 100,
        )
        for number in range(count)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("duplicates", ["reject", "first", "last"])
def test_spilled_items_are_those_that_memory_holds(
    duplicates: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    site = read_site(SITE.format(duplicates=duplicates))

    def made() -> ReadItems:
        pages = iter(pages_with_repeated_keys(50))
        return item_rows(pages, site.item, site="shop", spill=DiskSpill(tmp_path))

    held, figures = made()
    monkeypatch.setattr(module, "MAX_HELD_ITEMS", 7)
    spilled, spilled_figures = made()
    assert held.ranges is None
    assert spilled.ranges is not None
    pieces = [*spilled.pieces()]
    assert len(pieces) > 3
    assert_frame_equal(pl.concat(pieces), held.rows)
    assert_frame_equal(spilled.rejects, held.rejects)
    assert spilled.audits == held.audits
    assert spilled_figures == figures
    assert figures.item_count == len(held.rows) == spilled.row_count == 39
    assert (held.rejects["reason_code"] == "missing").sum() > 0
    assert (held.rejects["reason_code"] == "duplicate").any() is (duplicates == "reject")
