"""When new symbols are loaded, and when returns and corporate actions are derived."""

from datetime import date

import dagster as dg

from orchestration_project.assets.prices import MONTHS, daily_job, gold_job
from orchestration_project.domains.prices.settings import PricesSettings
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.domains.prices.ticks import (
    WantedSymbols,
    plan_derivation,
    plan_new_symbols,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.prices.connection import prices_source_name
from orchestration_project.resources.prices.gold import outdated_symbols
from orchestration_project.resources.prices.states import oldest_month, refused_until, symbols_of
from orchestration_project.resources.prices.universe import wanted_symbols
from orchestration_project.sensors.definitions import (
    build_run,
    find_run_under_way,
    read_known_keys,
    record_plan,
    sensor,
)
from orchestration_project.sensors.prices.schedules import NEEDS, PROFILE

SECONDS_BETWEEN_POLLS = 3600
"""The symbols of most volume change once a week."""


@sensor(
    job=daily_job,
    minimum_interval_seconds=SECONDS_BETWEEN_POLLS,
    profile=PROFILE,
    needs=f"{NEEDS}, and a month that was loaded before",
)
def prices_on_new_symbol(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[PricesSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.RunRequest | dg.SkipReason:
    """Load the months that others have, for wanted symbols that were never asked for all of them.

    The evening's run may have met such a symbol first: the oldest month shows it. One that it was
    refused, or had no quota for, is asked for once that may help. What only waited in a run is
    asked for again the day after.
    """
    wanted, oldest, now = wanted_symbols(settings, warehouse), oldest_month(warehouse), clock.now()
    keys = MONTHS.get_partition_keys() if oldest is not None else []
    months = [key for key in keys if key >= str(oldest)]
    first = date.fromisoformat(months[0]) if months else date.max
    loaded = set(symbols_of(warehouse, [first]))
    source = prices_source_name(settings) if months else ""
    symbols = WantedSymbols(
        wanted=wanted,
        loaded=loaded,
        refused_until=refused_until(warehouse, source, first, now) if {*wanted} - loaded else {},
        oldest=oldest,
        months=months,
        today=clock.today_in_new_york(),
    )
    known_keys = read_known_keys(context.instance, symbols.build_runs())
    plan = plan_new_symbols(symbols, known_keys)
    if plan.message:  # Dagster shows no reason of a tick that requests runs
        context.log.info(plan.message, extra={"event": "symbol_run_requested"})
    name, table_name = "prices_on_new_symbol", prices_daily.name
    record_plan(warehouse, table_name, name, listed=symbols.wanted, plan=plan, now=now)
    return build_run(plan)


SECONDS_BETWEEN_DERIVATIONS = 60


@sensor(
    job=gold_job,
    minimum_interval_seconds=SECONDS_BETWEEN_DERIVATIONS,
    profile=PROFILE,
    needs="loaded prices",
)
def prices_on_landing(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.RunRequest | dg.SkipReason:
    """Derive the symbols of which something was delivered since they were derived.

    A run that failed is requested again when more is delivered, or on the next day.
    """
    due = outdated_symbols(warehouse)
    running = find_run_under_way(context.instance, gold_job.name) if due else ""
    plan = plan_derivation(due, running, clock.today_in_new_york())
    if plan.message:  # Dagster shows no reason of a tick that requests runs
        context.log.info(plan.message, extra={"event": "price_derivation_run_requested"})
    return build_run(plan)
