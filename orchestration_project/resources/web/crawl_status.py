"""Crawls as people see them: the latest ones, and days that sites missed."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import select

from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_crawls, web_items
from orchestration_project.engine.contracts.flags import FlagSet
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import read_quarantined_keys
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.flags import read_flags, select_flags
from orchestration_project.tables.schema import USD_SCALE

TOPIC_PREFIX = "web/"
"""Topics of the URLs of crawls."""

GRACE = timedelta(hours=2)
"""Time after which a scheduled crawl that has not ended is late."""

LOOKED_BACK = timedelta(days=14)
SHOWN_ROWS = 20
CRAWL_COLUMNS = (
    *("site", "day", "outcome", "reason", "request_count", "page_count", "item_count"),
    *("reject_count", "byte_count", "seconds", "cost"),
)
LOADED = ("complete", "budget")


def topic_of(site: str, day: date) -> str:
    """Return the topic of the URLs of a crawl."""
    return f"{TOPIC_PREFIX}{site}/{day}"


def latest_crawls(warehouse: Warehouse) -> Sequence[Mapping[str, Any]]:
    """Return the latest crawls of all sites, the newest first; costs are in their unit."""
    statement = (
        select(*(web_crawls.c[name] for name in CRAWL_COLUMNS))
        .order_by(web_crawls.c.started_at.desc(), web_crawls.c.site)
        .limit(SHOWN_ROWS)
    )
    with warehouse.reading() as connection:
        rows = connection.execute(statement).mappings().all()
    return [
        {**row, "seconds": round(row["seconds"], 1), "cost": row["cost"] / 10**USD_SCALE}
        for row in rows
    ]


def missed_days(
    warehouse: Warehouse, sites: Iterable[Site], now: datetime
) -> Sequence[OldestMissing]:
    """Return the oldest missed day of each site that has one.

    A day is missed if its schedule was due after the site's first crawl, and no crawl of it is
    complete, or partial by its budget. Of a site without schedule, the latest crawl counts. A day
    that the site's flag does not hold for is not missed. The day of the latest such crawl is
    missed, too, while the items of the site are quarantined.
    """
    columns = web_crawls.c
    query = select(columns.site, columns.day, columns.outcome, columns.reason, columns.started_at)
    crawls: dict[str, dict[date, Any]] = {}
    with warehouse.reading() as connection:
        for row in connection.execute(query.where(columns.day > (now - LOOKED_BACK).date())):
            crawls.setdefault(row.site, {})[row.day] = row
        flags = select_flags(connection, now)
        quarantined = read_quarantined_keys(connection, web_items)
    missed_items = [
        _find_missed(site, crawls[site.site], flags, now, is_quarantined=site.site in quarantined)
        for site in sites
        if site.site in crawls
    ]
    return [missed for missed in missed_items if missed is not None]


def why_off(site: Site, day: str, flags: FlagSet) -> str:
    """Return why the flag of a site does not hold for a day; empty: it does, or there is none."""
    return "" if site.flag is None else flags.why_off(site.flag, day)


def require_flag(site: Site, day: str, warehouse: Warehouse, now: datetime) -> None:
    """Make sure that the flag of a site, if it has one, holds for a day.

    Raises:
        ConfigurationError: It does not, it has expired, or it does not exist.
    """
    if site.flag and (why := why_off(site, day, read_flags(warehouse, now, site.flag))):
        raise ConfigurationError(
            f"the site {site.site} is not crawled for {day}",
            expected="a day that its flag holds for",
            found=why,
            remedy=f"add {day} to listed_keys of the flag, raise its share, or remove flag from "
            "the site file",
        )


def _find_missed(
    site: Site,
    crawls: Mapping[date, Any],
    flags: FlagSet,
    now: datetime,
    *,
    is_quarantined: bool,
) -> OldestMissing | None:
    loaded = {day for day, crawl in crawls.items() if crawl.outcome in LOADED}
    quarantined_day = max(loaded, default=None) if is_quarantined else None
    missed = {
        day: due_at
        for day, due_at in _list_due_days(site, crawls, now).items()
        if (day not in loaded or day == quarantined_day)
        and not why_off(site, day.isoformat(), flags)
    }
    if not missed:
        return None
    oldest, latest = min(missed), max(missed)
    row = crawls.get(latest)
    why = "no crawl" if row is None else f"{row.outcome}: {row.reason or 'it has not ended'}"
    if latest == quarantined_day:
        why = "its items are quarantined"
    return OldestMissing(
        f"web/{site.site}_items",
        oldest.isoformat(),
        missed[oldest],
        missing_count=len(missed),
        unit="day",
        remedy=f"start web_{site.site} for {latest}, or see why its runs failed",
        reason=f"{len(missed)} days missed; {latest}: {why}",
        job=f"web_{site.site}",
        quarantined_count=int(quarantined_day in missed),
    )


def _list_due_days(
    site: Site, crawls: Mapping[date, Any], now: datetime
) -> Mapping[date, datetime]:
    """Return the UTC days that were due since the first crawl, and when."""
    if site.schedule is None:
        latest = max(crawls)
        started_at = crawls[latest].started_at
        return {latest: started_at} if started_at <= now - GRACE else {}
    from orchestration_project.engine.dagster_private.automation import find_previous_cron_time

    first, until = min(crawls), now - GRACE
    days: dict[date, datetime] = {}
    while True:
        due_at = find_previous_cron_time(site.schedule, site.timezone, until).astimezone(UTC)
        day = due_at.date()
        if day < first or due_at <= now - LOOKED_BACK:
            return days
        days[day] = due_at
        until = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(seconds=2)
