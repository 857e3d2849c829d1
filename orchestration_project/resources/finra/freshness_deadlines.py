"""Due weeks of FINRA's calendar, for the freshness check, the control tower and objectives."""

from collections.abc import Collection
from datetime import date, datetime, timedelta

from orchestration_project.contracts.problems import OldestMissing
from orchestration_project.domains.finra.freshness import (
    DueWeek,
    State,
    after_first_loaded,
    due_at,
    due_weeks,
)
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.status import quarantined_keys
from orchestration_project.settings import Settings
from orchestration_project.settings.domains.finra import FinraSettings
from orchestration_project.tables.finra import finra_otc_weekly

ASSET = "finra/otc_weekly"

REMEDY = "start finra_otc_weekly for the missing weeks, or see why its runs failed"


def read_due_weeks(
    warehouse: Warehouse,
    settings: FinraSettings,
    now: datetime,
    *,
    first_week: date,
    listed: Collection[TierWeek] | None = None,
) -> list[DueWeek]:
    """Return the weeks that are due, the oldest publication first, each with its state.

    Args:
        warehouse: The database.
        settings: The lookback and the grace; a demo is judged from the weeks on that it loaded.
        now: The project's time.
        first_week: The first partition.
        listed: What FINRA says is published; None: it was not asked.
    """
    landed = warehouse.changes(finra_otc_weekly)
    with warehouse.reading() as connection:
        quarantined = quarantined_keys(connection, finra_otc_weekly)
    due = due_weeks(
        now,
        weeks=settings.finra_lookback_weeks,
        grace=timedelta(hours=settings.finra_freshness_grace_hours),
        landed=landed,
        quarantined=quarantined,
        listed=listed,
    )
    if settings.is_demo:
        due = after_first_loaded(due, landed)
    return [week for week in due if week.partition.week_start >= first_week]


def oldest_unlanded(
    warehouse: Warehouse, settings: Settings, now: datetime, *, first_week: date
) -> OldestMissing | None:
    """Return the oldest week from ``first_week`` on that is due and not loaded, if there is one.

    An empty table waits for none. FINRA itself is not asked.
    """
    if not warehouse.changes(finra_otc_weekly):
        return None
    settings = FinraSettings.of(settings)
    due = read_due_weeks(warehouse, settings, now, first_week=first_week)
    missing = [week for week in due if week.state is not State.LANDED]
    if not missing:
        return None
    return OldestMissing(
        ASSET,
        missing[0].partition.key,
        due_at(missing[0].due, timedelta(hours=settings.finra_freshness_grace_hours)),
        missing_count=len(missing),
        unit="week",
        remedy=REMEDY,
        quarantined_count=sum(week.state is State.HELD_BACK for week in missing),
    )
