"""Watches the daemon that ui has started."""

import time
from collections.abc import Callable

import dagster as dg

from orchestration_project.connections.clock import Clock
from orchestration_project.services.dagster_instance import (
    OUTAGES,
    PATIENCE_SECONDS,
    silent_daemons,
)

SECONDS_BETWEEN_LOOKS = 30
SECONDS_BETWEEN_REPORTS = 600
"""Sent alerts are stored: none is sent twice, and failed ones are retried."""


class DaemonWatch:
    """Reports a silent daemon, repeatedly while it is silent.

    It must be silent in two polls in a row: after a sleep of the machine, heartbeats are old.

    Args:
        is_silent: Asks the daemon's storage.
        report: Begins to report.
        seconds: The time, in seconds from any moment on.
    """

    def __init__(
        self,
        is_silent: Callable[[], bool],
        report: Callable[[], object],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_silent = is_silent
        self._report = report
        self._seconds = seconds
        self._next_look = seconds() + PATIENCE_SECONDS  # before, it may have sent no heartbeat yet
        self._next_report = 0.0
        self._was_silent = False

    def look(self) -> None:
        """Look, if the time has come."""
        now = self._seconds()
        if now < self._next_look:
            return
        self._next_look = now + SECONDS_BETWEEN_LOOKS
        was_silent, self._was_silent = self._was_silent, self._is_silent()
        if not self._was_silent:
            self._next_report = 0.0
        elif was_silent and now >= self._next_report:
            self._next_report = now + SECONDS_BETWEEN_REPORTS
            self._report()


def is_silent(instance: dg.DagsterInstance) -> bool:
    """Whether a part of the daemon has no recent heartbeat, or its storage does not respond."""
    try:
        return bool(silent_daemons(instance, Clock()))
    except OUTAGES:
        return True  # nor can the daemon reach its storage; the report says why
