"""Earlier state of a site's items: what loads and proposals compare a crawl with."""

from collections.abc import Sequence
from datetime import date

from sqlalchemy import select

from orchestration_project.domains.web.drift import Baseline, members_of
from orchestration_project.domains.web.figures import figures_of_payloads
from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_items
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.fencing import read_states
from orchestration_project.resources.web.held import HeldPages
from orchestration_project.tables.spine import landings

MAX_CRAWLS, MAX_LOADS = 10, 100
MAX_PAYLOADS = 10_000
SAMPLED_PAGES = 50


def read_baseline(
    site: Site, day: date, urls: Sequence[str], *, warehouse: Warehouse, captures: Captures
) -> Baseline:
    """Return the earlier state with which the items of a day are compared.

    Args:
        site: The site.
        day: Day of the crawl; later ones do not count.
        urls: Its pages with items, of which the first are sampled.
        warehouse: The database.
        captures: The store of pages.

    Raises:
        BlobError: The store lacks the bytes of a page.
    """
    payloads = (
        select(web_items.c.payload)
        .where(web_items.c.site == site.site)
        .order_by(web_items.c.item_key)
        .limit(MAX_PAYLOADS)
    )
    with warehouse.reading() as connection:
        loaded = figures_of_payloads(list(connection.execute(payloads).scalars()))
    members: set[str] = set()
    sampled: set[str] = set()
    loaded_day = day_of_items(warehouse, site.site)
    if loaded_day is not None and loaded_day < day:
        held_pages = HeldPages(warehouse, captures)
        for page in held_pages.parsed(held_pages.of_day(site, loaded_day, urls[:SAMPLED_PAGES])):
            sampled.add(page.url)
            members |= members_of(page)
    counts = _read_earlier_counts(warehouse, site.site, day)
    return Baseline(counts, loaded, frozenset(members), frozenset(sampled))


def day_of_items(warehouse: Warehouse, site: str) -> date | None:
    """Return the day of the crawl whose items are loaded; None: no item is."""
    with warehouse.reading() as connection:
        version = read_states(connection, web_items, [site])[site].source_version
    return None if version is None else date.fromisoformat(version.partition(" ")[0])


def _read_earlier_counts(warehouse: Warehouse, site: str, day: date) -> Sequence[int]:
    """Return the item counts of earlier complete crawls, by the latest load of each."""
    columns = landings.c
    query = (
        select(
            columns.source_version,
            columns.rows_added + columns.rows_changed + columns.rows_unchanged,
        )
        .where(
            columns.table_name == web_items.name,
            columns.partition_key == site,
            columns.source_version.contains(" complete "),
        )
        .order_by(columns.landed_at.desc())
        .limit(MAX_LOADS)
    )
    counts: dict[str, int] = {}
    with warehouse.reading() as connection:
        for version, count in connection.execute(query):
            counts.setdefault(version.partition(" ")[0], int(count))
    days = sorted((name for name in counts if name < day.isoformat()), reverse=True)
    return [counts[name] for name in days[:MAX_CRAWLS]]
