"""Items of captured pages under the rules of a site file: compared with the loaded ones."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sqlalchemy import select

from orchestration_project.domains.web.differences import ItemDiff, compare_items
from orchestration_project.domains.web.item_rows import ReadPage, item_rows
from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_items
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.spill import DiskSpill
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.web.carried import CarryOver
from orchestration_project.resources.web.held import HeldPages, read_held


@dataclass(frozen=True)
class ReplayPreview:
    """Differences that a replay would make.

    Attributes:
        day: Day of the crawl whose pages were read.
        is_complete: Whether that crawl is complete, so that missing items would be removed.
        page_count: Pages that were read.
        item_count: Items under the rules.
        reject_count: Rejected items.
        diff: Differences to the loaded items.
    """

    day: date
    is_complete: bool
    page_count: int
    item_count: int
    reject_count: int
    diff: ItemDiff


def day_of_replay(warehouse: Warehouse, captures: Captures, site: str, day: date | None) -> date:
    """Return the day of the crawl that is replayed: the given one, or the latest complete one.

    Raises:
        ConfigurationError: There is none with captured pages.
    """
    held_pages = HeldPages(warehouse, captures)
    latest_day = held_pages.latest_day(site) if day is None else day
    if latest_day is None or not held_pages.has_pages(site, latest_day):
        at = f" of {day}" if day else ""
        raise ConfigurationError(
            f"no page of {site}{at} is captured",
            expected="a crawl with captured pages",
            found="none",
            remedy=f"load one: orchestrate load web {site}",
        )
    return latest_day


def preview_replay(
    site: Site,
    day: date,
    *,
    warehouse: Warehouse,
    captures: Captures,
    scratch: Path,
    mask_key: bytes,
) -> ReplayPreview:
    """Return the changes by a replay of the pages of a day; nothing is requested or written.

    Raises:
        BlobError: The store lacks the bytes of a page.
    """
    held_pages = HeldPages(warehouse, captures)
    with warehouse.reading() as connection:
        found = [*read_held(connection, site, day)]
    pages = [*filter(None, found)]
    is_complete = held_pages.is_complete(site.site, day) and len(pages) == len(found)
    validated, figures = item_rows(
        (ReadPage(*row) for row in held_pages.read(pages)),
        site.item,
        site=site.site,
        spill=DiskSpill(scratch),
        mask_key=mask_key,
        carried=CarryOver(warehouse, site.site, day, is_complete, bool(site.feeds)),
    )
    after = {
        key: payload
        for rows in validated.pieces()
        for key, payload in rows.select("item_key", "payload").iter_rows()
    }
    diff = compare_items(loaded_items(warehouse, site.site), after, replaces_all=is_complete)
    counts = figures.item_count, len(validated.rejects)
    return ReplayPreview(day, is_complete, len(pages), *counts, diff)


def loaded_items(warehouse: Warehouse, site: str) -> dict[str, str]:
    """Return the loaded items of a site: payloads as canonical JSON, by key."""
    query = select(web_items.c.item_key, web_items.c.payload).where(web_items.c.site == site)
    with warehouse.reading() as connection:
        return {row.item_key: row.payload for row in connection.execute(query)}
