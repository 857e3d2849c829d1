"""A run of work items loads what it can, settles each, and fails only for what concerns all."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import dagster as dg
import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, insert, select, update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.work_items import (
    ALLOWED_ATTEMPTS,
    ClaimedItem,
    ItemSettlement,
    NewItem,
)
from orchestration_project.engine.pools import MIB, ProcessPool
from orchestration_project.engine.run_items import ItemBatches, run_items
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    TransientError,
)
from tests.engine.inline_pool import INLINE, Pool
from tests.engine.pool_functions import extract_key
from tests.resources.weeks import NOON

OWN = MetaData()
QUEUE = Table(
    "test_queue",
    OWN,
    Column("key", String(50), primary_key=True),
    Column("state", String(20)),
    Column("attempt_count", Integer),
    Column("lease_token", Integer),
    Column("reason", String(2000)),
)
LOADED = Table("test_loaded", OWN, Column("key", String(50), primary_key=True))


@dataclass
class Queue:
    """Items in a table: ready ones are claimed, by key."""

    warehouse: Warehouse
    untils: list[datetime] = field(default_factory=list)

    def enqueue(self, *keys: str, attempt_count: int = 0) -> None:
        row = {"state": "ready", "attempt_count": attempt_count, "lease_token": 0, "reason": ""}
        with self.warehouse.writing() as connection:
            connection.execute(insert(QUEUE), [{"key": key, **row} for key in keys])

    def claim(
        self, topic: str, *, limit: int, run_id: str, until: datetime, in_order: bool
    ) -> Sequence[ClaimedItem]:
        self.untils.append(until)
        if in_order and "failed" in self.states().values():
            return []
        ready = select(QUEUE).where(QUEUE.c.state == "ready").order_by(QUEUE.c.key).limit(limit)
        with self.warehouse.writing() as connection:
            found = connection.execute(ready).all()
            self.lease(connection, [row.key for row in found])
        return [self.claimed(topic, row, run_id) for row in found]

    @staticmethod
    def claimed(topic: str, row: Any, run_id: str) -> ClaimedItem:
        numbers = (row.attempt_count, ALLOWED_ATTEMPTS, NOON, row.lease_token + 1)
        return ClaimedItem(topic, row.key, "1", *numbers, run_id)

    def lease(self, connection: Connection, keys: Sequence[str]) -> None:
        connection.execute(
            update(QUEUE)
            .where(QUEUE.c.key.in_(keys))
            .values(state="leased", lease_token=QUEUE.c.lease_token + 1)
        )

    def settle(
        self, connection: Connection, results: Sequence[ItemSettlement]
    ) -> Sequence[ItemSettlement]:
        return [result for result in results if not self.settle_one(connection, result)]

    def settle_one(self, connection: Connection, result: ItemSettlement) -> bool:
        item, state = result.item, "dead" if result.is_dead else result.state
        is_current = (QUEUE.c.key == item.key) & (QUEUE.c.lease_token == item.lease_token)
        values = {"state": state, "reason": result.reason or ""}
        return bool(connection.execute(update(QUEUE).where(is_current).values(values)).rowcount)

    def states(self) -> dict[str, str]:
        with self.warehouse.reading() as connection:
            return {row.key: row.state for row in connection.execute(select(QUEUE))}

    def loaded(self) -> list[str]:
        with self.warehouse.reading() as connection:
            return sorted(connection.execute(select(LOADED.c.key)).scalars())


@dataclass
class Loader:
    """Loads keys; what its attributes name goes wrong."""

    queue: Queue
    outcomes: Mapping[str, Literal["skipped"] | OrchestrationError] = field(default_factory=dict)
    breaks_batch: str = ""
    batch_error: OrchestrationError = field(
        default_factory=lambda: ContractError("a row breaks the batch", remedy="correct it")
    )
    is_taken_meanwhile: str = ""
    error: Exception | None = None
    batches: list[int] = field(default_factory=list)
    function: Callable[[ClaimedItem], str] = extract_key
    pool: Pool = INLINE

    def ready(self) -> None:
        if self.error is not None:
            raise self.error

    def extract(
        self, items: Sequence[ClaimedItem]
    ) -> Iterator[tuple[ClaimedItem, str | OrchestrationError]]:
        return self.pool.run(self.function, items, timeout=timedelta(minutes=5))

    def load(
        self, connection: Connection, batch: Sequence[tuple[ClaimedItem, str]]
    ) -> Sequence[ItemSettlement]:
        self.batches.append(len(batch))
        for item, extracted in batch:
            if item.key not in self.outcomes:
                connection.execute(insert(LOADED).values(key=extracted))
        if self.is_taken_meanwhile in [item.key for item, _ in batch]:
            self.queue.lease(connection, [self.is_taken_meanwhile])
        if self.breaks_batch in [item.key for item, _ in batch]:
            raise self.batch_error
        return [self.settlement(item) for item, _ in batch]

    def settlement(self, item: ClaimedItem) -> ItemSettlement:
        outcome = self.outcomes.get(item.key)
        if isinstance(outcome, OrchestrationError):
            return ItemSettlement.of_error(item, outcome)
        return ItemSettlement(item, outcome or "done")


@pytest.fixture
def queue(warehouse: Warehouse) -> Iterator[Queue]:
    with warehouse.writing() as connection:
        OWN.create_all(connection)
    yield Queue(warehouse)
    with warehouse.writing() as connection:
        OWN.drop_all(connection)


def execute(loader: Loader, **more: Any) -> dg.ExecuteInProcessResult:
    """Run an asset over the queue's items."""
    limits: dict[str, Any] = {
        "topic": "documents",
        "item_timeout": timedelta(minutes=5),
        "batch_size": 3,
        "max_items": 100,
    }
    given = {name: more.pop(name) for name in [*more] if name in ItemBatches.__annotations__}
    options: dict[str, Any] = {
        "items": loader.queue,
        "database": loader.queue.warehouse,
        "clock": Clock(),
        "batches": ItemBatches(**limits | given),
        **more,
    }

    @dg.asset
    def documents(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        yield from run_items(context, loader, **options)

    return dg.materialize([documents], raise_on_error=False)


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node("documents")
    return {
        name: [record.data for record in value.records]
        if isinstance(value, dg.TableMetadataValue)
        else value.value
        for name, value in event.metadata.items()
    }


def expect_failure(result: dg.ExecuteInProcessResult) -> str:
    """Return the text of the failure that ended a run."""
    assert not result.success
    data = result.failure_data_for_node("documents")
    assert data is not None
    assert data.user_failure_data is not None
    return str(data.user_failure_data.description)


def counts_of(metadata: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts that are not zero."""
    return {
        name.removesuffix("_item_count"): value
        for name, value in metadata.items()
        if name.endswith("_item_count") and value
    }


@pytest.mark.slow_on_postgresql
def test_all_items_are_loaded_batch_by_batch(queue: Queue):
    queue.enqueue(*"abcdefg")
    loader = Loader(queue)
    metadata = metadata_of(execute(loader))
    assert counts_of(metadata) == {"done": 7}
    assert "first_failures" not in metadata
    assert queue.loaded() == list("abcdefg")
    assert set(queue.states().values()) == {"done"}
    assert loader.batches == [3, 3, 1]


@pytest.mark.slow_on_postgresql
def test_a_run_without_due_items_reports_zeros(queue: Queue):
    metadata = metadata_of(execute(Loader(queue)))
    assert metadata == dict.fromkeys(
        [f"{state}_item_count" for state in ("done", "skipped", "failed", "dead", "lost")], 0
    )


@pytest.mark.slow_after_first
def test_a_run_ends_after_so_many_items(queue: Queue):
    queue.enqueue(*"abcdefg")
    assert counts_of(metadata_of(execute(Loader(queue), max_items=4))) == {"done": 4}
    assert queue.loaded() == list("abcd")
    assert [queue.states()[key] for key in "efg"] == ["ready"] * 3


@pytest.mark.slow_on_postgresql
def test_items_that_fail_end_neither_the_run_nor_their_batch(queue: Queue):
    queue.enqueue(
        "a", "b", "raises contract", "raises transient", "raises defect", "skip", "refuse"
    )
    queue.enqueue("raises transient again", attempt_count=ALLOWED_ATTEMPTS - 1)
    refusal = ContractError("the total differs", expected="7", found="8")
    metadata = metadata_of(
        execute(Loader(queue, outcomes={"skip": "skipped", "refuse": refusal}), batch_size=5)
    )
    assert counts_of(metadata) == {"done": 2, "skipped": 1, "failed": 1, "dead": 4}
    assert queue.loaded() == ["a", "b"]
    assert queue.states() == {
        "a": "done",
        "b": "done",
        "raises contract": "dead",
        "raises defect": "dead",
        "raises transient": "failed",
        "raises transient again": "dead",
        "refuse": "dead",
        "skip": "skipped",
    }
    shown = {failure["item"]: failure for failure in metadata["first_failures"]}
    assert shown["refuse"] == {
        "item": "refuse",
        "state": "dead",
        "category": "contract",
        "reason": str(refusal),
    }
    assert shown["raises transient"]["state"] == "failed"
    assert "KeyError" in shown["raises defect"]["reason"]


@pytest.mark.slow_after_first
def test_the_first_failures_alone_are_shown(queue: Queue):
    queue.enqueue(*(f"raises contract {number:02}" for number in range(30)))
    metadata = metadata_of(execute(Loader(queue)))
    assert counts_of(metadata) == {"dead": 30}
    assert [failure["item"] for failure in metadata["first_failures"]] == [
        f"raises contract {number:02}" for number in range(20)
    ]


@pytest.mark.slow_on_postgresql
def test_a_batch_that_cannot_be_loaded_is_loaded_item_by_item(queue: Queue):
    queue.enqueue("a", "b", "c", "raises contract")
    loader = Loader(queue, breaks_batch="b")
    metadata = metadata_of(execute(loader, batch_size=4))
    assert counts_of(metadata) == {"done": 2, "dead": 2}
    assert queue.loaded() == ["a", "c"]
    assert queue.states()["b"] == "dead"
    assert loader.batches == [3, 1, 1, 1]


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("keys", "states"),
    [
        (["a", "raises transient", "z"], ["done", "failed", "ready"]),
        (["a", "refuse", "z"], ["done", "failed", "ready"]),
        (["a", "raises contract", "z"], ["done", "dead", "done"]),
    ],
)
def test_in_order_no_item_is_loaded_behind_one_that_waits(
    queue: Queue, keys: list[str], states: list[str]
):
    queue.enqueue(*keys)
    loader = Loader(queue, outcomes={"refuse": TransientError("busy")})
    metadata = metadata_of(execute(loader, in_order=True))
    assert queue.states() == dict(zip(keys, states, strict=True))
    assert counts_of(metadata) == Counter(state for state in states if state != "ready")
    assert queue.loaded() == [
        key for key, state in zip(keys, states, strict=True) if state == "done"
    ]


@pytest.mark.slow_after_first
def test_a_database_that_refuses_a_single_item_ends_the_run(queue: Queue):
    queue.enqueue(*"abc")
    error = TransientError("the table is locked")
    failure = expect_failure(execute(Loader(queue, breaks_batch="b", batch_error=error)))
    assert "the table is locked" in failure
    assert queue.states() == {"a": "done", "b": "leased", "c": "leased"}


@pytest.mark.slow_on_postgresql
def test_an_item_that_another_run_has_claimed_meanwhile_is_not_loaded(queue: Queue):
    queue.enqueue(*"abc")
    loader = Loader(queue, is_taken_meanwhile="b")
    metadata = metadata_of(execute(loader))
    assert counts_of(metadata) == {"done": 2, "lost": 1}
    assert queue.loaded() == ["a", "c"]
    assert queue.states() == {"a": "done", "b": "leased", "c": "done"}
    assert loader.batches == [3, 2]


def test_what_concerns_all_items_fails_the_run_and_no_item(queue: Queue):
    queue.enqueue("a")
    error = ConfigurationError("no source is set", expected="a source", remedy="set it")
    failure = expect_failure(execute(Loader(queue, error=error)))
    assert "no source is set" in failure
    assert "topic=documents" in failure
    assert queue.states() == {"a": "ready"}


@pytest.mark.slow_after_first
def test_a_pool_that_cannot_work_leaves_the_items_ready(queue: Queue):
    queue.enqueue(*"ab")
    with ProcessPool(1, 128 * MIB) as pool:
        # a function which no other process can import
        failure = expect_failure(execute(Loader(queue, function=lambda item: item.key, pool=pool)))
    assert "invalid function of a process pool" in failure
    assert queue.states() == {"a": "ready", "b": "ready"}
    assert queue.loaded() == []


@pytest.mark.slow_on_postgresql
def test_a_database_that_fails_ends_the_run(queue: Queue):
    queue.enqueue(*"ab")

    class Broken(Queue):
        def settle(
            self, connection: Connection, results: Sequence[ItemSettlement]
        ) -> Sequence[ItemSettlement]:
            raise TransientError("the database does not answer")

    failure = expect_failure(execute(Loader(queue), items=Broken(queue.warehouse)))
    assert "the database does not answer" in failure
    assert queue.loaded() == []


@pytest.mark.slow_on_postgresql
def test_a_defect_of_the_loader_ends_the_run_and_loads_nothing_of_its_batch(queue: Queue):
    queue.enqueue(*"abcd")
    with queue.warehouse.writing() as connection:
        connection.execute(insert(LOADED).values(key="d"))  # a key that comes twice
    result = execute(Loader(queue))
    assert not result.success
    assert queue.states() == {"a": "done", "b": "done", "c": "done", "d": "leased"}


@pytest.mark.slow_on_postgresql
def test_items_are_extracted_in_processes(queue: Queue):
    queue.enqueue("a", "b", "raises contract", "exits")
    with ProcessPool(2, 256 * MIB) as pool:
        metadata = metadata_of(execute(Loader(queue, pool=pool)))
    assert counts_of(metadata) == {"done": 2, "dead": 2}
    assert queue.loaded() == ["a", "b"]
    reasons = {failure["item"]: failure["reason"] for failure in metadata["first_failures"]}
    assert "its worker exited with status 7" in reasons["exits"]


@pytest.mark.slow_on_postgresql
def test_a_lease_lasts_as_long_as_its_batch_may_take(queue: Queue):
    queue.enqueue("a")
    start = datetime.fromisoformat("2026-03-02T15:00:00+00:00")
    execute(Loader(queue), clock=Clock(start), item_timeout=timedelta(hours=1), batch_size=5)
    assert queue.untils[0] >= start + timedelta(hours=5)


@pytest.mark.slow_on_postgresql
def test_stored_items_are_claimed_loaded_and_settled_as_those_of_any_queue(queue: Queue):
    items = WorkItems(queue.warehouse, Clock())
    keys = ("a", "b", "raises contract", "raises transient")
    items.enqueue("documents", [NewItem(key, "1") for key in keys])
    result = execute(Loader(queue), items=items)
    assert counts_of(metadata_of(result)) == {"done": 2, "failed": 1, "dead": 1}
    assert queue.loaded() == ["a", "b"]
    found = {item.item_key: item for item in items.list_items(topic="documents")}
    assert {key: value.state for key, value in found.items()} == {
        "a": "done",
        "b": "done",
        "raises contract": "dead",
        "raises transient": "failed",
    }
    assert {(value.run_id, value.attempt_count) for value in found.values()} == {(result.run_id, 1)}
    waiting = found["raises transient"]
    assert (waiting.reason_code, waiting.reason) == ("transient", "busy")
    assert waiting.due_at > waiting.changed_at
