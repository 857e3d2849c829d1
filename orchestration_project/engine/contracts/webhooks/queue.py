"""Order of webhook deliveries, and their outcome in a run.

A delivery's attempts are counted for ever, so that each has a name of its own, also after a replay.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

from orchestration_project.engine.contracts.work_items import (
    FAILED_STATES,
    PERMANENT_REMEDIES,
    ItemChange,
    ItemState,
    pause_after,
)

RUNS_PER_TICK = 25
"""So that one source with a backlog leaves room in the queue for other runs."""

RETRY_PATIENCE = timedelta(minutes=10)
"""Time for which a run that Dagster will retry counts as in progress."""

RETRY_PAUSES = (timedelta(minutes=1), timedelta(minutes=5))
"""After the end of the first failed attempt, and of each later one: what was away may be back."""


@dataclass(frozen=True)
class Row:
    """A delivery that is to be worked on, with the state of its work item."""

    source: str
    delivery_id: str
    state: ItemState
    attempt_count: int
    allowed_count: int
    received_at: datetime
    changed_at: datetime
    run_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None

    @property
    def attempt(self) -> str:
        """The name of its next attempt, or of the one under way: a run has it as key and tag.

        The same delivery in another database came at another time: runs of that say nothing of it.
        """
        received_at = self.received_at.astimezone(UTC).isoformat()
        return f"{self.source}|{self.delivery_id}#{self.attempt_count + 1} ({received_at})"

    @property
    def age(self) -> tuple[datetime, str, str]:
        """Sort key of rows, the oldest first."""
        return self.received_at, self.source, self.delivery_id


@dataclass(frozen=True)
class AttemptRun:
    """The latest run of an attempt: Dagster's status, and whether Dagster tries it again.

    ``has_rejected``: the run found that the delivery cannot be read, as would any other run.
    """

    run_id: str
    status: str
    ended_at: datetime | None = None
    will_retry: bool = False
    has_rejected: bool = False


def derive_change(row: Row, run: AttemptRun | None, *, now: datetime) -> ItemChange | None:
    """Return the change of ``row`` by the run of its attempt; None: nothing new."""
    if run is None:
        # A run that was seen and is gone: it was deleted, so the attempt is over. Its end is
        # unknown, so that the next one waits for nothing.
        return _finish_attempt(row, row.run_id, "ready", now) if row.state == "leased" else None
    ended_at = min(run.ended_at or now, now)  # another machine's clock may be ahead of ours
    if run.status == "SUCCESS" and run.has_rejected:
        reason = f"the run {run.run_id} rejected it; {PERMANENT_REMEDIES['contract']}"
        return ItemChange("dead", ended_at, run.run_id, 1, reason_code="contract", reason=reason)
    if run.status == "SUCCESS":
        return ItemChange("done", ended_at, run.run_id, 1)
    if run.status in ("FAILURE", "CANCELED") and not _is_tried_again(run, now):
        return _finish_attempt(row, run.run_id, "failed", ended_at)
    if (row.state, row.run_id) == ("leased", run.run_id):
        return None
    return ItemChange("leased", now, run.run_id)


def fail_unclaimed(row: Row, run: AttemptRun | None, *, now: datetime) -> ItemChange | None:
    """Return the change of a delivery whose run failed before it claimed any; None: no change.

    A run that claims deliveries settles them itself; of one that ended, their leases are ended.
    """
    has_failed = run is not None and run.status in ("FAILURE", "CANCELED")
    if run is None or not has_failed or row.state == "leased" or _is_tried_again(run, now):
        return None
    return _finish_attempt(row, run.run_id, "failed", min(run.ended_at or now, now))


def _finish_attempt(row: Row, run_id: str | None, state: ItemState, at: datetime) -> ItemChange:
    attempts = row.attempt_count + 1
    state = "dead" if attempts >= row.allowed_count else state
    due_at = at + pause_after(attempts, RETRY_PAUSES) if state == "failed" else None
    change = ItemChange(state, at, run_id, 1, due_at=due_at)
    if state not in FAILED_STATES:
        return change
    return replace(change, reason_code="run_ended", reason=f"see the run {run_id}")


def _is_tried_again(run: AttemptRun, now: datetime) -> bool:
    is_new = run.ended_at is None or now - run.ended_at < RETRY_PATIENCE
    return run.will_retry and is_new


def find_wait_end(row: Row, now: datetime) -> datetime | None:
    """Return until when a row waits after a failed attempt; None: it does not."""
    if row.state != "failed":
        return None
    until = row.changed_at + pause_after(row.attempt_count, RETRY_PAUSES)
    # An attempt that ended later than now: the clock was set back, and no retry waits for it.
    return until if row.changed_at <= now < until else None


def select_first(rows: Sequence[Row], *, in_order: bool, most: int, now: datetime) -> list[Row]:
    """Return which of one source's rows to look at, ``most`` at most.

    Those that run keep their place when older ones come back, or come late. Without order those
    that wait leave theirs to others.
    """
    ready = [row for row in rows if in_order or not find_wait_end(row, now)]
    return sorted(ready, key=lambda row: (row.state != "leased", row.age))[:most]


def select_due(
    rows: Sequence[Row],
    runs: Mapping[str, AttemptRun],
    *,
    in_order: Mapping[str, bool],
    most: int,
    now: datetime,
) -> list[Row]:
    """Return the rows to run now, the oldest first: no run is made of them, and they are in turn.

    One that waits after a failed attempt is not due, and in order those behind it are not, either.
    While a run of an ordered source goes on, none of its rows is: of two gateways the one whose
    clock is behind takes in what is older than what runs.

    Args:
        rows: Those that are to be worked on, the first ones of each source.
        runs: By the attempt that they were made of.
        in_order: By source: whether a row waits until the one before is done or dead.
        most: How many, at most.
        now: The present moment.
    """
    due_rows: list[Row] = []
    busy = {row for row in rows if row.state == "leased" or row.attempt in runs}
    begun = {row.source for row in busy}
    for row in sorted(set(rows) - busy, key=lambda each: each.age):
        if in_order[row.source] and row.source in begun:
            continue
        begun.add(row.source)
        if not find_wait_end(row, now):
            due_rows.append(row)
    return due_rows[:most]


# -- a poll of the inbox ---------------------------------------------------------------------------

RowChanges = Sequence[tuple[Row, ItemChange]]
"""Deliveries, each with its change."""


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """Deliveries that are to be worked on, as a poll reads them.

    Attributes:
        queues: Oldest rows of each source, by its name.
        in_order: Whether a row waits until the one before is done or dead, by source.
        now: When they were read.
    """

    queues: Mapping[str, Sequence[Row]]
    in_order: Mapping[str, bool]
    now: datetime

    @cached_property
    def first_rows(self) -> list[Row]:
        """Rows of each source that may have a run of their own."""
        return [
            row
            for name, queue in self.queues.items()
            for row in select_first(
                queue, in_order=self.in_order[name], most=RUNS_PER_TICK, now=self.now
            )
        ]

    @cached_property
    def first_due(self) -> list[Row]:
        """The first row of all that is due for a run that claims them; empty: none is."""
        rows = [row for queue in self.queues.values() for row in queue]
        return select_due(rows, {}, in_order=self.in_order, most=1, now=self.now)

    @property
    def waits(self) -> list[datetime]:
        """Until when each row waits whose latest attempt failed."""
        ends = [find_wait_end(row, self.now) for queue in self.queues.values() for row in queue]
        return [end for end in ends if end is not None]

    def find_changes(self, runs: Mapping[str, AttemptRun]) -> RowChanges:
        """Return the changes of the first rows by the runs of their attempts."""
        rows, now = self.first_rows, self.now
        changes = [(row, derive_change(row, runs.get(row.attempt), now=now)) for row in rows]
        return [(row, change) for row, change in changes if change is not None]

    def find_unclaimed(self, runs: Mapping[str, AttemptRun]) -> RowChanges:
        """Return the change of the first due row if its run failed before it claimed any."""
        rows, now = self.first_due, self.now
        changes = [(row, fail_unclaimed(row, runs.get(row.attempt), now=now)) for row in rows]
        return [(row, change) for row, change in changes if change is not None]


@dataclass(frozen=True)
class DispatchPlan:
    """Decision of a poll of the inbox, and what it settled.

    Attributes:
        due: Deliveries that runs are requested for; of a source whose runs claim many, the first.
        ended_run_count: Runs that ended since the last poll, as far as deliveries depended on them.
        dead_count: Deliveries of these runs that are dead.
        under_way_count: Runs that have not ended.
        waits: Until when each delivery waits whose latest attempt failed.
    """

    due: Sequence[Row] = ()
    ended_run_count: int = 0
    dead_count: int = 0
    under_way_count: int = 0
    waits: Sequence[datetime] = ()

    def __add__(self, other: "DispatchPlan") -> "DispatchPlan":
        return DispatchPlan(
            [*self.due, *other.due],
            self.ended_run_count + other.ended_run_count,
            self.dead_count + other.dead_count,
            self.under_way_count + other.under_way_count,
            [*self.waits, *other.waits],
        )


def plan_single_runs(
    state: QueueState, runs: Mapping[str, AttemptRun], ended: Sequence[ItemChange]
) -> DispatchPlan:
    """Return the deliveries that have a run of their own now, `RUNS_PER_TICK` at most.

    Args:
        state: Deliveries after what ended was settled.
        runs: Latest run of each of their attempts, by attempt.
        ended: Changes of deliveries whose runs ended since the last poll.
    """
    due = select_due(
        state.first_rows, runs, in_order=state.in_order, most=RUNS_PER_TICK, now=state.now
    )
    under_way_count = sum(row.attempt in runs for row in state.first_rows)
    return DispatchPlan(due, len(ended), _count_dead(ended), under_way_count, state.waits)


def find_ended_holders(
    holders: Iterable[str], ends: Mapping[str, datetime | None], under_way: Collection[str]
) -> Mapping[str, datetime | None]:
    """Return which holders of leases have ended, and when; None: their end is unknown.

    A run that Dagster does not know any more was deleted, so it has ended.

    Args:
        holders: IDs of runs that claimed deliveries and did not settle them.
        ends: Ends of the runs that Dagster knows.
        under_way: Those of them that have not ended.
    """
    return {holder: ends.get(holder) for holder in holders if holder not in under_way}


def plan_batch_run(
    state: QueueState, under_way_count: int, ended: Sequence[ItemChange]
) -> DispatchPlan:
    """Return the delivery that a run is requested for which claims all, unless one is under way.

    Args:
        state: Deliveries of one source after what ended was settled.
        under_way_count: Runs of the source that have not ended.
        ended: Changes of deliveries whose runs failed before they claimed any.
    """
    due = () if under_way_count else state.first_due
    return DispatchPlan(due, len(ended), _count_dead(ended), under_way_count, state.waits)


def _count_dead(changes: Sequence[ItemChange]) -> int:
    return sum(change.state == "dead" for change in changes)
