"""A dataset as a declaration: its table, source, partitions and contract, and who reads it how.

`LoadSpec` is what `DatasetLoader` (engine/loader.py) loads. A `Dataset` is one that its fields
declare: it stands in the domain's catalog module, or beside hand-written assets, and the factories
of assets and sensors show it in Dagster. A spec with rules of its own is a class of its domain.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import polars as pl
from sqlalchemy import Column, Connection, Table

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import (
    Audit,
    CompletenessLimits,
    Validated,
)
from orchestration_project.engine.contracts.balance import CountRecords
from orchestration_project.engine.contracts.contract import Contract, validate
from orchestration_project.engine.contracts.delimited import Parsed
from orchestration_project.engine.contracts.failures import NO_DATA, NOT_PUBLISHED
from orchestration_project.engine.contracts.key_ranges import SpillStore
from orchestration_project.engine.contracts.partitioning import (
    A_DAY,
    Calendar,
    Partition,
    Partitioning,
)
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.engine.source import Source
from orchestration_project.engine.warehouse import (
    BatchFigures,
    Delivery,
    LoadRecord,
    TableSpec,
    ValidatedBatch,
    Warehouse,
    WriteResult,
    WriteTarget,
)
from orchestration_project.engine.warehouse.delivery import read_quarantined_keys, skip_warnings
from orchestration_project.engine.warehouse.fencing import (
    count_loaded_rows,
    read_loaded_partitions,
)
from orchestration_project.engine.warehouse.target import (
    Dependents,
    Derive,
    MergeSummaries,
    Summarise,
    SummaryT,
    WriteDisposition,
    skip_summary,
)
from orchestration_project.settings import Settings
from orchestration_project.settings.checks import CheckLimits
from orchestration_project.tables.schema import asset_of_table

if TYPE_CHECKING:  # commands read when datasets are due, and import no Dagster
    import dagster as dg

NOT_REQUESTED = "not asked"
"""Outcome of a partition of which a source deliberately got no request."""

REQUEST_HINT = "to ask the source: --full, or full: true in the run's config"

AfterLoad = Callable[[Connection, WriteTarget, Delivery, datetime], None]
"""Writes what belongs to a delivery that was just loaded, at a time of UTC; its error undoes it."""

ROWS_SHOWN = 20
"""Rows of a loaded partition of a declared dataset that its metadata shows."""


@dataclass(frozen=True)
class Announcement(Generic[SummaryT]):
    """Changes of a load with this ``cause`` (a `change_cause`), in figures and a sentence."""

    cause: str
    figures: SummaryT
    sentence: str


PreviewT = TypeVar("PreviewT", covariant=True)
"""Preview of a loaded partition."""


@dataclass(frozen=True)
class LoadedPartition(Generic[SummaryT, PreviewT]):
    """How a partition was loaded, in figures: a run keeps one of these for each of its partitions.

    Without ``write_result``, there was nothing new since ``earlier``.

    Attributes:
        row_counts: Rows of the partition by table: the dataset's first, then derived ones.
        preview: What people see of it, if its load was written.
        is_holiday: Whether it has no data by its calendar.
        is_requested: Whether the source was asked for it.
        unpublished_until: Of one that its source does not have yet: the day of its publication.
        changes: What its load changed, if it wrote rows; before that, what earlier loads changed
            and Dagster has no event of.
        known_from: Of what is loaded now, unless the run that loaded it is still to report that.
    """

    source: str
    source_version: str
    row_counts: Mapping[str, int]
    earlier: LoadRecord | None = None
    figures: BatchFigures | None = None
    write_result: WriteResult[SummaryT] | None = None
    staged_name: str = ""
    preview: PreviewT | None = None
    is_holiday: bool = False
    is_requested: bool = True
    unpublished_until: date | None = None
    changes: Sequence[Announcement[SummaryT]] = ()
    known_from: datetime | None = None

    def __str__(self) -> str:
        if self.is_holiday:
            remark = "" if self.is_requested else f"; {NOT_REQUESTED}; {REQUEST_HINT}"
            return f"no data: a holiday of the source{remark}"
        if self.unpublished_until is not None:
            return f"not published until {self.unpublished_until}"
        if self.write_result is None or self.figures is None:
            return f"unchanged; source {self.source}"
        warnings = self.write_result.warnings
        unusual = f"; unusual: {', '.join(warnings)}" if warnings else ""
        rejected = f"{self.figures.rejects} rejected; source {self.source}"
        return f"{self.write_result.in_words}, {rejected}{unusual}"

    @property
    def has_data(self) -> bool:
        """Whether the source has it: no holiday, and published."""
        return not self.is_holiday and self.unpublished_until is None

    @property
    def without_data(self) -> Mapping[str, str]:
        """Metadata of a partition without data: it has neither failed nor been quarantined."""
        if self.unpublished_until is None:
            return {"outcome": NO_DATA, "reason": str(self)}
        return {
            "outcome": NOT_PUBLISHED,
            "reason": str(self),
            "what_to_do": "nothing: a sensor loads it once the source has it",
        }

    @property
    def row_count(self) -> int:
        """Rows of the partition in the dataset's table."""
        return next(iter(self.row_counts.values()), 0)

    @property
    def announced_until(self) -> datetime | None:
        """Until when its event announces the loads of the partition; None: it announces none."""
        if self.write_result is not None:
            return self.write_result.known_from
        return self.known_from if self.changes else None


@dataclass(frozen=True)
class LoadLimits:
    """Settings of a dataset's loads.

    Attributes:
        first_day: Partitions begin at this day.
        horizon: How far back sensors look for partitions that were never loaded.
        max_reject_ratio: Rejected share of lines (0-1) above which a partition is quarantined.
        freshness_grace: After a partition's due day, until it counts as late.
        max_runs_per_tick: Runs that a sensor tick may request.
    """

    first_day: date
    horizon: timedelta
    max_reject_ratio: float
    freshness_grace: timedelta
    max_runs_per_tick: int


class DatasetLoad(NamedTuple):
    """A dataset as a run loads it now, by the present rules and settings.

    Attributes:
        dataset: The dataset.
        first_day: A partition of an earlier day is refused; None: none is.
        max_reject_ratio: Rejected share of lines (0-1) above which a partition is quarantined.
    """

    dataset: "LoadSpec[Any, Any]"
    first_day: date | None
    max_reject_ratio: float


@dataclass(frozen=True)
class DatasetLoads:
    """Registers the datasets of a domain that are loaded by partition.

    `read` returns them; the time is the project's present one.
    """

    read: Callable[[Settings, datetime], Sequence[DatasetLoad]]


def read_declared_loads(
    datasets: "Sequence[Dataset]", settings: Settings, now: datetime
) -> Sequence[DatasetLoad]:
    """Return declared datasets as runs load them."""
    loads: list[DatasetLoad] = []
    for dataset in datasets:
        today = now.astimezone(ZoneInfo(dataset.partitioning.calendar.zone)).date()
        limits, checks = dataset.limits(settings, today), settings.checks_of(dataset.domain)
        judged = replace(dataset, completeness=find_dataset_completeness(dataset, checks))
        loads.append(DatasetLoad(judged, limits.first_day, limits.max_reject_ratio))
    return loads


def _return_same(resource: Any) -> Any:
    return resource


def find_completeness(checks: CheckLimits, table: Table) -> CompletenessLimits:
    """Return when a delivery of a table is too small to be loaded, as `checks.yaml` says."""
    return CompletenessLimits(**checks.completeness_of(table.name).model_dump())


def find_dataset_completeness(dataset: "Dataset", checks: CheckLimits) -> CompletenessLimits:
    """Return the same of a declared dataset, which may have a ratio of its own."""
    limits = find_completeness(checks, dataset.table)
    ratio = dataset.min_size_ratio
    if ratio is None:
        return limits
    return replace(limits, min_key_ratio=ratio, min_factor=1 / ratio, max_factor=1 / ratio)


ChangeT = TypeVar("ChangeT")
"""Summary of a change."""


@dataclass(frozen=True, kw_only=True)
class LoadSpec(ABC, Generic[ChangeT, PreviewT]):
    """Declaration that `DatasetLoader` needs to load a table from a source by partition.

    Attributes:
        domain: The domain's name: group and first part of the asset's key.
        table: Where it is loaded; it has a history.
        partitioning: Which partitions there are.
        source_of: Returns the source, by what the dataset's Dagster resource gives.
        source_dataset: What the source calls it; blank: each version or extraction names it.
        count_records: Counts the records of raw bytes, apart from what makes rows of them;
            `NOT_COUNTED`: they cannot be counted apart.
        source_setting: The setting that chooses the source, for messages; blank: none is named.
        declared_in: The file that declares its fields, for messages.
        transforms: Tables derived of a partition, in the transaction that loads it.
        dependents: Tables derived later, whose rows a load marks stale.
        metadata_columns: Columns whose change alone is not a restatement.
        summarise: Sums up what a load changed.
        merge: Puts summaries of several ranges together; None: its rows never come in ranges.
        figures_type: The type of a summary, which is stored as JSON until it is announced.
        is_staged: Whether valid rows are stored as a Parquet file before they are loaded.
        write_disposition: What a delivery of its source does to the loaded rows of its partition.
        completeness: When a delivery is too small to be loaded.
        after_load: Writes what belongs to a delivery, in the transaction that loaded it; None:
            nothing does.
    """

    domain: str
    table: Table
    partitioning: Partitioning
    source_of: Callable[[Any], Source] = _return_same
    source_dataset: str
    count_records: CountRecords | None
    source_setting: str = ""
    declared_in: str = ""
    transforms: Derive = field(default_factory=dict)
    dependents: Dependents = field(default_factory=dict)
    metadata_columns: Sequence[str] = ()
    summarise: Summarise[ChangeT]
    merge: MergeSummaries | None = None
    figures_type: Any = None
    is_staged: bool = False
    write_disposition: WriteDisposition = "replace_scope"

    completeness: CompletenessLimits = field(default_factory=CompletenessLimits)
    after_load: AfterLoad | None = None

    @property
    def noun(self) -> str:
        """The asset's name within its domain."""
        return asset_of_table(self.table).split("/")[1]

    @property
    def key(self) -> "dg.AssetKey":
        """The asset."""
        import dagster as dg

        return dg.AssetKey([self.domain, self.noun])

    @property
    @abstractmethod
    def rule_version(self) -> str:
        """Raised with every change that could make other rows of the same bytes."""

    @property
    def table_spec(self) -> TableSpec[ChangeT]:
        """How deliveries are written to its table."""
        return TableSpec(
            table=self.table,
            rule_version=self.rule_version,
            metadata_columns=self.metadata_columns,
            transforms=self.transforms,
            dependents=self.dependents,
            summarise=self.summarise,
            merge=self.merge,
            write_disposition=self.write_disposition,
        )

    @property
    def known_fields(self) -> Mapping[str, str]:
        """The type of each declared field, by name, to compare with those that a source lists."""
        return {}

    @abstractmethod
    def validate(
        self,
        partition: Partition,
        pieces: Iterable[Sequence[Part]],
        *,
        record_total: int | None,
        max_reject_ratio: float,
        spill: Callable[[], SpillStore],
    ) -> Validated:
        """Return the rows, rejects and audits of a delivery.

        Args:
            partition: The partition that it is for.
            pieces: Its bytes, as many at a time as are read together; one piece at least.
            record_total: How many rows the source promised; None: it promised none.
            max_reject_ratio: Rejected share of lines (0-1) above which it is quarantined.
            spill: Returns the store for rows that are too many for memory.

        Raises:
            ContractError: The bytes are not those of the dataset.
        """

    def warn(
        self, partition: Partition, connection: Connection, batches: Sequence[ValidatedBatch[Any]]
    ) -> Sequence[Sequence[Audit]]:
        """Compare each delivery of a partition with what is loaded, before it is written."""
        return skip_warnings(connection, batches)

    def neighbour_rows(
        self, partition: Partition, connection: Connection, batch: ValidatedBatch[Any]
    ) -> Sequence[int]:
        """Return the rows of the nearest loaded partitions, the nearest first.

        A delivery of a part of its partition, or of a holiday, is like no other.
        """
        calendar = self.partitioning.calendar
        if batch.delivery.scope or calendar.is_holiday(partition.day):
            return ()
        keys = self.partitioning.nearest(
            partition,
            read_loaded_partitions(connection, self.table),
            self.completeness.neighbour_count,
        )
        counts = count_loaded_rows(connection, self.table, keys)
        return [counts[key] for key in keys if key in counts]

    def describe(
        self, partition: Partition, delivery: Delivery, write_result: WriteResult[ChangeT]
    ) -> str:
        """Return in a sentence what the load of a delivery changed."""
        key = self.partitioning.key_of(partition)
        return f"{self.table.name}, {key}: {write_result.in_words}."

    @abstractmethod
    def preview(self, batch: ValidatedBatch[ChangeT], warehouse: Warehouse) -> PreviewT:
        """Return the preview of a partition in which ``batch`` has just been written."""


@dataclass(frozen=True, kw_only=True)
class Dataset(LoadSpec[None, pl.DataFrame]):
    """A dataset that its fields declare: all that is needed to load it and to show it in Dagster.

    Attributes:
        contract: What a delivery must be.
        parse: Makes texts of a delivery's bytes, for the contract.
        resource: The name of the Dagster resource that gives its source.
        source_label: What people call it, such as "FINRA's corporateMarketBreadth".
        source_description: The same for the catalogue, such as "the dataset group/name".
        limits: Returns what the settings say of its loads; the day is today's.
        licence: The terms under which it is available.
        owners: Dagster's owners of its assets.
        lists_fields: Whether its source can list fields, so that changed ones are noticed.
        made_of: For tables that are derived with it, by name: the columns of its table that each
            column is made of.
        reread_count: How many of the newest partitions of each value a poll reads again, of a
            source that does not say when a row changed; a backfill reads older ones.
        min_size_ratio: Share of the loaded keys, and of the usual rows of a partition, that a
            delivery has at least, in place of what `checks.yaml` says; None: that.
    """

    contract: Contract
    parse: Callable[[Sequence[Part], Partition], Parsed]
    resource: str
    source_label: str
    source_description: str
    limits: Callable[[Settings, date], LoadLimits]
    licence: str
    owners: Sequence[str] = ("team:market-data",)
    lists_fields: bool = False
    made_of: Mapping[str, Mapping[str, Sequence[Column[Any]]]] = field(default_factory=dict)
    reread_count: int = 4
    min_size_ratio: float | None = None
    summarise: Summarise[None] = skip_summary

    @property
    def job_name(self) -> str:
        """The job that loads it."""
        return f"{self.domain}_{self.noun}"

    @property
    def derived_keys(self) -> "Mapping[Table, dg.AssetKey]":
        """The assets of the tables that a load derives in its transaction."""
        import dagster as dg

        return {table: dg.AssetKey(asset_of_table(table).split("/")) for table in self.transforms}

    @property
    def asset_keys(self) -> "Sequence[dg.AssetKey]":
        """All assets that a load materializes."""
        return [self.key, *self.derived_keys.values()]

    @property
    def op_name(self) -> str:
        """The op that loads it."""
        return f"{self.job_name}_load"

    @property
    def rule_version(self) -> str:
        """As the contract says."""
        return self.contract.rule_version

    @property
    def known_fields(self) -> Mapping[str, str]:
        """The type of each field of the contract, by name."""
        return {own_field.name: own_field.kind for own_field in self.contract.fields}

    def validate(
        self,
        partition: Partition,
        pieces: Iterable[Sequence[Part]],
        *,
        record_total: int | None,
        max_reject_ratio: float,
        spill: Callable[[], SpillStore],
    ) -> Validated:
        """Parse a delivery, all of it at once, and apply the contract; nothing is spilled."""
        parts = list(chain.from_iterable(pieces))
        return validate(
            self.contract,
            self.parse(parts, partition),
            parts,
            partition_texts=self.partitioning.texts_of(partition),
            record_total=record_total,
            max_reject_ratio=max_reject_ratio,
        )

    def preview(self, batch: ValidatedBatch[None], warehouse: Warehouse) -> pl.DataFrame:
        """Return the first rows."""
        return batch.validated.rows.head(ROWS_SHOWN).drop("part_number")


def build_partitions(
    partitioning: Partitioning, start: date, *, now: date, machine_now: date
) -> "dg.PartitionsDefinition":
    """Return the days from ``start`` that name partitions, and the other value that names them.

    A day is there from its morning on; one that names the period which it begins, once that is
    over. Dagster ends partitions by ``machine_now``; the offset makes that the project's ``now``.
    All three are days in the calendar's time zone.
    """
    import dagster as dg

    calendar = partitioning.calendar
    ahead = calendar.days_between(machine_now + A_DAY, now)
    behind = calendar.days_between(now + A_DAY, machine_now)
    days = dg.TimeWindowPartitionsDefinition(
        start=calendar.first_from(start).isoformat(),
        end=None if calendar.last_day is None else _find_end(calendar.last_day, calendar),
        fmt="%Y-%m-%d",
        timezone=calendar.zone,
        cron_schedule=calendar.cron,
        end_offset=0
        if calendar.last_day is not None
        else len(ahead) - len(behind) + (not calendar.begins_periods),
    )
    if not partitioning.value_column:
        return days
    values = dg.StaticPartitionsDefinition(list(partitioning.values))
    return dg.MultiPartitionsDefinition(
        {partitioning.day_column: days, partitioning.value_column: values}
    )


def _find_end(last_day: date, calendar: Calendar) -> str:
    """Return the end of the partition that ``last_day`` names, which is the last one."""
    return replace(calendar, last_day=None).first_from(last_day + A_DAY).isoformat()


def read_oldest_missing(
    dataset: Dataset, settings: Settings, warehouse: Warehouse, clock: Clock
) -> OldestMissing | None:
    """Return the oldest partition of a dataset that is due and missing; None: there is none.

    What is newer than the loaded partitions of a value is due; an empty table waits for none.
    """
    partitioning = dataset.partitioning
    calendar = partitioning.calendar
    grace = dataset.limits(settings, clock.today(calendar.zone)).freshness_grace
    late = sorted(
        Partition(day, newest.value)
        for newest in partitioning.newest_loaded(warehouse.changes(dataset.table))
        for day in calendar.late_days(newest.day, now=clock.now(), grace=grace)
    )
    if not late:
        return None
    midnight = datetime.combine(
        partitioning.published_on(late[0]), time(), tzinfo=ZoneInfo(calendar.zone)
    )
    keys = [partitioning.key_of(partition) for partition in late]
    with warehouse.reading() as connection:
        quarantined = read_quarantined_keys(connection, dataset.table)
    return OldestMissing(
        f"{dataset.domain}/{dataset.noun}",
        keys[0],
        midnight.astimezone(UTC) + grace,
        missing_count=len(late),
        quarantined_count=len(quarantined.intersection(keys)),
    )
