"""When routed actions are taken."""

from collections.abc import Sequence

import dagster as dg

from orchestration_project.assets.events.routing import apply_routing_job
from orchestration_project.domains.events.routing import plan_actions
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Registry
from orchestration_project.resources.events.routing.applying import due_actions
from orchestration_project.resources.events.routing.runs import RunRequester, runnable_jobs
from orchestration_project.resources.events.routing.targets import RoutingTargets
from orchestration_project.sensors.definitions import (
    build_answer,
    find_jobs,
    find_run_under_way,
    read_request,
    sensor,
)
from orchestration_project.settings import Settings

SECONDS_BETWEEN_POLLS = 4
"""As `events_on_webhook`; a poll is a read of an index."""


def routing_sensor(registry: Registry) -> dg.SensorDefinition | None:
    """Return the sensor that has routed actions taken, and requests runs of this location's jobs.

    None if it has none of them.
    """
    jobs_by_name = {
        job.name: job for domain in registry.selected for job in domain.definitions.jobs
    }
    runnable = [
        jobs_by_name[name].definition for name in runnable_jobs(registry) if name in jobs_by_name
    ]
    applying = (
        [jobs_by_name[apply_routing_job.name].definition]
        if apply_routing_job.name in jobs_by_name
        else []
    )
    if not (runnable or applying):
        return None

    @sensor(
        jobs=[*applying, *runnable],
        minimum_interval_seconds=SECONDS_BETWEEN_POLLS,
        profile="webhooks",
        needs="routing rules in effect",
    )
    def events_on_routing(
        context: dg.SensorEvaluationContext,
        clock: dg.ResourceParam[Clock],
        settings: dg.ResourceParam[Settings],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.SensorResult | dg.SkipReason:
        """Request a run that takes due routed actions, and each run that a rule requests."""
        actions, apply_job = registry.actions.values(), apply_routing_job.name
        names = [action.name for action in actions]
        own_names = [action.name for action in actions if applying and not action.run]
        requests: Sequence[dg.RunRequest] = []
        if is_due := bool(due_actions(warehouse, clock, names, limit=1)):
            targets = RoutingTargets.of(settings, registry)
            jobs = find_jobs(context, [item.name for item in runnable])
            requests = RunRequester(warehouse, clock, targets, jobs).requests(context.instance)
        is_apply_due = is_due and bool(due_actions(warehouse, clock, own_names, limit=1))
        plan = plan_actions(
            list(map(read_request, requests)),
            apply_job,
            is_due=is_due,
            is_apply_due=is_apply_due,
            running=find_run_under_way(context.instance, apply_job) if is_apply_due else "",
        )
        return build_answer(plan)

    return events_on_routing
