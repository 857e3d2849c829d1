"""How long a session and a key hold, and when it is noted that they were used."""

from dataclasses import dataclass
from datetime import datetime, timedelta

NOTED_AFTER = timedelta(minutes=1)
"""A use is written down this long after the last that was: not every request is a write."""


@dataclass(frozen=True)
class Limits:
    """How long a session may lie unused, and how long it may live."""

    idle: timedelta
    absolute: timedelta


def has_ended(
    now: datetime,
    limits: Limits,
    *,
    expires_at: datetime,
    seen_at: datetime,
    ended_at: datetime | None,
) -> bool:
    """Whether a session is over: ended, too old, or unused for too long."""
    return ended_at is not None or now >= expires_at or now >= seen_at + limits.idle


def is_usable(now: datetime, *, expires_at: datetime, revoked_at: datetime | None) -> bool:
    """Whether a key still opens anything."""
    return revoked_at is None and now < expires_at


def is_to_be_noted(now: datetime, last: datetime | None) -> bool:
    """Whether a use at ``now`` is written down."""
    return last is None or now >= last + NOTED_AFTER
