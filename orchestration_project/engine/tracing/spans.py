"""Spans of traces: recorded where OTEL_EXPORTER_OTLP_ENDPOINT is set, otherwise not even made.

Without an endpoint, `span` returns one object that does nothing, and no module of OpenTelemetry is
imported. With one, spans that ended wait in a bounded queue, from which a thread sends them
(`exporting.py`): what the collector does can neither fail nor slow the work.
"""

import atexit
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from orchestration_project.engine.tracing.span import FLUSH_SECONDS, Kind, Span, Value
from orchestration_project.engine.tracing.traceparent import (
    TraceContext,
    begin_trace,
    find_current_trace,
    use_trace,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import load_shared_settings

if TYPE_CHECKING:
    from orchestration_project.engine.tracing.exporting import SpanExport

_NOTHING = nullcontext[Span | None](None)
_STATE: dict[int, "SpanExport | None"] = {}
"""The export of this process, by its ID: a fork starts another. Empty: the settings are unread."""

_PROGRAM: dict[str, str] = {"service": "run", "release": ""}


def name_program(service: str, release: str) -> None:
    """Set the program and the release that the spans of this process name."""
    _PROGRAM.update(service=service, release=release)


def is_recording() -> bool:
    """Whether spans are exported by this process."""
    return _export() is not None


def _export() -> "SpanExport | None":
    process = os.getpid()
    if process not in _STATE:
        _STATE.clear()  # a fork's parent has a thread that is not here
        _STATE[process] = _open_export()
    return _STATE[process]


def _open_export() -> "SpanExport | None":
    try:
        settings = load_shared_settings()
    except ConfigurationError:  # whoever needs the settings reports it
        return None
    endpoint = settings.otel_exporter_otlp_endpoint
    if endpoint is None:
        return None
    from orchestration_project.engine.tracing.exporting import open_export

    return open_export(
        endpoint,
        settings.otlp_headers,
        share=settings.otel_traces_sampler_arg,
        service=_PROGRAM["service"],
        release=_PROGRAM["release"],
    )


def forget_settings() -> None:
    """Stop the export of this process without sending the rest; the settings are read again."""
    for export in _STATE.values():
        if export is not None:
            export.stop()
    _STATE.clear()


def flush(seconds: float = FLUSH_SECONDS) -> None:
    """Send the unsent spans, for so long at most; the rest may be lost, and is counted."""
    export = _STATE.get(os.getpid())
    if export is not None:
        export.flush(seconds)


atexit.register(flush)  # by the process that ends: a fork has other spans than its parent


def open_span(
    name: str, kind: Kind = "internal", **attributes: Value | None
) -> AbstractContextManager[Span | None]:
    """Record the block as a span below the current one; gives None if nothing is recorded.

    An error that leaves the block ends the span as failed, and goes on.
    """
    return _NOTHING if _export() is None else _record_span(name, kind, attributes)


@contextmanager
def _record_span(
    name: str, kind: Kind, attributes: Mapping[str, Value | None]
) -> Iterator[Span | None]:
    begun = begin_span(name, find_current_trace(), kind)
    if begun is None:
        yield None
        return
    begun.set(**attributes)
    with use_trace(begun.context):
        try:
            yield begun
        except BaseException as error:
            begun.fail(error)
            raise
        finally:
            finish_span(begun)


def begin_span(
    name: str,
    parent: TraceContext | None,
    kind: Kind = "internal",
    *,
    context: TraceContext | None = None,
) -> Span | None:
    """Begin a span that the caller ends by `finish_span`; None: nothing is recorded.

    Args:
        name: Name of few values.
        parent: Span that it belongs to; None: it begins a trace.
        kind: Role of the span in a call.
        context: Its own position; None: a new one.
    """
    if _export() is None:
        return None
    trace_context = context or (parent.child() if parent else begin_trace())
    return Span(name, trace_context, parent.span_id if parent else None, kind)


def finish_span(span: Span | None) -> None:
    """End a span now, and hand it to the export; None: nothing happens."""
    if span is None:
        return
    if not span.ended_ns:
        span.end()
    if (export := _export()) is not None:
        export.add(span)
