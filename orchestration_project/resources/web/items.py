"""Items of a crawl: read from its captured pages, without a request, and loaded as one delivery."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection, func, select, update

from orchestration_project.domains.web.item_counts import ItemCounts
from orchestration_project.domains.web.item_rows import ReadPage, item_rows
from orchestration_project.domains.web.pages import version_of
from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_crawls, web_items
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import Audit
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.equations import SubjectBalance, record_balance
from orchestration_project.engine.spill import DiskSpill
from orchestration_project.engine.warehouse import Delivery, Warehouse, WriteOutcome
from orchestration_project.engine.warehouse.fencing import read_states
from orchestration_project.engine.warehouse.loading import ScopeDelivery, write_scopes
from orchestration_project.resources.web.baseline import SAMPLED_PAGES, read_baseline
from orchestration_project.resources.web.carried import CarryOver
from orchestration_project.resources.web.changes import items_spec, record_changes
from orchestration_project.resources.web.held import MAX_BATCH_PAGES, HeldPage, read_held
from orchestration_project.resources.web.page_bytes import StoredPage, capture_ids


@dataclass(frozen=True)
class LoadedItems:
    """Items of a crawl, their audits, and how they were written; None: nothing was loaded."""

    item_count: int
    reject_count: int
    outcome: WriteOutcome[pl.DataFrame] | None = None
    audits: Sequence[Audit] = ()
    carried: CarryOver | None = None


def load_items(
    site: Site,
    day: date,
    *,
    is_complete: bool,
    warehouse: Warehouse,
    captures: Captures,
    scratch: Path,
    clock: Clock,
    run_id: str,
    mask_key: bytes = b"",
    allow_drift: bool = False,
) -> LoadedItems:
    """Load the items of a crawl's pages; only those of a complete crawl replace all others.

    Items of pages that are neither read nor gone stay as they are, see `CarryOver`.

    Audits compare them with earlier crawls; ``allow_drift``: these only warn. ``mask_key`` is the
    secret by which personal values are masked.

    Raises:
        BlobError: The store lacks the bytes of a page.
        ContractError: A page was not read once, or an item of a page is nowhere.
    """
    with warehouse.reading() as connection:
        if _is_overtaken(connection, site.site, day):
            return LoadedItems(0, 0)
        listing = _list_pages(connection, site, day)
        is_complete = is_complete and not listing.lacking_count
        count = select(func.count()).where(web_items.c.site == site.site)
        loaded_count = connection.execute(count).scalar_one()
    carried = CarryOver(warehouse, site.site, day, is_complete, bool(site.feeds))
    baseline = read_baseline(site, day, listing.first_urls, warehouse=warehouse, captures=captures)
    validated, figures = item_rows(
        _read_pages(site, day, warehouse, captures),
        site.item,
        site=site.site,
        spill=DiskSpill(scratch),
        baseline=baseline,
        is_complete=is_complete,
        mask_key=mask_key,
        carried=carried,
    )
    carried.count_unread()
    rejects = validated.rejects.unique(  # of the same bytes under several URLs, once
        ["capture_id", "line_number"], keep="first", maintain_order=True
    )
    validated = replace(validated, rejects=rejects)
    if allow_drift:
        audits = [replace(audit, severity="warning") for audit in validated.audits]
        validated = replace(validated, audits=audits)
    rates = figures.fill_rates(site.item.fields)
    counts = figures.item_count, len(validated.rejects)
    with warehouse.writing() as connection:
        pair = web_crawls.c.site == site.site, web_crawls.c.day == day
        values = {
            "item_count": counts[0],
            "reject_count": counts[1],
            "fill_rates": json.dumps(rates) if rates else None,
            "carried_count": carried.count,
        }
        connection.execute(update(web_crawls).where(*pair).values(values))
        for balance in _build_balances(listing, figures.counts):
            subject = SubjectBalance(web_items.name, f"{site.site}|{day}", balance)
            record_balance(connection, subject, run_id=run_id, at=clock.now())
        if not listing.page_count:
            return LoadedItems(*counts, audits=validated.audits, carried=carried)
        state = read_states(connection, web_items, [site.site])[site.site]
        version = version_of(day, listing.digest.hexdigest(), is_complete=is_complete)
        delivery = Delivery(
            source="web",
            dataset=site.site,
            source_version=version,
            loads_again=state.source_version == version,
        )
        [ended] = write_scopes(
            connection,
            items_spec(site.item, has_items=loaded_count > 0, is_complete=is_complete),
            [ScopeDelivery(site.site, {"site": site.site}, delivery, validated)],
            run_id=run_id,
            now=clock.now(),
            note=record_changes,
        )
    return LoadedItems(*counts, ended, validated.audits, carried)


def _is_overtaken(connection: Connection, site: str, day: date) -> bool:
    """Whether the items of a later complete crawl are loaded."""
    later = select(web_crawls.c.day).where(
        web_crawls.c.site == site, web_crawls.c.day > day, web_crawls.c.outcome == "complete"
    )
    return connection.execute(later.limit(1)).first() is not None


def _build_balances(listing: "_Listing", counts: ItemCounts) -> list[Balance]:
    """Return the equations of an extraction: the pages of the crawl were read once each."""
    return [Balance("pages", listing.page_count, {"read": counts.page_count}), counts.balance]


@dataclass
class _Listing:
    """Pages of a crawl, without their bytes.

    Attributes:
        page_count: Pages that are read.
        lacking_count: Pages without bytes or capture, as these were deleted.
        first_urls: URLs of the first pages.
        digest: Digest of URLs and bytes of all pages.
    """

    page_count: int = 0
    lacking_count: int = 0
    first_urls: list[str] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)


def _list_pages(connection: Connection, site: Site, day: date) -> _Listing:
    listing = _Listing()
    for page, _ in _iterate_captured(connection, site, day):
        if page is None:
            listing.lacking_count += 1
            continue
        listing.page_count += 1
        if len(listing.first_urls) < SAMPLED_PAGES:
            listing.first_urls.append(page.url)
        listing.digest.update(f"{page.requested_url} {page.blob.sha256}\n".encode())
    return listing


def _iterate_captured(
    connection: Connection, site: Site, day: date
) -> Iterator[tuple[HeldPage | None, int]]:
    """Yield pages with their captures; None: bytes or capture of one were deleted."""
    held_pages = read_held(connection, site, day)
    while some := [*islice(held_pages, MAX_BATCH_PAGES)]:
        pages = [*filter(None, some)]
        stored = [StoredPage(held_page.url, held_page.blob.sha256) for held_page in pages]
        ids = dict(zip(pages, capture_ids(connection, site.site, stored), strict=True))
        for page in some:
            id_ = ids[page] if page else None
            yield (None, 0) if id_ is None else (page, id_)


def _read_pages(
    site: Site, day: date, warehouse: Warehouse, captures: Captures
) -> Iterator[ReadPage]:
    """Yield the pages of `_list_pages` with their bytes, read one at a time."""
    with warehouse.reading() as connection:
        for page, id_ in _iterate_captured(connection, site, day):
            if page is not None:
                yield ReadPage(page.url, captures.read(page.blob), page.content_type, id_)
