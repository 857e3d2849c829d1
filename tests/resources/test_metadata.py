"""Log lines of jobs about their findings, for a terminal."""

import dagster as dg
import polars as pl

from orchestration_project.services.metadata import build_table, embed_image, format_metadata


def test_numbers_texts_and_first_rows_are_shown_and_pictures_not():
    rows = pl.DataFrame({"store": ["events", "logs\nof steps"], "bytes": [1200, None]})
    found = {
        "dry_run": True,
        "bytes": 1200,
        "file": dg.MetadataValue.path("/evidence/week.zip"),
        "stores": build_table(rows),
        "picture": embed_image("a picture", "data:,"),
        "none": build_table(rows.clear()),
    }
    assert format_metadata(found).splitlines() == [
        "dry_run: True",
        "bytes: 1200",
        "file: /evidence/week.zip",
        "stores: 2 rows",
        "  store          bytes",
        "  events         1200",
        "  logs of steps",
        "none: 0 rows",
    ]


def test_a_long_table_and_a_long_cell_are_cut():
    lines = format_metadata(
        {"all": build_table(pl.DataFrame({"text": ["x" * 99] * 25}))}
    ).splitlines()
    assert lines[:2] == ["all: 25 rows", "  text"]
    assert lines[2] == f"  {'x' * 59}…"
    assert lines[-1] == "  and 5 more"
    assert len(lines) == 23
