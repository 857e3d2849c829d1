"""Whether there is room for another delivery: in the inbox, and on the disks."""

import time
from collections.abc import Callable
from threading import Lock

from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.gate import Probe
from orchestration_project.resources.inbox.rows import Inbox

LOOK_SECONDS = 1.0
"""For which a look is gone by; so much later than full at most, senders hear of it."""


class Room:
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
    def is_known(self) -> bool:
        """Whether the last look still counts, so that `problem` answers at once."""
        return self._monotonic() - self._looked_at < LOOK_SECONDS

    def problem(self) -> str:
        """Return why nothing can be taken; empty: there is room."""
        with self._lock:
            if not self.is_known:
                self._problem = self._look()
                self._looked_at = self._monotonic()
            return self._problem

    def _look(self) -> str:
        try:
            self._disk.run()
            waiting = self._inbox.waiting_count(self._most_rows)
        except OrchestrationError as error:
            return str(error)
        if waiting < self._most_rows:
            return ""
        return f"{waiting} deliveries wait in the inbox, as many as may (WEBHOOK_INBOX_ROWS)"
