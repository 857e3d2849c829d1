"""When schedules that are data start their jobs: one sensor for all of them."""

import warnings

import dagster as dg

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.automation import (
    PROFILE,
    describe_automation,
    format_interval,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.registry import Registry
from orchestration_project.sensors.definitions import build_answer
from orchestration_project.sensors.plans import plan_scheduled
from orchestration_project.services.alerts import Alerts
from orchestration_project.services.schedules.jobs import ScheduledJobs
from orchestration_project.services.schedules.launching import (
    SENSOR_NAME,
    launch_due,
    raise_alerts,
)

warnings.filterwarnings("ignore", "Parameter `owners` of initializer `SensorDefinition")
"""Dagster 1.13 gives it itself, for each sensor that starts a job of ops."""

SECONDS_BETWEEN_TICKS = 29
"""Less than the half minute in which the daemon comes round: cron expressions count minutes."""

SCHEDULED = "schedules"
"""The profile that switches it on and off."""


def scheduled_sensor(registry: Registry) -> dg.SensorDefinition | None:
    """Return the sensor that starts the scheduled jobs of a code location; None: it has no job."""
    definitions = {
        job.name: job.definition for domain in registry.selected for job in domain.definitions.jobs
    }
    if not definitions:
        return None
    elsewhere = registry.jobs.keys() - definitions.keys()
    published_on = {
        name: job.published_on
        for name, job in registry.jobs.items()
        if job.published_on is not None
    }

    @dg.sensor(
        name=SENSOR_NAME,
        jobs=list(definitions.values()),
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        description=describe_automation(
            "Start what the schedules of operations_schedules make due, each time once.",
            f"Looks {format_interval(SECONDS_BETWEEN_TICKS)} and starts the jobs of these "
            "schedules",
            needs="schedules that operations_definitions_edit or the API made",
            profile=SCHEDULED,
            is_on=False,
        ),
        metadata={PROFILE: SCHEDULED},
    )
    def operations_start_scheduled(
        context: dg.SensorEvaluationContext,
        alerts: dg.ResourceParam[Alerts],
        clock: dg.ResourceParam[Clock],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.SensorResult | dg.SkipReason:
        """Start due schedules; disable those whose job or config is no longer valid."""
        if context.repository_def is None:
            raise AssertionError("Dagster gives a tick its repository")
        jobs = ScheduledJobs(context.repository_def, published_on)
        due = launch_due(warehouse, context.instance, jobs, elsewhere, clock.now())
        problem = _store_alerts(warehouse, alerts)
        plan = plan_scheduled(due.requests, due.skipped_count, due.disabled, problem)
        return build_answer(plan)

    return operations_start_scheduled


def _store_alerts(warehouse: Warehouse, alerts: Alerts) -> str:
    """Store the alerts of disabled schedules; what is due starts also where that fails."""
    try:
        raise_alerts(warehouse, alerts)
    except OrchestrationError as error:
        return f" Alerts cannot be stored; the next tick retries. {error}"
    return ""
