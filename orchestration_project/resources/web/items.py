"""Items of a crawl: read from its captured pages, without a request, and loaded as one delivery."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import polars as pl
from sqlalchemy import Connection, func, select, update

from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.rules import Audit, Validated
from orchestration_project.domains.web.pages import item_rows, version_of
from orchestration_project.domains.web.sites import Site
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.warehouse import (
    Delivery,
    Warehouse,
    WriteOutcome,
    prepare_all,
)
from orchestration_project.engine.warehouse.delivery import no_warnings
from orchestration_project.engine.warehouse.fencing import read_states
from orchestration_project.engine.warehouse.landing import land_all
from orchestration_project.resources.web.baseline import read_baseline
from orchestration_project.resources.web.changes import items_spec, record_changes
from orchestration_project.resources.web.held import HeldPage, held_pages
from orchestration_project.resources.web.page_bytes import StoredPage, capture_ids
from orchestration_project.tables.web import web_crawls, web_items


@dataclass(frozen=True)
class LoadedItems:
    """Items of a crawl, their audits, and how they were written; None: nothing was loaded."""

    item_count: int
    reject_count: int
    outcome: WriteOutcome[pl.DataFrame] | None = None
    audits: Sequence[Audit] = ()


def load_items(
    site: Site,
    day: date,
    *,
    is_complete: bool,
    warehouse: Warehouse,
    captures: Captures,
    clock: Clock,
    run_id: str,
    mask_key: bytes = b"",
    allow_drift: bool = False,
) -> LoadedItems:
    """Load the items of a crawl's pages; only those of a complete crawl replace all others.

    Audits compare them with earlier crawls; ``allow_drift``: these only warn. ``mask_key`` is the
    secret by which personal values are masked.

    Raises:
        BlobError: The store lacks the bytes of a page.
    """
    with warehouse.reading() as connection:
        if _is_overtaken(connection, site.site, day):
            return LoadedItems(0, 0)
        held, lacking_count = held_pages(connection, site, day)
        pages = _with_captures(connection, site.site, held)
        is_complete = is_complete and not lacking_count and len(pages) == len(held)
        count = select(func.count()).where(web_items.c.site == site.site)
        loaded_count = connection.execute(count).scalar_one()
    urls = [page.url for page, _ in pages]
    baseline = read_baseline(site, day, urls, warehouse=warehouse, captures=captures)
    read = ((page.url, captures.read(page.blob), page.content_type) for page, _ in pages)
    validated, figures = item_rows(
        read,
        site.item,
        site=site.site,
        baseline=baseline,
        is_complete=is_complete,
        mask_key=mask_key,
    )
    if allow_drift:
        audits = [replace(each, severity="warning") for each in validated.audits]
        validated = replace(validated, audits=audits)
    validated = _of_captures(validated, [capture_id for _, capture_id in pages])
    rates = figures.fill_rates(site.item.fields)
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
            return LoadedItems(*counts, audits=validated.audits)
        state = read_states(connection, web_items, [site.site])[site.site]
        target = items_spec(site.item, has_items=loaded_count > 0).target(
            site.site,
            {"site": site.site},
            state,
            run_id=run_id,
            write_disposition="replace_scope" if is_complete else "merge",
        )
        shas = {page.requested_url: page.blob.sha256 for page, _ in pages}
        version = version_of(day, shas, is_complete=is_complete)
        delivery = Delivery(
            source="web",
            dataset=site.site,
            source_version=version,
            record_total=None,
            scope={},
            captures=[],
            lands_again=state.source_version == version,
        )
        batch = prepare_all([(target, delivery, validated)])
        [ended] = land_all(connection, batch, clock.now(), no_warnings, record_changes)
    return LoadedItems(*counts, ended, validated.audits)


def _is_overtaken(connection: Connection, site: str, day: date) -> bool:
    """Whether the items of a later complete crawl are loaded."""
    later = select(web_crawls.c.day).where(
        web_crawls.c.site == site, web_crawls.c.day > day, web_crawls.c.outcome == "complete"
    )
    return connection.execute(later.limit(1)).first() is not None


def _with_captures(
    connection: Connection, site: str, pages: Sequence[HeldPage]
) -> Sequence[tuple[HeldPage, int]]:
    """Return pages with their capture; one without, as it was deleted, is left out."""
    stored = [StoredPage(each.url, each.blob.sha256) for each in pages]
    ids = capture_ids(connection, site, stored)
    return [(page, id_) for page, id_ in zip(pages, ids, strict=True) if id_ is not None]


def _of_captures(validated: Validated, ids: Sequence[int]) -> Validated:
    """Return rows and rejects with the captures of their pages, which the crawl recorded."""
    by_part = pl.Series("capture_id", [0, *ids], pl.Int64)

    def with_ids(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(by_part.gather(rows["part_number"]))

    rejects = with_ids(validated.rejects).unique(
        ["capture_id", "line_number"], keep="first", maintain_order=True
    )
    return replace(validated, rows=with_ids(validated.rows), rejects=rejects)
