"""Timeline of a document: events in order, each with what a person can do about it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from orchestration_project.domains.documents.reasons import REASONS

EventKind = Literal[
    "first_seen",
    "stable",
    "captured",
    "extracted",
    "loaded",
    "failed",
    "attempt",
    "superseded",
    "gone",
    "exported",
    "redacted",
    "erased",
]


@dataclass(frozen=True)
class TimelineEvent:
    """Event of a document.

    Attributes:
        happened_at: UTC time; None: not recorded.
        kind: What happened, one word.
        text: What happened, for people.
        run_id: Dagster run that it is due to; None: no run.
        reason_code: Why it failed, or a note beside text; None: no remark.
        remedy: What a person can do; None: nothing is left to do.
    """

    happened_at: datetime | None
    kind: EventKind
    text: str
    run_id: str | None = None
    reason_code: str | None = None
    remedy: str | None = None


@dataclass(frozen=True)
class Timeline:
    """Events of a document, or of a file that was never read.

    Attributes:
        document_id: SHA-256 of its bytes; None: they were never read, or are erased.
        paths: Paths of its files, also former ones.
        state: State of the document, or of its file where it was never read.
        events: In order of time; those without a time are last.
    """

    document_id: str | None
    paths: Sequence[str]
    state: str
    events: Sequence[TimelineEvent]


def in_order(events: Iterable[TimelineEvent]) -> list[TimelineEvent]:
    """Return events by time, those without one last; of one time as they were given."""
    return sorted(
        events,
        key=lambda each: (
            each.happened_at is None,
            each.happened_at.timestamp() if each.happened_at else 0,
        ),
    )


def remedy_of(reason_code: str | None) -> str | None:
    """Return the remedy of a reason; None: it has none, or is not one of documents."""
    reason = REASONS.get(reason_code or "")
    return None if reason is None or reason.remedy == "none" else reason.remedy


def attempt_event(
    *,
    state: str,
    attempt_count: int,
    allowed_count: int,
    reason_code: str | None,
    reason: str | None,
    at: datetime,
    due_at: datetime,
    run_id: str | None,
) -> TimelineEvent:
    """Return the latest attempt of a work item as an event, with what follows from its state."""
    attempt = f"attempt {attempt_count} of {allowed_count}"
    cause = f": {reason}" if reason else ""
    remedy = remedy_of(reason_code)
    if state == "failed":
        retried = f"retried from {due_at:%Y-%m-%d %H:%M:%S} UTC on"
        text, remedy = f"{attempt} failed{cause}", f"{remedy}; {retried}" if remedy else retried
    elif state == "dead":
        retry = "then retry it with operations_runs, unless a new version comes"
        text = f"{attempt} failed, and no further one follows{cause}"
        remedy = f"{remedy}; {retry}" if remedy else retry
    elif state == "ready":
        text, remedy = f"waits to be loaded, after {attempt_count} attempts", None
    elif state == "leased":
        text, remedy = f"a run works on it, after {attempt_count} attempts", None
    else:
        text = f"{attempt} ended: {state}"
    return TimelineEvent(at, "attempt", text, run_id, reason_code, remedy)
