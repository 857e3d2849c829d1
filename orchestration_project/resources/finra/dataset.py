"""The load of one partition of a declared dataset, from its source to its landed table."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import partial

import polars as pl

from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.rules import Validated
from orchestration_project.domains.finra.dataset_rows import checked_dataset
from orchestration_project.domains.finra.datasets import DatasetPartition, partition_of, scope_of
from orchestration_project.domains.finra.fields import Drift, drift, remembered
from orchestration_project.engine.captures import Capture, Captures
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
from orchestration_project.resources.finra.opening import DatasetSource, FinraDatasets
from orchestration_project.tables.finra_datasets import Dataset
from orchestration_project.tables.spine import source_fields


def remember_fields(
    warehouse: Warehouse, clock: Clock, listed: Mapping[str, str], *, source: str, dataset: str
) -> pl.DataFrame:
    """Record which fields (name and type) a source lists now; return all that is known of them.

    Runs of one dataset begin together and look at the same: each that another one overtook reads
    anew what that wrote, so that one of them goes on each time.
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


ROWS_SHOWN = 20


@dataclass(frozen=True)
class TakenPartition:
    """A partition that was read and checked; without intake, what is landed is current."""

    order: WriteTarget[None]
    source: str
    source_version: str
    before: ScopeState
    intake: Intake | None = None


@dataclass(frozen=True)
class LoadedPartition:
    """How a partition was loaded; without ``landed``, there was nothing new since ``earlier``.

    ``first_rows`` are some of its rows, for people.
    """

    source: str
    source_version: str
    row_count: int
    earlier: RecordedLanding | None = None
    figures: IntakeFigures | None = None
    landed: WriteResult[None] | None = None
    first_rows: pl.DataFrame | None = None

    def __str__(self) -> str:
        if self.landed is None or self.figures is None:
            return f"unchanged; source {self.source}"
        return f"{self.landed.in_words}, {self.figures.rejects} rejected; source {self.source}"


@dataclass(frozen=True)
class LookAtFields:
    """What a run found of the fields that the source lists; of files, nothing."""

    differences: Sequence[Drift] = ()
    listed_count: int | None = None


@dataclass
class DatasetLoad:
    """Loads partitions of ``dataset``.

    ``force`` replaces what came from another source; ``replay`` takes what was kept of each
    partition's latest delivery, or of ``group_id``, instead of asking the source; ``allow_older``
    lets that replace what was fetched later. ``fields`` is what `ready` found of the source's.
    """

    dataset: Dataset
    datasets: FinraDatasets
    warehouse: Warehouse
    artifacts: ArtifactStore
    clock: Clock
    today: date
    run_id: str
    max_reject_ratio: float
    force: bool = False
    replay: bool = False
    group_id: str | None = None
    allow_older: bool = False
    fields: LookAtFields = field(default_factory=LookAtFields, init=False)

    @property
    def where(self) -> Mapping[str, str]:
        """What an error names besides partition and run."""
        return {"asset": f"finra/{self.dataset.noun}", "dataset": self.dataset.name}

    def ready(self) -> None:
        """Open what is used, and look whether the source still has the fields that we know.

        Raises:
            OrchestrationError: Something cannot be opened, or the source does not answer.
            ContractError: A field that is asked for is gone.
        """
        open_all(self.warehouse, self.artifacts)
        if self.replay:
            return
        open_all(self.datasets)
        source = self._source()
        listed = source.fields(self.dataset)
        if listed is None:
            return
        seen = remember_fields(
            self.warehouse, self.clock, listed, source=source.name, dataset=self.dataset.name
        )
        known = self.dataset.known_fields
        self.fields = LookAtFields(drift(seen, known), len(listed))
        gone = [each.field_name for each in self.fields.differences if each.what == "missing"]
        if gone:
            raise ContractError(
                f"{self.dataset.name} lacks {', '.join(gone)}: it is not the dataset that we know",
                expected=", ".join(known),
                found=", ".join(sorted(listed))[:1000],
                remedy="compare /metadata with the declaration in tables/finra_datasets.py, which "
                "has to follow it; nothing was asked for and nothing landed",
            )

    def take(self, key: str) -> TakenPartition:
        """Fetch a partition and check it.

        Raises:
            OrchestrationError: As the source, the contract and the key's rules do.
        """
        partition = partition_of(self.dataset, key, today=self.today)
        if self.replay:
            kept = kept_of(self.warehouse, self.dataset.table, key, self.group_id, self.allow_older)
            captures = partial(captures_of, self.warehouse, self.artifacts, kept.chosen)
            return self._taken(
                key,
                partition,
                kept.state,
                kept.delivery(()),
                lambda _: kept.delivery(list(captures())),
            )
        source, state = self._source(), self.warehouse.state(self.dataset.table, key)
        self._refuse_other_source(key, state.source, source)

        def read(kept: list[Capture]) -> Delivery:
            reading = source.read(self.dataset, partition, kept)
            return self._delivery(source, reading.version, reading.record_total, reading.captures)

        intended = self._delivery(source, "", None, ())
        return self._taken(key, partition, state, intended, read)

    def _taken(
        self,
        key: str,
        partition: DatasetPartition,
        state: ScopeState,
        intended: Delivery,
        read: Read,
    ) -> TakenPartition:
        """Read and check a delivery, and compare it with what is landed."""

        def check(delivery: Delivery) -> Validated:
            return checked_dataset(
                self.dataset,
                Captures(self.artifacts).parts(delivery.captures),
                partition=partition,
                record_total=delivery.record_total,
                max_reject_ratio=self.max_reject_ratio,
            )

        order = self._order(key, partition, state.token)
        intake = take(self.warehouse, order, intended, read, check)
        is_new = intake.checked.is_held_back or not is_landed(
            state, order, intake.delivery, intake.prepared
        )
        source, version = intake.delivery.source, intake.delivery.source_version
        return TakenPartition(order, source, version, state, intake if is_new else None)

    def land(self, taken: TakenPartition) -> LoadedPartition:
        """Land a taken partition, in one transaction.

        Raises:
            HeldBackError: An audit failed.
            SupersededError: Another run delivered the partition meanwhile.
        """
        source, version = taken.source, taken.source_version
        if taken.intake is None:
            counts = self.warehouse.row_counts([self.dataset.table], taken.order.partition)
            row_count = counts[self.dataset.table.name]
            return LoadedPartition(source, version, row_count, earlier=self._earlier(taken))
        landed = self.warehouse.land(taken.order, taken.intake.delivery, taken.intake.prepared)
        rows = taken.intake.checked.rows
        return LoadedPartition(
            source,
            version,
            len(rows),
            figures=taken.intake.figures,
            landed=landed,
            first_rows=rows.head(ROWS_SHOWN).drop("part_number"),
        )

    def _earlier(self, taken: TakenPartition) -> RecordedLanding | None:
        key, at = taken.order.partition_key, taken.before.landed_at
        return self.warehouse.recorded_landing(self.dataset.table, key, at) if at else None

    def _source(self) -> DatasetSource:
        return self.datasets.of(self.dataset)

    def _order(self, key: str, partition: DatasetPartition, token: int) -> WriteTarget[None]:
        return WriteTarget(
            table=self.dataset.table,
            history=self.dataset.history,
            partition_key=key,
            partition=scope_of(self.dataset, partition),
            token=token,
            metadata_columns=(),
            rule_version=self.dataset.rule_version,
            run_id=self.run_id,
            derive={},
            summarise=no_summary,
        )

    def _delivery(
        self,
        source: DatasetSource,
        version: str,
        record_total: int | None,
        captures: Sequence[Capture],
    ) -> Delivery:
        return Delivery(
            source=source.name,
            dataset=self.dataset.name,
            source_version=version,
            record_total=record_total,
            scope={},
            captures=captures,
        )

    def _refuse_other_source(self, key: str, landed: str | None, source: DatasetSource) -> None:
        if landed not in (None, source.name) and not self.force:
            raise ConfigurationError(
                f"{key} of {self.dataset.table.name} was landed from another source",
                expected=f"more from {landed}",
                found=f"source {source.name}",
                remedy="set the source back, use another DATABASE_URL, or replace the partition by "
                "force: true in the run's config",
            )
