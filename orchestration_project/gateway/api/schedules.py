"""Schedules that are data: listed with their next runs, edited, and edits tried."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from orchestration_project.contracts.api.edits import ScheduleEdited, ScheduleList, ScheduleShown
from orchestration_project.contracts.edits import REMEDY, Action
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.edits import (
    DeletedName,
    EditedName,
    EditFields,
    edit_operations,
    make_edit,
)
from orchestration_project.gateway.api.jobs import find_job
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.edits import Edit, EditResult
from orchestration_project.services.schedules.jobs import run_config_of
from orchestration_project.services.schedules.rules.schedules import (
    SCHEDULE_KIND,
    JobShape,
    Schedule,
    StoredSchedule,
    partition_problems,
)
from orchestration_project.services.schedules.store import SCHEDULE_STORE

NEXT_SHOWN = 5

ABOUT = """query ($job: PipelineSelector!, $config: RunConfigData!) {
  isPipelineConfigValid(pipeline: $job, runConfigData: $config, mode: "default") { __typename
    ... on PipelineConfigValidationInvalid { errors { message } }
    ... on Error { message } }
  assetNodes(pipeline: $job) { isPartitioned
    partitionKeysByDimension { name type partitionKeys } } }"""


async def list_operations_schedules(call: Call[Parameters, Body]) -> ScheduleList:
    """List the schedules that are data, with their next runs."""
    stored = await call.services.in_thread(_read, call.services)
    now = call.services.clock.now()
    return ScheduleList(schedules=[_shown(each, now) for each in stored])


async def create_schedule(call: Call[Parameters, EditFields]) -> ScheduleEdited:
    """Create a schedule, which its job must be able to take."""
    return await _edit(call, Action.CREATE)


async def change_schedule(call: Call[EditedName, EditFields]) -> ScheduleEdited:
    """Change a schedule, such as its cadence; `is_enabled` pauses and resumes it."""
    return await _edit(call, Action.CHANGE)


async def delete_schedule(call: Call[DeletedName, Body]) -> ScheduleEdited:
    """Delete a schedule; its versions and launches stay."""
    return await _edit(call, Action.DELETE)


async def try_schedule(call: Call[EditedName, EditFields]) -> ScheduleEdited:
    """Return what an edit would change, and the next runs after it; nothing is written."""
    return await _edit(call, None)


async def _edit(call: Call[Any, Any], action: Action | None) -> ScheduleEdited:
    """Make an edit, or try it, once its job was asked."""

    async def judge(_: Edit, planned: EditResult[StoredSchedule]) -> None:
        if planned.after is not None and planned.after.schedule.is_enabled:
            await _require_valid(call, planned.after.schedule)

    edited, stored = await make_edit(call, SCHEDULE_STORE, action, judge)
    shown = _shown(stored, call.services.clock.now()) if stored else None
    return ScheduleEdited(**dict(edited), schedule=shown)


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


OPERATIONS = (
    Operation(
        "GET",
        "/operations/schedules",
        *("viewer", "List schedules that are data", list_operations_schedules),
        answer=ScheduleList,
    ),
    *edit_operations(
        SCHEDULE_KIND,
        ScheduleEdited,
        create=create_schedule,
        attempt=try_schedule,
        change=change_schedule,
        delete=delete_schedule,
    ),
)
