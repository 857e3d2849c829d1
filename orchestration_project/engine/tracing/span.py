"""One span: what is recorded of it, bounded and redacted."""

import time
from dataclasses import dataclass, field
from typing import Literal

from orchestration_project.engine.tracing.traceparent import TraceContext
from orchestration_project.redaction import redacted

Kind = Literal["internal", "server", "client"]
Value = str | int | float | bool

MAX_ATTRIBUTES = 16
MAX_TEXT_CHARACTERS = 256
"""Bounds of the attributes of a span; what is beyond them is cut."""

FLUSH_SECONDS = 2.0
"""Time that the end of a run or program waits for spans that are not sent yet."""


@dataclass
class Span:
    """Named period of a trace.

    Attributes:
        name: Name of few values, such as ``run`` or ``load``.
        context: Its trace and its own span ID.
        parent_span_id: Span that it belongs to; None: it begins the trace.
        started_ns: UTC time of its start, nanoseconds since 1970.
        ended_ns: The same of its end, by a clock that is never set back.
        attributes: Bounded and redacted.
        error: Error that ended it, redacted; None: none did.
    """

    name: str
    context: TraceContext
    parent_span_id: str | None
    kind: Kind = "internal"
    attributes: dict[str, Value] = field(default_factory=dict)
    error: str | None = None
    started_ns: int = field(default_factory=time.time_ns)
    ended_ns: int = 0
    _began: int = field(default_factory=time.monotonic_ns)

    def set(self, **attributes: Value | None) -> None:
        """Add attributes, without those that are None; beyond MAX_ATTRIBUTES they are dropped."""
        for name, value in attributes.items():
            if value is not None and len(self.attributes) < MAX_ATTRIBUTES:
                is_text = isinstance(value, str)
                self.attributes[name] = redact_text(value) if is_text else value

    def fail(self, error: BaseException | str) -> None:
        """Note the error that ends it: its type and the start of its text."""
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        self.error = redact_text(text)

    def end(self) -> None:
        """Note the end."""
        self.ended_ns = self.started_ns + time.monotonic_ns() - self._began


def redact_text(text: str) -> str:
    """Return a text as an attribute may have it: redacted, printable, cut."""
    plain = redacted(text)[:MAX_TEXT_CHARACTERS]  # a cut before it could split a secret
    return "".join(character if character.isprintable() else " " for character in plain)
