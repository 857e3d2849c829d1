"""Schedules that are data: their fields, what is valid, and what an edit makes of one."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from orchestration_project.engine.contracts.cron import MAX_CHARACTERS, read_cron
from orchestration_project.engine.contracts.edits import (
    MAX_NAME_CHARACTERS,
    NAME,
    Definition,
    EditedKind,
    Stored,
)
from orchestration_project.services.schedules.rules.timetable import (
    MAX_CATCH_UP,
    CatchUp,
    PartitionRule,
    Timetable,
    find_next_times,
)

MAX_PARTITION_DAYS = 366

ZONE = re.compile(r"[A-Za-z0-9_+/-]{1,100}", re.ASCII)


class Schedule(Definition):
    """A schedule.

    The API, the edits and their differences have these fields; `operations_schedules` has a column
    for each.
    """

    job: str = Field(min_length=1, max_length=MAX_NAME_CHARACTERS, description="Job that it starts")
    cron: str = Field(max_length=MAX_CHARACTERS, description="Cron expression of five fields")
    timezone: str = Field(default="UTC", description="Time zone of the cron expression")
    partitions: PartitionRule = Field(
        default="none",
        description="Partition rule: none, latest (the last complete period), previous (the one "
        "before) or days_before",
    )
    days_before: int = Field(
        default=0,
        ge=0,
        le=MAX_PARTITION_DAYS,
        description="Days between the partition and the due time, of the rule days_before",
    )
    partition_values: dict[str, str] = Field(
        default={}, description="Values of the other dimensions of a partition"
    )
    run_config: dict[str, Any] | None = Field(default=None, description="Run config of its runs")
    preset: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_NAME_CHARACTERS,
        description="Preset whose run config its runs have, in place of run_config",
    )
    catch_up: CatchUp = Field(
        default="latest",
        description="Rule for due times that no tick saw in time: none, latest or all",
    )
    max_catch_up: int = Field(
        default=10, ge=1, le=MAX_CATCH_UP, description="Most runs that one tick starts"
    )
    is_enabled: bool = Field(default=True, description="Whether it starts runs; false pauses it")
    owner: str = Field(
        default="",
        max_length=MAX_NAME_CHARACTERS,
        description="Person or team that answers for it",
    )
    flag: str | None = Field(
        default=None,
        pattern=NAME,
        description="Flag that must hold for a due time, or for its partition; null: each starts "
        "a run",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.run_config is not None and self.preset is not None:
            raise ValueError("expected run_config or preset, e.g. preset: full, found both")
        if self.partitions != "days_before" and self.days_before:
            raise ValueError("days_before needs partitions: days_before")
        if self.partitions == "none" and self.partition_values:
            raise ValueError("partition_values need a partition rule, e.g. partitions: latest")
        try:
            read_cron(self.cron)
        except ValueError as error:
            raise ValueError(f"invalid cron: {error}") from error
        read_zone(self.timezone)
        return self

    @property
    def timetable(self) -> Timetable:
        """When it is due."""
        return Timetable(read_cron(self.cron), read_zone(self.timezone))


def read_zone(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        ValueError: The machine has no time zone of that name.
    """
    try:
        if ZONE.fullmatch(name):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: a folder of zones
        pass
    raise ValueError(f"invalid timezone: expected a name, e.g. Europe/Berlin, found {name[:60]!r}")


SCHEDULE_KIND = EditedKind(
    "schedule",
    Schedule,
    "name, job and cron, e.g. {name: nightly, job: prices_daily, cron: 0 6 * * *}",
)


@dataclass(frozen=True)
class StoredSchedule(Stored[Schedule]):
    """A schedule in effect.

    Attributes:
        disabled_reason: Why the sensor disabled it.
        next_due_at: When it is due next.
    """

    disabled_reason: str | None = None
    next_due_at: datetime | None = None

    @property
    def schedule(self) -> Schedule:
        """Its definition."""
        return self.definition

    def next_runs(self, after: datetime, count: int) -> Sequence[datetime]:
        """Return its next ``count`` due times; empty: it is not enabled."""
        enabled = self.schedule.is_enabled
        return find_next_times(self.schedule.timetable, after, count) if enabled else []


@dataclass(frozen=True)
class JobShape:
    """Partitions of the runs of a job.

    Attributes:
        is_partitioned: Whether a run needs a partition.
        is_by_time: Whether its partitions, or one dimension of them, are periods of time.
        dimensions: The other dimensions, and their values.
    """

    is_partitioned: bool = False
    is_by_time: bool = False
    dimensions: Mapping[str, Sequence[str]] = field(default_factory=dict)


def find_partition_problems(schedule: Schedule, shape: JobShape) -> list[str]:
    """Return why the partition rule of a schedule does not fit its job; empty: it does."""
    if not shape.is_partitioned:
        if schedule.partitions == "none":
            return []
        return [f"the job {schedule.job} has no partitions: expected partitions: none"]
    if schedule.partitions == "none":
        return [f"a run of {schedule.job} needs a partition: expected e.g. partitions: latest"]
    if not shape.is_by_time:
        return [f"the partitions of {schedule.job} are not periods of time: no rule chooses one"]
    partition_values, problems = schedule.partition_values, list[str]()
    for name, values in shape.dimensions.items():
        if partition_values.get(name) not in values:
            text = ", ".join(values[:10])
            problems.append(f"partition_values.{name}: expected one of {text}")
    if unknown := sorted(partition_values.keys() - shape.dimensions.keys()):
        expected = ", ".join(shape.dimensions) or "none"
        problems.append(f"unknown partition_values: {unknown[0]}, expected {expected}")
    return problems
