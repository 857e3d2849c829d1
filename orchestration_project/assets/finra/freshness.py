"""Whether the landed weeks are as new as FINRA's calendar promises."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta

import dagster as dg

from orchestration_project.assets.finra.catalogue import (
    OTC_WEEKLY,
    RETRY_ONCE,
    offered_weeks,
)
from orchestration_project.assets.specs import (
    FRESHNESS_CHECK,
    freshness_check,
    paused_freshness,
)
from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.problems import OldestMissing
from orchestration_project.domains.finra.freshness import (
    DueWeek,
    State,
    after_first_loaded,
    counts,
    due_at,
    due_weeks,
)
from orchestration_project.domains.finra.selection import TierWeek, horizon_start, of_known_tiers
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.difference import quarantined_keys
from orchestration_project.resources.finra import FinraSource
from orchestration_project.services.metadata import described_result
from orchestration_project.settings import Settings
from orchestration_project.settings.domains.finra import FinraSettings
from orchestration_project.tables.finra import finra_otc_weekly

REMEDY = "start finra_otc_weekly for the missing weeks, or see why its runs failed"

SHOWN_WEEKS = 100
"""The latest of those that are missing: an event should stay below 100 KB."""


@freshness_check(
    OTC_WEEKLY,
    "Every week that is due by FINRA's calendar, within the lookback, is loaded.",
    settings=["FINRA_FRESHNESS_GRACE_HOURS", "FINRA_LOOKBACK_WEEKS"],
    retry_policy=RETRY_ONCE,
)
def as_new_as_the_calendar(
    clock: dg.ResourceParam[Clock],
    finra: dg.ResourceParam[FinraSource],
    settings: dg.ResourceParam[FinraSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.AssetCheckResult:
    """Compare the landed weeks with the calendar, and with the list of FINRA."""
    if paused := paused_freshness(warehouse, OTC_WEEKLY):
        return paused  # FINRA is not asked
    today, weeks = clock.today_in_new_york(), settings.finra_lookback_weeks
    listed, _ = of_known_tiers(finra.published(since=horizon_start(today, weeks)))
    return freshness_of(warehouse, settings, clock, listed=frozenset(listed))


def freshness_of(
    warehouse: Warehouse,
    settings: FinraSettings,
    clock: Clock,
    listed: frozenset[TierWeek] | None = None,
) -> dg.AssetCheckResult:
    """Compare the landed weeks with the calendar; a demo's, from what it loaded first.

    Args:
        warehouse: What is landed.
        settings: The horizon and the grace.
        clock: Now.
        listed: What FINRA says is published; None where it is not asked, as in a load.
    """
    offered = offered_weeks(settings, clock.today_in_new_york())
    due = read_due_weeks(warehouse, settings, clock.now(), offered=offered, listed=listed)
    return _result(due)


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
    first, last = offered
    return [week for week in due if first <= week.partition.week_start <= last]


def oldest_unlanded(
    warehouse: Warehouse, settings: Settings, now: datetime, *, offered: tuple[date, date]
) -> OldestMissing | None:
    """Return the oldest week of those ``offered`` that is due and not loaded, if there is one.

    An empty table waits for none. FINRA itself is not asked.
    """
    if not warehouse.changes(finra_otc_weekly):
        return None
    settings = FinraSettings.of(settings)
    due = read_due_weeks(warehouse, settings, now, offered=offered)
    missing = [week for week in due if week.state is not State.LANDED]
    if not missing:
        return None
    return OldestMissing(
        OTC_WEEKLY.to_user_string(),
        missing[0].partition.key,
        due_at(missing[0].due, timedelta(hours=settings.finra_freshness_grace_hours)),
        missing_count=len(missing),
        unit="week",
        remedy=REMEDY,
        quarantined_count=sum(week.state is State.HELD_BACK for week in missing),
    )


def _result(due: Sequence[DueWeek]) -> dg.AssetCheckResult:
    missing = [each for each in due if each.state is not State.LANDED]
    numbers = {f"weeks_{state.name.lower()}": number for state, number in counts(due).items()}
    metadata: dict[str, dg.MetadataValue | int] = {"weeks_due": len(due), **numbers}
    if missing:
        metadata["missing_weeks"] = dg.MetadataValue.table(
            [_record(each) for each in missing[-SHOWN_WEEKS:]]
        )
    severity = dg.AssetCheckSeverity.WARN
    return described_result(OTC_WEEKLY, FRESHNESS_CHECK, metadata, severity, passed=not missing)


def _record(week: DueWeek) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "partition": week.partition.key,
            "state": str(week.state),
            "due": str(week.due),
            "days_late": week.days_late,
            "what_to_do": str(week),
        }
    )
