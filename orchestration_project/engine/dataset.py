"""A dataset as a declaration: its table, source, partitions and contract, and who reads it how.

A `Dataset` value stands in the domain's catalog module, or beside hand-written assets.
`DatasetLoader` (engine/loader.py) loads it; the factories of assets and sensors show it in Dagster.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple, Protocol

import dagster as dg
from sqlalchemy import Table

from orchestration_project.contracts.contract import Contract
from orchestration_project.contracts.delimited import Parsed
from orchestration_project.contracts.partitioning import A_DAY, Partition, Partitioning
from orchestration_project.contracts.rules import Part
from orchestration_project.engine.captures import Capture
from orchestration_project.settings import Settings
from orchestration_project.tables.schema import HISTORY, asset_of


class PartitionList(NamedTuple):
    """The partitions that a source has now, oldest first, and values that are not known."""

    known: Sequence[Partition]
    unknown_values: Sequence[str] = ()


@dataclass(frozen=True)
class Extraction:
    """A partition as it was read from its source.

    Attributes:
        captures: What makes it up, in order.
        version: Identifies this state of the source, such as a hash of the rows.
        record_total: How many rows the source promised; None: it promises none.
    """

    captures: Sequence[Capture]
    version: str
    record_total: int | None = None


class Source(Protocol):
    """Where a dataset's partitions come from; a class of a domain implements it."""

    @property
    def name(self) -> str:
        """What captures and loads are recorded under, such as api, files or demo."""
        ...

    def partitions(self) -> PartitionList:
        """Return the partitions that can be read now.

        Raises:
            OrchestrationError: The source does not answer, or cannot be used.
        """
        ...

    def fields(self) -> Mapping[str, str] | None:
        """Return the type of each field that it lists, by name; None: it lists none."""
        return None

    def extract(self, partition: Partition, captures: list[Capture]) -> Extraction:
        """Read a partition; append all that was fetched to ``captures``, usable or not.

        Raises:
            MovedError: The source changed meanwhile: the read is repeated.
            TransientError: It did not answer in full: another attempt may help.
            SourceError: The source lacks the partition, it is empty, or it cannot be used.
        """
        ...


@dataclass(frozen=True)
class LoadLimits:
    """What the settings say of a dataset's loads.

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


def _same(resource: Any) -> Any:
    return resource


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """All that is needed to load a table from a source, partition by partition.

    Attributes:
        domain: The domain's name: group and first part of the asset's key.
        table: Where it is loaded; it has a history.
        contract: What a delivery must be.
        partitioning: Which partitions there are.
        parse: Makes texts of a delivery's bytes, for the contract.
        resource: The name of the Dagster resource that gives its source.
        source_of: Returns the source, by what that resource gives.
        source_dataset: What the source calls it.
        source_label: What people call it, such as "FINRA's corporateMarketBreadth".
        source_description: The same for the catalogue, such as "the dataset group/name".
        limits: Returns what the settings say of its loads; the day is today's.
        licence: The terms under which it is available.
        owners: Dagster's owners of its assets.
        lists_fields: Whether its source can list fields, so that changed ones are noticed.
        declared_in: The file that declares its fields, for messages.
    """

    domain: str
    table: Table
    contract: Contract
    partitioning: Partitioning
    parse: Callable[[Sequence[Part], Partition], Parsed]
    resource: str
    source_of: Callable[[Any], Source] = _same
    source_dataset: str
    source_label: str
    source_description: str
    limits: Callable[[Settings, date], LoadLimits]
    licence: str
    owners: Sequence[str] = ("team:market-data",)
    lists_fields: bool = False
    declared_in: str = ""

    @property
    def noun(self) -> str:
        """The asset's name within its domain."""
        return asset_of(self.table.name).split("/")[1]

    @property
    def key(self) -> dg.AssetKey:
        """The asset."""
        return dg.AssetKey([self.domain, self.noun])

    @property
    def job_name(self) -> str:
        """The job that loads it."""
        return f"{self.domain}_{self.noun}"

    @property
    def replay_job_name(self) -> str:
        """The job that loads what was recorded of it."""
        return f"{self.job_name}_replay"

    @property
    def op_name(self) -> str:
        """The op that loads it."""
        return f"{self.job_name}_load"

    @property
    def history(self) -> Table:
        """Where replaced and removed rows go."""
        return self.table.info[HISTORY]


def dagster_partitions(
    partitioning: Partitioning, start: date, *, now: date, machine_now: date
) -> dg.PartitionsDefinition:
    """Return the days from ``start`` that name partitions, and the other value that names them.

    A day is there from its morning on; one that names the period which it begins, once that is
    over. Dagster ends partitions by ``machine_now``; the offset makes that the project's ``now``.
    All three are days in the calendar's time zone.
    """
    calendar = partitioning.calendar
    ahead = calendar.days_between(machine_now + A_DAY, now)
    behind = calendar.days_between(now + A_DAY, machine_now)
    days = dg.TimeWindowPartitionsDefinition(
        start=calendar.first_from(start).isoformat(),
        fmt="%Y-%m-%d",
        timezone=calendar.zone,
        cron_schedule=calendar.cron,
        end_offset=len(ahead) - len(behind) + (not calendar.begins_periods),
    )
    if not partitioning.value_column:
        return days
    values = dg.StaticPartitionsDefinition(list(partitioning.values))
    return dg.MultiPartitionsDefinition(
        {partitioning.day_column: days, partitioning.value_column: values}
    )
