"""Models of the API's answers about MQTT, which the client reads too."""

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

EntityType = Literal["project", "component", "component_dependency", "task", "metric"]


class MqttEvent(BaseModel):
    """An event of the mirror."""

    arrival_id: int = Field(description="Number of the arrival")
    idempotency_key: str = Field(description="Idempotency key of the event")
    trace_id: str = Field(description="Trace of the event, a UUID")
    kind: str = Field(description="Kind of the event, such as project.updated")
    schema_version: int | None = Field(
        description="Version of the kind's schema; null: unknown kind"
    )
    topic: str = Field(description="Topic of the message")
    ts: AwareDatetime = Field(description="UTC time of the event, by its sender")
    entity_type: str | None = Field(description="Type of the entity; null: unknown kind")
    entity_id: str | None = Field(description="ID of the entity; null: unknown kind")
    payload: dict[str, Any] = Field(description="Payload")
    received_at: AwareDatetime = Field(description="UTC time of the arrival")
    skew_seconds: float = Field(description="Time of the event minus time of the arrival, seconds")


class MqttEvents(BaseModel):
    """A page of events, the latest arrival first. A page may be short, or empty, before the end."""

    events: list[MqttEvent] = Field(description="Events")
    next_cursor: str | None = Field(
        description="Cursor of the next page; null: this is the last page"
    )


class MqttDeadLetter(BaseModel):
    """A message that is not a valid event, and why."""

    arrival_id: int = Field(description="Number of the arrival")
    topic: str = Field(description="Topic of the message")
    kind: str | None = Field(description="Kind of the event; null: not readable")
    reason_code: str = Field(description="Kind of the refusal, such as not_json")
    reason: str = Field(description="Refusal in words")
    payload: str = Field(description="Bytes of the message, Base64, the first 1,024")
    sha256: str = Field(description="SHA-256 of the whole message, hex")
    received_at: AwareDatetime = Field(description="UTC time of the arrival")
    failed_at: AwareDatetime = Field(description="UTC time of the latest refusal")
    ended_at: AwareDatetime | None = Field(
        description="UTC time at which a replay took it; null: it is dead"
    )
    run_id: str = Field(description="Dagster run of the latest refusal or replay")


class MqttDeadLetters(BaseModel):
    """A page of dead letters, the latest arrival first. It may be short before the end."""

    letters: list[MqttDeadLetter] = Field(description="Dead letters")
    next_cursor: str | None = Field(
        description="Cursor of the next page; null: this is the last page"
    )


class MqttBridge(BaseModel):
    """State of the bridge to a broker."""

    broker: str = Field(description="Broker: host and port")
    holder: str = Field(description="Process of the bridge: host and process ID")
    connected_since: AwareDatetime | None = Field(
        description="UTC time of the connection; null: not connected"
    )
    last_message_at: AwareDatetime | None = Field(
        description="UTC time of the latest message; null: none"
    )
    receive_maximum: int = Field(
        description="Messages that the broker sends without an acknowledgement"
    )
    backlog_count: int = Field(description="Messages that were received and are not stored yet")
    message_count: int = Field(description="Messages that were stored")
    session_lost_at: AwareDatetime | None = Field(
        description="UTC time from which messages may be missing; null: never"
    )
    problem: str | None = Field(description="Why it is not connected; null: it is")
    topics: str | None = Field(
        description="Topic filters that the session may have, separated by commas"
    )
    changed_at: AwareDatetime = Field(description="UTC time of the latest change")


class MqttBridges(BaseModel):
    """Bridges, and what waits behind them."""

    bridges: list[MqttBridge] = Field(description="By broker")
    waiting_count: int = Field(description="Arrivals that the mirror has not read yet")
    oldest_waiting_at: AwareDatetime | None = Field(
        description="UTC time of the oldest of these; null: none waits"
    )
    outbox_count: int = Field(description="Events of commands that wait to be published")
    oldest_outbox_at: AwareDatetime | None = Field(
        description="UTC time of the oldest of these; null: none waits"
    )


class MqttEntity(BaseModel):
    """A project, component or task, folded from its events."""

    entity_type: EntityType = Field(description="Type of the entity")
    entity_id: str = Field(description="ID of the entity")
    row: dict[str, Any] | None = Field(description="Its row; null: it was deleted")
    idempotency_key: str | None = Field(
        default=None, description="Idempotency key of the command's event; null: it was only read"
    )
    is_repeated: bool = Field(
        default=False,
        description="Whether an earlier request with the same Idempotency-Key did it",
    )


class MqttReceived(BaseModel):
    """A valid event as it arrived; the mirror may not have it yet."""

    arrival_id: int = Field(description="Number of the arrival")
    state: Literal["received"] = Field(description="State: received")
    topic: str = Field(description="Topic of the message")
    received_at: AwareDatetime = Field(description="UTC time of the arrival")
    is_retained: bool = Field(description="Whether the broker had kept it for new subscribers")
    trace_id: str = Field(description="Trace of the event, a UUID")
    ts: AwareDatetime = Field(description="UTC time of the event, by its sender")
    kind: str = Field(description="Kind as the sender wrote it")
    idempotency_key: str = Field(description="Idempotency key of the event")
    payload: dict[str, Any] = Field(description="Payload")


class _Folded(BaseModel):
    updated_at: AwareDatetime = Field(description="Time of the latest event, UTC")
    event_count: int = Field(description="Events that it was folded from")
    arrival_id: int = Field(description="Arrival of the latest event in the order of the fold")


class MqttProject(_Folded):
    """A project, folded from its events."""

    project_id: str = Field(description="ID of the project")
    name: str | None = Field(description="Name; null: no event gave one")
    description: str | None = Field(description="Description; null: none")
    status: str | None = Field(description="Status; null: no event gave one")
    owner_id: str | None = Field(description="ID of the owner; null: none")
    metadata: str | None = Field(description="Further values, canonical JSON; null: none")
    updated_by: str | None = Field(description="User of the latest event; null: not given")


class MqttComponent(_Folded):
    """A component of a project."""

    component_id: str = Field(description="ID of the component")
    project_id: str | None = Field(description="ID of its project; null: no event gave one")
    name: str | None = Field(description="Name; null: no event gave one")
    status: str | None = Field(description="Status; null: no event gave one")
    progress: int | None = Field(description="Progress, 0 to 100; null: no event gave one")
    position: int | None = Field(description="Place among the components; null: none")
    updated_by: str | None = Field(description="User of the latest event; null: not given")


class MqttDependency(_Folded):
    """A component and another that it needs first."""

    component_id: str = Field(description="ID of the component")
    depends_on_id: str = Field(description="ID of the component that it needs")
    updated_by: str | None = Field(description="User of the latest event; null: not given")


class MqttTask(_Folded):
    """A task of a project."""

    task_id: str = Field(description="ID of the task")
    project_id: str | None = Field(description="ID of its project; null: no event gave one")
    component_id: str | None = Field(description="ID of its component; null: none")
    title: str | None = Field(description="Title; null: no event gave one")
    status: str | None = Field(description="Status; null: no event gave one")
    assignee_id: str | None = Field(description="ID of the assignee; null: none")
    due_at: AwareDatetime | None = Field(description="UTC time at which it is due; null: none")
    completed_at: AwareDatetime | None = Field(
        description="UTC time of its completion; null: not completed"
    )
    updated_by: str | None = Field(description="User of the latest event; null: not given")


class MqttMetric(_Folded):
    """A metric of an entity at a time."""

    metric_id: str = Field(description="Entity, name and time of the metric, joined by |")
    subject_id: str = Field(description="ID of the entity that it measures; empty: none")
    name: str = Field(description="Name of the metric")
    measured_at: AwareDatetime = Field(description="UTC time of the measurement")
    value: float = Field(description="Value, in its unit")
    unit: str | None = Field(description="Unit; null: none")
