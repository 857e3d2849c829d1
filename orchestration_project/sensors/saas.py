"""Polls of the two systems: by the table saas_ticks, and every night."""

import dagster as dg

from orchestration_project.assets.saas import RECONCILE_CONFIG, reconcile_job, sweep_job
from orchestration_project.domains.saas.ticks import turn
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.options import not_dry
from orchestration_project.engine.run_statuses import ACTIVE_STATUSES
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.saas.ticks import PEOPLEFORCE_JIRA, Ticks
from orchestration_project.sensors.definitions import cron_schedule, sensor

SECONDS_BETWEEN_LOOKS = 14
"""A look reads one row; Dagster's daemon comes round every 5 seconds."""

PROFILE, NEEDS = "sync", "SAAS_SOURCE, and rules in effect"

BY_TICK = {"dagster/sensor_name": "saas_on_tick"}
"""The tag that Dagster gives to the runs of this sensor."""


@sensor(
    job=reconcile_job,
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    profile=PROFILE,
    needs=NEEDS,
)
def saas_on_tick(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.RunRequest | dg.SkipReason:
    """Start a sync when its interval is over, or when one was requested.

    Syncs that take longer than their interval would share a rate and fill the queue of runs.
    """
    tick = Ticks(warehouse, PEOPLEFORCE_JIRA).tick()
    due = turn(tick, clock.now())
    if due is not None:
        under_way = dg.RunsFilter(tags=BY_TICK, statuses=ACTIVE_STATUSES)
        if run_ids := context.instance.get_run_ids(under_way, limit=1):
            return dg.SkipReason(
                f"A poll is due, but the previous one has not ended: run {run_ids[0]}."
            )
        return dg.RunRequest(run_key=due, run_config=RECONCILE_CONFIG)
    if tick.is_paused:
        return dg.SkipReason("Polling is paused; a manual trigger starts a poll.")
    began = f"{tick.started_at:%H:%M:%S}" if tick.started_at else "never"
    return dg.SkipReason(f"The latest look began {began}; one begins every {tick.interval}.")


saas_sweep_nightly = cron_schedule(
    profile=PROFILE,
    needs=NEEDS,
    name="saas_sweep_nightly",
    job=sweep_job,
    cron_schedule="15 3 * * *",
    run_config=not_dry("sweep_saas"),
    execution_timezone="UTC",
    what="Compare all issues with their tasks every night.",
)
