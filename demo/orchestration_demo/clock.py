"""The demo's one clock: real time, or a given time that advances from the server's start."""

import time
from datetime import UTC, datetime


class Clock:
    """Clock of the demo; ``start`` is a time with zone to advance from, None is real time."""

    def __init__(self, start: datetime | None) -> None:
        self._start = start
        self._started = time.monotonic()

    def now(self) -> datetime:
        """Return the time in UTC."""
        if self._start is None:
            return datetime.now(UTC)  # noqa: TID251 - the demo is a program of its own: this is its clock
        passed = time.monotonic() - self._started
        return datetime.fromtimestamp(self._start.timestamp() + passed, UTC)


def iso_time(text: str) -> str:
    """Return ``text`` as it is, so that callers find in the announcement what they gave.

    Raises:
        ValueError: It is not a time.
    """
    time_in(text)
    return text


def time_in(text: str) -> datetime:
    """Return the time in ``text``; one without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
