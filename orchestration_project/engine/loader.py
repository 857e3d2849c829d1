"""Loads partitions of any dataset: extract, validate, load; from its source, or from captures.

`DatasetLoader` is the one load engine. What it reads comes from `Deliveries`: those of the
source, or the recorded ones, so that a replay takes the same way as a load.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Generic, Protocol

import polars as pl

from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.contract import Drift, drift, remembered
from orchestration_project.contracts.partitioning import Partition
from orchestration_project.contracts.rules import SpillStore, Validated
from orchestration_project.engine.announcements import Announcements, IsReported
from orchestration_project.engine.captures import Capture, Captures, bounded
from orchestration_project.engine.dataset import (
    Announcement,
    ChangeT,
    LoadedPartition,
    LoadedT,
    LoadSpec,
    Source,
    SourceVersion,
)
from orchestration_project.engine.environment import open_all
from orchestration_project.engine.loads import Read, take
from orchestration_project.engine.replay import replay_plan, validate_together
from orchestration_project.engine.spill import DiskSpill, staged_file
from orchestration_project.engine.warehouse import (
    Delivery,
    Derivation,
    Recorded,
    ScopeState,
    SupersededError,
    ValidatedBatch,
    Warehouse,
    WriteTarget,
)
from orchestration_project.engine.warehouse.delivery import WriteDisposition
from orchestration_project.engine.warehouse.difference import read_fence, write_derived
from orchestration_project.engine.warehouse.frames import read_scope
from orchestration_project.engine.warehouse.landing import is_landed
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.tables.spine import source_fields


@dataclass(frozen=True)
class FieldList:
    """What a run found of the fields that a source lists; ``listed_count`` None: it lists none."""

    differences: Sequence[Drift] = ()
    listed_count: int | None = None


@dataclass(frozen=True)
class PendingDelivery:
    """A delivery that is to be read.

    Attributes:
        state: What is loaded of its partition.
        intended: What is recorded of it where it cannot be read whole.
        read: Reads it.
        is_loaded: Whether it need not be read: the source has what is loaded.
        loads_same_rows: Whether it is loaded also where its rows are the loaded ones.
        write_disposition: How it is written; None: as the dataset says.
        made_of: Recorded deliveries that are validated one by one and loaded as this one.
    """

    state: ScopeState
    intended: Delivery
    read: Read
    is_loaded: bool = False
    loads_same_rows: bool = False
    write_disposition: WriteDisposition | None = None
    made_of: Sequence[Recorded] = ()


class Deliveries(Protocol):
    """What partitions of a dataset are loaded from."""

    @property
    def name(self) -> str:
        """What an error names as the source."""
        ...

    def open(self) -> FieldList:
        """Open what is read from, and compare the fields that it lists with the declared ones.

        Raises:
            OrchestrationError: It cannot be opened, or does not answer.
            ContractError: A declared field is missing.
        """
        ...

    def pending(self, partition: Partition) -> PendingDelivery:
        """Return the delivery of a partition, which is read later.

        Raises:
            ConfigurationError: It must not replace what is loaded.
            OrchestrationError: The source does not say which version it has.
        """
        ...


@dataclass(frozen=True)
class SourceDeliveries:
    """Deliveries that a source has now.

    Attributes:
        resource: The Dagster resource that gives the source; opened by `open`.
        force: Whether they may replace what was loaded from another source.
        full: Whether they are read although the source has the version that is loaded.
        done: Partitions that this run has loaded before: ``full`` does not read them again.
    """

    dataset: LoadSpec[Any, Any]
    resource: object
    warehouse: Warehouse
    clock: Clock
    force: bool = False
    full: bool = False
    done: frozenset[str] = frozenset()

    @property
    def source(self) -> Source:
        """The source."""
        return self.dataset.source_of(self.resource)

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name

    def open(self) -> FieldList:
        """Open the source, and compare the fields that it lists with the declared ones."""
        open_all(self.resource)
        dataset, source = self.dataset, self.source
        listed = source.fields()
        if listed is None:
            return FieldList()
        seen = remember_fields(
            self.warehouse, self.clock, listed, source=source.name, dataset=dataset.source_dataset
        )
        known = dataset.known_fields
        found = FieldList(drift(seen, known), len(listed))
        gone = [each.field_name for each in found.differences if each.what == "missing"]
        if gone:
            raise ContractError(
                f"{dataset.source_dataset} lacks {', '.join(gone)}: it is not the dataset that we "
                "know",
                expected=", ".join(known),
                found=", ".join(sorted(listed))[:1000],
                remedy=f"compare /metadata with the declaration in {dataset.declared_in}, which "
                "has to follow it; nothing was asked for and nothing landed",
            )
        return found

    def pending(self, partition: Partition) -> PendingDelivery:
        """Return the delivery that the source has of a partition now.

        A source that gives versions is asked for that first: if it is the loaded one, nothing is
        read; if not, what is read is loaded.
        """
        source = self.source
        key = self.dataset.partitioning.key_of(partition)
        state = self.warehouse.state(self.dataset.table, key)
        self._refuse_other_source(key, state.source, source)
        version = source.version(partition)
        if version is None:
            unknown = SourceVersion("", self.dataset.source_dataset)
            read = partial(self._extract, source, partition)
            return PendingDelivery(state, _delivery(source, unknown, ()), read)
        versions = chain([version], iter(partial(source.version, partition), None))
        return PendingDelivery(
            state,
            _delivery(source, version, ()),
            partial(_extract_version, source, partition, versions),
            is_loaded=self._is_loaded(key, state, source.name, version),
            loads_same_rows=True,
        )

    def _extract(self, source: Source, partition: Partition, kept: list[Capture]) -> Delivery:
        found = source.extract(partition, kept)
        version = SourceVersion(found.version, self.dataset.source_dataset, found.record_total)
        return _delivery(source, version, found.captures)

    def _is_loaded(self, key: str, state: ScopeState, source: str, version: SourceVersion) -> bool:
        """Whether a version is the loaded one, and that is enough."""
        loaded = (state.source, state.source_version, state.rule_version)
        present = (source, version.text, self.dataset.rule_version)
        return loaded == present and (not self.full or key in self.done)

    def _refuse_other_source(self, key: str, loaded: str | None, source: Source) -> None:
        if loaded in (None, source.name) or self.force:
            return
        setting, table_name = self.dataset.source_setting, self.dataset.table.name
        what = key if setting else f"{key} of {table_name}"
        raise ConfigurationError(
            f"{what} was landed from another source",
            expected=f"more from {loaded}",
            found=f"{setting}={source.name}" if setting else f"source {source.name}",
            remedy=f"set {setting or 'the source'} back, use another DATABASE_URL, or replace the "
            "partition by force: true in the run's config",
        )


def _extract_version(
    source: Source, partition: Partition, versions: Iterator[SourceVersion], kept: list[Capture]
) -> Delivery:
    """Read the next of ``versions``: the first is the one that was asked for already."""
    version = next(versions)
    return _delivery(source, version, source.extract_version(partition, version, kept))


def _delivery(source: Source, version: SourceVersion, captures: Sequence[Capture]) -> Delivery:
    return Delivery(
        source=source.name,
        dataset=version.dataset,
        source_version=version.text,
        record_total=version.record_total,
        scope=version.scope,
        captures=captures,
    )


@dataclass(frozen=True)
class RecordedDeliveries:
    """Recorded deliveries of a dataset: a replay, which does not ask the source.

    Attributes:
        group_id: This delivery; None: the latest of each partition that was read whole. Where that
            is of a part, such as one market, the latest of each other part comes with it.
        allow_older: Whether it may replace what was fetched later.
    """

    dataset: LoadSpec[Any, Any]
    warehouse: Warehouse
    artifacts: ArtifactStore
    group_id: str | None = None
    allow_older: bool = False

    @property
    def name(self) -> str:
        """Where they are read from: the source is not asked."""
        return "captures"

    def open(self) -> FieldList:
        """Open nothing: the loader has opened database and artifact store."""
        return FieldList()

    def pending(self, partition: Partition) -> PendingDelivery:
        """Return the recorded delivery of a partition.

        Raises:
            ConfigurationError: There is none, or it is older than what is loaded.
        """
        key = self.dataset.partitioning.key_of(partition)
        plan = replay_plan(
            self.warehouse,
            self.dataset.table,
            key,
            group_id=self.group_id,
            allow_older=self.allow_older,
        )

        def read(_: list[Capture]) -> Delivery:
            captures = bounded(plan.captures(self.warehouse, self.artifacts))
            return replace(plan.delivery, captures=captures)

        return PendingDelivery(
            plan.state,
            plan.delivery,
            read,
            write_disposition=plan.write_disposition,
            made_of=plan.made_of if plan.are_separate else (),
        )


@dataclass(frozen=True)
class Unchanged(Generic[ChangeT]):
    """A partition of which what is loaded is current."""

    target: WriteTarget[ChangeT]
    delivery: Delivery


@dataclass(frozen=True)
class Holiday:
    """A partition of a day on which its source publishes nothing."""


@dataclass
class DatasetLoader(Generic[ChangeT, LoadedT]):
    """Loads partitions of ``dataset`` from ``deliveries``.

    Attributes:
        today: A partition of a later day is refused.
        max_reject_ratio: Rejected share of lines (0-1) above which a partition is quarantined.
        scratch: The folder for rows that are too many for memory.
        is_reported: Whether Dagster has an event of a load.
        first_day: A partition of an earlier day is refused; None: none is.
        fields: What `ready` found of the fields that the source lists.
    """

    dataset: LoadSpec[ChangeT, LoadedT]
    deliveries: Deliveries
    warehouse: Warehouse
    artifacts: ArtifactStore
    today: date
    run_id: str
    max_reject_ratio: float
    scratch: Path
    is_reported: IsReported
    first_day: date | None = None
    fields: FieldList = field(default_factory=FieldList, init=False)

    @property
    def where(self) -> Mapping[str, str]:
        """What an error names besides partition and run."""
        declared = self.dataset.source_dataset
        named = {"dataset": declared} if declared else {"source": self.deliveries.name}
        return {"asset": f"{self.dataset.domain}/{self.dataset.noun}", **named}

    @property
    def announcements(self) -> Announcements[ChangeT]:
        """What loads of the dataset changed, and Dagster is not known to have events of."""
        return Announcements(self.warehouse, self.dataset, self.is_reported)

    def ready(self) -> None:
        """Open what is used, and compare the fields of the source with the declared ones.

        Raises:
            OrchestrationError: Something cannot be opened, or the source does not answer.
            ContractError: A field that is asked for is missing.
        """
        open_all(self.warehouse, self.artifacts)
        self.fields = self.deliveries.open()

    def take(self, key: str) -> ValidatedBatch[ChangeT] | Unchanged[ChangeT] | Holiday:
        """Extract a partition and validate it; nothing is published.

        Raises:
            OrchestrationError: As the source, the contract and the key's rules do.
        """
        partition = self._partition(key)
        calendar = self.dataset.partitioning.calendar
        if calendar.skips_holidays and calendar.is_holiday(partition.day):
            return Holiday()
        pending = self.deliveries.pending(partition)
        target = self._target(key, partition, pending)
        if pending.is_loaded:
            return Unchanged(target, pending.intended)
        batch = self._read(partition, pending, target)
        if self._changes_nothing(pending, batch):
            return Unchanged(target, batch.delivery)
        if batch.staged:
            self.artifacts.put(batch.staged_name, batch.staged)
        return batch

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
            pending.read,
            partial(self._validate, partition, spill, pending.made_of),
            partial(staged_file, spill()) if self.dataset.is_staged else None,
        )

    def _validate(
        self,
        partition: Partition,
        spill: Callable[[], SpillStore],
        made_of: Sequence[Recorded],
        delivery: Delivery,
    ) -> Validated:
        def validate(captures: Sequence[Capture], record_total: int | None) -> Validated:
            return self.dataset.validate(
                partition,
                Captures(self.artifacts).pieces(captures),
                record_total=record_total,
                max_reject_ratio=self.max_reject_ratio,
                spill=spill,
            )

        if not made_of:
            return validate(delivery.captures, delivery.record_total)
        return validate_together(
            self.dataset.table,
            made_of,
            delivery.captures,
            lambda found: [validate(captures, each.record_total) for each, captures in found],
        )

    def _changes_nothing(self, pending: PendingDelivery, batch: ValidatedBatch[ChangeT]) -> bool:
        """Whether a load would write nothing, whichever deliveries loaded what is there."""
        if batch.validated.is_held_back or pending.loads_same_rows:
            return False
        if is_landed(pending.state, batch):
            return True
        is_same_rule = pending.state.rule_version == batch.target.rule_version
        if not is_same_rule or not batch.delivery.lands_again or batch.validated.ranges:
            return False
        return self.warehouse.are_there([batch]) == [True]

    def land(self, taken: ValidatedBatch[ChangeT] | Unchanged[ChangeT] | Holiday) -> LoadedT:
        """Load a validated partition, in one transaction.

        Raises:
            HeldBackError: An audit failed.
            SupersededError: Another run delivered the partition meanwhile.
        """
        if isinstance(taken, ValidatedBatch):
            return self.dataset.finish(self._write(taken), taken, self.warehouse)
        if isinstance(taken, Unchanged):
            return self.dataset.finish(self._unchanged(taken), None, self.warehouse)
        holiday = LoadedPartition[ChangeT]("", "", {}, is_holiday=True)
        return self.dataset.finish(holiday, None, self.warehouse)

    def _write(self, batch: ValidatedBatch[ChangeT]) -> LoadedPartition[ChangeT]:
        announcements, target, delivery = self.announcements, batch.target, batch.delivery
        partition = self._partition(target.partition_key)
        warn = partial(self.dataset.warn, partition)
        note = announcements.recorder(target, partition, delivery)
        landed = self.warehouse.land(batch, warn, note)
        own = announcements.of_load(partition, delivery, landed)
        _, late = self._take_over(target, stays=False)
        return LoadedPartition(
            delivery.source,
            delivery.source_version,
            self._row_counts(batch),
            figures=batch.figures,
            landed=landed,
            staged_name=batch.staged_name,
            changes=(*late, *own),
            known_from=landed.known_from,
        )

    def _unchanged(self, taken: Unchanged[ChangeT]) -> LoadedPartition[ChangeT]:
        target, delivery = taken.target, taken.delivery
        key, at = target.partition_key, target.state.landed_at
        known_from, late = self._take_over(target, stays=True)
        return LoadedPartition(
            delivery.source,
            delivery.source_version,
            self._row_counts(taken),
            earlier=self.warehouse.recorded_landing(target.table, key, at) if at else None,
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
        dataset, before = self.dataset, pending.state
        return WriteTarget(
            table=dataset.table,
            history=dataset.history,
            partition_key=key,
            partition=dataset.partitioning.scope_of(partition),
            token=before.token,
            metadata_columns=dataset.metadata_columns,
            rule_version=dataset.rule_version,
            run_id=self.run_id,
            derive=dataset.transforms,
            summarise=dataset.summarise,
            before=before,
            merge=dataset.merge,
            write_disposition=pending.write_disposition or dataset.write_disposition,
        )


def remember_fields(
    warehouse: Warehouse, clock: Clock, listed: Mapping[str, str], *, source: str, dataset: str
) -> pl.DataFrame:
    """Record which fields (name and type) a source lists now; return all that is known of them.

    Runs of one dataset start together and list the same fields: a run that another one overtook
    reads again what that wrote, so that one of them goes on each time.
    """
    while True:
        with suppress(SupersededError):
            return _remembered(warehouse, clock, listed, source, dataset)


def _remembered(
    warehouse: Warehouse, clock: Clock, listed: Mapping[str, str], source: str, dataset: str
) -> pl.DataFrame:
    key, scope = f"{source}|{dataset}", {"source": source, "dataset": dataset}
    with warehouse.writing() as connection:
        token, _ = read_fence(connection, source_fields, key)
        seen, now = read_scope(connection, source_fields, scope), clock.now()
        rows = remembered(seen, listed, source=source, dataset=dataset, at=now)
        version = f"{len(listed)} fields"
        write_derived(
            connection, [Derivation(source_fields, key, scope, token, version, rows)], now
        )
    return rows
