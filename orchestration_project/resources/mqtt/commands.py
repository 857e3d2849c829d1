"""Commands: a requested change of an entity as an event of ours, once per request."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from sqlalchemy import Connection, func, select

from orchestration_project.domains.mqtt.entities import ENTITIES, Entity
from orchestration_project.domains.mqtt.envelope import Refusal
from orchestration_project.domains.mqtt.tables import mqtt_mirror, mqtt_seen_keys
from orchestration_project.domains.mqtt.topics import event_topic
from orchestration_project.engine.tracing.traceparent import find_current_trace
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.resources.mqtt.folding import lock_fold
from orchestration_project.resources.mqtt.mirroring import Mirror
from orchestration_project.resources.mqtt.own_events import OwnEvent, prepare_event, write_event

API = "api"
"""Broker of arrivals that are commands."""

Operation = Literal["created", "updated", "deleted"]
EntityType = Literal["project", "component", "task"]

ATTEMPTS = 5

REFERENCES: Mapping[str, EntityType] = {"project_id": "project", "component_id": "component"}
"""Type of the entity that a field names. Events of others may name one that arrives later."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A requested change of an entity.

    Attributes:
        entity_type: Type of the entity.
        operation: The change.
        entity_id: ID of the entity; None: a new one is made.
        fields: Members of the payload besides the ID.
        user_name: Who asks.
        request_key: Key of the request of this user; None: each request is another one.
    """

    entity_type: EntityType
    operation: Operation
    entity_id: str | None
    fields: Mapping[str, Any]
    user_name: str
    request_key: str | None = None

    @property
    def entity(self) -> Entity:
        """The type of the entity."""
        return ENTITIES[self.entity_type]

    @property
    def kind(self) -> str:
        """Kind of the event."""
        return f"{self.entity_type}.{self.operation}"


class CommandResult(NamedTuple):
    """An entity after a command.

    Attributes:
        row: Its row; None: it was deleted.
        is_repeated: Whether the same request did it before.
    """

    entity_id: str
    row: Mapping[str, Any] | None
    idempotency_key: str
    is_repeated: bool


class RefusedCommandError(Exception):
    """A command that changes nothing, and why.

    Attributes:
        why: missing: the entity is not there; conflict: it is there, or the key of the request
            belongs to another one; invalid: the schema of the kind does not accept the payload,
            or a field names an entity that does not exist.
    """

    def __init__(self, why: Literal["missing", "conflict", "invalid"], text: str) -> None:
        super().__init__(text)
        self.why = why


class _LaterEventError(Exception):
    """Another event of the entity has a later time: the command is written again with that."""


def execute(mirror: Mirror, command: Command) -> CommandResult:
    """Write the event of a command, fold it, and have it published.

    Raises:
        RefusedCommandError: Nothing was written.
        ConfigurationError: MQTT_KINDS_DIR lacks the kind of the event.
        TransientError: Other events of the entity came in between, several times.
    """
    key, entity_id = _derive_keys(command)
    for _ in range(ATTEMPTS):
        with mirror.warehouse.reading() as connection:
            latest = _find_latest_ts(connection, command, entity_id)
        now = mirror.clock.now()
        prepared = _prepare_command(mirror, command, entity_id, key, max(now, latest or now))
        try:
            with mirror.warehouse.writing() as connection:
                return _write(connection, mirror, command, entity_id, prepared)
        except _LaterEventError:
            continue
    raise TransientError(
        f"the {command.entity_type} {entity_id} changes all the time",
        expected="no other event of it for some milliseconds",
        found=f"other events in {ATTEMPTS} attempts",
        remedy="try again",
    )


def _derive_keys(command: Command) -> tuple[str, str]:
    """Return the idempotency key of the event, and the ID of the entity.

    Those of a request with a key follow from it, so that its repetition finds them.
    """
    if command.request_key is None:
        return f"{API}-{uuid4()}", command.entity_id or str(uuid4())
    written = json.dumps([command.user_name, command.request_key])
    key = f"{API}-{hashlib.sha256(written.encode()).hexdigest()}"
    return key, command.entity_id or str(uuid5(NAMESPACE_URL, key))


def _prepare_command(
    mirror: Mirror, command: Command, entity_id: str, key: str, ts: datetime
) -> OwnEvent:
    [name] = command.entity.keys
    trace = find_current_trace()
    envelope = {
        "trace_id": str(UUID(trace.trace_id) if trace else uuid4()),
        "ts": ts.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "kind": command.kind,
        "idempotency_key": key,
        "payload": {name: entity_id, **command.fields, "updated_by": command.user_name},
    }
    topic = event_topic(command.entity.topics, entity_id)
    event = prepare_event(mirror, envelope, broker=API, topic=topic)
    if isinstance(event, Refusal):
        raise RefusedCommandError("invalid", event.reason)
    match = event.event.match
    if (match.entity_type, match.operation) != (command.entity_type, command.operation):
        raise ConfigurationError(
            f"the kind {command.kind} does not change a {command.entity_type}",
            expected=f"{command.kind}.v1.json with x-entity and x-operation in MQTT_KINDS_DIR",
            remedy="restore the file",
        )
    return event


def _write(
    connection: Connection,
    mirror: Mirror,
    command: Command,
    entity_id: str,
    prepared: OwnEvent,
) -> CommandResult:
    lock_fold(connection)
    key = prepared.event.envelope.idempotency_key
    row = _find_row(connection, command.entity, entity_id)
    if _is_repeated(connection, command, entity_id, prepared):
        return CommandResult(entity_id, row, key, is_repeated=True)
    if command.operation == "created" and row is not None:
        raise RefusedCommandError("conflict", f"{command.entity_type} already exists: {entity_id}")
    if command.operation != "created" and row is None:
        raise RefusedCommandError("missing", f"{command.entity_type} not found: {entity_id}")
    _require_references(connection, command)
    latest = _find_latest_ts(connection, command, entity_id)
    if latest is not None and latest > prepared.event.envelope.ts:
        raise _LaterEventError
    entity = f"{command.entity_type}|{entity_id}"
    write_event(connection, mirror, prepared, entity=entity)
    after = _find_row(connection, command.entity, entity_id)
    return CommandResult(entity_id, after, key, is_repeated=False)


def _require_references(connection: Connection, command: Command) -> None:
    """Require that each entity that a field names exists.

    Raises:
        RefusedCommandError: One does not exist.
    """
    for name, entity_type in REFERENCES.items():
        entity_id = command.fields.get(name)
        if (
            entity_id is not None
            and _find_row(connection, ENTITIES[entity_type], entity_id) is None
        ):
            expected = f"expected a {entity_type} that exists, found {entity_id!r}"
            raise RefusedCommandError("invalid", f"{name}: {expected}")


def _is_repeated(
    connection: Connection, command: Command, entity_id: str, prepared: OwnEvent
) -> bool:
    """Whether the same request wrote its event before.

    Raises:
        RefusedCommandError: The key belongs to another request.
    """
    envelope = prepared.event.envelope
    columns = mqtt_mirror.c
    query = select(columns.kind, columns.entity_id, columns.payload).where(
        columns.idempotency_key == envelope.idempotency_key
    )
    earlier = connection.execute(query).one_or_none()
    if earlier is None:
        seen_column = mqtt_seen_keys.c.idempotency_key
        if (
            connection.execute(
                select(seen_column).where(seen_column == envelope.idempotency_key)
            ).first()
            is None
        ):
            return False
    if earlier != (command.kind, entity_id, envelope.payload_json):
        raise RefusedCommandError("conflict", "this Idempotency-Key belongs to another request")
    return True


def _find_latest_ts(connection: Connection, command: Command, entity_id: str) -> datetime | None:
    columns = mqtt_mirror.c
    query = select(func.max(columns.ts)).where(
        columns.entity_type == command.entity_type, columns.entity_id == entity_id
    )
    return connection.execute(query).scalar()


def _find_row(connection: Connection, entity: Entity, entity_id: str) -> Mapping[str, Any] | None:
    [key] = entity.table.primary_key.columns
    rows = connection.execute(select(entity.table).where(key == entity_id))
    row = rows.mappings().one_or_none()
    return None if row is None else dict(row)
