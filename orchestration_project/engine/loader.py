"""Loads partitions of any dataset: extract, validate, load; from its source, or from captures.

`DatasetLoader` is the one load engine. What it reads comes from `Deliveries`: those of the
source, or the recorded ones, so that a replay takes the same way as a load.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Protocol

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.contract import validate
from orchestration_project.contracts.drift import Drift, drift, remembered
from orchestration_project.contracts.partitioning import Partition
from orchestration_project.contracts.rules import Validated
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.dataset import Dataset, Source
from orchestration_project.engine.environment import open_all
from orchestration_project.engine.loads import Intake, IntakeFigures, Read, take
from orchestration_project.engine.replay import captures_of, kept_of
from orchestration_project.engine.warehouse import (
    Delivery,
    Derivation,
    RecordedLanding,
    ScopeState,
    SupersededError,
    Warehouse,
    WriteResult,
    WriteTarget,
)
from orchestration_project.engine.warehouse.delivery import no_summary
from orchestration_project.engine.warehouse.difference import read_fence, write_derived
from orchestration_project.engine.warehouse.frames import read_scope
from orchestration_project.engine.warehouse.landing import is_landed
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.tables.spine import source_fields

ROWS_SHOWN = 20
"""Rows of a loaded partition that its metadata shows."""


class LoadOptions(dg.Config):
    """How a run loads its partitions."""

    force: bool = Field(
        default=False, description="Replace a partition that was loaded from another source."
    )
    max_reject_ratio: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Rejected share of lines (0-1) above which a partition is quarantined; "
        "default: the limit in the settings of the domain.",
    )


class ReplayOptions(LoadOptions):
    """How a run loads its partitions, or replays recorded deliveries of them."""

    group_id: str | None = Field(
        default=None,
        description="Replay this delivery, such as finra_treasury_weekly:2026-02-16#2; default: "
        "each partition's latest.",
    )
    allow_older: bool = Field(
        default=False, description="Replay a delivery also where newer data is loaded."
    )


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
    """

    state: ScopeState
    intended: Delivery
    read: Read


class Deliveries(Protocol):
    """What partitions of a dataset are loaded from."""

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
        """
        ...


@dataclass(frozen=True)
class SourceDeliveries:
    """Deliveries that a source has now.

    Attributes:
        resource: The Dagster resource that gives the source; opened by `open`.
        force: Whether they may replace what was loaded from another source.
    """

    dataset: Dataset
    resource: object
    warehouse: Warehouse
    clock: Clock
    force: bool = False

    @property
    def source(self) -> Source:
        """The source."""
        return self.dataset.source_of(self.resource)

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
        known = {each.name: each.kind for each in dataset.contract.fields}
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
        """Return the delivery that the source has of a partition now."""
        source = self.source
        key = self.dataset.partitioning.key_of(partition)
        state = self.warehouse.state(self.dataset.table, key)
        self._refuse_other_source(key, state.source, source)

        def read(kept: list[Capture]) -> Delivery:
            found = source.extract(partition, kept)
            return self._delivery(source, found.version, found.record_total, found.captures)

        return PendingDelivery(state, self._delivery(source, "", None, ()), read)

    def _delivery(
        self, source: Source, version: str, record_total: int | None, captures: Sequence[Capture]
    ) -> Delivery:
        return Delivery(
            source=source.name,
            dataset=self.dataset.source_dataset,
            source_version=version,
            record_total=record_total,
            scope={},
            captures=captures,
        )

    def _refuse_other_source(self, key: str, loaded: str | None, source: Source) -> None:
        if loaded not in (None, source.name) and not self.force:
            raise ConfigurationError(
                f"{key} of {self.dataset.table.name} was landed from another source",
                expected=f"more from {loaded}",
                found=f"source {source.name}",
                remedy="set the source back, use another DATABASE_URL, or replace the partition by "
                "force: true in the run's config",
            )


@dataclass(frozen=True)
class RecordedDeliveries:
    """Recorded deliveries of a dataset: a replay, which does not ask the source.

    Attributes:
        group_id: This delivery; None: the latest of each partition that was read whole.
        allow_older: Whether it may replace what was fetched later.
    """

    dataset: Dataset
    warehouse: Warehouse
    artifacts: ArtifactStore
    group_id: str | None = None
    allow_older: bool = False

    def open(self) -> FieldList:
        """Open nothing: the loader has opened database and artifact store."""
        return FieldList()

    def pending(self, partition: Partition) -> PendingDelivery:
        """Return the recorded delivery of a partition.

        Raises:
            ConfigurationError: There is none, or it is older than what is loaded.
        """
        key = self.dataset.partitioning.key_of(partition)
        kept = kept_of(self.warehouse, self.dataset.table, key, self.group_id, self.allow_older)
        captures = partial(captures_of, self.warehouse, self.artifacts, kept.chosen)
        return PendingDelivery(
            kept.state, kept.delivery(()), lambda _: kept.delivery(list(captures()))
        )


@dataclass(frozen=True)
class Holiday:
    """A partition of a day on which its source publishes nothing."""


@dataclass(frozen=True)
class ValidatedPartition:
    """A partition that was read and validated; without intake, what is loaded is current."""

    target: WriteTarget[None]
    source: str
    source_version: str
    before: ScopeState
    intake: Intake | None = None


@dataclass(frozen=True)
class LoadedPartition:
    """How a partition was loaded; without ``landed``, there was nothing new since ``earlier``.

    ``first_rows`` are some of its rows, for people. ``is_holiday``: it has no data by its calendar.
    """

    source: str
    source_version: str
    row_count: int
    earlier: RecordedLanding | None = None
    figures: IntakeFigures | None = None
    landed: WriteResult[None] | None = None
    first_rows: pl.DataFrame | None = None
    is_holiday: bool = False

    def __str__(self) -> str:
        if self.is_holiday:
            return "no data: a holiday of the source"
        if self.landed is None or self.figures is None:
            return f"unchanged; source {self.source}"
        return f"{self.landed.in_words}, {self.figures.rejects} rejected; source {self.source}"


@dataclass
class DatasetLoader:
    """Loads partitions of ``dataset`` from ``deliveries``.

    Attributes:
        today: A partition of a later day is refused.
        max_reject_ratio: Rejected share of lines (0-1) above which a partition is quarantined.
        fields: What `ready` found of the fields that the source lists.
    """

    dataset: Dataset
    deliveries: Deliveries
    warehouse: Warehouse
    artifacts: ArtifactStore
    today: date
    run_id: str
    max_reject_ratio: float
    fields: FieldList = field(default_factory=FieldList, init=False)

    @property
    def where(self) -> Mapping[str, str]:
        """What an error names besides partition and run."""
        return {
            "asset": f"{self.dataset.domain}/{self.dataset.noun}",
            "dataset": self.dataset.source_dataset,
        }

    def ready(self) -> None:
        """Open what is used, and compare the fields of the source with the declared ones.

        Raises:
            OrchestrationError: Something cannot be opened, or the source does not answer.
            ContractError: A field that is asked for is missing.
        """
        open_all(self.warehouse, self.artifacts)
        self.fields = self.deliveries.open()

    def take(self, key: str) -> ValidatedPartition | Holiday:
        """Extract a partition and validate it; nothing is published.

        Raises:
            OrchestrationError: As the source, the contract and the key's rules do.
        """
        dataset = self.dataset
        partition = dataset.partitioning.partition_of(key, today=self.today)
        calendar = dataset.partitioning.calendar
        if calendar.skips_holidays and calendar.is_holiday(partition.day):
            return Holiday()
        pending = self.deliveries.pending(partition)
        target = self._target(key, partition, pending.state.token)
        intake = take(
            self.warehouse,
            target,
            pending.intended,
            pending.read,
            lambda delivery: self._validate(partition, delivery),
        )
        is_new = intake.checked.is_held_back or not is_landed(
            pending.state, target, intake.delivery, intake.prepared
        )
        return ValidatedPartition(
            target,
            intake.delivery.source,
            intake.delivery.source_version,
            pending.state,
            intake if is_new else None,
        )

    def _validate(self, partition: Partition, delivery: Delivery) -> Validated:
        dataset = self.dataset
        parts = Captures(self.artifacts).parts(delivery.captures)
        return validate(
            dataset.contract,
            dataset.parse(parts, partition),
            parts,
            partition_texts=dataset.partitioning.texts_of(partition),
            record_total=delivery.record_total,
            max_reject_ratio=self.max_reject_ratio,
        )

    def land(self, taken: ValidatedPartition | Holiday) -> LoadedPartition:
        """Load a validated partition, in one transaction.

        Raises:
            HeldBackError: An audit failed.
            SupersededError: Another run delivered the partition meanwhile.
        """
        if isinstance(taken, Holiday):
            return LoadedPartition("", "", 0, is_holiday=True)
        source, version = taken.source, taken.source_version
        if taken.intake is None:
            counts = self.warehouse.row_counts([self.dataset.table], taken.target.partition)
            row_count = counts[self.dataset.table.name]
            return LoadedPartition(source, version, row_count, earlier=self._earlier(taken))
        landed = self.warehouse.land(taken.target, taken.intake.delivery, taken.intake.prepared)
        rows = taken.intake.checked.rows
        return LoadedPartition(
            source,
            version,
            len(rows),
            figures=taken.intake.figures,
            landed=landed,
            first_rows=rows.head(ROWS_SHOWN).drop("part_number"),
        )

    def _earlier(self, taken: ValidatedPartition) -> RecordedLanding | None:
        key, at = taken.target.partition_key, taken.before.landed_at
        return self.warehouse.recorded_landing(self.dataset.table, key, at) if at else None

    def _target(self, key: str, partition: Partition, token: int) -> WriteTarget[None]:
        return WriteTarget(
            table=self.dataset.table,
            history=self.dataset.history,
            partition_key=key,
            partition=self.dataset.partitioning.scope_of(partition),
            token=token,
            metadata_columns=(),
            rule_version=self.dataset.contract.rule_version,
            run_id=self.run_id,
            derive={},
            summarise=no_summary,
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
