"""Runs claimed work items through a pool and a loader, batch by batch, and reports to Dagster.

How items are stored, claimed and retried does not belong here, nor what is made of one.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, Protocol, TypeVar

import dagster as dg
from sqlalchemy import Connection

from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.work_items import ClaimedItem, ItemSettlement
from orchestration_project.engine.pools import INLINE, Pool
from orchestration_project.errors import OrchestrationError

FAILURES_SHOWN = 20
"""In a run's metadata, the first ones; `work_items` has all."""

LOAD_TIME = timedelta(minutes=10)
"""That a lease lasts beyond what the items of its batch may take."""

COUNTED = ("done", "skipped", "failed", "dead", "lost")
"""What a run reports of its items. A lost one was claimed by another run meanwhile."""


ExtractionT = TypeVar("ExtractionT")

LoadOutcome = Literal["done", "skipped"] | OrchestrationError
"""What became of an item: loaded, nothing to load, or an error; then nothing of it is written."""


class ItemQueue(Protocol):
    """Where the items of topics are claimed and settled, such as `WorkItems`."""

    def claim(
        self, topic: str, *, limit: int, run_id: str, until: datetime
    ) -> Sequence[ClaimedItem]:
        """Lease items that are due to a run, until a time."""
        ...

    def settle(
        self, connection: Connection, results: Sequence[ItemSettlement]
    ) -> Sequence[ItemSettlement]:
        """Record how items ended; return the settlements of which the run has lost the lease."""
        ...


class ItemLoader(Protocol[ExtractionT]):
    """What is made of items."""

    def ready(self) -> None:
        """Open what is used; what cannot be opened is not the failure of a single item."""
        ...

    @property
    def extract(self) -> Callable[[ClaimedItem], ExtractionT]:
        """The function that the pool applies; for a process pool, one of a module."""
        ...

    def load(
        self, connection: Connection, batch: Sequence[tuple[ClaimedItem, ExtractionT]]
    ) -> Mapping[str, LoadOutcome]:
        """Validate and write what was extracted, in the transaction that settles the items.

        Returns:
            What became of items, by key; one without an entry is done.
        """
        ...


class Database(Protocol):
    """Where items are loaded, such as the warehouse."""

    def writing(self) -> AbstractContextManager[Connection]:
        """Give a transaction that is committed at its end, and undone by an exception."""
        ...


@dataclass
class RunSummary:
    """What became of the items of a run."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, str]] = field(default_factory=list)

    def add(self, settlements: Sequence[ItemSettlement]) -> None:
        """Count how items ended."""
        for each in settlements:
            self.counts["dead" if each.is_dead else each.state] += 1
            if each.error is not None and len(self.failures) < FAILURES_SHOWN:
                error = each.error
                self.failures.append(
                    {
                        "item": each.item.key,
                        "state": "dead" if each.is_dead else each.state,
                        "category": error.category,
                        "reason": str(error),
                    }
                )

    def __str__(self) -> str:
        return ", ".join(f"{self.counts[state]} {state}" for state in COUNTED)

    def as_metadata(self) -> dict[str, Any]:
        """Return what Dagster shows of it."""
        counts: dict[str, Any] = {f"{state}_item_count": self.counts[state] for state in COUNTED}
        records = [dg.TableRecord(each) for each in self.failures]
        return counts | ({"first_failures": dg.MetadataValue.table(records)} if records else {})


class _LostLeasesError(Exception):
    """Undoes a transaction that would load items which another run has claimed."""

    def __init__(self, keys: frozenset[str]) -> None:
        super().__init__(keys)
        self.keys = keys


@dataclass(frozen=True)
class _ItemRun(Generic[ExtractionT]):
    """Extracts, loads and settles the items of a run, batch by batch."""

    loader: ItemLoader[ExtractionT]
    items: ItemQueue
    database: Database
    summary: RunSummary

    def process(self, claimed: Sequence[ClaimedItem], pool: Pool, timeout: timedelta) -> None:
        """Extract items in the pool, load and settle them.

        Raises:
            OrchestrationError: No item can be processed, or written. The items are ready again,
                or their leases expire.
        """
        extracted: list[tuple[ClaimedItem, ExtractionT]] = []
        failed: list[ItemSettlement] = []
        try:
            for item, result in pool.run(self.loader.extract, claimed, timeout=timeout):
                if isinstance(result, OrchestrationError):
                    failed.append(ItemSettlement.of_error(item, result))
                else:
                    extracted.append((item, result))
        except OrchestrationError:
            self._write([], [ItemSettlement(item, "ready") for item in claimed])
            raise
        self._load(extracted, failed)

    def _load(
        self,
        batch: Sequence[tuple[ClaimedItem, ExtractionT]],
        failed: Sequence[ItemSettlement],
    ) -> None:
        """Load a batch; if it cannot be loaded as a whole, each item alone."""
        try:
            self._write(batch, failed)
        except OrchestrationError as error:
            if len(batch) > 1:
                self._write([], failed)
                for each in batch:
                    self._load([each], [])
            else:
                others = [ItemSettlement.of_error(item, error) for item, _ in batch]
                self._write([], [*failed, *others])

    def _write(
        self,
        batch: Sequence[tuple[ClaimedItem, ExtractionT]],
        failed: Sequence[ItemSettlement],
    ) -> None:
        """Load and settle items in one transaction, without those that the run has lost."""
        lost: frozenset[str] = frozenset()
        while True:
            left = [each for each in batch if each[0].key not in lost]
            others = [each for each in failed if each.item.key not in lost]
            try:
                settled = self._write_all(left, others)
            except _LostLeasesError as error:
                lost |= error.keys
            else:
                self.summary.counts["lost"] += len(lost)
                self.summary.add(settled)
                return

    def _write_all(
        self,
        batch: Sequence[tuple[ClaimedItem, ExtractionT]],
        failed: Sequence[ItemSettlement],
    ) -> Sequence[ItemSettlement]:
        with self.database.writing() as connection:
            outcomes = self.loader.load(connection, batch) if batch else {}
            loaded = [_settlement(item, outcomes.get(item.key, "done")) for item, _ in batch]
            settled = [*loaded, *failed]
            lost = self.items.settle(connection, settled) if settled else ()
            if lost:
                raise _LostLeasesError(frozenset(each.item.key for each in lost))
        return settled


def _settlement(item: ClaimedItem, outcome: LoadOutcome) -> ItemSettlement:
    """Return the settlement of an item by what became of it."""
    if isinstance(outcome, OrchestrationError):
        return ItemSettlement.of_error(item, outcome)
    return ItemSettlement(item, outcome)


def run_items(
    context: dg.AssetExecutionContext,
    loader: ItemLoader[ExtractionT],
    *,
    items: ItemQueue,
    database: Database,
    clock: Clock,
    topic: str,
    item_timeout: timedelta,
    batch_size: int,
    max_items: int,
    pool: Pool = INLINE,
) -> Iterator[dg.MaterializeResult[Any]]:
    """Claim items, extract them in the pool and load them, until none is due.

    A batch is loaded and settled in one transaction. An item that fails is settled as failed and
    never ends the run; the metadata has the counts, and the first failures with their reason.

    Args:
        context: Dagster's, of an asset's step.
        loader: What is made of items.
        items: Where they are claimed and settled.
        database: Where they are loaded and settled.
        clock: Decides when leases expire.
        topic: Whose items.
        item_timeout: How long the extraction of an item may take, where the pool can limit that.
        batch_size: Items that are claimed and loaded together.
        max_items: Items after which the run ends; the next run goes on.
        pool: Where items are extracted.

    Raises:
        Failure: Something failed that concerns all items.
    """
    run = _ItemRun(loader, items, database, RunSummary())
    lease, left = item_timeout * batch_size + LOAD_TIME, max_items
    try:
        loader.ready()
        while left > 0:
            until, limit = clock.now() + lease, min(batch_size, left)
            claimed = items.claim(topic, limit=limit, run_id=context.run.run_id, until=until)
            if not claimed:
                break
            run.process(claimed, pool, item_timeout)
            left -= len(claimed)
            context.log.info(f"{topic}: {run.summary}")
    except OrchestrationError as error:
        error.within(topic=topic, run=context.run.run_id)
        metadata = run.summary.as_metadata()
        raise dg.Failure(str(error), metadata=metadata, allow_retries=False) from error
    yield dg.MaterializeResult(metadata=run.summary.as_metadata())
