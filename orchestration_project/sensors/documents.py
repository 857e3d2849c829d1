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
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.documents.arrivals import PollResult, open_arrivals
from orchestration_project.resources.documents.source import DocumentSource
from orchestration_project.sensors.definitions import (
    REQUESTED,
    balance_tick,
    cron_schedule,
    keys_of,
    keys_under_way,
    record_tick,
    sensor,
    split_requests,
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
    under_way = keys_under_way(context.instance, LOAD_JOB, PAGES, DAYS)
    partitions = set(DAYS.get_partition_keys())
    days = {day.day: day for day in arrivals.due()}
    requests = [
        dg.RunRequest(run_key=f"{day}|{due.since.isoformat()}|{due.item_count}", partition_key=day)
        for day, due in days.items()
        if day in partitions and day not in under_way
    ]
    split = split_requests(context.instance, requests)
    requested_run_requests = split.new[:MAX_RUNS_PER_TICK]
    places = {
        REQUESTED: keys_of(requested_run_requests),
        "waiting": keys_of(split.new[MAX_RUNS_PER_TICK:]),
        "asked_today": keys_of(split.known),
        "under_way": [day for day in days if day in partitions and day in under_way],
        "no_partition": days.keys() - partitions,
    }
    balance = balance_tick(days, places)
    record_tick(warehouse, documents_files.name, "documents_on_arrival", balance, clock.now())
    if not requested_run_requests:
        return dg.SkipReason(f"No file is due: {_describe_poll(poll)}.")
    return dg.SensorResult(run_requests=requested_run_requests)


documents_freshness_hourly = cron_schedule(
    profile="documents",
    needs="DOCUMENTS_SOURCE",
    name="documents_freshness_hourly",
    job=documents_freshness_job,
    cron_schedule="20 * * * *",
    execution_timezone="UTC",
    what="Check every hour whether a stable file waits for a run.",
)


def _describe_poll(poll: PollResult) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in sorted(poll.counts.items()))
    unreadable = f"; folders that cannot be read: {len(poll.unreadable)}" if poll.unreadable else ""
    return f"{counts or 'no files'}{unreadable}"
