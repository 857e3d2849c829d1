"""Held pages of a crawl: each URL after redirects once, in the order of their first URLs."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.domains.web.tables import web_frontier
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.web.held import HeldPage, read_held
from orchestration_project.tables.spine import blobs
from tests.properties import bounded

DAY, OTHER_DAY = date(2026, 3, 1), date(2026, 3, 2)
SHOP = "http://shop.demo"
URLS = [f"{SHOP}{path}" for path in ("/", "/A", "/a", "/a-b", "/a/b", "/é", "/item/1", "/item/10")]
STORED = {name * 64: Blob(name * 64, 7, 5, f"blobs/{name}") for name in "ab"}
LOST = "c" * 64

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "site": st.sampled_from(["shop", "shop", "shop", "other"]),
            "day": st.sampled_from([DAY, DAY, DAY, OTHER_DAY]),
            "url": st.sampled_from(URLS),
            "verdict": st.sampled_from(["page", "page", "unchanged", "gone", "redirected", None]),
            "final_url": st.sampled_from([*URLS[:3], *URLS, None]),
            "content_type": st.sampled_from(["text/html", None]),
            "sha256": st.sampled_from([*STORED, LOST]),
        }
    ),
    unique_by=lambda row: (row["site"], row["day"], row["url"]),
    max_size=24,
)
"""URLs of crawls: many lead to the same one, and the bytes of some were deleted."""


def site_of(pages: str | None) -> Site:
    declared = {
        "site": "shop",
        "base_url": SHOP,
        "start": ["/"],
        "item": {
            "key": ["sku"],
            "fields": {"sku": {"css": ".sku", "required": True}},
            **({} if pages is None else {"pages": pages}),
        },
    }
    return read_site(yaml.safe_dump(declared))


def store(warehouse: Warehouse, rows: Sequence[dict[str, Any]]) -> None:
    empty = dict.fromkeys(column.name for column in web_frontier.columns)
    stored_at = datetime(2026, 3, 1, tzinfo=UTC)
    with warehouse.writing() as connection:
        for table in (web_frontier, blobs):
            connection.execute(delete(table))
        known = [{**blob._asdict(), "stored_at": stored_at} for blob in STORED.values()]
        connection.execute(insert(blobs), known)
        if rows:
            connection.execute(insert(web_frontier), [{**empty, "depth": 0, **row} for row in rows])


def expected_pages(
    rows: Sequence[dict[str, Any]], pages: str | None, urls: Sequence[str] | None
) -> list[HeldPage | None]:
    """Return the held pages of a crawl, read row by row."""
    by_page = defaultdict[str | None, list[dict[str, Any]]](list)
    for row in rows:
        is_read = row["verdict"] in ("page", "unchanged")
        if (row["site"], row["day"]) != ("shop", DAY) or not is_read:
            continue
        if urls is None or row["final_url"] in urls:
            by_page[row["final_url"]].append(row)
    sorted_pages = [sorted(some, key=lambda row: row["url"]) for some in by_page.values()]
    sorted_pages.sort(key=lambda some: some[0]["url"])
    last_rows = [some[-1] for some in sorted_pages]
    return [
        HeldPage(row["url"], row["final_url"], row["content_type"] or "", STORED[row["sha256"]])
        if row["sha256"] in STORED
        else None
        for row in last_rows
        if pages is None or pages in row["final_url"]
    ]


@settings(bounded, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=ROWS,
    pages=st.sampled_from([None, None, "/a"]),
    urls=st.none() | st.sets(st.sampled_from(URLS)),
)
def test_each_final_url_is_read_once(
    warehouse: Warehouse,
    rows: list[dict[str, Any]],
    pages: str | None,
    urls: set[str] | None,
) -> None:
    if pages:
        rows = [{**row, "final_url": row["final_url"] or row["url"]} for row in rows]
    store(warehouse, rows)
    chosen = None if urls is None else sorted(urls)
    with warehouse.reading() as connection:
        found = list(read_held(connection, site_of(pages), DAY, chosen))
    assert found == expected_pages(rows, pages, chosen)
