"""Polls of the two systems: by the table saas_ticks, and every night."""

import dagster as dg

from orchestration_project.assets.saas import RECONCILE_CONFIG, reconcile_job, sweep_job
from orchestration_project.domains.saas.ticks import plan_poll, turn
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.options import build_real_config
from orchestration_project.engine.run_statuses import ACTIVE_STATUSES
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.saas.ticks import PEOPLEFORCE_JIRA, Ticks
from orchestration_project.sensors.definitions import build_run, cron_schedule, sensor

SECONDS_BETWEEN_POLLS = 14
"""A look reads one row; Dagster's daemon comes round every 5 seconds."""

PROFILE, NEEDS = "sync", "SAAS_SOURCE, and rules in effect"

BY_TICK = {"dagster/sensor_name": "saas_on_tick"}
"""The tag that Dagster gives to the runs of this sensor."""


@sensor(
    job=reconcile_job,
    minimum_interval_seconds=SECONDS_BETWEEN_POLLS,
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
    filters = dg.RunsFilter(tags=BY_TICK, statuses=ACTIVE_STATUSES)
    running = context.instance.get_run_ids(filters, limit=1) if due else []
    return build_run(plan_poll(tick, due, running, RECONCILE_CONFIG))


saas_sweep_nightly = cron_schedule(
    profile=PROFILE,
    needs=NEEDS,
    name="saas_sweep_nightly",
    job=sweep_job,
    cron_schedule="15 3 * * *",
    run_config=build_real_config("sweep_saas"),
    execution_timezone="UTC",
    what="Compare all issues with their tasks every night.",
)
