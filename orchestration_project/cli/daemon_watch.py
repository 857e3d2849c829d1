"""Watches the daemon that ui has started."""

import http.client
import json
import time
from collections.abc import Callable

START_SECONDS = 150
"""Time in which a daemon that was just started may have sent no heartbeat: that after which one is
called silent (`services.dagster_instance`, which imports Dagster)."""
SECONDS_BETWEEN_POLLS = 30
ANSWER_SECONDS = 20.0
SECONDS_BETWEEN_REPORTS = 600
"""Sent alerts are stored: none is sent twice, and failed ones are retried."""


class DaemonWatch:
    """Reports a silent daemon, repeatedly while it is silent.

    It must be silent in two polls in a row: after a sleep of the machine, heartbeats are old.

    Args:
        is_silent: Asks for the daemon's heartbeats.
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
        self._next_poll = seconds() + START_SECONDS
        self._next_report = 0.0
        self._was_silent = False

    def poll(self) -> None:
        """Look, if the time has come."""
        now = self._seconds()
        if now < self._next_poll:
            return
        self._next_poll = now + SECONDS_BETWEEN_POLLS
        was_silent, self._was_silent = self._was_silent, self._is_silent()
        if not self._was_silent:
            self._next_report = 0.0
        elif was_silent and now >= self._next_report:
            self._next_report = now + SECONDS_BETWEEN_REPORTS
            self._report()


def is_silent(host: str, port: int) -> bool:
    """Whether the gateway at this address finds a part of the daemon silent, or does not answer.

    The report of it looks for the reason, so what is not known counts as silence.
    """
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/readyz")
        document = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return True
    finally:
        connection.close()
    return document.get("daemon") != "passed"
