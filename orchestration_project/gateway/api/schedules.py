"""Schedules that are data: listed with their next runs, edited, and edits tried."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field

from orchestration_project.domains.api.schedules import (
    ScheduleChange,
    ScheduleEdited,
    ScheduleList,
    ScheduleShown,
)
from orchestration_project.domains.operations.scheduled import (
    CatchUp,
    PartitionRule,
    next_times,
)
from orchestration_project.domains.operations.schedules import (
    REMEDY,
    Action,
    EditConflictError,
    JobShape,
    Schedule,
    StoredSchedule,
    UnknownNameError,
    difference,
    partition_problems,
)
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.gateway.api.jobs import find_job
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError, problem_of
from orchestration_project.gateway.api.runs import Name
from orchestration_project.gateway.api.services import Services
from orchestration_project.gateway.request import REQUEST_ID, address_of
from orchestration_project.services.access import AccessLog, AccessLogEntry
from orchestration_project.services.schedules.jobs import run_config_of
from orchestration_project.services.schedules.store import (
    EditResult,
    ScheduleEdit,
    apply_edit,
    plan_edit,
    read_schedules,
)

NEXT_SHOWN = 5

ABOUT = """query ($job: PipelineSelector!, $config: RunConfigData!) {
  isPipelineConfigValid(pipeline: $job, runConfigData: $config, mode: "default") { __typename
    ... on PipelineConfigValidationInvalid { errors { message } }
    ... on Error { message } }
  assetNodes(pipeline: $job) { isPartitioned
    partitionKeysByDimension { name type partitionKeys } } }"""

VERSION = "Version that the edit starts from"


class ScheduleName(Parameters):
    """Schedule to change."""

    name: Name = Field(description="Name of the schedule")


class DeletedSchedule(ScheduleName):
    """Schedule to delete."""

    expected_version: int = Field(ge=1, description=VERSION)


class ScheduleFields(Body):
    """Fields of a schedule; omitted ones keep their value, or have their default."""

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

    @property
    def given(self) -> Mapping[str, Any]:
        """The fields that the request names."""
        fields = self.model_dump(include=set(ScheduleFields.model_fields), exclude_unset=True)
        optional = ("run_config", "preset")
        return {
            name: value for name, value in fields.items() if value is not None or name in optional
        }


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
    return await _edit(call, _edit_of(call, Action.CREATE, body.name, fields=body.given))


async def change_schedule(call: Call[ScheduleName, ChangedSchedule]) -> ScheduleEdited:
    """Change a schedule, such as its cadence; `is_enabled` pauses and resumes it."""
    version, fields = call.body.expected_version, call.body.given
    edit = _edit_of(call, Action.CHANGE, call.query.name, version, fields)
    return await _edit(call, edit)


async def delete_schedule(call: Call[DeletedSchedule, Body]) -> ScheduleEdited:
    """Delete a schedule; its versions and launches stay."""
    edit = _edit_of(call, Action.DELETE, call.query.name, call.query.expected_version)
    return await _edit(call, edit)


async def try_schedule(call: Call[ScheduleName, TriedSchedule]) -> ScheduleEdited:
    """Return what an edit would change, and the next runs after it; nothing is written."""
    body = call.body
    action = Action.CREATE if body.expected_version is None else Action.CHANGE
    edit = _edit_of(call, action, call.query.name, body.expected_version, body.given)
    return await _edit(call, edit, dry_run=True)


def _edit_of(
    call: Call[Any, Any],
    action: Action,
    name: str,
    expected_version: int | None = None,
    fields: Mapping[str, Any] | None = None,
) -> ScheduleEdit:
    at = call.services.clock.now()
    return ScheduleEdit(action, name, call.caller.name, at, fields or {}, expected_version)


async def _edit(
    call: Call[Any, Any], edit: ScheduleEdit, *, dry_run: bool = False
) -> ScheduleEdited:
    """Make an edit once its job was asked; it is in the audit before it is made, and after."""
    services = call.services
    try:
        planned = await services.in_thread(plan_edit, services.warehouse, edit)
        if planned.after is not None and planned.after.schedule.is_enabled:
            await _require_valid(call, planned.after.schedule)
        if dry_run:
            return _edited(planned, edit.at, dry_run=True)
        await _record(call, edit, "asked", step=1)
        try:
            made = await services.in_thread(apply_edit, services.warehouse, edit)
        except OrchestrationError as error:
            await _record(call, edit, "failed", step=2, reason=error.category)
            raise
    except UnknownNameError as error:
        raise problem_of(error, 404) from error
    except EditConflictError as error:
        raise problem_of(error, 409) from error
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    await _record(call, edit, "done", step=2)
    return _edited(made, edit.at, dry_run=False)


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
        return list(read_schedules(connection))


def _shown(stored: StoredSchedule, now: datetime) -> ScheduleShown:
    schedule = stored.schedule
    return ScheduleShown(
        name=schedule.name,
        version=stored.version_number,
        schedule=schedule.model_dump(),
        next_runs=list(next_times(schedule.timetable, now, NEXT_SHOWN))
        if schedule.is_enabled
        else [],
        disabled_reason=stored.disabled_reason,
        edited_by=stored.edited_by,
        edited_at=stored.edited_at,
    )


def _edited(result: EditResult, now: datetime, *, dry_run: bool) -> ScheduleEdited:
    before, after = (each and each.schedule for each in (result.before, result.after))
    return ScheduleEdited(
        dry_run=dry_run,
        version=result.version_number,
        changes=[ScheduleChange(**each) for each in difference(before, after)],
        schedule=_shown(result.after, now) if result.after else None,
    )


async def _record(
    call: Call[Any, Any], edit: ScheduleEdit, outcome: str, *, step: int, reason: str | None = None
) -> None:
    """Record an edit in the audit log; its version has the fields."""
    scope, services = call.request.scope, call.services
    target = {"schedule": edit.name, "action": edit.action.value}
    entry = AccessLogEntry(
        str(scope.get(REQUEST_ID, "")),
        address_of(scope),
        f"{call.request.method} /operations/schedules",
        outcome,
        step=step,
        user=call.caller,
        target=json.dumps(target),
        reason=reason,
    )
    await services.in_thread(AccessLog(services.warehouse, services.clock).record, entry)


PATH = "/operations/schedules"

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
        *(
            "POST",
            f"{PATH}/{{name}}/dry-run",
            "operator",
            "Try an edit of a schedule",
            try_schedule,
        ),
        query=ScheduleName,
        body=TriedSchedule,
        answer=ScheduleEdited,
    ),
    Operation(
        *("POST", f"{PATH}/{{name}}", "admin", "Change a schedule", change_schedule),
        query=ScheduleName,
        body=ChangedSchedule,
        answer=ScheduleEdited,
    ),
    Operation(
        *("DELETE", f"{PATH}/{{name}}", "admin", "Delete a schedule", delete_schedule),
        query=DeletedSchedule,
        answer=ScheduleEdited,
    ),
)
