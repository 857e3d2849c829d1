"""Whether the loaded weeks are as new as FINRA's calendar promises."""

from collections.abc import Sequence

import dagster as dg

from orchestration_project.assets.finra.catalogue import (
    OTC_WEEKLY,
    RETRY_ONCE,
)
from orchestration_project.assets.specs import (
    FRESHNESS_CHECK,
    find_paused_result,
    freshness_check,
)
from orchestration_project.domains.finra.freshness import (
    COUNT_NAMES,
    DueWeek,
    State,
    counts,
)
from orchestration_project.domains.finra.selection import TierWeek, horizon_start, of_known_tiers
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.source import FinraSource
from orchestration_project.resources.finra.weeks import offered_weeks, read_due_weeks
from orchestration_project.services.metadata import build_result

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
    """Compare the loaded weeks with the calendar, and with the list of FINRA."""
    if paused := find_paused_result(warehouse, OTC_WEEKLY):
        return paused  # FINRA is not asked
    today, weeks = clock.today_in_new_york(), settings.finra_lookback_weeks
    listed, _ = of_known_tiers(finra.published(since=horizon_start(today, weeks)))
    return check_freshness(warehouse, settings, clock, listed=frozenset(listed))


def check_freshness(
    warehouse: Warehouse,
    settings: FinraSettings,
    clock: Clock,
    listed: frozenset[TierWeek] | None = None,
) -> dg.AssetCheckResult:
    """Compare the loaded weeks with the calendar; a demo's, from what it loaded first.

    Args:
        warehouse: What is loaded.
        settings: The horizon and the grace.
        clock: Now.
        listed: What FINRA says is published; None where it is not asked, as in a load.
    """
    offered = offered_weeks(settings, clock.today_in_new_york())
    due = read_due_weeks(warehouse, settings, clock.now(), offered=offered, listed=listed)
    return _check_weeks(due)


def _check_weeks(due: Sequence[DueWeek]) -> dg.AssetCheckResult:
    missing = [due_week for due_week in due if due_week.state is not State.LOADED]
    numbers = {COUNT_NAMES[state]: number for state, number in counts(due).items()}
    metadata: dict[str, dg.MetadataValue | int] = {"weeks_due": len(due), **numbers}
    if missing:
        metadata["missing_weeks"] = dg.MetadataValue.table(
            [_record(due_week) for due_week in missing[-SHOWN_WEEKS:]]
        )
    severity = dg.AssetCheckSeverity.WARN
    return build_result(OTC_WEEKLY, FRESHNESS_CHECK, metadata, severity, passed=not missing)


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
