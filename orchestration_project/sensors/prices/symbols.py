"""When new symbols are loaded, and when returns and corporate actions are derived."""

import hashlib
from datetime import date

import dagster as dg

from orchestration_project.assets.prices import MONTHS, daily_job, gold_job
from orchestration_project.domains.prices.settings import PricesSettings
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.partition_tags import RANGE_END, RANGE_START
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.prices.connection import prices_source_name
from orchestration_project.resources.prices.gold import outdated_symbols
from orchestration_project.resources.prices.states import oldest_month, refused_until, symbols_of
from orchestration_project.resources.prices.universe import wanted_symbols
from orchestration_project.sensors.definitions import (
    REQUESTED,
    balance_tick,
    not_yet_asked,
    record_tick,
    sensor,
    while_under_way,
)
from orchestration_project.sensors.prices.schedules import NEEDS, PROFILE

SECONDS_BETWEEN_LOOKS = 3600
"""The symbols of most volume change once a week."""

SYMBOLS_NAMED = 10


@sensor(
    job=daily_job,
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
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
    expected_names = wanted_symbols(settings, warehouse)
    oldest = oldest_month(warehouse)
    if oldest is None:
        return dg.SkipReason("Nothing to do: no price was ever asked for; launch prices_backfill.")
    keys = [key for key in MONTHS.get_partition_keys() if key >= oldest.isoformat()]
    if not keys:  # the project's clock was set back
        return dg.SkipReason(f"Nothing to do: {oldest}, the oldest month of all, is yet to come.")
    first = date.fromisoformat(keys[0])
    known_names = set(symbols_of(warehouse, [first]))
    missing = [symbol for symbol in expected_names if symbol not in known_names]
    if not missing:
        return dg.SkipReason(
            f"Nothing to do: all {len(expected_names)} wanted symbols were asked for."
        )
    until = refused_until(warehouse, prices_source_name(settings), first, clock.now())
    new = [symbol for symbol in missing if symbol not in until]
    if not new:
        soonest = min(until[symbol] for symbol in missing)
        return dg.SkipReason(f"Nothing to do: a new symbol may be asked for from {soonest} on.")
    named = ", ".join(new[:SYMBOLS_NAMED]) + " and more" * (len(new) > SYMBOLS_NAMED)
    context.log.info(
        f"Requested {len(new)} new symbols: {named}.", extra={"event": "symbol_run_requested"}
    )
    digest = hashlib.sha256("\n".join(sorted(new)).encode()).hexdigest()[:16]
    request = dg.RunRequest(
        run_key=f"prices_on_new_symbol {digest} {clock.today_in_new_york()}",
        tags={RANGE_START: keys[0], RANGE_END: keys[-1]},
    )
    places = {
        REQUESTED if not_yet_asked(context.instance, [request]) else "asked_today": new,
        "refused": [symbol for symbol in missing if symbol in until],
        "loaded": [symbol for symbol in expected_names if symbol in known_names],
    }
    balance = balance_tick(expected_names, places)
    record_tick(warehouse, prices_daily.name, "prices_on_new_symbol", balance, clock.now())
    return request


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

    A run that failed is asked for again when more is delivered, or on the next day.
    """
    due = outdated_symbols(warehouse)
    if not due:
        return dg.SkipReason("Nothing to do: what is derived of prices is current.")
    if wait := while_under_way(context.instance, gold_job.name):
        return wait
    context.log.info(
        f"Requested {len(due)} symbols.", extra={"event": "price_derivation_run_requested"}
    )
    newest, today = max(due.values()).isoformat(), clock.today_in_new_york()
    return dg.RunRequest(run_key=f"prices_gold {newest} {len(due)} ({today})")
