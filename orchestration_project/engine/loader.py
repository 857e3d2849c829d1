"""Loads partitions of any dataset: extract, validate, load; from its source, or from captures.

`DatasetLoader` is the one load engine. What it reads comes from `Deliveries`: those of the
source, or the recorded ones, so that a replay takes the same way as a load.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Generic, TypeAlias

from sqlalchemy import Connection

from orchestration_project.engine.announcements import Announcements, IsReported
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.contracts.audits import (
    Acceptance,
    Audit,
    Validated,
)
from orchestration_project.engine.contracts.balance import (
    NOTHING_COUNTED,
    CountedPieces,
    UnbalancedError,
)
from orchestration_project.engine.contracts.key_ranges import SpillStore
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.dataset import (
    Announcement,
    ChangeT,
    LoadedPartition,
    LoadSpec,
    PreviewT,
)
from orchestration_project.engine.deliveries import Deliveries, FieldList, PendingDelivery, Read
from orchestration_project.engine.environment import open_all
from orchestration_project.engine.replay import validate_together
from orchestration_project.engine.spill import DiskSpill, write_staged_file
from orchestration_project.engine.warehouse import (
    AsFile,
    Delivery,
    RecordedDelivery,
    ValidatedBatch,
    Warehouse,
    WriteResult,
    WriteTarget,
    prepare,
)
from orchestration_project.engine.warehouse.loading import is_loaded, judge_completeness
from orchestration_project.engine.warehouse.target import SummaryT
from orchestration_project.errors import (
    MovedError,
    OrchestrationError,
    UnavailableError,
)

READS_OF_A_MOVING_SOURCE = 3

Check = Callable[[Delivery], Validated]


@dataclass(frozen=True)
class Unchanged(Generic[ChangeT]):
    """A partition of which what is loaded is current."""

    target: WriteTarget[ChangeT]
    delivery: Delivery


@dataclass(frozen=True)
class Holiday:
    """A partition of a day on which its source publishes nothing, by its calendar."""

    is_requested: bool = False


@dataclass(frozen=True)
class Unpublished:
    """A partition that its source does not have yet, and the day of its publication."""

    until: date


Taken: TypeAlias = ValidatedBatch[ChangeT] | Unchanged[ChangeT] | Holiday | Unpublished
"""Result of reading a partition."""


@dataclass
class DatasetLoader(Generic[ChangeT, PreviewT]):
    """Loads partitions of ``dataset`` from ``deliveries``.

    Attributes:
        today: A partition of a later day is refused.
        max_reject_ratio: Rejected share of lines (0-1) above which a partition is quarantined.
        scratch: The folder for rows that are too many for memory.
        is_reported: Whether Dagster has an event of a load.
        first_day: A partition of an earlier day is refused; None: none is.
        acceptance: A delivery that is loaded although it is not complete.
        fields: What `ready` found of the fields that the source lists.
    """

    dataset: LoadSpec[ChangeT, PreviewT]
    deliveries: Deliveries
    warehouse: Warehouse
    artifacts: ArtifactStore
    today: date
    run_id: str
    max_reject_ratio: float
    scratch: Path
    is_reported: IsReported
    first_day: date | None = None
    acceptance: Acceptance | None = None
    fields: FieldList = field(default_factory=FieldList, init=False)

    @property
    def where(self) -> Mapping[str, str]:
        """Context of errors besides partition and run."""
        declared = self.dataset.source_dataset
        named = {"dataset": declared} if declared else {"source": self.deliveries.name}
        return {"asset": f"{self.dataset.domain}/{self.dataset.noun}", **named}

    @property
    def announcements(self) -> Announcements[ChangeT]:
        """Changes of the dataset's loads without a known Dagster event."""
        return Announcements(self.warehouse, self.dataset, self.is_reported)

    def ready(self) -> None:
        """Open the stores and the source, and compare its fields with the declared ones.

        Raises:
            OrchestrationError: Something cannot be opened, or the source does not answer.
            ContractError: A field that is asked for is missing.
        """
        open_all(self.warehouse, self.artifacts)
        self.fields = self.deliveries.open()

    def take(self, key: str) -> Taken[ChangeT]:
        """Extract a partition and validate it; nothing is published.

        A source is asked also for what its calendar has not published yet: it may be early. For a
        holiday it is asked in a full load alone.

        Raises:
            OrchestrationError: As the source, the contract and the key's rules do.
        """
        partition = self._partition(key)
        calendar = self.dataset.partitioning.calendar
        is_holiday = calendar.skips_holidays and calendar.is_holiday(partition.day)
        if is_holiday and not self.deliveries.full:
            return Holiday()
        try:
            return self._take(key, partition)
        except UnavailableError:
            if self._is_expected(partition):
                raise
            if is_holiday:
                return Holiday(is_requested=True)
            return Unpublished(self.dataset.partitioning.published_on(partition))

    def _is_expected(self, partition: Partition) -> bool:
        """Whether the source must have a partition: it is published, and not of a holiday."""
        partitioning = self.dataset.partitioning
        calendar = partitioning.calendar
        if calendar.skips_holidays and calendar.is_holiday(partition.day):
            return False
        return partitioning.published_on(partition) <= self.today

    def _take(self, key: str, partition: Partition) -> ValidatedBatch[ChangeT] | Unchanged[ChangeT]:
        pending = self.deliveries.pending(partition)
        target = self._target(key, partition, pending)
        if pending.is_loaded:
            return Unchanged(target, pending.intended)
        batch = self._read(partition, pending, target)
        if self.changes_nothing(pending, batch):
            return Unchanged(target, batch.delivery)
        if batch.staged:
            self.artifacts.put(batch.staged_name, batch.staged)
        return batch

    def validate(self, key: str) -> tuple[PendingDelivery, ValidatedBatch[ChangeT]]:
        """Extract a partition and validate it as `take` does, and store nothing, also no file.

        Raises:
            OrchestrationError: As the source, the contract and the key's rules do.
        """
        partition = self._partition(key)
        pending = self.deliveries.pending(partition)
        unstaged = replace(self, dataset=replace(self.dataset, is_staged=False))
        return pending, unstaged._read(partition, pending, self._target(key, partition, pending))

    def compare_with_loaded(
        self, connection: Connection, batch: ValidatedBatch[ChangeT]
    ) -> Sequence[Audit]:
        """Return the audits that compare a delivery with what is loaded."""
        partition = self._partition(batch.target.partition_key)
        return self._warn(partition, connection, [batch])[0]

    def _partition(self, key: str) -> Partition:
        return self.dataset.partitioning.partition_of(
            key, today=self.today, first_day=self.first_day
        )

    def _read(
        self, partition: Partition, pending: PendingDelivery, target: WriteTarget[ChangeT]
    ) -> ValidatedBatch[ChangeT]:
        """Read and validate a delivery; what comes back holds none of its bytes."""
        spill = cache(lambda: DiskSpill(self.scratch))
        return take(
            self.warehouse,
            target,
            pending.intended,
            partial(self._fetch, partition, pending.read),
            partial(self._validate, partition, spill, pending.made_of),
            partial(write_staged_file, spill()) if self.dataset.is_staged else None,
        )

    def _fetch(self, partition: Partition, read: Read, kept: list[Capture]) -> Delivery:
        """Read a delivery; one that is not there and not expected leaves no captures."""
        try:
            return read(kept)
        except UnavailableError:
            if not self._is_expected(partition):
                kept.clear()
            raise

    def _validate(
        self,
        partition: Partition,
        spill: Callable[[], SpillStore],
        made_of: Sequence[RecordedDelivery],
        delivery: Delivery,
    ) -> Validated:
        def validate(captures: Sequence[Capture], record_total: int | None) -> Validated:
            pieces = Captures(self.artifacts).pieces(captures)
            counted = CountedPieces(pieces, self.dataset.count_records)
            validated = self.dataset.validate(
                partition,
                counted,
                record_total=record_total,
                max_reject_ratio=self.max_reject_ratio,
                spill=spill,
            )
            received = sum(capture.byte_count for capture in captures)
            return validated.balanced(counted.balances(received, validated.went_to))

        if not made_of:
            return validate(delivery.captures, delivery.record_total)
        return validate_together(
            self.dataset.table,
            made_of,
            delivery.captures,
            lambda found: [
                validate(captures, recorded_delivery.record_total)
                for recorded_delivery, captures in found
            ],
        )

    def changes_nothing(self, pending: PendingDelivery, batch: ValidatedBatch[ChangeT]) -> bool:
        """Whether a load would write nothing, whichever deliveries loaded what is there."""
        if batch.validated.is_quarantined or pending.loads_same_rows:
            return False
        if is_loaded(pending.state, batch):
            return True
        is_same_rule = pending.state.rule_version == batch.target.rule_version
        if not is_same_rule or not batch.delivery.loads_again or batch.validated.ranges:
            return False
        return self.warehouse.are_there([batch]) == [True]

    def write_batch(self, taken: Taken[ChangeT]) -> LoadedPartition[ChangeT, PreviewT]:
        """Load a validated partition, in one transaction.

        Raises:
            QuarantinedError: An audit failed.
            SupersededError: Another run delivered the partition meanwhile.
        """
        if isinstance(taken, ValidatedBatch):
            return self._write(taken)
        if isinstance(taken, Unchanged):
            return self._unchanged(taken)
        if isinstance(taken, Unpublished):
            return LoadedPartition("", "", {}, unpublished_until=taken.until)
        return LoadedPartition("", "", {}, is_holiday=True, is_requested=taken.is_requested)

    def _write(self, batch: ValidatedBatch[ChangeT]) -> LoadedPartition[ChangeT, PreviewT]:
        announcements, target, delivery = self.announcements, batch.target, batch.delivery
        partition = self._partition(target.partition_key)
        warn = partial(self._warn, partition)
        announce = announcements.recorder(target, partition, delivery)

        def note(connection: Connection, ended: Sequence[Any]) -> None:
            announce(connection, ended)
            for result in ended:
                if self.dataset.after_load is not None and isinstance(result, WriteResult):
                    self.dataset.after_load(connection, target, delivery, result.known_from)

        write_result = self.warehouse.write_batch(batch, warn, note)
        load_changes = announcements.of_load(partition, delivery, write_result)
        _, late = self._take_over(target, stays=False)
        return LoadedPartition(
            delivery.source,
            delivery.source_version,
            self._row_counts(batch),
            figures=batch.figures,
            write_result=write_result,
            staged_name=batch.staged_name,
            preview=self.dataset.preview(batch, self.warehouse),
            changes=(*late, *load_changes),
            known_from=write_result.known_from,
        )

    def _warn(
        self, partition: Partition, connection: Connection, batches: Sequence[ValidatedBatch[Any]]
    ) -> Sequence[Sequence[Audit]]:
        """Compare each delivery with what is loaded: whether it is whole, and for the dataset."""
        complete = judge_completeness(
            connection,
            batches,
            partial(self.dataset.neighbour_rows, partition, connection),
            self.dataset.completeness,
            self.acceptance,
        )
        warnings = self.dataset.warn(partition, connection, batches)
        return [[audit, *added] for audit, added in zip(complete, warnings, strict=True)]

    def _unchanged(self, taken: Unchanged[ChangeT]) -> LoadedPartition[ChangeT, PreviewT]:
        target, delivery = taken.target, taken.delivery
        key, at = target.partition_key, target.state.landed_at
        known_from, late = self._take_over(target, stays=True)
        return LoadedPartition(
            delivery.source,
            delivery.source_version,
            self._row_counts(taken),
            earlier=self.warehouse.read_load_record(target.table, key, at) if at else None,
            changes=late,
            known_from=known_from,
        )

    def _take_over(
        self, target: WriteTarget[ChangeT], *, stays: bool
    ) -> tuple[datetime | None, Sequence[Announcement[ChangeT]]]:
        """Return since when the loaded rows are known, and what this run announces of them."""
        at = target.state.landed_at
        if at is None:
            return None, ()
        return self.announcements.take_over(target.partition_key, at, stays=stays)

    def _row_counts(self, taken: ValidatedBatch[ChangeT] | Unchanged[ChangeT]) -> Mapping[str, int]:
        """Count the partition's rows; those of a whole one that was just loaded are at hand."""
        table = self.dataset.table
        if isinstance(taken, Unchanged) or taken.derived is None:
            tables = (table, *self.dataset.transforms)
            return self.warehouse.row_counts(tables, taken.target.partition)
        derived = {table.name: len(frame) for table, frame in taken.derived.items()}
        return {table.name: taken.validated.row_count, **derived}

    def _target(
        self, key: str, partition: Partition, pending: PendingDelivery
    ) -> WriteTarget[ChangeT]:
        return self.dataset.table_spec.target(
            key,
            self.dataset.partitioning.scope_of(partition),
            pending.state,
            run_id=self.run_id,
            write_disposition=pending.write_disposition,
        )


def take(
    warehouse: Warehouse,
    target: WriteTarget[SummaryT],
    intended: Delivery,
    read: Read,
    check: Check,
    as_file: AsFile | None = None,
) -> ValidatedBatch[SummaryT]:
    """Read a delivery, validate and prepare it; a source that moves meanwhile is read again.

    What comes back has captures without their bytes: two partitions are in memory at a time.
    What was fetched and cannot be used is recorded in `captures` all the same: where it was not
    read whole, as of ``intended``. ``as_file`` makes what is staged of the rows, if anything is.

    Raises:
        OrchestrationError: As ``read`` and ``check`` do; nothing is loaded.
    """
    captures: list[Capture] = []
    started = time.monotonic()
    delivery = None
    with record_unusable(
        warehouse, target, captures, lambda: delivery or replace(intended, discarded=captures)
    ):
        delivery = add_discarded(_read_settled(read, captures), captures)
        monotonic = time.monotonic()
        batch = prepare(target, delivery, check(delivery), as_file)
    return replace(
        batch,
        delivery=drop_bodies(delivery),
        read_seconds=monotonic - started,
        check_seconds=time.monotonic() - monotonic,
    )


@contextmanager
def record_unusable(
    warehouse: Warehouse,
    target: WriteTarget,
    kept: Sequence[Capture],
    found: Callable[[], Delivery],
) -> Iterator[None]:
    """Record the delivery ``found`` so far where it turns out to be unusable, if any was ``kept``.

    Raises:
        SupersededError: Another delivery of the partition came first; nothing is recorded.
    """
    try:
        yield
    except OrchestrationError as error:
        if kept:
            counted = error.balances if isinstance(error, UnbalancedError) else (NOTHING_COUNTED,)
            warehouse.record_refused(target, found(), None, counted)
        raise


def add_discarded(delivery: Delivery, kept: Sequence[Capture]) -> Delivery:
    """Return a delivery with those of the ``kept`` captures that do not make it up."""
    used = {id(capture) for capture in delivery.captures}
    return replace(delivery, discarded=[each for each in kept if id(each) not in used])


def drop_bodies(delivery: Delivery) -> Delivery:
    """Return a delivery whose captures are without their bytes, which the artifact store has."""
    return replace(
        delivery,
        captures=[capture.without_body() for capture in delivery.captures],
        discarded=[capture.without_body() for capture in delivery.discarded],
    )


def _read_settled(read: Read, kept: list[Capture]) -> Delivery:
    for _ in range(READS_OF_A_MOVING_SOURCE - 1):
        try:
            return read(kept)
        except MovedError:
            continue
    return read(kept)
