"""A run of work items that a test may kill: documents of a topic, loaded into a table with history.

What a process does stands here, and what a test asks the database of its items.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
from sqlalchemy import Connection, select, text

from orchestration_project.domains.events.deliveries import WebhookEvent, checked_events
from orchestration_project.engine.captures import Capture
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import Audit, Validated
from orchestration_project.engine.contracts.work_items import (
    ALLOWED_ATTEMPTS,
    ClaimedItem,
    ItemSettlement,
    NewItem,
    WorkItem,
)
from orchestration_project.engine.run_items import ItemBatches, run_items
from orchestration_project.engine.warehouse import (
    Delivery,
    TableSpec,
    Warehouse,
)
from orchestration_project.engine.warehouse.loading import ScopeDelivery, write_scopes
from orchestration_project.engine.warehouse.target import skip_summary
from orchestration_project.engine.work_items import COLUMNS, WorkItems
from orchestration_project.errors import OrchestrationError
from orchestration_project.tables.spine import work_items
from orchestration_project.tables.webhooks import events_webhooks
from tests.engine.inline_pool import Pool
from tests.faults.documents import TEXTS, extract_document, list_versions
from tests.faults.matrix import STAGES
from tests.faults.points import Points

TOPIC = "documents/faults"
RECEIVED_AT = datetime(2026, 3, 1, tzinfo=UTC)

LEASED_AT = STAGES[STAGES.index("claimed") : STAGES.index("before COMMIT")]
"""Points at which the items of a killed run stay leased."""


class SharedClock(Clock):
    """A clock that a test sets forward for all processes that load into a folder."""

    def __init__(self, start: datetime, folder: Path) -> None:
        super().__init__(start)
        self._file = _hours_file(folder)

    def now(self) -> datetime:
        """Return the present moment."""
        hours = int(self._file.read_text()) if self._file.exists() else 0
        return super().now() + timedelta(hours=hours)


def set_forward(folder: Path, hours: int) -> None:
    """Set the clock of a folder forward by so many hours since its start."""
    _hours_file(folder).write_text(str(hours))


def _hours_file(folder: Path) -> Path:
    return folder / "hours"


class WatchedItems(WorkItems):
    """Says when items are claimed; a load has no stage before that."""

    def __init__(self, warehouse: Warehouse, clock: Clock, points: Points) -> None:
        super().__init__(warehouse, clock)
        self._points = points

    def enqueue(self, *items: Any, **how: Any) -> int:
        with self._points.without_stages():
            return super().enqueue(*items, **how)

    def claim(self, topic: str, **how: Any) -> Sequence[ClaimedItem]:
        self._points.passed("items are asked for", "claim", failure=None)
        with self._points.without_stages():
            claimed = super().claim(topic, **how)
        if claimed:
            self._points.passed(f"{len(claimed)} items are claimed", "claimed", failure=None)
        return claimed


@dataclass(frozen=True)
class WatchedPool:
    """Says when the pool is given an item, and when the last one is extracted."""

    pool: Pool
    points: Points

    def run(
        self, function: Callable[[Any], Any], items: Iterable[Any], *, timeout: timedelta
    ) -> Iterator[tuple[Any, Any]]:
        def begun() -> Iterator[Any]:
            for item in items:
                self.points.passed(f"{item.key} is extracted", "capture begun", failure=None)
                yield item

        yield from self.pool.run(function, begun(), timeout=timeout)
        self.points.passed("all are extracted", "captured", failure=None)


@dataclass(frozen=True)
class DocumentLoader:
    """Loads documents, each a partition of its own, in the transaction that settles them."""

    source_url: str
    artifacts: Path
    clock: Clock
    run_id: str
    pool: Pool
    item_timeout: timedelta

    def ready(self) -> None:
        """Open nothing: a document is fetched by a worker."""

    def extract(
        self, items: Sequence[ClaimedItem]
    ) -> Iterator[tuple[ClaimedItem, Capture | OrchestrationError]]:
        function = partial(extract_document, self.source_url, self.artifacts)
        return self.pool.run(function, items, timeout=self.item_timeout)

    def load(
        self, connection: Connection, batch: Sequence[tuple[ClaimedItem, Capture]]
    ) -> Sequence[ItemSettlement]:
        checked = checked_events([_event(item, capture) for item, capture in batch])
        deliveries = [
            ScopeDelivery(
                item.key,
                {"source": TOPIC, "delivery_id": item.key},
                Delivery("documents", "faults", item.version, 1, {}, [capture]),
                _audited(each, capture),
            )
            for (item, capture), each in zip(batch, checked, strict=True)
        ]
        spec = TableSpec(table=events_webhooks, rule_version="1", summarise=skip_summary)
        ended = write_scopes(connection, spec, deliveries, run_id=self.run_id, now=self.clock.now())
        return [
            ItemSettlement.of_error(item, each)
            if isinstance(each, OrchestrationError)
            else ItemSettlement(item, "done")
            for (item, _), each in zip(batch, ended, strict=True)
        ]


def _event(item: ClaimedItem, capture: Capture) -> WebhookEvent:
    return WebhookEvent(TOPIC, item.key, RECEIVED_AT, None, capture.body)


def _audited(validated: Validated, capture: Capture) -> Validated:
    """Return a document with the audit that quarantines an incomplete one."""
    is_whole = TEXTS["D"].encode() not in capture.body
    audit = Audit("is_complete", "passed" if is_whole else "failed", "the whole text", "a part")
    return replace(validated, audits=[audit])


@dataclass(frozen=True)
class ItemRun:
    """A run over the topic, as far as the items of some keys are due.

    Attributes:
        items: Where they are claimed and settled.
        warehouse: Where they are loaded.
        pool: Where they are extracted.
        item_timeout: How long one may take.
        batch_size: How many are loaded together.
    """

    source_url: str
    artifacts: Path
    clock: Clock
    items: WorkItems
    warehouse: Warehouse
    pool: Pool
    item_timeout: timedelta
    batch_size: int

    def batches(self, keys: Sequence[str]) -> Iterator[Sequence[str]]:
        """Enqueue the items in the versions that the source has."""
        versions = list_versions(self.source_url)
        self.items.enqueue(TOPIC, [NewItem(key, versions[key]) for key in keys])
        yield keys

    def write_batch(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Run all that is due, in a run of Dagster's; return what became of the items."""

        @dg.asset
        def documents(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
            run_id = context.run.run_id
            yield from run_items(
                context,
                DocumentLoader(
                    self.source_url,
                    self.artifacts,
                    self.clock,
                    run_id,
                    self.pool,
                    self.item_timeout,
                ),
                items=self.items,
                database=self.warehouse,
                clock=self.clock,
                batches=ItemBatches(TOPIC, self.item_timeout, self.batch_size, 1000),
            )

        with dg.DagsterInstance.ephemeral() as instance:
            dg.materialize([documents], instance=instance)
        found = {item.item_key: item for item in self.items.list_items(topic=TOPIC, limit=1000)}
        return {key: ": ".join(filter(None, [found[key].state, found[key].reason])) for key in keys}


def items_of(url: str) -> dict[str, WorkItem]:
    """Return the items by key, once no transaction that changes one is under way.

    PostgreSQL may still commit what a process sent before it was killed.
    """
    wanted = select(*COLUMNS).where(work_items.c.topic == TOPIC).with_for_update()
    with Warehouse(url, clock=Clock()) as warehouse, warehouse.writing() as connection:
        found = [WorkItem(*row) for row in connection.execute(wanted)]
    return {item.item_key: item for item in found}


def end_leases(url: str, now: datetime) -> None:
    """End the leases of all runs, as is done when Dagster says that they have ended."""
    with Warehouse(url, clock=Clock()) as warehouse:
        items = WorkItems(warehouse, Clock(now))
        items.expire(TOPIC, dict.fromkeys(items.lease_holders(TOPIC)))


def retry_failed(url: str, now: datetime) -> list[str]:
    """Put failed and dead items back, with as many attempts as they had; return their keys."""
    with Warehouse(url, clock=Clock()) as warehouse:
        items = WorkItems(warehouse, Clock(now))
        found = items.retry(TOPIC, attempts=ALLOWED_ATTEMPTS - 1)
    return [item.item_key for item in found]


def enqueue_and_expect_one(url: str, key: str, version: str, now: datetime) -> None:
    """Enqueue an item, as who lists the source does while a run is under way."""
    with Warehouse(url, clock=Clock()) as warehouse:
        assert WorkItems(warehouse, Clock(now)).enqueue(TOPIC, [NewItem(key, version)]) == 1


def take_back(url: str, key: str, *, attempts: int, claims: int) -> None:
    """Have an item look as if so many of its attempts and claims had not been."""
    subtract = text(
        "UPDATE work_items SET attempt_count = attempt_count - :attempts, "
        "lease_token = lease_token - :claims WHERE topic = :topic AND item_key = :key"
    )
    values = {"attempts": attempts, "claims": claims, "topic": TOPIC, "key": key}
    with Warehouse(url, clock=Clock()) as warehouse, warehouse.writing() as connection:
        connection.execute(subtract, values)
