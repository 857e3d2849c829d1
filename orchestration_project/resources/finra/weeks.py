"""Weeks of FINRA: those that an installation offers, and those that are due or missing."""

from collections.abc import Collection
from datetime import date, datetime, timedelta

from orchestration_project.domains.finra.calendar import (
    FIRST_WEEK_OF_ALL,
    PUBLICATION_DELAY,
    WEEK,
    WEEKS_AT_FIRST,
    latest_week_of_all_tiers,
    monday_of,
)
from orchestration_project.domains.finra.freshness import (
    DueWeek,
    State,
    after_first_loaded,
    due_at,
    due_weeks,
)
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import read_quarantined_keys
from orchestration_project.settings import Settings
from orchestration_project.tables.schema import asset_of_table

A_YEAR = 52 * WEEK
"""Weeks that FINRA keeps in its current dataset."""

REMEDY = "start finra_otc_weekly for the missing weeks, or see why its runs failed"


def first_finra_week(settings: Settings, now: date) -> date:
    """Return FINRA_FIRST_WEEK; without it, a year back, and for files, which may be old, all."""
    settings = FinraSettings.of(settings)
    if settings.finra_first_week is not None:
        return settings.finra_first_week
    return FIRST_WEEK_OF_ALL if settings.finra_source == "files" else monday_of(now) - A_YEAR


def offers_what_run_loads(settings: Settings) -> bool:
    """Return whether the weeks are those of a demo without FINRA_FIRST_WEEK."""
    chosen = FinraSettings.of(settings)
    return chosen.finra_source == "demo" and chosen.finra_first_week is None


def offered_weeks(settings: Settings, now: date) -> tuple[date, date]:
    """Return the first and the last week that there are partitions of.

    The last is that of the tier that FINRA publishes first; on a holiday it comes a day later. A
    demo without FINRA_FIRST_WEEK has the weeks that `run` loads and that all tiers have published,
    so that what was loaded looks loaded: Dagster has no weeks of one tier alone.
    """
    if offers_what_run_loads(settings):
        last = latest_week_of_all_tiers(now)
        return last - (WEEKS_AT_FIRST - 1) * WEEK, last
    return first_finra_week(settings, now), monday_of(now) - min(PUBLICATION_DELAY.values())


def read_due_weeks(
    warehouse: Warehouse,
    settings: FinraSettings,
    now: datetime,
    *,
    offered: tuple[date, date],
    listed: Collection[TierWeek] | None = None,
) -> list[DueWeek]:
    """Return the weeks that are due, the oldest publication first, each with its state.

    Args:
        warehouse: The database.
        settings: The lookback and the grace; a demo is judged from the weeks on that it loaded.
        now: The project's time.
        offered: The first and the last week that there are partitions of.
        listed: What FINRA says is published; None: it was not asked.
    """
    loaded = warehouse.changes(finra_otc_weekly)
    with warehouse.reading() as connection:
        quarantined = read_quarantined_keys(connection, finra_otc_weekly)
    due = due_weeks(
        now,
        weeks=settings.finra_lookback_weeks,
        grace=timedelta(hours=settings.finra_freshness_grace_hours),
        loaded=loaded,
        quarantined=quarantined,
        listed=listed,
    )
    if settings.is_demo:
        due = after_first_loaded(due, loaded)
    first, last = offered
    return [week for week in due if first <= week.partition.week_start <= last]


def find_oldest_unloaded(
    warehouse: Warehouse, settings: Settings, now: datetime, *, offered: tuple[date, date]
) -> OldestMissing | None:
    """Return the oldest week of those ``offered`` that is due and not loaded, if there is one.

    An empty table waits for none. FINRA itself is not asked.
    """
    if not warehouse.changes(finra_otc_weekly):
        return None
    settings = FinraSettings.of(settings)
    due = read_due_weeks(warehouse, settings, now, offered=offered)
    missing = [week for week in due if week.state is not State.LOADED]
    if not missing:
        return None
    return OldestMissing(
        asset_of_table(finra_otc_weekly),
        missing[0].partition.key,
        due_at(missing[0].due, timedelta(hours=settings.finra_freshness_grace_hours)),
        missing_count=len(missing),
        unit="week",
        remedy=REMEDY,
        quarantined_count=sum(week.state is State.QUARANTINED for week in missing),
    )
