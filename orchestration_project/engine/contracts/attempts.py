"""Attempts at what may fail: how many, how far apart, and after which answers another follows."""

from datetime import timedelta
from typing import TypeVar

Wait = TypeVar("Wait", float, timedelta)

REQUEST_LEASE = timedelta(minutes=5)
"""For longer than a request takes, its time limits included."""

FIRST_WAIT, MAX_WAIT = timedelta(seconds=30), timedelta(hours=1)
"""Before the second attempt, doubled for each further one."""

MAX_ATTEMPTS = 12
"""Failed attempts, over about six hours, after which an action is dead."""

PASSING_STATUSES = (401, 403, 404, 408, 409, 425, 429)
"""Statuses that may say nothing of the request: a key, or a receiver that is being changed."""


def may_pass(status: int) -> bool:
    """Whether another attempt may succeed where the receiver answered with this HTTP status."""
    return status in PASSING_STATUSES or status >= 500


def wait_after(failed_count: int, first: timedelta = FIRST_WAIT) -> timedelta:
    """Return how long an action waits after so many failed attempts."""
    return compute_backoff(failed_count, first, MAX_WAIT)


def compute_backoff(failed_count: int, first: Wait, longest: Wait) -> Wait:
    """Return the wait after so many failures: ``first``, doubled for each further one."""
    return min(first * 2 ** min(failed_count - 1, 30), longest)
