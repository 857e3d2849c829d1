"""Work items as values: what is enqueued and claimed, and which state follows from which.

`engine/work_items.py` stores them; no database is used here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Generic, Literal, Self, TypeVar

from orchestration_project.errors import OrchestrationError

ItemState = Literal["ready", "leased", "done", "skipped", "failed", "dead"]

DONE_STATES: Sequence[ItemState] = ("done", "skipped")
FAILED_STATES: Sequence[ItemState] = ("failed", "dead")
WAITING_STATES: Sequence[ItemState] = ("ready", "leased", "failed")
OPEN_STATES: Sequence[ItemState] = (*WAITING_STATES, "dead")
SETTLED_STATES: Sequence[ItemState] = (*DONE_STATES, *FAILED_STATES)

ALLOWED_ATTEMPTS = 3
MAX_REASON_LENGTH = 2_000

RETRY_PAUSES = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=1),
)
"""Pauses of an item after its first, second and later failed attempts; the last one repeats."""

PERMANENT_REMEDIES = {
    "source": "the source has to change its answer",
    "contract": "the data, or the rule that it breaks, has to change",
    "configuration": "a setting or configuration file has to be corrected",
}
"""Remedy of a permanent failure by category, where the error has none."""


@dataclass(frozen=True)
class NewItem:
    """An item to enqueue.

    Attributes:
        key: Its name in the topic.
        version: Identifies this state of it, such as a SHA-256.
        input_sha256: SHA-256 of its bytes, where they are known.
        allowed_count: Attempts after which it is dead.
        enqueued_at: Its place in the order of the topic; None: the present moment.
    """

    key: str
    version: str
    input_sha256: str | None = None
    allowed_count: int = ALLOWED_ATTEMPTS
    enqueued_at: datetime | None = None


@dataclass(frozen=True)
class WorkItem:
    """An item as it is stored; the comments of the columns of `work_items` describe it."""

    topic: str
    item_key: str
    version: str
    state: ItemState
    attempt_count: int
    allowed_count: int
    enqueued_at: datetime
    due_at: datetime
    lease_holder: str | None
    lease_token: int
    expires_at: datetime | None
    input_sha256: str | None
    result_version: str | None
    reason_code: str | None
    reason: str | None
    run_id: str | None
    changed_at: datetime

    def waits(self, now: datetime) -> bool:
        """Whether it waits for its next attempt; not if the clock was set back since it changed."""
        return self.state == "failed" and self.changed_at <= now < self.due_at

    def claimed_by(self, run_id: str) -> "ClaimedItem":
        """Return it as the next lease, of the run ``run_id``."""
        return ClaimedItem(
            self.topic,
            self.item_key,
            self.version,
            self.attempt_count,
            self.allowed_count,
            self.enqueued_at,
            self.lease_token + 1,
            run_id,
            self.input_sha256,
        )


@dataclass(frozen=True)
class ClaimedItem:
    """An item that a run works on; ``lease_token`` differs from those of other leases."""

    topic: str
    key: str
    version: str
    attempt_count: int
    allowed_count: int
    enqueued_at: datetime
    lease_token: int
    run_id: str
    input_sha256: str | None = None

    def is_current(self, item: WorkItem | None) -> bool:
        """Whether ``item``, as it is stored, still has this lease."""
        return item is not None and (item.state, item.lease_token) == ("leased", self.lease_token)


ItemT = TypeVar("ItemT", bound=ClaimedItem)


@dataclass(frozen=True)
class ItemSettlement(Generic[ItemT]):
    """How the work on a claimed item ended.

    Attributes:
        item: The item.
        state: ``ready``: it was not begun, and no attempt is counted. Of a failed one with no
            attempt left, or that cannot be retried, `WorkItems.settle` records ``dead``.
        result_version: Version of the rules that made its result.
        reason_code: Kind of the failure or reject, one word.
        reason: The failure or reject, and what to do about it.
        is_retryable: Whether another attempt may succeed.
        wait: Least pause before the next attempt.
        error: What it failed by, for who reports it; only ``reason`` is stored.
    """

    item: ItemT
    state: Literal["ready", "done", "skipped", "failed"]
    result_version: str | None = None
    reason_code: str | None = None
    reason: str | None = None
    is_retryable: bool = True
    wait: timedelta = timedelta(0)
    error: OrchestrationError | None = field(default=None, compare=False)

    @property
    def is_retried(self) -> bool:
        """Whether it failed, and another attempt follows by itself."""
        has_attempts = self.item.attempt_count + 1 < self.item.allowed_count
        return self.state == "failed" and self.is_retryable and has_attempts

    @property
    def is_dead(self) -> bool:
        """Whether it failed, and no further attempt follows by itself."""
        return self.state == "failed" and not self.is_retried

    @classmethod
    def of_error(cls, item: ItemT, error: OrchestrationError) -> Self:
        """Return the settlement of an item whose work ended in ``error``."""
        return cls(
            item,
            "failed",
            reason_code=error.category,
            reason=format_reason(error),
            is_retryable=error.is_retryable,
            wait=timedelta(seconds=getattr(error, "retry_in_seconds", 0)),
            error=error,
        )


@dataclass(frozen=True)
class ItemChange:
    """Outcome of items of a topic; equal changes are written together.

    Attributes:
        state: Their state from now on.
        at: Since when.
        run_id: The run that it is due to; None: the one before.
        attempts_added: Attempts that ended by it.
        attempts_allowed: Further attempts that a retry allows; None: as many as before.
        due_at: When a failed item is retried.
        expires_at: When the lease of a claimed item expires; None: when its run has ended.
        result_version: Version of the rules that made their result, where there is a new one.
        reason_code: Kind of the failure or reject.
        reason: The failure or reject.
    """

    state: ItemState
    at: datetime
    run_id: str | None = None
    attempts_added: int = 0
    attempts_allowed: int | None = None
    due_at: datetime | None = None
    expires_at: datetime | None = None
    result_version: str | None = None
    reason_code: str | None = None
    reason: str | None = None


def pause_after(attempt_count: int, pauses: Sequence[timedelta] = RETRY_PAUSES) -> timedelta:
    """Return how long an item waits after so many attempts, of which the last one failed."""
    return pauses[min(attempt_count, len(pauses)) - 1]


def format_reason(error: OrchestrationError) -> str:
    """Return an error as a reason: what failed, what to do, what was expected and found."""
    remedy = error.remedy or PERMANENT_REMEDIES.get(error.category, "")
    parts = {"what to do": remedy, "expected": error.expected, "found": error.found}
    text = "; ".join([error.what, *(f"{name}: {part}" for name, part in parts.items() if part)])
    return text[:MAX_REASON_LENGTH]


def put_back(item: WorkItem, now: datetime) -> ItemChange | None:
    """Return the change that makes an item claimable that is named by a run; None: it is already.

    A lease ends by it, as an attempt. What had ended has as many attempts as a new item.
    """
    if item.state in ("ready", "failed"):
        return None
    ended_count = int(item.state == "leased")
    return ItemChange(
        "ready",
        now,
        attempts_added=ended_count,
        attempts_allowed=ALLOWED_ATTEMPTS + ended_count,
    )


def settle_item(
    settlement: ItemSettlement, item: WorkItem, now: datetime, pauses: Sequence[timedelta]
) -> ItemChange:
    """Return the change of an item by its settlement."""
    if settlement.state == "ready":
        return ItemChange("ready", now, settlement.item.run_id)
    change = ItemChange(
        settlement.state,
        now,
        settlement.item.run_id,
        attempts_added=1,
        result_version=settlement.result_version,
        reason_code=settlement.reason_code,
        reason=settlement.reason,
    )
    if settlement.state != "failed":
        return change
    pause = max(pause_after(item.attempt_count + 1, pauses), settlement.wait)
    return _fail_attempt(item, change, pause, is_retryable=settlement.is_retryable)


def abandon_item(item: WorkItem, ended_at: datetime, pauses: Sequence[timedelta]) -> ItemChange:
    """Return the change of a leased item at the end of its run: a failed attempt."""
    reason = f"the run {item.lease_holder} ended before it settled the item"
    change = ItemChange("failed", ended_at, reason_code="run_ended", reason=reason)
    return _fail_attempt(item, change, pause_after(item.attempt_count + 1, pauses))


def expire_item(item: WorkItem, now: datetime) -> ItemChange:
    """Return the change of an item whose lease expired: it has waited, and is due at once."""
    reason = f"the lease of the run {item.lease_holder} expired"
    change = ItemChange("failed", now, reason_code="lease_expired", reason=reason)
    return _fail_attempt(item, change, timedelta(0))


def _fail_attempt(
    item: WorkItem, change: ItemChange, pause: timedelta, *, is_retryable: bool = True
) -> ItemChange:
    """Return ``change`` as that of a failed attempt: the item waits for ``pause``, or is dead."""
    is_retried = is_retryable and item.attempt_count + 1 < item.allowed_count
    return replace(
        change,
        state="failed" if is_retried else "dead",
        attempts_added=1,
        due_at=change.at + pause if is_retried else None,
    )
