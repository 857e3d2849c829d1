"""Add mqtt."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0042"
down_revision = "0041"

# fmt: off
CHANGES = [
    CreateTable(Table("mqtt_inbox", "One row per message that the bridge received and acknowledged, in the order of arrival.", [
        Column("arrival_id", "bigint", "Number of the arrival, from 1", key=True),
        Column("broker", "text", "Broker: host and port; api: a command of the REST API"),
        Column("topic", "text", "Topic of the message"),
        Column("qos", "bigint", "Quality of service of the delivery, 0 to 2"),
        Column("is_retained", "boolean", "Whether the broker had kept it for new subscribers"),
        Column("is_duplicate", "boolean", "Whether the broker marked it as sent again"),
        Column("payload", "text", "Bytes of the message, Base64; above MQTT_MAX_MESSAGE_MIB, the first 1,024"),
        Column("byte_count", "bigint", "Size of the whole message, bytes"),
        Column("sha256", "text", "SHA-256 of the whole message, hex"),
        Column("received_at", "timestamp", "UTC time of the arrival"),
    ], indexes=[
        Index("mqtt_inbox_by_time", ["received_at"]),
    ])),
    CreateTable(Table("mqtt_cursors", "One row per consumer of mqtt_inbox: how far it has read.", [
        Column("consumer", "text", "Consumer, such as mirror", key=True),
        Column("arrival_id", "bigint", "Last arrival that it has read; 0: none"),
        Column("changed_at", "timestamp", "UTC time of the latest change"),
    ])),
    CreateTable(Table("mqtt_mirror", "One row per event, by its idempotency key, as the broker delivered it first.", [
        Column("idempotency_key", "text", "Idempotency key of the event", key=True),
        Column("trace_id", "text", "Trace of the event, a UUID"),
        Column("kind", "text", "Kind of the event, such as project.updated"),
        Column("schema_version", "bigint", "Version of the kind's schema; NULL: unknown kind", optional=True),
        Column("topic", "text", "Topic of the message"),
        Column("ts", "timestamp", "UTC time of the event, by its sender"),
        Column("entity_type", "text", "Type of the entity: project, component, component_dependency, task or metric; NULL: unknown kind", optional=True),
        Column("entity_id", "text", "ID of the entity; NULL: unknown kind", optional=True),
        Column("operation", "text", "Change of the entity: created, updated, deleted, added, removed or recorded; NULL: none", optional=True),
        Column("payload", "text", "Payload, canonical JSON"),
        Column("arrival_id", "bigint", "Its arrival in mqtt_inbox"),
        Column("received_at", "timestamp", "UTC time of the arrival"),
        Column("arrival_hour", "text", "Partition: hour of the arrival, UTC, such as 2026-11-02-15:00"),
        Column("skew_seconds", "double", "Time of the event minus time of the arrival, seconds"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
    ], indexes=[
        Index("mqtt_mirror_by_arrival", ["arrival_id"]),
        Index("mqtt_mirror_by_entity", ["entity_type", "entity_id", "operation", "ts", "arrival_id"]),
        Index("mqtt_mirror_by_hour", ["arrival_hour"]),
        Index("mqtt_mirror_by_kind", ["kind", "arrival_id"]),
        Index("mqtt_mirror_by_trace", ["trace_id"]),
    ])),
    CreateTable(Table("mqtt_mirror_history", "One row per earlier state of a row of mqtt_mirror, valid from known_from to known_to.", [
        Column("idempotency_key", "text", "Idempotency key of the event", key=True),
        Column("trace_id", "text", "Trace of the event, a UUID"),
        Column("kind", "text", "Kind of the event, such as project.updated"),
        Column("schema_version", "bigint", "Version of the kind's schema; NULL: unknown kind", optional=True),
        Column("topic", "text", "Topic of the message"),
        Column("ts", "timestamp", "UTC time of the event, by its sender"),
        Column("entity_type", "text", "Type of the entity: project, component, component_dependency, task or metric; NULL: unknown kind", optional=True),
        Column("entity_id", "text", "ID of the entity; NULL: unknown kind", optional=True),
        Column("operation", "text", "Change of the entity: created, updated, deleted, added, removed or recorded; NULL: none", optional=True),
        Column("payload", "text", "Payload, canonical JSON"),
        Column("arrival_id", "bigint", "Its arrival in mqtt_inbox"),
        Column("received_at", "timestamp", "UTC time of the arrival"),
        Column("arrival_hour", "text", "Partition: hour of the arrival, UTC, such as 2026-11-02-15:00"),
        Column("skew_seconds", "double", "Time of the event minus time of the arrival, seconds"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed (system time)"),
        Column("change_cause", "text", "Cause: source (other values), metadata (other dates only) or ours (new rules)"),
        Column("rule_version", "text", "Version of the rules that produced the next row"),
    ])),
    CreateTable(Table("mqtt_dead_letters", "One row per message that is not a valid event, and why; a replay judges it again.", [
        Column("arrival_id", "bigint", "Its arrival in mqtt_inbox", key=True),
        Column("topic", "text", "Topic of the message"),
        Column("kind", "text", "Kind of the event; NULL: not readable", optional=True),
        Column("reason_code", "text", "Kind of the refusal: not_utf8, not_json, not_an_object, missing_field, wrong_type, too_deep, not_finite, number_too_large, schema, key_reused or too_large"),
        Column("reason", "text", "Refusal in words"),
        Column("payload", "text", "Bytes of the message, Base64, the first 1,024"),
        Column("sha256", "text", "SHA-256 of the whole message, hex"),
        Column("received_at", "timestamp", "UTC time of the arrival"),
        Column("failed_at", "timestamp", "UTC time of the latest refusal"),
        Column("ended_at", "timestamp", "UTC time at which a replay took it; NULL: it is dead", optional=True),
        Column("run_id", "text", "Dagster run of the latest refusal or replay"),
    ], indexes=[
        Index("mqtt_dead_letters_by_reason", ["reason_code", "failed_at"]),
    ])),
    CreateTable(Table("mqtt_seen_keys", "One row per idempotency key that was seen, kept for MQTT_KEYS_DAYS.", [
        Column("idempotency_key", "text", "Idempotency key of the event", key=True),
        Column("sha256", "text", "SHA-256 of the envelope in canonical JSON, hex"),
        Column("duplicate_count", "bigint", "Further arrivals with the same content"),
        Column("seen_at", "timestamp", "UTC time of the first arrival"),
    ], indexes=[
        Index("mqtt_seen_keys_by_time", ["seen_at"]),
    ])),
    CreateTable(Table("mqtt_projects", "One row per project, folded from its events by ts, then arrival.", [
        Column("project_id", "text", "ID of the project", key=True),
        Column("name", "text", "Name; NULL: no event gave one", optional=True),
        Column("description", "text", "Description; NULL: none", optional=True),
        Column("status", "text", "Status; NULL: no event gave one", optional=True),
        Column("owner_id", "text", "ID of the owner; NULL: none", optional=True),
        Column("metadata", "text", "Further values, canonical JSON; NULL: none", optional=True),
        Column("updated_by", "text", "User of the latest event; NULL: not given", optional=True),
        Column("updated_at", "timestamp", "Time of the latest event, UTC"),
        Column("event_count", "bigint", "Events that it was folded from"),
        Column("arrival_id", "bigint", "Arrival of the latest event in the order of the fold"),
    ])),
    CreateTable(Table("mqtt_components", "One row per component of a project, folded from its events by ts, then arrival.", [
        Column("component_id", "text", "ID of the component", key=True),
        Column("project_id", "text", "ID of its project; NULL: no event gave one", optional=True),
        Column("name", "text", "Name; NULL: no event gave one", optional=True),
        Column("status", "text", "Status: pending, in_progress, completed or blocked; NULL: no event gave one", optional=True),
        Column("progress", "bigint", "Progress, 0 to 100; NULL: no event gave one", optional=True),
        Column("position", "bigint", "Place among the components of the project; NULL: none", optional=True),
        Column("updated_by", "text", "User of the latest event; NULL: not given", optional=True),
        Column("updated_at", "timestamp", "Time of the latest event, UTC"),
        Column("event_count", "bigint", "Events that it was folded from"),
        Column("arrival_id", "bigint", "Arrival of the latest event in the order of the fold"),
    ], indexes=[
        Index("mqtt_components_by_project", ["project_id"]),
    ])),
    CreateTable(Table("mqtt_component_dependencies", "One row per component and another that it needs first.", [
        Column("component_id", "text", "ID of the component", key=True),
        Column("depends_on_id", "text", "ID of the component that it needs", key=True),
        Column("updated_by", "text", "User of the latest event; NULL: not given", optional=True),
        Column("updated_at", "timestamp", "Time of the latest event, UTC"),
        Column("event_count", "bigint", "Events that it was folded from"),
        Column("arrival_id", "bigint", "Arrival of the latest event in the order of the fold"),
    ])),
    CreateTable(Table("mqtt_tasks", "One row per task, folded from its events by ts, then arrival.", [
        Column("task_id", "text", "ID of the task", key=True),
        Column("project_id", "text", "ID of its project; NULL: no event gave one", optional=True),
        Column("component_id", "text", "ID of its component; NULL: none", optional=True),
        Column("title", "text", "Title; NULL: no event gave one", optional=True),
        Column("status", "text", "Status: todo, in_progress, review or done; NULL: no event gave one", optional=True),
        Column("assignee_id", "text", "ID of the assignee; NULL: none", optional=True),
        Column("due_at", "timestamp", "UTC time at which it is due; NULL: none", optional=True),
        Column("completed_at", "timestamp", "UTC time of its completion; NULL: not completed", optional=True),
        Column("updated_by", "text", "User of the latest event; NULL: not given", optional=True),
        Column("updated_at", "timestamp", "Time of the latest event, UTC"),
        Column("event_count", "bigint", "Events that it was folded from"),
        Column("arrival_id", "bigint", "Arrival of the latest event in the order of the fold"),
    ], indexes=[
        Index("mqtt_tasks_by_project", ["project_id"]),
    ])),
    CreateTable(Table("mqtt_metrics", "One row per metric of an entity and time, from the events that report it.", [
        Column("metric_id", "text", "Entity, name and time of the metric, joined by |", key=True),
        Column("subject_id", "text", "ID of the entity that it measures; empty: none"),
        Column("name", "text", "Name of the metric"),
        Column("measured_at", "timestamp", "UTC time of the measurement"),
        Column("value", "double", "Value, in its unit"),
        Column("unit", "text", "Unit; NULL: none", optional=True),
        Column("updated_at", "timestamp", "Time of the latest event, UTC"),
        Column("event_count", "bigint", "Events that it was folded from"),
        Column("arrival_id", "bigint", "Arrival of the latest event in the order of the fold"),
    ])),
    CreateTable(Table("mqtt_bridges", "One row per broker: the state of its bridge.", [
        Column("broker", "text", "Broker: host and port", key=True),
        Column("holder", "text", "Process of the bridge: host and process ID"),
        Column("connected_since", "timestamp", "UTC time of the connection; NULL: not connected", optional=True),
        Column("last_message_at", "timestamp", "UTC time of the latest message; NULL: none", optional=True),
        Column("receive_maximum", "bigint", "Messages that the broker sends without an acknowledgement"),
        Column("backlog_count", "bigint", "Messages that were received and are not stored yet"),
        Column("message_count", "bigint", "Messages that were stored, all connections together"),
        Column("session_lost_at", "timestamp", "UTC time from which messages may be missing, as the broker had lost the session; NULL: never", optional=True),
        Column("problem", "text", "Why it is not connected; NULL: it is", optional=True),
        Column("changed_at", "timestamp", "UTC time of the latest change"),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
