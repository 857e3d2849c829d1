"""Runs claimed work items through a loader, batch by batch, and reports to Dagster.

How items are stored, claimed and retried does not belong here, nor what is made of one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.work_items import (
    SETTLED_STATES,
    ClaimedItem,
    ItemSettlement,
    ItemT,
)
from orchestration_project.engine.tracing.spans import open_span
from orchestration_project.errors import ConfigurationError, OrchestrationError, TransientError

if TYPE_CHECKING:  # services that read items count them as runs do, without Dagster
    import dagster as dg

FAILURES_SHOWN = 20
"""In a run's metadata, the first ones; `work_items` has all."""

LOAD_TIME = timedelta(minutes=10)
"""That a lease lasts beyond what the items of its batch may take."""

COUNTED = (*SETTLED_STATES, "lost")
"""Summary of a run's items. Another run claimed a lost one meanwhile."""


ItemT_co = TypeVar("ItemT_co", bound=ClaimedItem, covariant=True)
ExtractionT = TypeVar("ExtractionT")


@dataclass(frozen=True)
class ItemBatches:
    """Items of a topic, as they are claimed.

    Attributes:
        topic: The topic.
        item_timeout: How long the extraction of an item may take, for its lease.
        batch_size: Items that are claimed and loaded together.
        max_items: Items after which the run ends; the next run goes on.
        in_order: Whether an item is loaded only when those that were claimed before it are done,
            skipped or dead.
    """

    topic: str
    item_timeout: timedelta
    batch_size: int
    max_items: int
    in_order: bool = False

    @property
    def lease(self) -> timedelta:
        """Time for which the items of a batch are leased."""
        return self.item_timeout * self.batch_size + LOAD_TIME


class ItemQueue(Protocol[ItemT_co]):
    """Queue in which items of topics are claimed and settled, such as `WorkItems`."""

    def claim(
        self, topic: str, *, limit: int, run_id: str, until: datetime, in_order: bool
    ) -> Sequence[ItemT_co]:
        """Lease items that are due to a run, until a time; in order, none behind one that waits."""
        ...

    def settle(
        self, connection: Connection, results: Sequence[ItemSettlement]
    ) -> Sequence[ItemSettlement]:
        """Record how items ended; return the settlements of which the run has lost the lease."""
        ...


class ItemLoader(Protocol[ItemT, ExtractionT]):
    """Records made of items."""

    def ready(self) -> None:
        """Open the resources; one that cannot be opened is not the failure of a single item."""
        ...

    def extract(
        self, items: Sequence[ItemT]
    ) -> Iterable[tuple[ItemT, ExtractionT | OrchestrationError]]:
        """Yield each item of a batch with what was extracted of it, or with its own error.

        Raises:
            OrchestrationError: No item can be extracted.
        """
        ...

    def load(
        self, connection: Connection, batch: Sequence[tuple[ItemT, ExtractionT]]
    ) -> Sequence[ItemSettlement]:
        """Validate and write what was extracted, in the transaction that settles the items.

        Returns:
            How each item ended; of one that is failed or skipped, nothing is written.

        Raises:
            OrchestrationError: The batch cannot be written. Each item is loaded alone, and fails if
                its data break a rule; any other error of a single item ends the run.
        """
        ...


class Database(Protocol):
    """Target that items are loaded into, such as the warehouse."""

    def writing(self) -> AbstractContextManager[Connection]:
        """Give a transaction that is committed at its end, and undone by an exception."""
        ...


@dataclass
class ItemSummary:
    """Outcomes of a run's items; a subclass may count otherwise, and report more."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, str]] = field(default_factory=list)

    def add(self, settlements: Sequence[ItemSettlement]) -> None:
        """Count how items ended."""
        for settlement in settlements:
            self.counts["dead" if settlement.is_dead else settlement.state] += 1
            if settlement.error is not None and len(self.failures) < FAILURES_SHOWN:
                error = settlement.error
                self.failures.append(
                    {
                        "item": settlement.item.key,
                        "state": "dead" if settlement.is_dead else settlement.state,
                        "category": error.category,
                        "reason": str(error),
                    }
                )

    def __str__(self) -> str:
        return ", ".join(f"{count} {state}" for state, count in self.counts.items())

    def as_metadata(self) -> dict[str, Any]:
        """Return the counts and the first failures as Dagster metadata."""
        import dagster as dg

        counts: dict[str, Any] = {f"{state}_item_count": self.counts[state] for state in COUNTED}
        records = [dg.TableRecord(failure) for failure in self.failures]
        return counts | ({"first_failures": dg.MetadataValue.table(records)} if records else {})


class _LostLeasesError(Exception):
    """Undoes a transaction that would load items which another run has claimed."""

    def __init__(self, keys: frozenset[str]) -> None:
        super().__init__(keys)
        self.keys = keys


@dataclass(frozen=True)
class _ItemRun(Generic[ItemT, ExtractionT]):
    """Extracts, loads and settles the items of a run, batch by batch."""

    loader: ItemLoader[ItemT, ExtractionT]
    items: ItemQueue[ItemT]
    database: Database
    summary: ItemSummary
    in_order: bool

    def process(self, claimed: Sequence[ItemT]) -> None:
        """Extract items, load and settle them.

        Raises:
            OrchestrationError: No item can be processed, or written. The items are ready again,
                or their leases expire.
        """
        try:
            results = {item.key: result for item, result in self.loader.extract(claimed)}
        except OrchestrationError:
            self._release(claimed)
            raise
        self._load([(item, results[item.key]) for item in claimed])

    def _load(self, batch: Sequence[tuple[ItemT, ExtractionT | OrchestrationError]]) -> bool:
        """Load a batch, or else each item alone; return whether one waits for its next attempt.

        In order, those behind one that waits are ready again.

        Raises:
            OrchestrationError: The database refuses even a single item.
        """
        try:
            return self._write(batch)
        except OrchestrationError as error:
            if len(batch) == 1:
                if isinstance(error, ConfigurationError | TransientError):
                    raise
                return self._write([(batch[0][0], error)])
        waits = False
        for number, pair in enumerate(batch, start=1):
            waits |= self._load([pair])
            if waits and self.in_order:
                self._release([item for item, _ in batch[number:]])
                break
        return waits

    def _release(self, items: Sequence[ItemT]) -> None:
        """Make items ready again; no attempt is counted."""
        with self.database.writing() as connection:
            self.items.settle(connection, [ItemSettlement(item, "ready") for item in items])

    def _write(self, batch: Sequence[tuple[ItemT, ExtractionT | OrchestrationError]]) -> bool:
        """Load and settle items in one transaction, without those that the run has lost.

        Returns:
            Whether one waits for its next attempt.
        """
        lost: frozenset[str] = frozenset()
        while True:
            try:
                settled = self._write_all([pair for pair in batch if pair[0].key not in lost])
            except _LostLeasesError as error:
                lost |= error.keys
            else:
                self.summary.counts.update(["lost"] * len(lost))
                self.summary.add(settled)
                return any(item_settlement.is_retried for item_settlement in settled)

    def _write_all(
        self, batch: Sequence[tuple[ItemT, ExtractionT | OrchestrationError]]
    ) -> Sequence[ItemSettlement]:
        extracted: list[tuple[ItemT, ExtractionT]] = []
        settled: list[ItemSettlement] = []
        for item, result in batch:
            if isinstance(result, OrchestrationError):
                settled.append(ItemSettlement.of_error(item, result))
            else:
                extracted.append((item, result))
        with self.database.writing() as connection:
            settled += self.loader.load(connection, extracted) if extracted else ()
            for item_settlement in settled:
                if (
                    self.in_order
                    and len(batch) > 1
                    and item_settlement.is_retried
                    and item_settlement.error
                ):
                    raise item_settlement.error
            if lost := self.items.settle(connection, settled) if settled else ():
                raise _LostLeasesError(
                    frozenset(item_settlement.item.key for item_settlement in lost)
                )
        return settled


def run_items(
    context: "dg.AssetExecutionContext",
    loader: ItemLoader[ItemT, ExtractionT],
    *,
    items: ItemQueue[ItemT],
    database: Database,
    clock: Clock,
    batches: ItemBatches,
    summary: ItemSummary | None = None,
) -> "Iterator[dg.MaterializeResult[Any]]":
    """Claim items, extract and load them, until none is due.

    A batch is loaded and settled in one transaction. An item that fails is settled as failed and
    never ends the run; the metadata has the counts, and the first failures with their reason.

    Args:
        context: Dagster's, of an asset's step.
        loader: Records made of items.
        items: Where they are claimed and settled.
        database: Where they are loaded and settled.
        clock: Decides when leases expire.
        batches: Which items are claimed, and how many together.
        summary: Counts how items ended, and makes the run's metadata.

    Raises:
        Failure: Something failed that concerns all items.
    """
    import dagster as dg

    topic, in_order, left = batches.topic, batches.in_order, batches.max_items
    run = _ItemRun(loader, items, database, summary or ItemSummary(), in_order)
    try:
        loader.ready()
        while left > 0:
            until, limit = clock.now() + batches.lease, min(batches.batch_size, left)
            claimed = items.claim(
                topic, limit=limit, run_id=context.run.run_id, until=until, in_order=in_order
            )
            if not claimed:
                break
            with open_span("batch", topic=topic, item_count=len(claimed)):
                run.process(claimed)
            left -= len(claimed)
            context.log.info(f"{topic}: {run.summary}", extra={"event": "items_processed"})
        if lost_count := run.summary.counts["lost"]:
            context.log.warning(
                f"{topic}: another run had claimed {lost_count} of the items",
                extra={"event": "items_lost"},
            )
    except OrchestrationError as error:
        error.within(topic=topic, run=context.run.run_id)
        metadata = run.summary.as_metadata()
        raise dg.Failure(str(error), metadata=metadata, allow_retries=False) from error
    yield dg.MaterializeResult(metadata=run.summary.as_metadata())
