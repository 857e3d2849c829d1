"""An Idempotency-Key that is sent to two gateways at once: one of them makes the run."""

import asyncio
import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.leases import take
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.api.once import once
from orchestration_project.tables.spine import leases
from tests.expecting import expect_set


class Gateway:
    """A process of the gateway, as far as `once` needs it: locks of its own, a shared database."""

    def __init__(self, warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
        self.warehouse, self.instance, self.clock = warehouse, instance, Clock()
        self.launching = asyncio.Lock()
        self.has_looked = threading.Event()

    async def in_thread(self, work: Any, *arguments: Any) -> Any:
        answer = await asyncio.to_thread(work, *arguments)
        self.has_looked.set()
        return answer

    def call(self, key: str) -> Any:
        request = SimpleNamespace(headers={"idempotency-key": key})
        return SimpleNamespace(services=self, caller=SimpleNamespace(name="ada"), request=request)

    async def launch(self, key: str, *, meanwhile: threading.Event | None = None) -> str:
        async def make(tags: Any) -> str:
            if meanwhile is not None:
                await asyncio.to_thread(expect_set, meanwhile)
            run = dg.DagsterRun("load", tags=dict(tags))
            return (await asyncio.to_thread(self.instance.add_run, run)).run_id

        async def again(before: Any) -> str:
            return before.run.run_id

        return await once(self.call(key), {"job": "load"}, make, again)


@pytest.fixture
def gateways(tmp_path, prepared, kept_instance):
    with Warehouse(prepared.sqlite(tmp_path / "shared.sqlite"), clock=Clock()) as warehouse:
        warehouse.prepare(holds="real")
        yield Gateway(warehouse, kept_instance), Gateway(warehouse, kept_instance)


def test_two_gateways_make_one_run_of_a_key(gateways):
    one, other = gateways

    async def both() -> list[str]:
        return await asyncio.gather(
            one.launch("key-0", meanwhile=other.has_looked),
            other.launch("key-0", meanwhile=one.has_looked),
        )

    first, second = asyncio.run(both())
    assert first == second
    assert gateways[0].instance.get_runs_count() == 1


def test_a_gateway_that_hangs_holds_up_another_until_its_lease_ends(gateways):
    one, other = gateways
    run_id = asyncio.run(one.launch("key-1"))
    with one.warehouse.reading() as connection:
        [name] = connection.execute(select(leases.c.name)).scalars()
    now = Clock().now()
    with one.warehouse.writing() as connection:
        take(connection, name, holder="hangs", now=now, until=now + timedelta(seconds=0.3))
    assert asyncio.run(other.launch("key-1")) == run_id
    assert Clock().now() >= now + timedelta(seconds=0.3)
