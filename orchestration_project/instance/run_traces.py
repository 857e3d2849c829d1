"""Trace and spans of the run that a process executes, from the events that it stores.

Dagster calls no code of ours around a run or a step. But the process that executes a run stores its
events in order, so a storage of events sees where the run and each step begin and end.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dagster import DagsterEvent, DagsterEventType, EventLogEntry, RunRecord

from orchestration_project.engine.environment import release
from orchestration_project.instance.run_claims import RUN_ENDS
from orchestration_project.tracing import spans
from orchestration_project.tracing.span import Span
from orchestration_project.tracing.traceparent import (
    TraceContext,
    begin_run_trace,
    end_run_trace,
    trace_of_tags,
)

STEP_ENDS = {
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.STEP_UP_FOR_RETRY,
}
STEP_STARTS = {DagsterEventType.STEP_START, DagsterEventType.STEP_RESTARTED}
FAILURES = {DagsterEventType.RUN_FAILURE, DagsterEventType.STEP_FAILURE}


@contextmanager
def recorded_spans(
    event: EventLogEntry, read_run: Callable[[str], RunRecord | None]
) -> Iterator[None]:
    """Begin spans before an event is stored, and end them after it.

    The process that stores that a run started executes it, until it ends.
    """
    kind, happened = event.dagster_event_type, event.dagster_event
    if kind == DagsterEventType.RUN_START:
        _begin_run(event.run_id, read_run(event.run_id))
    elif kind in STEP_STARTS and event.run_id in _SPANS:
        _begin_step(event.run_id, event.step_key or "")
    yield
    if kind in STEP_ENDS and event.run_id in _SPANS:
        _end_step(event.run_id, event.step_key or "", happened)
    elif kind in RUN_ENDS:
        _end_run(event.run_id, happened)


def _begin_run(run_id: str, record: RunRecord | None) -> None:
    context = trace_of_tags(record.dagster_run.tags) if record else None
    if record is None or context is None:
        return
    begin_run_trace(run_id, context)
    if not spans.is_recording():
        return
    run = record.dagster_run
    spans.name_program("run", release())
    queue = spans.begin_span("queue", context)
    if queue is not None:
        queue.started_ns = round(record.create_timestamp.timestamp() * 1e9)
        queue.ended_ns = max(time.time_ns(), queue.started_ns)
        queue.set(**{"run.id": run_id})
        spans.end_span(queue)
    span = spans.begin_span("run", context)
    if span is not None:
        span.set(
            **{
                "run.id": run_id,
                "job": run.job_name,
                "partition": run.tags.get("dagster/partition"),
                "domain": run.tags.get("domain"),
                "retry_of": run.parent_run_id,
            }
        )
        _SPANS[run_id] = {"": span}
        begin_run_trace(run_id, span.context)


_SPANS: dict[str, dict[str, Span]] = {}
"""Spans of runs of this process that have not ended, by run and step; of the run itself by ""."""


def _begin_step(run_id: str, step: str) -> None:
    of_run = _SPANS[run_id]
    span = spans.begin_span("step", of_run[""].context)
    if span is not None:
        span.set(**{"run.id": run_id, "step": step})
        of_run[step] = span
        begin_run_trace(run_id, span.context)


def _end_step(run_id: str, step: str, event: DagsterEvent | None) -> None:
    of_run = _SPANS[run_id]
    _end(of_run.pop(step, None), event)
    begin_run_trace(run_id, _present(of_run))


def _present(of_run: dict[str, Span]) -> TraceContext:
    """Return the context of the span that began last and has not ended."""
    return list(of_run.values())[-1].context


def _end_run(run_id: str, event: DagsterEvent | None) -> None:
    """End what is left of a run, the run last; its end is stored already."""
    end_run_trace(run_id)
    left = _SPANS.pop(run_id, None)
    if left is None:
        return
    for span in reversed(list(left.values())):
        _end(span, event)
    spans.flush()


def _end(span: Span | None, event: DagsterEvent | None) -> None:
    if span is None:
        return
    if event is not None and event.event_type in FAILURES:
        span.fail(event.message or event.event_type.value)
    spans.end_span(span)
