"""A run that lands webhook deliveries as a program, which is killed in its transaction or after."""

import os
import signal
import sys
from collections.abc import Sequence

from orchestration_project.connections.clock import Clock
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.environment import open_store, open_warehouse
from orchestration_project.resources.events import (
    EventLanding,
    EventOutcome,
    load_due,
    record_nothing,
)
from orchestration_project.services.inbox.work import InboxQueue
from orchestration_project.settings import load_settings

RUN = "killed"


class KilledQueue(InboxQueue):
    """Ends the process as soon as the deliveries are settled and not yet committed."""

    def settle(self, connection, results):
        super().settle(connection, results)
        os.kill(os.getpid(), signal.SIGKILL)
        return []


class KilledLanding(EventLanding):
    """Ends the process as soon as the deliveries are committed."""

    def land_all(self, contents, after=record_nothing) -> Sequence[EventOutcome]:
        super().land_all(contents, after)
        os.kill(os.getpid(), signal.SIGKILL)
        return []


def main(when: str) -> None:
    """Land what is due, and exit ``within`` the transaction or ``after`` it."""
    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        queue = (KilledQueue if when == "within" else InboxQueue)(warehouse, Clock())
        landing = (KilledLanding if when == "after" else EventLanding)(
            warehouse, Captures(open_store(settings)), RUN
        )
        load_due(queue, landing, "git", in_order=True)


if __name__ == "__main__":
    main(sys.argv[1])
