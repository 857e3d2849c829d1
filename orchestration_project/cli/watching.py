"""Watches what ui has started: the daemon, and whoever started ui."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable

import dagster as dg

from orchestration_project.connections.clock import Clock
from orchestration_project.services.dagster_instance import (
    OUTAGES,
    PATIENCE_SECONDS,
    silent_daemons,
)

GRACE_SECONDS = 10.0


def end_groups(groups: Iterable[int]) -> None:
    """Ask every process of ``groups`` to end, and kill those that do not within the grace."""
    alive = [group for group in groups if _send(group, signal.SIGTERM)]
    deadline = time.monotonic() + GRACE_SECONDS
    while alive and time.monotonic() < deadline:
        time.sleep(0.05)
        alive = [group for group in alive if _send(group, 0)]
    for group in alive:
        _send(group, signal.SIGKILL)


def _send(group: int, number: int) -> bool:
    """Send the signal; return whether the group still has a process (0 only asks)."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    end_groups([int(line) for line in sys.stdin])


SECONDS_BETWEEN_LOOKS = 30
SECONDS_BETWEEN_TELLINGS = 600
"""Sent alerts are stored: none is sent twice, and failed ones are retried."""


class DaemonWatch:
    """Reports a silent daemon, repeatedly while it is silent.

    It must be silent in two polls in a row: after a sleep of the machine, heartbeats are old.

    Args:
        is_silent: Asks the daemon's storage.
        tell: Begins to tell.
        seconds: The time, in seconds from any moment on.
    """

    def __init__(
        self,
        is_silent: Callable[[], bool],
        tell: Callable[[], object],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_silent = is_silent
        self._tell = tell
        self._seconds = seconds
        self._next_look = seconds() + PATIENCE_SECONDS  # before, it may not have been heard yet
        self._next_telling = 0.0
        self._was_silent = False

    def look(self) -> None:
        """Look, if the time has come."""
        now = self._seconds()
        if now < self._next_look:
            return
        self._next_look = now + SECONDS_BETWEEN_LOOKS
        was_silent, self._was_silent = self._was_silent, self._is_silent()
        if not self._was_silent:
            self._next_telling = 0.0
        elif was_silent and now >= self._next_telling:
            self._next_telling = now + SECONDS_BETWEEN_TELLINGS
            self._tell()


def is_silent(instance: dg.DagsterInstance) -> bool:
    """Whether a part of the daemon has no recent heartbeat, or its storage does not respond."""
    try:
        return bool(silent_daemons(instance, Clock()))
    except OUTAGES:
        return True  # nor can the daemon reach its storage; what is told says why
