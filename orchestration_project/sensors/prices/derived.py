"""When returns and corporate actions are derived: after landings."""

import dagster as dg

from orchestration_project.assets.prices import gold_job
from orchestration_project.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.prices.gold import outdated_symbols
from orchestration_project.sensors.definitions import sensor, while_under_way

SECONDS_BETWEEN_LOOKS = 60


@sensor(job=gold_job, minimum_interval_seconds=SECONDS_BETWEEN_LOOKS)
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
    context.log.info(f"Asked for {len(due)} symbols.")
    newest, today = max(due.values()).isoformat(), clock.today_in_new_york()
    return dg.RunRequest(run_key=f"prices_gold {newest} {len(due)} ({today})")
