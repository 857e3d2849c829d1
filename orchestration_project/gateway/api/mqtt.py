"""MQTT's routes of the API: events of the mirror, dead letters, bridges and project state."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Table, select
from starlette.responses import Response

from orchestration_project.domains.mqtt.entities import COMPONENT_STATUSES, TASK_STATUSES
from orchestration_project.domains.mqtt.settings import MqttSettings
from orchestration_project.domains.mqtt.tables import (
    mqtt_bridges,
    mqtt_component_dependencies,
    mqtt_components,
    mqtt_metrics,
    mqtt_projects,
    mqtt_tasks,
)
from orchestration_project.domains.mqtt.topics import TopicFilter, read_topic_filter
from orchestration_project.engine.contracts.api.messages import (
    MqttBridge,
    MqttBridges,
    MqttEntity,
    MqttEvent,
    MqttEvents,
)
from orchestration_project.engine.contracts.api.models import Page
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.gateway.api.data import USUAL_ROWS, Text, page_response, read_page
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import not_found, require_known, wrong_fields
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES, Name
from orchestration_project.gateway.api.services import Services
from orchestration_project.resources.mqtt.kinds import read_kind_files
from orchestration_project.resources.mqtt.ranges import waiting
from orchestration_project.resources.mqtt.reading import (
    EventFilter,
    FoundRows,
    find_dead_letters,
    find_events,
    waiting_outbox,
)
from orchestration_project.tables.catalogue import relation

TOPIC = "Topic filter, with the wildcards + and # of MQTT; default: all topics"


class ArrivalsWanted(Parameters):
    """Filter of what arrived, the latest first."""

    topic: Text | None = Field(None, description=TOPIC)
    kind: Name | None = Field(None, description="Kind, such as project.updated")
    limit: int = Field(USUAL_ROWS, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum of a page")
    cursor: Name | None = Field(None, description="`next_cursor` of the previous page")


class EventsWanted(ArrivalsWanted):
    """Filter of events, the latest arrival first; all given conditions must hold."""

    trace: Name | None = Field(None, description="Trace of the event, a UUID")
    since: Moment | None = Field(None, description="Only events from this time, by their sender")
    until: Moment | None = Field(None, description="Only events before this time, by their sender")


class RowsWanted(Parameters):
    """Page of rows, in the order of their key."""

    limit: int = Field(USUAL_ROWS, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of rows")
    cursor: Text | None = Field(None, description="`next_cursor` of the previous page")


class ProjectsWanted(RowsWanted):
    """Filter of projects."""

    status: Name | None = Field(None, description="Status")
    owner_id: Name | None = Field(None, description="ID of the owner")


class ComponentsWanted(RowsWanted):
    """Filter of components."""

    project_id: Name | None = Field(None, description="ID of the project")
    status: Name | None = Field(None, description="Status, such as blocked")


class DependenciesWanted(RowsWanted):
    """Filter of dependencies between components."""

    component_id: Name | None = Field(None, description="ID of the component")
    depends_on_id: Name | None = Field(None, description="ID of the component that it needs")


class TasksWanted(RowsWanted):
    """Filter of tasks."""

    project_id: Name | None = Field(None, description="ID of the project")
    component_id: Name | None = Field(None, description="ID of the component")
    status: Name | None = Field(None, description="Status, such as review")
    assignee_id: Name | None = Field(None, description="ID of the assignee")


class MetricsWanted(RowsWanted):
    """Filter of metrics."""

    subject_id: Name | None = Field(None, description="ID of the entity that it measures")
    name: Name | None = Field(None, description="Name of the metric")


class ProjectName(Parameters):
    """Project to read."""

    project_id: Name = Field(description="ID of the project")


class ComponentName(Parameters):
    """Component to read."""

    component_id: Name = Field(description="ID of the component")


class TaskName(Parameters):
    """Task to read."""

    task_id: Name = Field(description="ID of the task")


async def list_mqtt_events(call: Call[EventsWanted, Body]) -> MqttEvents:
    """List events of the mirror by topic, kind, trace and time.

    A page may be short, or empty, while there are more: `next_cursor` goes on.
    """
    events_wanted = call.query
    chosen = EventFilter(
        topic=topic_filter(events_wanted.topic),
        kind=events_wanted.kind,
        trace_id=events_wanted.trace and events_wanted.trace.lower(),
        since=events_wanted.since,
        until=events_wanted.until,
        before=read_cursor(events_wanted.cursor),
        limit=events_wanted.limit,
    )
    seconds = call.services.read_seconds
    found_rows = await call.services.in_thread(
        find_events, call.services.warehouse, chosen, seconds=seconds
    )
    if not found_rows.rows:
        await call.services.in_thread(require_kind, call.services, events_wanted.kind)
    return MqttEvents(
        events=[_parse_event(row) for row in found_rows.rows], next_cursor=next_cursor(found_rows)
    )


def require_kind(services: Services, kind: str | None) -> None:
    """Refuse a kind that no file declares, and no event or dead letter has."""
    if kind is None:
        return
    expected_event_filter, seconds = EventFilter(kind=kind, limit=1), services.read_seconds
    for find in (find_events, find_dead_letters):
        if find(services.warehouse, expected_event_filter, seconds=seconds).rows:
            return
    folder = MqttSettings.of(services.settings).mqtt_kinds_path
    require_known("kind", kind, read_kind_files(folder).versions)


async def list_mqtt_bridges(call: Call[Parameters, Body]) -> MqttBridges:
    """List bridges to brokers, and count what waits for the mirror and for the broker."""
    return await call.services.in_thread(_read_bridges, call.services)


def _read_bridges(services: Services) -> MqttBridges:
    with services.warehouse.reading(seconds=services.read_seconds) as connection:
        rows = connection.execute(select(mqtt_bridges).order_by(mqtt_bridges.c.broker)).mappings()
        bridges = [MqttBridge.model_validate(dict(row)) for row in rows]
        publishing = waiting_outbox(connection)
    unread = waiting(services.warehouse)
    return MqttBridges(
        bridges=bridges,
        waiting_count=unread.message_count,
        oldest_waiting_at=unread.oldest_at,
        outbox_count=publishing.row_count,
        oldest_outbox_at=publishing.oldest_at,
    )


async def list_mqtt_projects(call: Call[ProjectsWanted, Body]) -> Response:
    """List projects, folded from their events."""
    return await _list(call, mqtt_projects)


async def list_mqtt_components(call: Call[ComponentsWanted, Body]) -> Response:
    """List components of projects."""
    require_known("status", call.query.status, COMPONENT_STATUSES)
    return await _list(call, mqtt_components)


async def list_mqtt_dependencies(call: Call[DependenciesWanted, Body]) -> Response:
    """List components and others that they need first."""
    return await _list(call, mqtt_component_dependencies)


async def list_mqtt_tasks(call: Call[TasksWanted, Body]) -> Response:
    """List tasks."""
    require_known("status", call.query.status, TASK_STATUSES)
    return await _list(call, mqtt_tasks)


async def list_mqtt_metrics(call: Call[MetricsWanted, Body]) -> Response:
    """List metrics of entities."""
    return await _list(call, mqtt_metrics)


async def read_mqtt_project(call: Call[ProjectName, Body]) -> MqttEntity:
    """Read a project."""
    return await _read(call, "project", call.query.project_id)


async def read_mqtt_component(call: Call[ComponentName, Body]) -> MqttEntity:
    """Read a component."""
    return await _read(call, "component", call.query.component_id)


async def read_mqtt_task(call: Call[TaskName, Body]) -> MqttEntity:
    """Read a task."""
    return await _read(call, "task", call.query.task_id)


def topic_filter(text: str | None) -> TopicFilter | None:
    """Return the topic filter that a parameter is; None: it is not given.

    Raises:
        ProblemError: It is not valid.
    """
    try:
        return None if text is None else read_topic_filter(text)
    except ValueError as error:
        raise wrong_fields([{"loc": ["topic"], "msg": str(error)}]) from error


ENTITY_TABLES: Mapping[Literal["project", "component", "task"], Table] = {
    "project": mqtt_projects,
    "component": mqtt_components,
    "task": mqtt_tasks,
}


async def _list(call: Call[Any, Body], table: Table) -> Response:
    model_dump = call.query.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    wheres = [f"{name}={value}" for name, value in model_dump.items()]
    row_page = await call.services.in_thread(
        read_page,
        call.services,
        relation(table.name),
        [],
        wheres,
        call.query.cursor,
        call.query.limit,
    )
    return page_response(table.name, row_page)


async def _read(
    call: Call[Any, Body], kind: Literal["project", "component", "task"], entity_id: str
) -> MqttEntity:
    table = ENTITY_TABLES[kind]
    [key] = table.primary_key.columns
    row = await call.services.in_thread(
        call.services.warehouse.first, select(table).where(key == entity_id)
    )
    if row is None:
        raise not_found(f"{kind} not found: {entity_id}")
    return MqttEntity(entity_type=kind, entity_id=entity_id, row=dict(row))


def _parse_event(row: Mapping[str, Any]) -> MqttEvent:
    return MqttEvent.model_validate({**row, "payload": json.loads(row["payload"])})


def next_cursor(found: FoundRows) -> str | None:
    """Return the cursor of the next page; None: there is none."""
    return None if found.next_before is None else str(found.next_before)


def read_cursor(cursor: str | None) -> int | None:
    """Return the arrival before which a page begins; None: it is the first page.

    Raises:
        ProblemError: The cursor is invalid.
    """
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        problem = "invalid cursor: expected `next_cursor` of the previous page, e.g. 1200"
        raise wrong_fields([{"loc": ["cursor"], "msg": problem}])
    return int(cursor)


OPERATIONS = (
    Operation(
        "GET",
        "/mqtt/events",
        "viewer",
        "List MQTT events",
        list_mqtt_events,
        query=EventsWanted,
        answer=MqttEvents,
    ),
    Operation(
        "GET",
        "/mqtt/bridges",
        "viewer",
        "List MQTT bridges",
        list_mqtt_bridges,
        answer=MqttBridges,
    ),
    Operation(
        "GET",
        "/mqtt/projects",
        "viewer",
        "List projects",
        list_mqtt_projects,
        query=ProjectsWanted,
        answer=Page,
    ),
    Operation(
        "GET",
        "/mqtt/projects/{project_id}",
        "viewer",
        "Read a project",
        read_mqtt_project,
        query=ProjectName,
        answer=MqttEntity,
    ),
    Operation(
        "GET",
        "/mqtt/components",
        "viewer",
        "List components",
        list_mqtt_components,
        query=ComponentsWanted,
        answer=Page,
    ),
    Operation(
        "GET",
        "/mqtt/components/{component_id}",
        "viewer",
        "Read a component",
        read_mqtt_component,
        query=ComponentName,
        answer=MqttEntity,
    ),
    Operation(
        "GET",
        "/mqtt/component-dependencies",
        "viewer",
        "List dependencies of components",
        list_mqtt_dependencies,
        query=DependenciesWanted,
        answer=Page,
    ),
    Operation(
        "GET",
        "/mqtt/tasks",
        "viewer",
        "List tasks",
        list_mqtt_tasks,
        query=TasksWanted,
        answer=Page,
    ),
    Operation(
        "GET",
        "/mqtt/tasks/{task_id}",
        "viewer",
        "Read a task",
        read_mqtt_task,
        query=TaskName,
        answer=MqttEntity,
    ),
    Operation(
        "GET",
        "/mqtt/metrics",
        "viewer",
        "List metrics",
        list_mqtt_metrics,
        query=MetricsWanted,
        answer=Page,
    ),
)
