"""Items of a crawl: read from its captured pages, without a request, and loaded as one delivery."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl
from sqlalchemy import Connection, func, select, update

from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.rules import Validated
from orchestration_project.domains.web.extraction import has_items
from orchestration_project.domains.web.item_fields import fill_rates
from orchestration_project.domains.web.pages import item_rows, version_of
from orchestration_project.domains.web.sites import Site
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse import (
    Delivery,
    Warehouse,
    WriteOutcome,
    prepare_all,
)
from orchestration_project.engine.warehouse.capture_log import read_blobs
from orchestration_project.engine.warehouse.delivery import no_warnings
from orchestration_project.engine.warehouse.fencing import read_states
from orchestration_project.engine.warehouse.landing import land_all
from orchestration_project.resources.web.changes import items_spec, record_changes
from orchestration_project.tables.web import web_crawls, web_frontier, web_items

KEYS_PER_STATEMENT = 5_000


@dataclass(frozen=True)
class LoadedItems:
    """Items of a crawl, and how they were written; None: a later crawl's are loaded."""

    item_count: int
    reject_count: int
    outcome: WriteOutcome[pl.DataFrame] | None = None


def load_items(
    site: Site,
    day: date,
    *,
    is_complete: bool,
    warehouse: Warehouse,
    captures: Captures,
    clock: Clock,
    run_id: str,
) -> LoadedItems:
    """Load the items of a crawl's pages; only those of a complete crawl replace all others.

    Raises:
        BlobError: The store lacks the bytes of a page.
    """
    with warehouse.reading() as connection:
        if _is_overtaken(connection, site.site, day):
            return LoadedItems(0, 0)
        pages = _pages(connection, site, day)
        blobs = _blobs(connection, [each["sha256"] for each in pages])
        count = select(func.count()).where(web_items.c.site == site.site)
        loaded_count = connection.execute(count).scalar_one()
    bodies = {sha256: captures.read(blob) for sha256, blob in blobs.items()}
    read = [
        (each["final_url"], bodies[each["sha256"]], each["content_type"] or "") for each in pages
    ]
    earlier_count = loaded_count if is_complete else 0
    validated = item_rows(read, site.item, site=site.site, earlier_count=earlier_count)
    rates = fill_rates(list(_payloads(validated)), site.item)
    counts = len(validated.rows), len(validated.rejects)
    with warehouse.writing() as connection:
        own = web_crawls.c.site == site.site, web_crawls.c.day == day
        values = {
            "item_count": counts[0],
            "reject_count": counts[1],
            "fill_rates": json.dumps(rates) if rates else None,
        }
        connection.execute(update(web_crawls).where(*own).values(values))
        if not pages:
            return LoadedItems(*counts)
        state = read_states(connection, web_items, [site.site])[site.site]
        target = items_spec(site.item, has_items=loaded_count > 0).target(
            site.site,
            {"site": site.site},
            state,
            run_id=run_id,
            write_disposition="replace_scope" if is_complete else "merge",
        )
        shas = {each["url"]: each["sha256"] for each in pages}
        delivery = Delivery(
            source="web",
            dataset=site.site,
            source_version=version_of(day, shas, is_complete=is_complete),
            record_total=None,
            scope={},
            captures=[_capture(each, blobs[each["sha256"]]) for each in pages],
        )
        batch = prepare_all([(target, delivery, validated)])
        [ended] = land_all(connection, batch, clock.now(), no_warnings, record_changes)
    return LoadedItems(*counts, ended)


def _payloads(validated: Validated) -> Iterator[Mapping[str, Any]]:
    """Yield the fields of items, and of those rejects that have some."""
    for text in [*validated.rows["payload"], *validated.rejects["record"]]:
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _is_overtaken(connection: Connection, site: str, day: date) -> bool:
    """Whether the items of a later complete crawl are loaded."""
    later = select(web_crawls.c.day).where(
        web_crawls.c.site == site, web_crawls.c.day > day, web_crawls.c.outcome == "complete"
    )
    return connection.execute(later.limit(1)).first() is not None


def _pages(connection: Connection, site: Site, day: date) -> list[Mapping[str, Any]]:
    """Return the pages with items in the order of their URLs, each final URL once."""
    columns = web_frontier.c
    wanted = (
        select(web_frontier)
        .where(
            columns.site == site.site,
            columns.day == day,
            columns.verdict.in_(["page", "unchanged"]),
        )
        .order_by(columns.url)
    )
    found = {row["final_url"]: row for row in connection.execute(wanted).mappings()}
    return [dict(row) for url, row in found.items() if has_items(url, site.item)]


def _blobs(connection: Connection, wanted: list[str]) -> Mapping[str, Blob]:
    distinct = sorted(set(wanted))
    found: dict[str, Blob] = {}
    for start in range(0, len(distinct), KEYS_PER_STATEMENT):
        found |= read_blobs(connection, distinct[start : start + KEYS_PER_STATEMENT])
    return found


def _capture(page: Mapping[str, Any], blob: Blob) -> Capture:
    """Return the capture of a page as a part of the delivery of items: the same bytes."""
    capture = Capture(
        body=b"",
        url=page["final_url"],
        request={"method": "GET", "url": page["url"]},
        fetched_at=page["fetched_at"],
        byte_count=blob.byte_count,
        sha256=blob.sha256,
    )
    return capture.stored_as(blob)
