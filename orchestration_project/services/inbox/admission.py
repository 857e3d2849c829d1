"""Whether there is room for another delivery: in the inbox, and on the disks."""

import time
from collections.abc import Callable
from threading import Lock

from orchestration_project.errors import OrchestrationError
from orchestration_project.registry import Probe
from orchestration_project.services.inbox.rows import Inbox

COUNT_INTERVAL_SECONDS = 1.0
"""Interval between counts of the inbox."""

RECENT_SECONDS = 5.0
"""Time for which the last count is reused, so that no delivery waits for a look. Deliveries that
this process stores meanwhile are added to it."""


class Admission:
    """Looks whether deliveries can be taken, once a second at most.

    Args:
        inbox: Where they would wait.
        disk: The probe of the disks that we write to.
        most_rows: Deliveries that may wait.
    """

    def __init__(
        self,
        inbox: Inbox,
        disk: Probe,
        *,
        most_rows: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inbox = inbox
        self._disk = disk
        self._most_rows = most_rows
        self._monotonic = monotonic
        self._lock = Lock()
        self._polled_at = float("-inf")
        self._problem = ""
        self._counts = Lock()
        self._waiting_count = 0
        self._stored_count = 0
        self._reserved_count = 0

    @property
    def is_new(self) -> bool:
        """Whether the last count is recent enough."""
        return self._age < COUNT_INTERVAL_SECONDS

    @property
    def is_recent(self) -> bool:
        """Whether the last finding still counts."""
        return self._age < RECENT_SECONDS

    @property
    def problem(self) -> str:
        """Why nothing could be taken when that was last looked at; empty: there was room."""
        return self._problem

    @property
    def _age(self) -> float:
        return self._monotonic() - self._polled_at

    def poll(self) -> None:
        """Look whether there is room, unless that was done just now."""
        with self._lock:
            if not self.is_new:
                self._problem = self._found()
                self._polled_at = self._monotonic()

    def reserve_row(self) -> bool:
        """Reserve a row of the inbox; return whether there was one left."""
        with self._counts:
            used = self._waiting_count + self._stored_count + self._reserved_count
            if used >= self._most_rows:
                return False
            self._reserved_count += 1
            return True

    def settle_row(self, *, is_stored: bool) -> None:
        """End a reservation; a stored delivery counts until the next count has it."""
        with self._counts:
            self._reserved_count -= 1
            self._stored_count += is_stored

    def _found(self) -> str:
        with self._counts:
            counted = self._stored_count
        try:
            self._disk.run()
            waiting = self._inbox.waiting_count(self._most_rows)
        except OrchestrationError as error:
            return str(error)
        with self._counts:
            self._waiting_count = waiting
            self._stored_count -= counted
        if waiting < self._most_rows:
            return ""
        return f"{waiting} deliveries wait in the inbox, as many as may (WEBHOOK_INBOX_ROWS)"
