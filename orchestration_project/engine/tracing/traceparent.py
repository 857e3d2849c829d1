"""The W3C header `traceparent`, and the current trace of a task or run. It imports no tracer.

Threads that a run starts see the run's trace: a context variable alone would not reach them.

A trace ID from outside only labels rows, lines and spans. It gives no right and decides nothing:
neither who may read a trace, nor whether its spans are exported.
"""

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import NamedTuple

from orchestration_project.redaction import redacted

TRACEPARENT = "traceparent"
"""Name of the header, of the user property in MQTT, and of the run tag that a caller may set."""

HIDDEN_PREFIX = ".dagster/"
"""Prefix of run tags that Dagster does not show in its lists: people do not filter by them."""

TRACEPARENT_TAG = f"{HIDDEN_PREFIX}{TRACEPARENT}"
"""Run tag: the position of the run in its trace."""

TRACE_ID_TAG = "trace_id"
"""Run tag: the trace ID alone, by which runs of a trace are found."""

REJECTED_TAG = "traceparent_rejected"
"""Run tag: the text of a `traceparent` that is malformed, so that a new trace began."""

FORM = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace_id>[0-9a-f]{32})-(?P<span_id>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)

MAX_HEADER_CHARACTERS = 512
"""A longer text is malformed, also if a later version of the header allows more members."""

MAX_REJECTED_CHARACTERS = 80
"""Characters of a malformed text that are kept."""

TRACE_ID_FORM = re.compile("[0-9a-f]{32}")
SAMPLED = 1


class TraceContext(NamedTuple):
    """Position in a trace.

    Attributes:
        trace_id: 32 lower-case hex digits, not all zero.
        span_id: Span that is the parent of what begins here, 16 hex digits, not all zero.
        is_sampled: Flag of the sender that it recorded the trace; a hint only.
    """

    trace_id: str
    span_id: str
    is_sampled: bool = True

    def __str__(self) -> str:
        """Return the header of version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"

    def child(self) -> "TraceContext":
        """Return the context of a new span of the same trace."""
        return self._replace(span_id=generate_span_id())

    def as_tags(self) -> dict[str, str]:
        """Return the tags of a run in this trace."""
        return {TRACEPARENT_TAG: str(self), TRACE_ID_TAG: self.trace_id}


def begin_trace() -> TraceContext:
    """Return the context of the first span of a new trace, with random IDs."""
    return TraceContext(_generate_hex(16), generate_span_id())


def generate_span_id() -> str:
    """Return a random span ID, 16 hex digits."""
    return _generate_hex(8)


def _generate_hex(byte_count: int) -> str:
    """Return random digits, which are not all zero: those are invalid."""
    token_hex = secrets.token_hex(byte_count)
    return token_hex if token_hex.strip("0") else _generate_hex(byte_count)


def read_traceparent(text: str) -> TraceContext | None:
    """Return the context that a header names; None: it is malformed.

    A later version than 00 is read as far as version 00 defines it, as the W3C prescribes.
    """
    if len(text) > MAX_HEADER_CHARACTERS:
        return None
    match = FORM.fullmatch(text.strip(" \t"))
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["more"]):
        return None
    if not (match["trace_id"].strip("0") and match["span_id"].strip("0")):
        return None
    is_sampled = bool(int(match["flags"], 16) & SAMPLED)
    return TraceContext(match["trace_id"], match["span_id"], is_sampled)


def continue_or_begin(texts: Sequence[str]) -> tuple[TraceContext, str | None]:
    """Return the trace that headers name, or a new one; and what was rejected, if anything.

    Args:
        texts: Values of all headers `traceparent` of a message; more than one are rejected.

    Returns:
        The context in which spans begin, and the rejected text: printable ASCII, cut to
        MAX_REJECTED_CHARACTERS, secrets redacted; None: nothing was rejected.
    """
    context = read_traceparent(texts[0]) if len(texts) == 1 else None
    if context is not None:
        return context, None
    return begin_trace(), redact_rejected(", ".join(texts)) if texts else None


def redact_rejected(text: str) -> str:
    """Return a rejected text as it may be stored: redacted, printable ASCII, bounded."""
    cut = redacted(text)[:MAX_REJECTED_CHARACTERS]  # a cut before it could split a secret
    return "".join(character if " " <= character <= "~" else "?" for character in cut)


def trace_of_tags(tags: Mapping[str, str]) -> TraceContext | None:
    """Return the trace that a run's tags name; None: none, or a malformed one."""
    return read_traceparent(read_tag(tags, TRACEPARENT_TAG) or "")


def read_tag(tags: Mapping[str, str], name: str, earlier: str | None = None) -> str | None:
    """Return the value of a hidden tag, also of a run from before the tag was hidden.

    Args:
        tags: Tags of the run.
        name: Name of the tag.
        earlier: Earlier name of the tag; None: the name without the prefix.
    """
    return tags.get(name, tags.get(earlier or name.removeprefix(HIDDEN_PREFIX)))


def is_trace_id(text: str) -> bool:
    """Whether a text is a trace ID: 32 lower-case hex digits, not all zero."""
    return bool(TRACE_ID_FORM.fullmatch(text) and text.strip("0"))


_OF_TASK: ContextVar[TraceContext | None] = ContextVar("_OF_TASK", default=None)
_OF_RUNS: Mapping[str, TraceContext] = {}
"""Traces of the runs that this process executes; replaced whole, so that a log line is written
without a lock: a finalizer that logs may run while the same thread holds one."""

_LOCK = Lock()


def find_current_trace() -> TraceContext | None:
    """Return the trace of this task, else of the run that this process executes; None: neither."""
    trace_context = _OF_TASK.get()
    if trace_context is None:
        trace_context = next(reversed(tuple(_OF_RUNS.values())), None)
    return trace_context


def set_task_trace(context: TraceContext | None) -> None:
    """Make a trace the current one of this task from now on; None: it has none."""
    _OF_TASK.set(context)


@contextmanager
def use_trace(context: TraceContext | None) -> Iterator[None]:
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
    global _OF_RUNS
    with _LOCK:
        _OF_RUNS = {**_OF_RUNS, run_id: context}


def forget_run_trace(run_id: str) -> None:
    """Forget the trace of a run that has ended here; nothing happens for another run."""
    global _OF_RUNS
    with _LOCK:
        _OF_RUNS = {name: trace for name, trace in _OF_RUNS.items() if name != run_id}


def trace_tags(given: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of the trace of a run that is created with the tags ``given``.

    Its own tag, hidden or `traceparent`, decides, so that a retry stays in its trace; else the
    current trace; else a new one begins. A malformed tag is noted, as `traceparent_rejected`.
    """
    trace_context = trace_of_tags(given)
    if trace_context is not None:
        return trace_context.as_tags()
    context, malformed = find_current_trace() or begin_trace(), read_tag(given, TRACEPARENT_TAG)
    noted = {REJECTED_TAG: redact_rejected(malformed)} if malformed else {}
    return context.as_tags() | noted
