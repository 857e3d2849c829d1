"""Schedules that are data: listed with their next runs, edited, and edits tried."""

import json
from collections.abc import Mapping
from typing import Any

from orchestration_project.engine.contracts.api.edits import (
    ScheduleEdited,
    ScheduleList,
    ScheduleShown,
)
from orchestration_project.engine.contracts.edits import REMEDY
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.edits import EditedApi
from orchestration_project.gateway.api.jobs import find_job
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.edits import EditResult
from orchestration_project.services.schedules.jobs import run_config_of
from orchestration_project.services.schedules.rules.schedules import (
    JobShape,
    Schedule,
    StoredSchedule,
    find_partition_problems,
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
    return ScheduleList(schedules=[await _show(call, schedule) for schedule in stored])


async def _judge(call: Call[Any, Any], planned: EditResult[StoredSchedule]) -> None:
    if planned.after is not None and planned.after.schedule.is_enabled:
        await _require_valid(call, planned.after.schedule)


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
        problem = error.problem
        raise ProblemError(
            422, problem.detail, expected=problem.expected, remedy=problem.remedy
        ) from error
    config = json.dumps(run_config_of(schedule))
    data = await call.dagster(ABOUT, job=job.selector, config=config)
    problem, problems = data["isPipelineConfigValid"], list[str]()
    if problem["__typename"] != "PipelineConfigValidationValid":
        problems += [error["message"] for error in problem.get("errors", [problem])]
    problems += find_partition_problems(schedule, _derive_shape(data["assetNodes"]))
    if problems:
        raise ConfigurationError(
            f"invalid schedule {schedule.name}",
            expected="a run config that its job takes, and a partition rule that fits it",
            found="; ".join(problems)[:1000],
            remedy=REMEDY,
        )


def _derive_shape(nodes: list[Mapping[str, Any]]) -> JobShape:
    partitioned = [node for node in nodes if node["isPartitioned"]]
    if not partitioned:
        return JobShape()
    dimensions = partitioned[0]["partitionKeysByDimension"]
    periods = [dimension["name"] for dimension in dimensions if dimension["type"] == "TIME_WINDOW"]
    return JobShape(
        is_partitioned=True,
        is_by_time=len(periods) == 1,
        dimensions={
            dimension["name"]: dimension["partitionKeys"]
            for dimension in dimensions
            if dimension["name"] not in periods
        },
    )


def _read(services: Services) -> list[StoredSchedule]:
    with services.warehouse.reading() as connection:
        return list(SCHEDULE_STORE.read(connection))


async def _show(call: Call[Any, Any], stored: StoredSchedule) -> ScheduleShown:
    schedule = stored.schedule
    return ScheduleShown(
        name=schedule.name,
        version=stored.version_number,
        schedule=schedule.model_dump(),
        next_runs=list(stored.next_runs(call.services.clock.now(), NEXT_SHOWN)),
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
    *EditedApi(
        *(SCHEDULE_STORE, ScheduleEdited, _judge, _show),
        texts={
            "create": "Create a schedule, which its job must be able to take.",
            "try": "Return what an edit would change, and the next runs after it; "
            "nothing is written.",
            "change": "Change a schedule, such as its cadence; `is_enabled` pauses and resumes it.",
            "delete": "Delete a schedule; its versions and launches stay.",
        },
    ).operations,
)
