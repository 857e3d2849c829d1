"""A run that loads webhook deliveries as a program, which is killed in its transaction or after."""

import os
import signal
import sys

from orchestration_project.assets.events import deliveries
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.services.inbox.work import InboxQueue
from orchestration_project.settings import load_settings
from tests.webhook_runs import load_due


class KilledQueue(InboxQueue):
    """Ends the process as soon as the deliveries are settled and not yet committed."""

    def settle(self, connection, results):
        super().settle(connection, results)
        os.kill(os.getpid(), signal.SIGKILL)
        return []


class LaterKilledQueue(InboxQueue):
    """Ends the process as soon as the deliveries are committed."""

    def claim(self, topic, **how):
        claimed = super().claim(topic, **how)
        if not claimed:
            os.kill(os.getpid(), signal.SIGKILL)
        return claimed


def main(when: str) -> None:
    """Load what is due, and exit ``within`` the transaction or ``after`` it."""
    settings = load_settings()
    deliveries.InboxQueue = {"within": KilledQueue, "after": LaterKilledQueue}[when]
    with open_warehouse(settings) as warehouse:
        load_due(warehouse, Clock(), open_store(settings), "git")


if __name__ == "__main__":
    main(sys.argv[1])
