"""Schedules: the load after the close, waiting symbols, and freshness."""

import dagster as dg

from orchestration_project.assets.prices import MONTHS, daily_job, prices_freshness_job
from orchestration_project.domains.prices.calendar import DAY, closes_at, is_session, month_of
from orchestration_project.domains.prices.settings import PricesSettings
from orchestration_project.engine.connections.clock import NEW_YORK, Clock
from orchestration_project.engine.contracts.partition_tags import RANGE_END, RANGE_START
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.prices.states import oldest_month, waiting
from orchestration_project.resources.prices.universe import months_not_landed, wanted_symbols
from orchestration_project.resources.prices.work import SymbolWork, retried_work
from orchestration_project.sensors.definitions import cron_schedule, schedule

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

    The month before goes along while a wanted symbol is not landed to its end: what failed or
    lagged on its last evening is nowhere else asked for again. What is landed costs no request.
    """
    now = clock.now()
    today = now.astimezone(NEW_YORK).date()
    if not is_session(today):
        return dg.SkipReason(f"Nothing to do: the exchange does not trade on {today}.")
    if closes_at(today) > now:
        return dg.SkipReason(f"Too early: the session of {today} closes at {closes_at(today)}.")
    run_key, month = f"prices_daily {today}", month_of(today).isoformat()
    before = month_of(month_of(today) - DAY)
    oldest = oldest_month(warehouse)
    if (
        oldest is None
        or oldest > before
        or not MONTHS.has_partition_key(before.isoformat())
        or not months_not_landed(warehouse, wanted_symbols(settings, warehouse), [before], now)
    ):
        return dg.RunRequest(run_key=run_key, partition_key=month)
    return dg.RunRequest(run_key=run_key, tags={RANGE_START: before.isoformat(), RANGE_END: month})


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
    """Load symbols that waited for a quota, once the vendor grants requests again, and retries.

    A symbol that is not wanted any more waits for ever: runs do not ask for it.
    """
    retried = [(each.work, each.retried_at) for each in retried_work(warehouse)]
    waited = [
        (SymbolWork(row.symbol, row.month_start, row.month_start), row.resumes_at)
        for row in waiting(warehouse, clock.now())
    ]
    due = [(work, since) for work, since in [*waited, *retried] if _are_partitions(work)]
    if due:  # else no tick need rank all symbols by their volume, every hour
        expected_names = set(wanted_symbols(settings, warehouse))
        due = [(work, since) for work, since in due if work.symbol in expected_names]
    if not due:
        return dg.SkipReason("Nothing to do: no symbol waits for a time that has come.")
    first = min(work.first_month for work, _ in due).isoformat()
    last = max(work.last_month for work, _ in due).isoformat()
    symbols = {work.symbol for work, _ in due}
    newest = max(since for _, since in due if since)
    return dg.RunRequest(
        run_key=f"prices_waiting {newest.isoformat()} {first} {last} {len(symbols)}",
        tags={RANGE_START: first, RANGE_END: last},
    )


def _are_partitions(work: SymbolWork) -> bool:
    months = (work.first_month, work.last_month)
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
