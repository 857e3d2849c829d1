"""Whether alerts reach their channels: what of their deliveries is in vain, overdue or given up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

OVERDUE = timedelta(minutes=15)
"""Age from which a due delivery counts as stuck: the sending sensor polls twice a minute, and a
digest waits for five minutes."""

FAILURE_WINDOW = timedelta(days=1)
"""For so long a delivery that was given up is spoken of."""


class Pending(Protocol):
    """A delivery that was not taken."""

    channel: str
    state: str
    attempt_count: int
    last_error: str | None
    next_attempt_at: datetime
    failed_at: datetime | None


@dataclass(frozen=True)
class ChannelReach:
    """How a channel that did not take all alerts stands.

    Attributes:
        waiting: Deliveries that are to be made.
        failed_count: Those of them that were tried.
        overdue: Those of them that nobody tried though it was time.
        given_up: Deliveries that lately became impossible: the channel was no longer set.
        why: What came of the latest attempt in vain, without secrets.
    """

    channel: str
    waiting: int
    failed_count: int
    overdue: int
    given_up: int
    why: str

    @property
    def is_well(self) -> bool:
        """Whether all that waits has just not had its turn."""
        return not (self.failed_count or self.overdue or self.given_up)

    def __str__(self) -> str:
        counts = (
            f"{self.waiting} wait, {self.failed_count} tried in vain, {self.overdue} overdue, "
            f"{self.given_up} given up"
        )
        return f"{self.channel}: {counts}" + (f" ({self.why})" if self.why else "")


def reaches(pending: Iterable[Pending], now: datetime) -> list[ChannelReach]:
    """Return how each channel stands that did not take all that is for it, by name."""
    by_channel: dict[str, list[Pending]] = {}
    for each in pending:
        by_channel.setdefault(each.channel, []).append(each)
    return [_reach(name, by_channel[name], now) for name in sorted(by_channel)]


def _reach(name: str, pending: Sequence[Pending], now: datetime) -> ChannelReach:
    waiting = [each for each in pending if each.state == "pending"]
    errors = [(each.failed_at, each.last_error) for each in pending if each.failed_at]
    return ChannelReach(
        channel=name,
        waiting=len(waiting),
        failed_count=sum(each.last_error is not None for each in waiting),
        overdue=sum(each.next_attempt_at < now - OVERDUE for each in waiting),
        given_up=sum(
            each.state == "failed" and (each.failed_at or now) > now - FAILURE_WINDOW
            for each in pending
        ),
        why=str(max(errors)[1]) if errors else "",
    )
