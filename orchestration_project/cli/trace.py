"""`trace`: what happened in a trace, from the project's own tables."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import OUTPUT, echo, emit, printable
from orchestration_project.errors import UnknownNameError

if TYPE_CHECKING:
    from datetime import datetime

    from orchestration_project.engine.contracts.api.traces import Trace, TracedPartition, TracedRun
    from orchestration_project.services.ledger import Ledger
    from orchestration_project.services.ledger.rules.entries import LedgerEntry
    from orchestration_project.settings import Settings


@click.command(cls=Command, has_json=True)
@click.argument("trace_id", metavar="TRACE_ID")
def trace(trace_id: str) -> int:
    """Show the events of a trace: requests, runs, steps, partitions, fetches and loads.

    TRACE_ID is the trace_id of a log line or problem answer, or the header X-Trace-Id; a UUID of
    MQTT is one too. It reads our own databases: no tracing system is needed.
    """
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.engine.tracing.traceparent import is_trace_id
    from orchestration_project.services.ledger import Ledger
    from orchestration_project.services.traces import read_trace
    from orchestration_project.settings import load_settings

    text = trace_id.lower().replace("-", "")
    if not is_trace_id(text):
        raise UnknownNameError(
            f"invalid TRACE_ID {trace_id[:80]!r}: expected 32 hex digits, "
            "e.g. 4bf92f3577b34da6a3ce929d0e0e4736",
            remedy="take trace_id of a log line, or the header X-Trace-Id of an answer",
        )
    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        unrecorded = _read_unrecorded(settings, Ledger(warehouse, Clock()), text)
        record = read_trace(warehouse, text, unrecorded)
    if record is None:
        raise UnknownNameError(
            f"trace not found: {text}",
            expected="a trace of an audited request, a webhook, an event, a run or an alert",
            remedy="take trace_id of a log line, or the header X-Trace-Id of an answer",
        )
    if OUTPUT.is_json:
        emit(record.model_dump(mode="json"))
    else:
        for line in shown(record):
            echo(printable(line))
    return 0


def _read_unrecorded(
    settings: "Settings", ledger: "Ledger", trace_id: str
) -> "Sequence[LedgerEntry]":
    """Return the runs of a trace whose end the ledger lacks; without any, import no Dagster."""
    from orchestration_project.cli.dagster_home import find_run_ids
    from orchestration_project.engine.tracing.traceparent import TRACE_ID_TAG
    from orchestration_project.services.traces import MAX_LIVE_RUNS, find_unrecorded_runs

    run_ids = find_run_ids(settings, TRACE_ID_TAG, trace_id, MAX_LIVE_RUNS)
    if run_ids is not None and ledger.ended(run_ids).keys() >= {*run_ids}:
        return ()
    from orchestration_project.instance.storage import open_instance

    with open_instance() as instance:
        return find_unrecorded_runs(instance, ledger, trace_id)


def shown(found: "Trace") -> Iterator[str]:
    """Yield the lines that people read, as a tree."""
    totals = found.totals
    yield (
        f"trace {found.trace_id}: {totals.run_count} runs, {totals.partition_count} partitions, "
        f"{totals.fetch_count} fetches, {totals.load_count} loads, {totals.rows_written} rows "
        f"written, {totals.rows_rejected} rejected"
    )
    for request in found.requests:
        who = request.user or "unknown"
        why = f": {request.reason}" if request.reason else ""
        what = f"request {request.operation} by {who}, {request.outcome}{why}"
        yield f"{_show_time(request.happened_at)}  {what}"
    for webhook in found.webhooks:
        name = f"{webhook.source} {webhook.delivery_id}"
        yield f"{_show_time(webhook.received_at)}  webhook {name}, {webhook.state}"
    for event in found.events:
        yield f"{_show_time(event.received_at)}  event {event.kind} on {event.topic}"
    for run in found.runs:
        yield from _run(run)
    for alert in found.alerts:
        yield f"{_show_time(alert.raised_at)}  alert {alert.severity}, {alert.state}: {alert.title}"
    if not found.is_whole:
        yield "(more rows than are listed)"


def _run(run: "TracedRun") -> Iterator[str]:
    about = f" {run.partition}" if run.partition else ""
    retry = f", retry of {run.retry_of}" if run.retry_of else ""
    queued = f", {run.queue_seconds:.1f} s in queue" if run.queue_seconds is not None else ""
    yield (
        f"{_show_time(run.created_at)}  run {run.run_id} {run.job}{about}, {run.status}"
        f"{queued}{_show_seconds(run.seconds)}{retry}"
    )
    if run.error:
        yield f"{INDENT}  error: {run.error}"
    for step in run.steps:
        attempts = f", {step.attempt_count} attempts" if step.attempt_count > 1 else ""
        yield (
            f"{_show_time(step.started_at)}    step {step.step}, {step.status}"
            f"{_show_seconds(step.seconds)}{attempts}"
        )
    for part in run.partitions:
        yield from _render_partition(part)


def _render_partition(part: "TracedPartition") -> Iterator[str]:
    yield f"{INDENT}    {part.table} {part.partition}, {part.outcome}"
    for fetch in part.fetches:
        status = f", {fetch.http_status}" if fetch.http_status is not None else ""
        rows = f", {fetch.row_count} rows" if fetch.row_count is not None else ""
        yield f"{_show_time(fetch.fetched_at)}      fetch {fetch.url}{status}{rows}"
    if part.load:
        load = part.load
        yield (
            f"{_show_time(load.landed_at)}      load +{load.rows_added} ~{load.rows_changed} "
            f"-{load.rows_removed} ={load.rows_unchanged} rows, {load.rows_rejected} rejected"
        )


INDENT = " " * 23


def _show_time(at: "datetime | None") -> str:
    return f"{at:%Y-%m-%d %H:%M:%S.%f}"[:23] if at else INDENT


def _show_seconds(seconds: float | None) -> str:
    return "" if seconds is None else f", {seconds:.1f} s"
