"""Schedules that are data: listed with their next runs, edited, and edits tried."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field

from orchestration_project.contracts.api.edits import ScheduleEdited, ScheduleList, ScheduleShown
from orchestration_project.contracts.edits import REMEDY, Action
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.edits import (
    VERSION,
    DeletedName,
    EditedName,
    EditFields,
    changes_of,
    edit_of,
    make_edit,
)
from orchestration_project.gateway.api.jobs import find_job
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.gateway.api.runs import Name
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.edits import Edit, EditResult
from orchestration_project.services.schedules.jobs import run_config_of
from orchestration_project.services.schedules.rules.schedules import (
    JobShape,
    Schedule,
    StoredSchedule,
    partition_problems,
)
from orchestration_project.services.schedules.rules.timetable import CatchUp, PartitionRule
from orchestration_project.services.schedules.store import SCHEDULE_STORE

NEXT_SHOWN = 5

ABOUT = """query ($job: PipelineSelector!, $config: RunConfigData!) {
  isPipelineConfigValid(pipeline: $job, runConfigData: $config, mode: "default") { __typename
    ... on PipelineConfigValidationInvalid { errors { message } }
    ... on Error { message } }
  assetNodes(pipeline: $job) { isPartitioned
    partitionKeysByDimension { name type partitionKeys } } }"""


class ScheduleFields(EditFields):
    """Fields of a schedule; omitted ones keep their value, or have their default."""

    NULLABLE = frozenset({"run_config", "preset", "flag"})

    job: Name | None = Field(None, description="Job that it starts")
    cron: Name | None = Field(None, description="Cron expression of five fields")
    timezone: Name | None = Field(None, description="Time zone of the cron expression")
    partitions: PartitionRule | None = Field(None, description="Partition rule")
    days_before: int | None = Field(None, description="Days of the rule days_before")
    partition_values: dict[str, str] | None = Field(None, description="Other dimensions")
    run_config: dict[str, Any] | None = Field(None, description="Run config of its runs")
    preset: Name | None = Field(None, description="Preset in place of a run config")
    catch_up: CatchUp | None = Field(None, description="Rule for due times that were missed")
    max_catch_up: int | None = Field(None, description="Most runs that one tick starts")
    is_enabled: bool | None = Field(None, description="Whether it starts runs; false pauses it")
    owner: str | None = Field(None, description="Person or team that answers for it")
    flag: Name | None = Field(None, description="Flag that must hold for a due time")


class NewSchedule(ScheduleFields):
    """Schedule to create."""

    name: Name = Field(description="Name of the schedule")


class ChangedSchedule(ScheduleFields):
    """Fields that change."""

    expected_version: int = Field(ge=1, description=VERSION)


class TriedSchedule(ScheduleFields):
    """Edit to try: without a version a new schedule, with one a change."""

    expected_version: int | None = Field(None, ge=1, description=VERSION)


async def list_operations_schedules(call: Call[Parameters, Body]) -> ScheduleList:
    """List the schedules that are data, with their next runs."""
    stored = await call.services.in_thread(_read, call.services)
    now = call.services.clock.now()
    return ScheduleList(schedules=[_shown(each, now) for each in stored])


async def create_schedule(call: Call[Parameters, NewSchedule]) -> ScheduleEdited:
    """Create a schedule, which its job must be able to take."""
    body = call.body
    return await _edit(call, edit_of(call, Action.CREATE, body.name, fields=body.given))


async def change_schedule(call: Call[EditedName, ChangedSchedule]) -> ScheduleEdited:
    """Change a schedule, such as its cadence; `is_enabled` pauses and resumes it."""
    version, fields = call.body.expected_version, call.body.given
    edit = edit_of(call, Action.CHANGE, call.query.name, version, fields)
    return await _edit(call, edit)


async def delete_schedule(call: Call[DeletedName, Body]) -> ScheduleEdited:
    """Delete a schedule; its versions and launches stay."""
    edit = edit_of(call, Action.DELETE, call.query.name, call.query.expected_version)
    return await _edit(call, edit)


async def try_schedule(call: Call[EditedName, TriedSchedule]) -> ScheduleEdited:
    """Return what an edit would change, and the next runs after it; nothing is written."""
    body = call.body
    action = Action.CREATE if body.expected_version is None else Action.CHANGE
    edit = edit_of(call, action, call.query.name, body.expected_version, body.given)
    return await _edit(call, edit, dry_run=True)


async def _edit(call: Call[Any, Any], edit: Edit, *, dry_run: bool = False) -> ScheduleEdited:
    """Make an edit once its job was asked."""

    async def judge(_: Edit, planned: EditResult[StoredSchedule]) -> None:
        if planned.after is not None and planned.after.schedule.is_enabled:
            await _require_valid(call, planned.after.schedule)

    result = await make_edit(call, SCHEDULE_STORE, edit, judge, dry_run=dry_run)
    return ScheduleEdited(
        dry_run=dry_run,
        version=result.version_number,
        changes=changes_of(SCHEDULE_STORE, result),
        schedule=_shown(result.after, edit.at) if result.after else None,
    )


async def _require_valid(call: Call[Any, Any], schedule: Schedule) -> None:
    """Make sure that a job can take what a schedule starts.

    Raises:
        ConfigurationError: The preset, run config or partition rule does not fit it.
        ProblemError: The job is missing.
    """
    try:
        job = await find_job(call, schedule.job)
    except ProblemError as error:
        if error.problem.status != 404:
            raise
        found = error.problem
        raise ProblemError(
            422, found.detail, expected=found.expected, remedy=found.remedy
        ) from error
    config = json.dumps(run_config_of(schedule))
    data = await call.dagster(ABOUT, job=job.selector, config=config)
    found, problems = data["isPipelineConfigValid"], list[str]()
    if found["__typename"] != "PipelineConfigValidationValid":
        problems += [each["message"] for each in found.get("errors", [found])]
    problems += partition_problems(schedule, _shape(data["assetNodes"]))
    if problems:
        raise ConfigurationError(
            f"invalid schedule {schedule.name}",
            expected="a run config that its job takes, and a partition rule that fits it",
            found="; ".join(problems)[:1000],
            remedy=REMEDY,
        )


def _shape(nodes: list[Mapping[str, Any]]) -> JobShape:
    partitioned = [each for each in nodes if each["isPartitioned"]]
    if not partitioned:
        return JobShape()
    dimensions = partitioned[0]["partitionKeysByDimension"]
    periods = [each["name"] for each in dimensions if each["type"] == "TIME_WINDOW"]
    return JobShape(
        is_partitioned=True,
        is_by_time=len(periods) == 1,
        dimensions={
            each["name"]: each["partitionKeys"]
            for each in dimensions
            if each["name"] not in periods
        },
    )


def _read(services: Services) -> list[StoredSchedule]:
    with services.warehouse.reading() as connection:
        return list(SCHEDULE_STORE.read(connection))


def _shown(stored: StoredSchedule, now: datetime) -> ScheduleShown:
    schedule = stored.schedule
    return ScheduleShown(
        name=schedule.name,
        version=stored.version_number,
        schedule=schedule.model_dump(),
        next_runs=list(stored.next_runs(now, NEXT_SHOWN)),
        disabled_reason=stored.disabled_reason,
        edited_by=stored.edited_by,
        edited_at=stored.edited_at,
    )


PATH = "/operations/schedules"
NAMED = f"{PATH}/{{name}}"

OPERATIONS = (
    Operation(
        *("GET", PATH, "viewer", "List schedules that are data", list_operations_schedules),
        answer=ScheduleList,
    ),
    Operation(
        *("POST", PATH, "admin", "Create a schedule", create_schedule),
        body=NewSchedule,
        answer=ScheduleEdited,
        status=201,
    ),
    Operation(
        *("POST", f"{NAMED}/dry-run", "operator", "Try an edit of a schedule", try_schedule),
        query=EditedName,
        body=TriedSchedule,
        answer=ScheduleEdited,
    ),
    Operation(
        *("POST", NAMED, "admin", "Change a schedule", change_schedule),
        query=EditedName,
        body=ChangedSchedule,
        answer=ScheduleEdited,
    ),
    Operation(
        *("DELETE", NAMED, "admin", "Delete a schedule", delete_schedule),
        query=DeletedName,
        answer=ScheduleEdited,
    ),
)
