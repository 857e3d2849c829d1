"""Schedules that are data: their fields, what is valid, and what an edit makes of one."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestration_project.domains.operations.cron import MAX_CHARACTERS, read_cron
from orchestration_project.domains.operations.scheduled import (
    MAX_CATCH_UP,
    CatchUp,
    PartitionRule,
    Timetable,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.redaction import redacted
from orchestration_project.settings.yaml import reason_of

NAME = r"^[a-z][a-z0-9_]{0,59}$"
MAX_CONFIG_CHARACTERS = 16_000
MAX_PARTITION_DAYS = 366
MAX_NAME_CHARACTERS = 200

ZONE = re.compile(r"[A-Za-z0-9_+/-]{1,100}", re.ASCII)

REMEDY = "correct the fields, and repeat the edit; a dry run shows what it would change"


class EditConflictError(ConfigurationError):
    """Another edit came first: the version is not the expected one, or the name is taken."""


class UnknownNameError(ConfigurationError):
    """No schedule or flag has the name."""


class Action(StrEnum):
    """Edits of a schedule."""

    CREATE = "create"
    CHANGE = "change"
    PAUSE = "pause"
    RESUME = "resume"
    DELETE = "delete"


class Schedule(BaseModel):
    """A schedule.

    Attributes:
        name: Its name.
        job: Job that it starts.
        cron: Cron expression of five fields.
        timezone: Time zone of the cron expression.
        partitions: Partition rule: none, latest (the last complete period), previous (the one
            before) or days_before.
        days_before: Days between the partition and the due time, of the rule days_before.
        partition_values: Values of the other dimensions of a partition.
        run_config: Run config of its runs.
        preset: Preset whose run config its runs have, in place of ``run_config``.
        catch_up: Rule for due times that no tick saw in time: none, latest or all.
        max_catch_up: Most runs that one tick starts.
        is_enabled: Whether it starts runs.
        owner: Person or team that answers for it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(pattern=NAME)
    job: str = Field(min_length=1, max_length=MAX_NAME_CHARACTERS)
    cron: str = Field(max_length=MAX_CHARACTERS)
    timezone: str = "UTC"
    partitions: PartitionRule = "none"
    days_before: int = Field(default=0, ge=0, le=MAX_PARTITION_DAYS)
    partition_values: dict[str, str] = {}
    run_config: dict[str, Any] | None = None
    preset: str | None = Field(default=None, min_length=1, max_length=MAX_NAME_CHARACTERS)
    catch_up: CatchUp = "latest"
    max_catch_up: int = Field(default=10, ge=1, le=MAX_CATCH_UP)
    is_enabled: bool = True
    owner: str = Field(default="", max_length=MAX_NAME_CHARACTERS)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.run_config is not None and self.preset is not None:
            raise ValueError("expected run_config or preset, e.g. preset: full, found both")
        if self.partitions != "days_before" and self.days_before:
            raise ValueError("days_before needs partitions: days_before")
        if self.partitions == "none" and self.partition_values:
            raise ValueError("partition_values need a partition rule, e.g. partitions: latest")
        _require_plain(self.model_dump())
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


def _require_plain(fields: Mapping[str, Any]) -> None:
    """Make sure that fields can be stored, and have no secret that this process knows."""
    try:
        written = json.dumps(fields, allow_nan=False)
        json.dumps(fields, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError("expected values of JSON, e.g. {'ops': {}}") from error
    if len(written) > MAX_CONFIG_CHARACTERS:
        raise ValueError(f"expected at most {MAX_CONFIG_CHARACTERS} characters as JSON")
    if "\\u0000" in written:
        raise ValueError("expected texts without NUL, e.g. 'full'")
    if redacted(written) != written:
        raise ValueError("expected no secret in a schedule, e.g. {'env': 'API_KEY'}")


def read_schedule(fields: Mapping[str, Any]) -> Schedule:
    """Return the schedule of these fields.

    Raises:
        ConfigurationError: One is missing or invalid; all are named.
    """
    try:
        return Schedule.model_validate(dict(fields))
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, each['loc'])) or 'the schedule'}: {reason_of(each)}"
            for each in error.errors(include_url=False)
        ]
        raise ConfigurationError(
            "invalid schedule",
            expected="name, job and cron, e.g. {name: nightly, job: prices_daily, cron: 0 6 * * *}",
            found="; ".join(problems),
            remedy=REMEDY,
        ) from None
    except RecursionError:
        raise ConfigurationError("invalid schedule: expected values that nest less") from None


@dataclass(frozen=True)
class StoredSchedule:
    """A schedule in effect.

    Attributes:
        version_number: Its version, from 1.
        disabled_reason: Why the sensor disabled it.
        next_due_at: When it is due next.
    """

    schedule: Schedule
    version_number: int
    edited_by: str
    edited_at: datetime
    disabled_reason: str | None = None
    next_due_at: datetime | None = None


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


def partition_problems(schedule: Schedule, shape: JobShape) -> list[str]:
    """Return why the partition rule of a schedule does not fit its job; empty: it does."""
    if not shape.is_partitioned:
        if schedule.partitions == "none":
            return []
        return [f"the job {schedule.job} has no partitions: expected partitions: none"]
    if schedule.partitions == "none":
        return [f"a run of {schedule.job} needs a partition: expected e.g. partitions: latest"]
    if not shape.is_by_time:
        return [f"the partitions of {schedule.job} are not periods of time: no rule chooses one"]
    given, problems = schedule.partition_values, list[str]()
    for name, values in shape.dimensions.items():
        if given.get(name) not in values:
            shown = ", ".join(values[:10])
            problems.append(f"partition_values.{name}: expected one of {shown}")
    if unknown := sorted(given.keys() - shape.dimensions.keys()):
        expected = ", ".join(shape.dimensions) or "none"
        problems.append(f"unknown partition_values: {unknown[0]}, expected {expected}")
    return problems


def edited(
    action: Action,
    name: str,
    before: StoredSchedule | None,
    fields: Mapping[str, Any],
    expected_version: int | None,
) -> Schedule | None:
    """Return what an edit makes of a schedule; None: it is deleted.

    Args:
        action: The edit.
        name: Name of the schedule.
        before: The schedule in effect; None: there is none.
        fields: Fields of a new schedule, or those that change.
        expected_version: Version that the editor has seen; a new schedule has none.

    Raises:
        UnknownNameError: No schedule has the name.
        EditConflictError: Its version is another one, or the name is taken.
        ConfigurationError: A field is invalid.
    """
    if action is Action.CREATE:
        if before is not None:
            raise EditConflictError(
                f"the schedule {name} exists",
                expected="a name that no schedule has",
                found=f"version {before.version_number}, by {before.edited_by}",
                remedy="change it, or choose another name",
            )
        return read_schedule({**fields, "name": name})
    if before is None:
        raise UnknownNameError(
            f"schedule not found: {name[:60]!r}", remedy="list the schedules, or create it"
        )
    if expected_version != before.version_number:
        raise EditConflictError(
            f"the schedule {name} was edited meanwhile"
            if expected_version is not None
            else f"the edit of {name} names no expected_version",
            expected=f"expected_version {before.version_number}",
            found=f"{expected_version}; {before.edited_by} made version {before.version_number} at "
            f"{before.edited_at:%Y-%m-%d %H:%M} UTC",
            remedy="read the schedule again, and repeat the edit with its version",
        )
    if action is Action.DELETE:
        return None
    changes: Mapping[str, Any] = fields if action is Action.CHANGE else {}
    if "name" in changes and changes["name"] != name:
        raise ConfigurationError(
            "invalid schedule: its name cannot change",
            expected=name,
            remedy="create a schedule of the new name, and delete this one",
        )
    if action in (Action.PAUSE, Action.RESUME):
        changes = {"is_enabled": action is Action.RESUME}
    return read_schedule({**before.schedule.model_dump(), **changes})


def difference(before: Schedule | None, after: Schedule | None) -> list[dict[str, str]]:
    """Return a row per field that an edit changes: its name, and its values as JSON."""
    old, new = (each.model_dump() if each else {} for each in (before, after))
    return [
        {
            "field": name,
            "before": json.dumps(old.get(name), sort_keys=True) if before else "",
            "after": json.dumps(new.get(name), sort_keys=True) if after else "",
        }
        for name in Schedule.model_fields
        if before is None or after is None or old[name] != new[name]
    ]
