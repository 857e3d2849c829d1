"""`python -m tests.slow.killed_bridges URL PORT`: bridges in processes that a test kills.

For each line of the input a fork of this process, which has imported everything, runs a bridge that
also publishes the outbox; its process ID is printed.
"""

import os
import signal
import sys
from threading import Event

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.mqtt.bridge import Bridge
from orchestration_project.resources.mqtt.publishing import OutboxPublisher
from tests.mqtt_broker import broker_at


def run(url: str, port: int) -> None:
    """Run a bridge until this process is killed."""
    clock = Clock()
    with Warehouse(url, clock=clock) as warehouse:
        Bridge(
            warehouse,
            clock,
            broker_at(port),
            max_bytes=10_000,
            meanwhile=OutboxPublisher(warehouse, clock).start,
            lease_seconds=1.0,
            first_delay_seconds=0.1,
        ).run(Event())


def main() -> None:
    """Start a bridge for each line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing waits for them
    url, port = sys.argv[1], int(sys.argv[2])
    for _ in sys.stdin:
        process = os.fork()
        if not process:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            run(url, port)
        sys.stdout.write(f"{process}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
