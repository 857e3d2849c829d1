"""`python -m tests.slow.killed_routing`: webhooks routed in processes that a test kills.

Each line of the input is the number of the first delivery and the minutes that the clock is ahead,
so that claims of killed processes have expired. A fork of this process, which has imported
everything, delivers and applies from that delivery on until it is killed. Its process ID is printed
first, then -1 when it begins, then the number of each delivery that was applied.
"""

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import find_database_url
from orchestration_project.resources.events.routing.applying import open_applier
from orchestration_project.resources.events.routing.planning import RoutingPlanner
from orchestration_project.resources.events.routing.targets import RoutingTargets
from orchestration_project.services.inbox.rows import Content, Inbox, NewDelivery
from orchestration_project.settings import load_settings

BASE = datetime(2026, 3, 2, 12, tzinfo=UTC)


def deliver(warehouse: Warehouse, clock: Clock, targets: RoutingTargets, number: int) -> None:
    """Have a delivery in the inbox, and its actions planned, unless it was before."""
    name, body = f"d{number}", json.dumps({"id": number, "country": "DE"}).encode()
    Inbox(warehouse, clock).take([NewDelivery("shop", name, "order", body, {}, 3)])
    content = Content("shop", name, "order", body, {}, clock.now())
    with warehouse.writing() as connection:
        RoutingPlanner(targets, clock, "load").plan(connection, [content])


def deliver_and_apply(first: int, minutes: int) -> None:
    """Deliver and apply until this process is killed."""
    settings, clock = load_settings(), Clock(BASE + timedelta(minutes=minutes))
    with (
        Warehouse(find_database_url(settings), clock=clock) as warehouse,
        open_applier(warehouse, clock, settings, REGISTRY, run_id=f"run {minutes}") as applier,
    ):
        os.write(1, b"-1\n")
        for number in count(first):
            deliver(warehouse, clock, applier.targets, number)
            applier.apply_due()
            os.write(1, b"%d\n" % number)


def fork_for_each_line(act: Callable[..., Any]) -> None:
    """Call a function in a fork for each line of the input, with its numbers."""
    for line in sys.stdin:
        process = os.fork()
        if not process:
            try:
                act(*map(int, line.split()))
            finally:
                os._exit(1)
        os.write(1, b"%d\n" % process)
        os.waitpid(process, 0)
        os.write(1, b"ended\n")


if __name__ == "__main__":
    fork_for_each_line(deliver_and_apply)
