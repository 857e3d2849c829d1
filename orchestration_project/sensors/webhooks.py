"""When webhook deliveries are worked on."""

from collections.abc import Collection, Mapping

import dagster as dg

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.webhooks.sources import WebhookSource
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import Registry
from orchestration_project.sensors.definitions import build_answer, sensor
from orchestration_project.sensors.plans import plan_deliveries
from orchestration_project.services.inbox.senders import read_declared_sources
from orchestration_project.services.inbox.work import InboxQueue, plan_delivery
from orchestration_project.settings import Settings, off_domain

SECONDS_BETWEEN_POLLS = 4
"""A poll is a few reads of an index. Dagster's daemon runs every 5 seconds, and would leave out a
sensor whose seconds are not quite over."""


def webhook_sensor(registry: Registry) -> dg.SensorDefinition | None:
    """Return the sensor that requests runs of this code location's jobs that work on deliveries.

    None if it has no such job.
    """
    if not registry.webhook_jobs:
        return None
    definitions = {job.name: job.definition for job in registry.webhook_jobs}

    @sensor(
        jobs=list(definitions.values()),
        minimum_interval_seconds=SECONDS_BETWEEN_POLLS,
        profile="webhooks",
        needs="a source with a job in WEBHOOKS_FILE",
    )
    def events_on_webhook(
        context: dg.SensorEvaluationContext,
        clock: dg.ResourceParam[Clock],
        settings: dg.ResourceParam[Settings],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.SensorResult | dg.SkipReason:
        """Request runs for the deliveries that are due, and record how earlier runs ended."""
        declared = {
            name: source
            for name, source in read_declared_sources(settings).items()
            if source.job and not off_domain(settings, source.job)  # its deliveries wait
        }
        known_names = [job.name for job in registry.jobs.values() if job.consumes_webhooks]
        job_of_source = _map_jobs(declared, known_names)
        sources = {
            name: webhook_source
            for name, webhook_source in declared.items()
            if job_of_source[name] in definitions
        }
        claimed = {name for name in sources if registry.jobs[job_of_source[name]].claims_webhooks}
        dispatch = InboxQueue(warehouse, clock).dispatch(context.instance, sources, claimed)
        runs = [
            plan_delivery(
                row,
                job_of_source[row.source],
                claims=row.source in claimed,
                config=registry.jobs[job_of_source[row.source]].real_config,
            )
            for row in dispatch.due
        ]
        return build_answer(plan_deliveries(runs, dispatch))

    return events_on_webhook


def _map_jobs(sources: Mapping[str, WebhookSource], known: Collection[str]) -> dict[str, str]:
    """Return the job of each source.

    Raises:
        ConfigurationError: A job is none that works on deliveries.
    """
    jobs = {name: str(source.job) for name, source in sources.items()}
    if strange := {name: job for name, job in jobs.items() if job not in known}:
        raise ConfigurationError(
            "webhook sources name jobs that do not work on deliveries",
            expected=f"one of {', '.join(sorted(known))}",
            found=", ".join(f"{name}: {job}" for name, job in strange.items()),
            remedy="correct the file that WEBHOOKS_FILE names",
        )
    return jobs
