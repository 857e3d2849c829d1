"""Schedules: the load after the close, waiting symbols, and freshness."""

from datetime import datetime

import dagster as dg

from orchestration_project.assets.prices import MONTHS, daily_job, prices_freshness_job
from orchestration_project.domains.prices.settings import PricesSettings
from orchestration_project.domains.prices.ticks import (
    WaitingSymbol,
    list_months_before,
    plan_evening,
    plan_waiting,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.prices.states import oldest_month, waiting
from orchestration_project.resources.prices.universe import list_unloaded_months, wanted_symbols
from orchestration_project.resources.prices.work import retried_work
from orchestration_project.sensors.definitions import build_run, cron_schedule, schedule

ZONE = "America/New_York"

PROFILE, NEEDS = "prices", "PRICES_SOURCE"


@schedule(
    profile=PROFILE,
    needs=NEEDS,
    job=daily_job,
    name="prices_daily_after_close",
    cron_schedule="30 18 * * 1-5",  # vendors have a session's prices an hour or two after its close
    execution_timezone=ZONE,
)
def prices_daily_after_close(
    context: dg.ScheduleEvaluationContext,
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[PricesSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.RunRequest | dg.SkipReason:
    """Load the present month once its day's session is over; on a holiday there is none.

    The month before goes along while a wanted symbol is not loaded to its end: what failed or
    lagged on its last evening is nowhere else asked for again. What is loaded costs no request.
    """
    now = clock.now()
    before = list_months_before(now, oldest_month(warehouse), MONTHS.get_partition_keys())
    # where there is none, no tick need rank all symbols by their volume
    symbols = wanted_symbols(settings, warehouse) if before else []
    unfinished = list_unloaded_months(warehouse, symbols, before, now)
    return build_run(plan_evening(now, unfinished))


@schedule(
    profile=PROFILE,
    needs=NEEDS,
    job=daily_job,
    name="prices_waiting_hourly",
    cron_schedule="5 * * * *",
    execution_timezone=ZONE,
)
def prices_waiting_hourly(
    _: dg.ScheduleEvaluationContext,
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[PricesSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.RunRequest | dg.SkipReason:
    """Load symbols that waited for a quota, once the vendor grants requests again, and retries."""
    due = list(filter(_is_partition, _read_waiting(warehouse, clock.now())))
    # where none is, no tick need rank all symbols by their volume, every hour
    wanted = set(wanted_symbols(settings, warehouse)) if due else ()
    return build_run(plan_waiting(due, wanted))


def _read_waiting(warehouse: Warehouse, now: datetime) -> list[WaitingSymbol]:
    """Return the symbols whose time has come, and those that a user put back."""
    waited = [
        WaitingSymbol(row.symbol, row.month_start, row.month_start, row.resumes_at)
        for row in waiting(warehouse, now)
    ]
    retried = [WaitingSymbol(*item.work, item.retried_at) for item in retried_work(warehouse)]
    return [*waited, *retried]


def _is_partition(waiting_symbol: WaitingSymbol) -> bool:
    months = (waiting_symbol.first_month, waiting_symbol.last_month)
    return all(MONTHS.has_partition_key(month.isoformat()) for month in months)


prices_freshness_daily = cron_schedule(
    profile=PROFILE,
    needs=NEEDS,
    name="prices_freshness_daily",
    job=prices_freshness_job,
    cron_schedule="0 13 * * *",  # an hour after the prices of the last session are due
    execution_timezone=ZONE,
    what="Check every day whether prices are as new as the calendar of the exchange.",
)
