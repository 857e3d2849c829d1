"""Commands of the API: projects, components and tasks that are created, updated and deleted."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from orchestration_project.domains.mqtt.settings import MqttSettings
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.contracts.api.messages import MqttEntity
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.errors import OrchestrationError
from orchestration_project.gateway.api.audit import record
from orchestration_project.gateway.api.mqtt import ComponentName, ProjectName, TaskName
from orchestration_project.gateway.api.once import request_key
from orchestration_project.gateway.api.operation import (
    Body,
    Call,
    Operation,
    Parameters,
)
from orchestration_project.gateway.api.problems import ProblemError, wrong_fields
from orchestration_project.gateway.api.runs import Name
from orchestration_project.gateway.request import REQUEST_ID
from orchestration_project.resources.mqtt.commands import (
    Command,
    CommandResult,
    EntityType,
    RefusedCommandError,
    execute,
)
from orchestration_project.resources.mqtt.commands import Operation as Change
from orchestration_project.resources.mqtt.opening import open_mirror

LongText = Annotated[str, StringConstraints(max_length=10_000)]

KEY_HEADER = {
    "Idempotency-Key": "A name for this request: the same again changes nothing more; another "
    "request with it gets 409"
}
STATUSES = {"missing": 404, "conflict": 409}


class _ProjectValues(Body):
    description: LongText | None = Field(None, description="Description; null: none")
    status: Literal["planning", "active", "paused", "done"] | None = Field(
        None, description="Status"
    )
    owner_id: Name | None = Field(None, description="ID of the owner; null: none")
    metadata: dict[str, Any] | None = Field(None, description="Further values; null: none")


class NewProject(_ProjectValues):
    """A project to create."""

    project_id: Name | None = Field(None, description="ID; not given: a UUID")
    name: Name = Field(description="Name")


class ProjectFields(_ProjectValues):
    """Fields of a project; those that are not given stay as they are."""

    name: Name | None = Field(None, description="Name")


class _ComponentValues(Body):
    status: Literal["pending", "in_progress", "completed", "blocked"] | None = Field(
        None, description="Status"
    )
    progress: int | None = Field(None, ge=0, le=100, description="Progress, 0 to 100")
    position: int | None = Field(
        None, ge=0, lt=2**63, description="Place among the components; null: none"
    )


class NewComponent(_ComponentValues):
    """A component to create."""

    component_id: Name | None = Field(None, description="ID; not given: a UUID")
    project_id: Name = Field(description="ID of its project")
    name: Name = Field(description="Name")


class ComponentFields(_ComponentValues):
    """Fields of a component; those that are not given stay as they are."""

    project_id: Name | None = Field(None, description="ID of its project")
    name: Name | None = Field(None, description="Name")


class _TaskValues(Body):
    component_id: Name | None = Field(None, description="ID of its component; null: none")
    status: Literal["todo", "in_progress", "review", "done"] | None = Field(
        None, description="Status"
    )
    assignee_id: Name | None = Field(None, description="ID of the assignee; null: none")
    due_at: Moment | None = Field(None, description="Time at which it is due; null: none")
    completed_at: Moment | None = Field(
        None, description="Time of its completion; null: not completed"
    )


class NewTask(_TaskValues):
    """A task to create."""

    task_id: Name | None = Field(None, description="ID; not given: a UUID")
    project_id: Name = Field(description="ID of its project")
    title: Name = Field(description="Title")


class TaskFields(_TaskValues):
    """Fields of a task; those that are not given stay as they are."""

    project_id: Name | None = Field(None, description="ID of its project")
    title: Name | None = Field(None, description="Title")


async def create_mqtt_project(call: Call[Parameters, NewProject]) -> MqttEntity:
    """Create a project, and publish its event."""
    return await _answer_created(call, "project", call.body.project_id)


async def update_mqtt_project(call: Call[ProjectName, ProjectFields]) -> MqttEntity:
    """Update the given fields of a project, and publish its event."""
    return await _answer_changed(call, "project", "updated", call.query.project_id)


async def delete_mqtt_project(call: Call[ProjectName, Body]) -> MqttEntity:
    """Delete a project, and publish its event; its components and tasks stay."""
    return await _answer_changed(call, "project", "deleted", call.query.project_id)


async def create_mqtt_component(call: Call[Parameters, NewComponent]) -> MqttEntity:
    """Create a component, and publish its event."""
    return await _answer_created(call, "component", call.body.component_id)


async def update_mqtt_component(call: Call[ComponentName, ComponentFields]) -> MqttEntity:
    """Update the given fields of a component, and publish its event."""
    return await _answer_changed(call, "component", "updated", call.query.component_id)


async def delete_mqtt_component(call: Call[ComponentName, Body]) -> MqttEntity:
    """Delete a component, and publish its event; its dependencies and tasks stay."""
    return await _answer_changed(call, "component", "deleted", call.query.component_id)


async def create_mqtt_task(call: Call[Parameters, NewTask]) -> MqttEntity:
    """Create a task, and publish its event."""
    return await _answer_created(call, "task", call.body.task_id)


async def update_mqtt_task(call: Call[TaskName, TaskFields]) -> MqttEntity:
    """Update the given fields of a task, and publish its event."""
    return await _answer_changed(call, "task", "updated", call.query.task_id)


async def delete_mqtt_task(call: Call[TaskName, Body]) -> MqttEntity:
    """Delete a task, and publish its event."""
    return await _answer_changed(call, "task", "deleted", call.query.task_id)


async def _answer_created(
    call: Call[Any, Any], entity_type: EntityType, entity_id: str | None
) -> MqttEntity:
    return await _answer(call, entity_type, "created", entity_id, without=f"{entity_type}_id")


async def _answer_changed(
    call: Call[Any, Any], entity_type: EntityType, change: Change, entity_id: str
) -> MqttEntity:
    return await _answer(call, entity_type, change, entity_id)


async def _answer(
    call: Call[Any, Any],
    entity_type: EntityType,
    change: Change,
    entity_id: str | None,
    *,
    without: str = "",
) -> MqttEntity:
    fields = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in call.body.model_dump(exclude_unset=True, exclude={without}).items()
    }
    if change == "updated" and not fields:
        raise wrong_fields([{"loc": ["body"], "msg": "expected at least one field"}])
    command = Command(
        entity_type=entity_type,
        operation=change,
        entity_id=entity_id,
        fields=fields,
        user_name=call.caller.name,
        request_key=request_key(call),
    )
    await _record(call, command, "asked", step=1)
    try:
        command_result = await call.services.in_thread(_execute, call, command)
    except RefusedCommandError as error:
        await _record(call, command, "failed", step=2, reason=error.why)
        if error.why == "invalid":
            raise wrong_fields([{"loc": ["body"], "msg": str(error)}]) from error
        raise ProblemError(STATUSES[error.why], str(error)) from error
    except OrchestrationError as error:
        await _record(call, command, "failed", step=2, reason=error.category)
        raise
    await _record(call, command, "done", step=2, entity_id=command_result.entity_id)
    return MqttEntity(
        entity_type=entity_type,
        entity_id=command_result.entity_id,
        row=None if command_result.row is None else dict(command_result.row),
        idempotency_key=command_result.idempotency_key,
        is_repeated=command_result.is_repeated,
    )


def _execute(call: Call[Any, Any], command: Command) -> CommandResult:
    services, request_id = call.services, str(call.request.scope[REQUEST_ID])
    if MqttSettings.of(services.settings).mqtt_source is None:
        raise ProblemError(
            409,
            "MQTT is off",
            expected="a broker that the event is published to",
            remedy="set MQTT_URL",
        )
    captures = Captures(services.store)
    mirror = open_mirror(
        services.settings, services.warehouse, captures, services.clock, request_id
    )
    return execute(mirror, command)


async def _record(
    call: Call[Any, Any],
    command: Command,
    outcome: str,
    *,
    step: int,
    entity_id: str | None = None,
    reason: str | None = None,
) -> None:
    """Record a command in the access log, without its fields."""
    target = {"kind": command.kind, "entity_id": entity_id or command.entity_id}
    path = f"/mqtt/{command.entity_type}s"
    await record(call, path, target, outcome, step=step, reason=reason)


def _build_operations() -> tuple[Operation, ...]:
    """Return the three commands of each type of entity."""
    operations: list[Operation] = []
    for entity, name, new, fields, create, update, delete in (
        (
            *("project", ProjectName, NewProject, ProjectFields),
            *(create_mqtt_project, update_mqtt_project, delete_mqtt_project),
        ),
        (
            *("component", ComponentName, NewComponent, ComponentFields),
            *(create_mqtt_component, update_mqtt_component, delete_mqtt_component),
        ),
        (
            *("task", TaskName, NewTask, TaskFields),
            *(create_mqtt_task, update_mqtt_task, delete_mqtt_task),
        ),
    ):
        path = f"/mqtt/{entity}s"
        one = f"{path}/{{{entity}_id}}"
        shared: dict[str, Any] = {"answer": MqttEntity, "headers": KEY_HEADER}
        operations += [
            Operation(
                *("POST", path, "operator", f"Create a {entity}", create),
                body=new,
                status=201,
                **shared,
            ),
            Operation(
                *("POST", one, "operator", f"Update a {entity}", update),
                query=name,
                body=fields,
                **shared,
            ),
            Operation(
                *("DELETE", one, "operator", f"Delete a {entity}", delete), query=name, **shared
            ),
        ]
    return tuple(operations)


OPERATIONS = _build_operations()
