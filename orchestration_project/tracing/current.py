"""Trace of the present work: of a task that serves a request, or of the run of this process.

Threads that a run starts see the run's trace: a context variable alone would not reach them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

from orchestration_project.tracing.traceparent import (
    REJECTED_TAG,
    TRACEPARENT_TAG,
    TraceContext,
    begin_trace,
    read_tag,
    shown_rejected,
    trace_of_tags,
)

_OF_TASK: ContextVar[TraceContext | None] = ContextVar("_OF_TASK", default=None)
_OF_RUNS: dict[str, TraceContext] = {}
_LOCK = Lock()


def current_trace() -> TraceContext | None:
    """Return the trace of this task, else of the run that this process executes; None: neither."""
    found = _OF_TASK.get()
    if found is None and _OF_RUNS:
        with _LOCK:
            found = next(reversed(_OF_RUNS.values()), None)
    return found


def set_task_trace(context: TraceContext | None) -> None:
    """Make a trace the current one of this task from now on; None: it has none."""
    _OF_TASK.set(context)


@contextmanager
def in_trace(context: TraceContext | None) -> Iterator[None]:
    """Make a trace the current one of this task for a while; None: leave it as it is."""
    if context is None:
        yield
        return
    token = _OF_TASK.set(context)
    try:
        yield
    finally:
        _OF_TASK.reset(token)


def begin_run_trace(run_id: str, context: TraceContext) -> None:
    """Make a trace that of this process: it executes the run from now on."""
    with _LOCK:
        _OF_RUNS[run_id] = context


def end_run_trace(run_id: str) -> None:
    """Forget the trace of a run that has ended here; nothing happens for another run."""
    with _LOCK:
        _OF_RUNS.pop(run_id, None)


def trace_tags(given: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of the trace of a run that is created with the tags ``given``.

    Its own tag, hidden or `traceparent`, decides, so that a retry stays in its trace; else the
    current trace; else a new one begins. A malformed tag is noted, as `traceparent_rejected`.
    """
    own = trace_of_tags(given)
    if own is not None:
        return own.as_tags()
    context, malformed = current_trace() or begin_trace(), read_tag(given, TRACEPARENT_TAG)
    noted = {REJECTED_TAG: shown_rejected(malformed)} if malformed else {}
    return context.as_tags() | noted
