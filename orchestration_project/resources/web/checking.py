"""Checks a site file: items of captured pages, and verdicts of stored robots.txt on its start."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select

from orchestration_project.domains.web.extraction import items
from orchestration_project.domains.web.figures import ItemFigures, figures_of
from orchestration_project.domains.web.item_rows import MAX_REJECT_RATIO
from orchestration_project.domains.web.proposing import EACH
from orchestration_project.domains.web.robots import read_robots
from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_robots
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.http.addresses import AddressGuard
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.web.access import PRODUCT, parse_origin
from orchestration_project.resources.web.crawl import start_urls
from orchestration_project.resources.web.held import HeldPages
from orchestration_project.resources.web.proposals import apply_accepted
from orchestration_project.services.flags import FLAG_STORE

UNKNOWN = "unknown"


@dataclass(frozen=True)
class StartUrl:
    """A start URL, and the verdict of the stored robots.txt.

    Attributes:
        url: Absolute.
        verdict: allowed, disallowed or unreachable; unknown: robots.txt was never requested.
        fetched_at: When robots.txt was requested; None: never.
    """

    url: str
    verdict: str
    fetched_at: datetime | None


@dataclass(frozen=True)
class SiteCheck:
    """Result of the check of a site file.

    Attributes:
        site: The site of the file.
        day: Day of the crawl whose pages were read; None: no page is captured.
        page_count: Pages that were read.
        figures: Counts of items, rejects and fields.
        start: Start URLs with their verdicts.
        accepted: Fields whose selectors are those of accepted proposals.
        problems: Reasons for which the file should be corrected; empty: none.
    """

    site: Site
    day: date | None
    page_count: int
    figures: ItemFigures
    start: Sequence[StartUrl]
    accepted: Sequence[str] = ()
    problems: Sequence[str] = ()


def check_site(
    declared: Site, warehouse: Warehouse, captures: Captures, guard: AddressGuard
) -> SiteCheck:
    """Try the selectors of a site on the pages of its latest crawl; nothing is requested.

    Accepted proposals apply, as in a crawl; ``guard`` is that of its requests.

    Raises:
        BlobError: The store lacks the bytes of a page.
    """
    site = apply_accepted(warehouse, declared)
    held_pages = HeldPages(warehouse, captures)
    day = held_pages.latest_day(site.site)
    pages = held_pages.of_day(site, day) if day else []
    figures = figures_of(
        item for page in held_pages.parsed(pages) for item in items(page, site.item)
    )
    start = _start(site, warehouse)
    problems = [
        *_find_flag_problems(site, warehouse),
        *address_problems(site, guard),
        *_start_problems(start),
        *(_find_item_problems(site, figures) if day else []),
    ]
    fields = declared.item.fields
    accepted = [name for name, field in site.item.fields.items() if field != fields[name]]
    if site.item.each != declared.item.each:
        accepted.insert(0, EACH)
    return SiteCheck(site, day, len(pages), figures, start, accepted, problems)


def _find_flag_problems(site: Site, warehouse: Warehouse) -> list[str]:
    with warehouse.reading() as connection:
        names = [stored.definition.name for stored in FLAG_STORE.read(connection)]
    if site.flag is None or site.flag in names:
        return []
    text = ", ".join(names) or "none exists; create it: POST /api/v1/operations/flags"
    return [f"flag: expected one of the flags ({text}), found {site.flag}"]


def address_problems(site: Site, guard: AddressGuard) -> list[str]:
    """Return why origins of a site may not be requested; no name is resolved."""
    problems: list[str] = []
    for number, origin in enumerate(site.origins):
        try:
            guard.check(origin)
        except ConfigurationError as error:
            problems.append(f"{f'hosts.{number - 1}' if number else 'base_url'}: {error.line}")
    return problems


def _start(site: Site, warehouse: Warehouse) -> Sequence[StartUrl]:
    urls = start_urls(site)
    origins = {parse_origin(url) for url in urls}
    query = select(web_robots).where(web_robots.c.origin.in_(origins))
    with warehouse.reading() as connection:
        stored = {row.origin: row for row in connection.execute(query)}
    rules = {origin: read_robots(row.status, row.body.encode()) for origin, row in stored.items()}
    return [
        StartUrl(url, rules[origin].verdict(url, PRODUCT), stored[origin].fetched_at)
        if (origin := parse_origin(url)) in rules
        else StartUrl(url, UNKNOWN, None)
        for url in urls
    ]


def _start_problems(start: Sequence[StartUrl]) -> list[str]:
    if not start:
        return ["start: expected a URL of base_url or hosts, found none"]
    return [
        f"start: robots.txt of {parse_origin(start_url.url)} says {start_url.verdict} "
        f"for {start_url.url}"
        for start_url in start
        if start_url.verdict not in ("allowed", UNKNOWN)
    ]


def _find_item_problems(site: Site, figures: ItemFigures) -> list[str]:
    if not figures.read_count and not figures.reject_count:
        return ["item: expected items on the captured pages, found none"]
    problems = [
        f"item.fields.{name}: expected a value on a captured page, found none"
        for name in site.item.fields
        if not figures.filled[name]
    ]
    total = figures.item_count + figures.reject_count
    if figures.reject_count > total * MAX_REJECT_RATIO:
        problems.append(
            f"item: expected up to {MAX_REJECT_RATIO:.0%} of items rejected, "
            f"found {figures.reject_count} of {total}"
        )
    return problems
