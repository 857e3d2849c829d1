"""Schedules: the Monday backfill, and the daily job."""

import dagster as dg
from sqlalchemy import Table

from orchestration_project.assets.finra import (
    FRESHNESS_CHECKS,
    SPECS,
    WEEKS_OF_ALL_TIERS,
    daily_job,
    otc_weekly_job,
    symbol_week_short_job,
    symbol_week_value_job,
)
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.domains.finra.tables.short import finra_symbol_week_short
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_symbol_week_value,
)
from orchestration_project.domains.finra.ticks import plan_latest_weeks, plan_outdated_weeks
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.source import FinraSource, outdated_weeks
from orchestration_project.resources.finra.value import complete_weeks, restated_weeks
from orchestration_project.sensors.definitions import (
    build_request,
    daily_schedule,
    find_earlier_backfill,
    launch_backfill,
    record_plan,
    schedule,
)
from orchestration_project.sensors.finra.arrivals import (
    NEEDS,
    PROFILE,
    read_published_weeks,
)

MONDAYS = "finra_otc_weekly_mondays"
ZONE = "America/New_York"

WEEKS_LISTED = 40
"""Tiers of so many weeks are looked at, all of which the current dataset has."""

VALUED_WEEKS = 8
"""So many complete weeks are valued again each day: what vendors revise, they revise soon."""


def backfill_outdated_weeks(
    context: dg.ScheduleEvaluationContext,
    clock: dg.ResourceParam[Clock],
    finra: dg.ResourceParam[FinraSource],
    settings: dg.ResourceParam[FinraSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SkipReason:
    """Backfill the weeks within the horizon that are missing, or that FINRA has restated."""
    if running := find_earlier_backfill(context.instance, MONDAYS):
        return dg.SkipReason(running)
    weeks = read_published_weeks(clock, finra, settings, warehouse, WEEKS_LISTED)
    due, refusals = outdated_weeks(finra, warehouse, weeks.recent)
    plan = plan_outdated_weeks(weeks, due, refusals)
    table_name, now = finra_otc_weekly.name, clock.now()
    record_plan(warehouse, table_name, MONDAYS, listed=weeks.keys, plan=plan, now=now)
    title = f"FINRA OTC weekly: {len(due)} partitions missing or restated"
    return launch_backfill(context, plan, MONDAYS, [spec.key for spec in SPECS], title)


finra_otc_weekly_mondays = schedule(
    profile=PROFILE,
    needs=NEEDS,
    name=MONDAYS,
    job=otc_weekly_job,
    cron_schedule="0 9 * * 1,2",  # after a Monday that is a holiday, FINRA publishes on Tuesday
    execution_timezone=ZONE,
)(backfill_outdated_weeks)

finra_daily = daily_schedule(
    daily_job,
    FRESHNESS_CHECKS,
    profile=PROFILE,
    needs=NEEDS,
    zone=ZONE,
    what="Derive symbols, draw charts, and check source and freshness every day.",
)


@schedule(
    profile=PROFILE,
    needs="loaded weeks, and short sales of their days",
    name="finra_symbol_week_short_daily",
    job=symbol_week_short_job,
    cron_schedule="45 7 * * *",  # short sales of a day are out by its evening
    execution_timezone=ZONE,
)
def finra_symbol_week_short_daily(
    _: dg.ScheduleEvaluationContext,
    warehouse: dg.ResourceParam[Warehouse],
) -> list[dg.RunRequest] | dg.SkipReason:
    """Derive short sales of the latest complete weeks, and of older ones that FINRA restated.

    The latest, as short interest is revised, and short sales of their days may come later.
    """
    return _request_weeks(warehouse, finra_symbol_week_short)


@schedule(
    profile=PROFILE,
    needs="loaded weeks, and prices of their symbols",
    name="finra_symbol_week_value_daily",
    job=symbol_week_value_job,
    cron_schedule="30 7 * * *",  # after the evening's prices, and what waited for a quota
    execution_timezone=ZONE,
)
def finra_symbol_week_value_daily(
    _: dg.ScheduleEvaluationContext,
    warehouse: dg.ResourceParam[Warehouse],
) -> list[dg.RunRequest] | dg.SkipReason:
    """Derive the value of the latest complete weeks, and of older ones that FINRA restated.

    The latest, as prices come and are revised. A run over consecutive weeks each: one between them
    that lacks a tier would fail it every day.
    """
    return _request_weeks(warehouse, finra_symbol_week_value)


def _request_weeks(warehouse: Warehouse, derived: Table) -> list[dg.RunRequest] | dg.SkipReason:
    complete = list(filter(WEEKS_OF_ALL_TIERS.has_partition_key, complete_weeks(warehouse)))
    restated = filter(WEEKS_OF_ALL_TIERS.has_partition_key, restated_weeks(warehouse, derived))
    plan = plan_latest_weeks(complete, restated, VALUED_WEEKS)
    return list(map(build_request, plan.requests)) or dg.SkipReason(plan.skip_reason)
