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
"""Time for which the last count is reused, so that no delivery waits for a look; senders get the
refusal so much later than full at most."""


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
        self._looked_at = float("-inf")
        self._problem = ""

    @property
    def is_new(self) -> bool:
        """Whether the last count is recent enough."""
        return self._age < COUNT_INTERVAL_SECONDS

    @property
    def is_recent(self) -> bool:
        """Whether what the last look found still counts."""
        return self._age < RECENT_SECONDS

    @property
    def problem(self) -> str:
        """Why nothing could be taken when that was last looked at; empty: there was room."""
        return self._problem

    @property
    def _age(self) -> float:
        return self._monotonic() - self._looked_at

    def look(self) -> None:
        """Look whether there is room, unless that was done just now."""
        with self._lock:
            if not self.is_new:
                self._problem = self._found()
                self._looked_at = self._monotonic()

    def _found(self) -> str:
        try:
            self._disk.run()
            waiting = self._inbox.waiting_count(self._most_rows)
        except OrchestrationError as error:
            return str(error)
        if waiting < self._most_rows:
            return ""
        return f"{waiting} deliveries wait in the inbox, as many as may (WEBHOOK_INBOX_ROWS)"
