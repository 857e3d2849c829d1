"""Schedules and sensors: listed with their last ticks, switched on and off."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field

from orchestration_project.engine.contracts.api.models import (
    Automation,
    Automations,
    Switched,
    Tick,
)
from orchestration_project.gateway.api.dagster import result
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.gateway.api.runs import Name

MAX_TICKS = 100

LIST = """query ($ticks: Int!) { repositoriesOrError { __typename
  ... on RepositoryConnection { nodes { name location { name }
    schedules { name description pipelineName cronSchedule executionTimezone
      scheduleState { ...State } }
    sensors { name description minIntervalSeconds targets { pipelineName }
      sensorState { ...State } } } }
  ... on Error { message } } }
fragment State on InstigationState { id selectorId status
  ticks(limit: $ticks) { timestamp status skipReason runIds error { message } } }"""

START_SCHEDULE = """mutation ($selector: ScheduleSelector!) {
  changed: startSchedule(scheduleSelector: $selector) { __typename
    ... on ScheduleStateResult { scheduleState { status } } ... on Error { message } } }"""
STOP_SCHEDULE = """mutation ($id: String) {
  changed: stopRunningSchedule(id: $id) { __typename
    ... on ScheduleStateResult { scheduleState { status } } ... on Error { message } } }"""
START_SENSOR = """mutation ($selector: SensorSelector!) {
  changed: startSensor(sensorSelector: $selector) { __typename
    ... on Sensor { sensorState { status } } ... on Error { message } } }"""
STOP_SENSOR = """mutation ($id: String) {
  changed: stopSensor(id: $id) { __typename
    ... on StopSensorMutationResult { instigationState { status } } ... on Error { message } } }"""

SWITCHES = {
    ("schedule", "start"): START_SCHEDULE,
    ("schedule", "stop"): STOP_SCHEDULE,
    ("sensor", "start"): START_SENSOR,
    ("sensor", "stop"): STOP_SENSOR,
}
CHANGED = ("ScheduleStateResult", "Sensor", "StopSensorMutationResult")

Kind = Literal["schedule", "sensor"]
Action = Literal["start", "stop"]


class TicksWanted(Parameters):
    """How much of the past."""

    ticks: int = Field(5, ge=0, le=MAX_TICKS, description="Number of latest ticks of each")


class AutomationName(Parameters):
    """Schedule or sensor, and the action."""

    name: Name = Field(description="Its name")
    action: Action = Field(description="Switch it on or off")


async def list_schedules(call: Call[TicksWanted, Body]) -> Automations:
    """List schedules, whether they run, and their last ticks."""
    return await _list(call, "schedule")


async def list_sensors(call: Call[TicksWanted, Body]) -> Automations:
    """List sensors, whether they run, and their last ticks."""
    return await _list(call, "sensor")


async def _list(call: Call[TicksWanted, Body], kind: Kind) -> Automations:
    entries = await _fetch_entries(call, kind, call.query.ticks)
    automations = [_build_automation(entry, entry[f"{kind}State"]) for entry in entries.values()]
    return Automations(automations=automations)


async def _fetch_entries(
    call: Call[Any, Any], kind: Kind, ticks: int
) -> dict[str, Mapping[str, Any]]:
    """Return GraphQL's node of each schedule or sensor, with its location, by name."""
    data = await call.dagster(LIST, ticks=ticks)
    nodes = result(data, "repositoriesOrError", "RepositoryConnection")["nodes"]
    return {
        item["name"]: {**item, "repository": node["name"], "location": node["location"]["name"]}
        for node in nodes
        for item in sorted(node[f"{kind}s"], key=lambda each: each["name"])
    }


def _build_automation(found: Mapping[str, Any], state: Mapping[str, Any]) -> Automation:
    targets = [target["pipelineName"] for target in found.get("targets") or []]
    job = found.get("pipelineName")
    return Automation(
        name=found["name"],
        description=found["description"],
        jobs=[job] if job else sorted(set(targets)),
        is_on=state["status"] == "RUNNING",
        cron=found.get("cronSchedule"),
        timezone=found.get("executionTimezone"),
        interval_seconds=found.get("minIntervalSeconds"),
        ticks=[_build_tick(each) for each in state["ticks"]],
    )


def _build_tick(found: Mapping[str, Any]) -> Tick:
    return Tick(
        at=datetime.fromtimestamp(found["timestamp"], UTC),
        status=found["status"],
        run_ids=found["runIds"],
        said=found["error"]["message"] if found["error"] else found["skipReason"],
    )


async def switch_schedule(call: Call[AutomationName, Body]) -> Switched:
    """Switch a schedule on or off."""
    return await _switch(call, "schedule")


async def switch_sensor(call: Call[AutomationName, Body]) -> Switched:
    """Switch a sensor on or off."""
    return await _switch(call, "sensor")


async def _switch(call: Call[AutomationName, Body], kind: Kind) -> Switched:
    name, action = call.query.name, call.query.action
    entries = await _fetch_entries(call, kind, 0)
    if name not in entries:
        raise ProblemError(
            404, f"{kind} not found: {name!r}", expected=f"one of {', '.join(sorted(entries))}"
        )
    values = entries[name]
    selector = {
        f"{kind}Name": name,
        "repositoryName": values["repository"],
        "repositoryLocationName": values["location"],
    }
    of_state = values[f"{kind}State"]["id"]
    variables = {"selector": selector} if action == "start" else {"id": of_state}
    result(await call.dagster(SWITCHES[kind, action], **variables), "changed", *CHANGED)
    now = (await _fetch_entries(call, kind, 0))[name]
    return Switched(name=name, is_on=now[f"{kind}State"]["status"] == "RUNNING")


OPERATIONS = (
    Operation(
        "GET",
        "/schedules",
        "viewer",
        "List schedules",
        list_schedules,
        query=TicksWanted,
        answer=Automations,
    ),
    Operation(
        "GET",
        "/sensors",
        "viewer",
        "List sensors",
        list_sensors,
        query=TicksWanted,
        answer=Automations,
    ),
    Operation(
        "POST",
        "/schedules/{name}/{action}",
        "operator",
        "Switch a schedule",
        switch_schedule,
        query=AutomationName,
        answer=Switched,
    ),
    Operation(
        "POST",
        "/sensors/{name}/{action}",
        "operator",
        "Switch a sensor",
        switch_sensor,
        query=AutomationName,
        answer=Switched,
    ),
)
