"""Routing whose process ends around any transaction: nothing is lost, nothing has effect twice."""

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import pytest

from orchestration_project.domains.events.tables import (
    events_routed_rows,
    events_routed_states,
    events_routing_dead_letters,
)
from orchestration_project.engine.contracts.attempts import REQUEST_LEASE
from orchestration_project.engine.warehouse import Warehouse
from tests.faulty_server import FaultyServer
from tests.prepared import Prepared
from tests.resources.routing_setup import ORDERS, PARTNER, SECRET, TICKETS, Receiver, Router
from tests.resources.weeks import StoppedClock

KILLS = int(os.environ.get("ROUTING_KILLS", "12"))  # noqa: TID251 - of the test alone

BOUNDARIES = 12
"""Places around transactions of a delivery's planning and its three actions, and some more."""

pytestmark = pytest.mark.slow


class KilledError(BaseException):
    """The process ends here: nothing after it runs, and an open transaction is rolled back."""


class DyingWarehouse:
    """A database whose process ends before, within or after a transaction that writes."""

    def __init__(self, warehouse: Warehouse, at: int) -> None:
        self._warehouse, self._rest = warehouse, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._warehouse, name)

    @contextmanager
    def writing(self) -> Iterator[Any]:
        self._step()
        with self._warehouse.writing() as connection:
            yield connection
            self._step()
        self._step()

    def _step(self) -> None:
        self._rest -= 1
        if self._rest < 0:
            raise KilledError


@pytest.fixture
def router(tmp_path, prepared: Prepared, monkeypatch):
    monkeypatch.setenv("HTTP_ALLOWED_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("ROUTING_SECRET_PARTNER", SECRET)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    clock, receiver = StoppedClock(), Receiver()
    with (
        FaultyServer(receiver) as server,
        Warehouse(prepared.sqlite(tmp_path / "warehouse.sqlite"), clock=clock) as warehouse,
    ):
        warehouse.prepare(holds="real")
        yield Router(warehouse, clock, receiver, f"{server.url}/hooks")


def test_kills_lose_nothing_and_repeat_nothing(router: Router, request: pytest.FixtureRequest):
    draw = random.Random(str(request.config.getoption("seed")))  # noqa: S311 - places of kills
    router.edit(ORDERS, PARTNER, TICKETS)
    whole, killed_count = router.warehouse, 0
    for number in range(KILLS):
        router.issues.is_silent = draw.random() < 0.3
        router.warehouse = cast(Warehouse, DyingWarehouse(whole, draw.randrange(BOUNDARIES)))
        try:
            router.deliver(f"d{number}", id=number)
            router.apply()
        except KilledError:
            killed_count += 1
        router.warehouse, router.issues.is_silent = whole, False
        router.deliver(f"d{number}", id=number)  # the sender or the next run repeats it
        router.clock.at += REQUEST_LEASE + timedelta(minutes=5)
        router.apply()
    for _ in range(5):
        router.clock.at += timedelta(hours=1)
        router.apply()
    assert killed_count > KILLS / 2
    assert Counter(row.outcome for row in router.rows(events_routed_states)) == {"done": 3 * KILLS}
    assert router.rows(events_routing_dead_letters) == []
    rows = [json.loads(row.data)["number"] for row in router.rows(events_routed_rows)]
    assert sorted(rows) == list(range(KILLS))
    effects = {request.headers["webhook-id"]: request.body for request in router.receiver.requests}
    orders = [json.loads(body)["data"]["order"] for body in effects.values()]
    assert sorted(orders) == list(range(KILLS)), "a receiver that honours the key has each once"
    made = [row.summary for row in router.issues.rows.values()]
    assert sorted(made) == sorted(f"Order {number}" for number in range(KILLS))
