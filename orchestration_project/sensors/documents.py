"""When documents are loaded: files arrived, or are due again."""

from functools import partial

import dagster as dg

from orchestration_project.assets.documents import (
    DAYS,
    LOAD_JOB,
    PAGES,
    documents_freshness_job,
    load_job,
)
from orchestration_project.domains.documents.settings import DocumentsSettings
from orchestration_project.domains.documents.tables import documents_files
from orchestration_project.domains.documents.ticks import DueDays, describe_poll, plan_arrivals
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.documents.arrivals import open_arrivals
from orchestration_project.resources.documents.source import DocumentSource
from orchestration_project.sensors.definitions import (
    build_answer,
    cron_schedule,
    keys_under_way,
    read_known_keys,
    record_plan,
    sensor,
)

SECONDS_BETWEEN_POLLS = 10
"""A file is loaded after two polls at least."""

MAX_RUNS_PER_TICK = 10


@sensor(
    job=load_job,
    minimum_interval_seconds=SECONDS_BETWEEN_POLLS,
    profile="documents",
    needs="DOCUMENTS_SOURCE",
)
def documents_on_arrival(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    documents: dg.ResourceParam[DocumentSource],
    settings: dg.ResourceParam[DocumentsSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SensorResult | dg.SkipReason:
    """Poll the source, and request a run for each day with files that are due."""
    arrivals = open_arrivals(documents, warehouse, clock, settings)
    poll = arrivals.poll()
    arrivals.end_leases(partial(is_at_work, context.instance))
    running = keys_under_way(context.instance, LOAD_JOB, PAGES, DAYS)
    days = DueDays(
        due={day.day: (day.item_count, day.since) for day in arrivals.due()},
        partitions=set(DAYS.get_partition_keys()),
        running=running,
    )
    runs = days.build_runs()
    known_keys = read_known_keys(context.instance, runs)
    polled = describe_poll(poll.counts, poll.unreadable)
    plan = plan_arrivals(days, runs, known_keys, limit=MAX_RUNS_PER_TICK, polled=polled)
    name, listed, now = "documents_on_arrival", days.due.keys(), clock.now()
    record_plan(warehouse, documents_files.name, name, listed=listed, plan=plan, now=now)
    return build_answer(plan)


documents_freshness_hourly = cron_schedule(
    profile="documents",
    needs="DOCUMENTS_SOURCE",
    name="documents_freshness_hourly",
    job=documents_freshness_job,
    cron_schedule="20 * * * *",
    execution_timezone="UTC",
    what="Check every hour whether a stable file waits for a run.",
)
