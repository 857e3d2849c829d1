"""Which delivery is worked on next, and what a run makes of it.

A delivery's attempts are counted for ever, so that each has a name of its own, also after a replay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

State = Literal["received", "running", "done", "failed", "dead"]

RETRY_PATIENCE = timedelta(minutes=10)
"""For which a run that Dagster means to try again counts as under way."""


@dataclass(frozen=True)
class Row:
    """A delivery that is to be worked on, as the inbox has it."""

    source: str
    delivery_id: str
    state: State
    attempt_count: int
    allowed_count: int
    received_at: datetime
    run_id: str | None = None

    @property
    def attempt(self) -> str:
        """The name of its next attempt, or of the one under way: a run has it as key and tag."""
        return f"{self.source}|{self.delivery_id}#{self.attempt_count + 1}"


@dataclass(frozen=True)
class AttemptRun:
    """The latest run of an attempt: Dagster's status, and whether Dagster tries it again."""

    run_id: str
    status: str
    ended_at: datetime | None = None
    will_retry: bool = False


@dataclass(frozen=True)
class Change:
    """What becomes of a row."""

    row: Row
    state: State
    attempt_count: int
    run_id: str | None


def changed(row: Row, run: AttemptRun | None, *, now: datetime) -> Change | None:
    """Return what the run of its attempt makes of ``row``; None: nothing new."""
    if run is None:
        # A run that was seen and is gone: it was deleted, so the attempt is over.
        return _failed(row, row.run_id) if row.state == "running" else None
    if run.status == "SUCCESS":
        return Change(row, "done", row.attempt_count + 1, run.run_id)
    if run.status in ("FAILURE", "CANCELED") and not _is_tried_again(run, now):
        return _failed(row, run.run_id)
    if (row.state, row.run_id) == ("running", run.run_id):
        return None
    return Change(row, "running", row.attempt_count, run.run_id)


def _failed(row: Row, run_id: str | None) -> Change:
    attempts = row.attempt_count + 1
    return Change(row, "dead" if attempts >= row.allowed_count else "failed", attempts, run_id)


def _is_tried_again(run: AttemptRun, now: datetime) -> bool:
    is_new = run.ended_at is None or now - run.ended_at < RETRY_PATIENCE
    return run.will_retry and is_new


def due(
    rows: Sequence[Row], runs: Mapping[str, AttemptRun], *, in_order: Mapping[str, bool], most: int
) -> list[Row]:
    """Return the rows to run now, the oldest first: no run is made of them, and they are in turn.

    Args:
        rows: Those that are to be worked on, the first ones of each source.
        runs: By the attempt that they were made of.
        in_order: By source: whether a row waits until the one before is done or dead.
        most: How many, at most.
    """
    found: list[Row] = []
    begun: set[str] = set()
    for row in sorted(rows, key=lambda each: (each.received_at, each.source, each.delivery_id)):
        if in_order[row.source] and row.source in begun:
            continue
        begun.add(row.source)
        if row.state != "running" and row.attempt not in runs:
            found.append(row)
    return found[:most]
