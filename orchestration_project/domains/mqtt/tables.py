"""MQTT: what the bridge received, the mirror of its events, dead letters and project state."""

from sqlalchemy import Index

from orchestration_project.tables.schema import (
    count,
    flag,
    history_of,
    moment,
    ratio,
    table,
    text,
)

mqtt_inbox = table(
    "mqtt_inbox",
    "One row per message that the bridge received and acknowledged, in the order of arrival.",
    count("arrival_id", "Number of the arrival, from 1", key=True),
    text("broker", "Broker: host and port; api: a command of the REST API"),
    text("topic", "Topic of the message", from_senders=True),
    count("qos", "Quality of service of the delivery, 0 to 2"),
    flag("is_retained", "Whether the broker had kept it for new subscribers"),
    flag("is_duplicate", "Whether the broker marked it as sent again"),
    text(
        "payload",
        "Bytes of the message, Base64; above MQTT_MAX_MESSAGE_MIB, the first 1,024",
        from_senders=True,
    ),
    count("byte_count", "Size of the whole message, bytes"),
    text("sha256", "SHA-256 of the whole message, hex"),
    moment("received_at", "UTC time of the arrival"),
    text(
        "trace_id",
        "Trace of the message's user property traceparent, a UUID; NULL: none, or malformed",
        optional=True,
    ),
    internal=True,
)

Index("mqtt_inbox_by_time", mqtt_inbox.c.received_at)

mqtt_cursors = table(
    "mqtt_cursors",
    "One row per consumer of mqtt_inbox: how far it has read.",
    text("consumer", "Consumer, such as mirror", key=True),
    count("arrival_id", "Last arrival that it has read; 0: none"),
    moment("changed_at", "UTC time of the latest change"),
    internal=True,
)

mqtt_mirror = table(
    "mqtt_mirror",
    "One row per event, by its idempotency key, as the broker delivered it first.",
    text("idempotency_key", "Idempotency key of the event", key=True, from_senders=True),
    text("trace_id", "Trace of the event, a UUID"),
    text("kind", "Kind of the event, such as project.updated", from_senders=True),
    count("schema_version", "Version of the kind's schema; NULL: unknown kind", optional=True),
    text("topic", "Topic of the message", from_senders=True),
    moment("ts", "UTC time of the event, by its sender"),
    text(
        "entity_type",
        "Type of the entity: project, component, component_dependency, task or metric; "
        "NULL: unknown kind",
        optional=True,
    ),
    text("entity_id", "ID of the entity; NULL: unknown kind", optional=True, from_senders=True),
    text(
        "operation",
        "Change of the entity: created, updated, deleted, added, removed or recorded; NULL: none",
        optional=True,
    ),
    text("payload", "Payload, canonical JSON", from_senders=True),
    count("arrival_id", "Its arrival in mqtt_inbox"),
    moment("received_at", "UTC time of the arrival"),
    text("arrival_hour", "Partition: hour of the arrival, UTC, such as 2026-11-02-15:00"),
    ratio("skew_seconds", "Time of the event minus time of the arrival, seconds"),
    count("capture_id", "Capture that the row was read from"),
    moment("known_from", "UTC time from which the row is valid (system time)"),
)
mqtt_mirror_history = history_of(mqtt_mirror)

Index(
    "mqtt_mirror_by_entity",
    mqtt_mirror.c.entity_type,
    mqtt_mirror.c.entity_id,
    mqtt_mirror.c.operation,
    mqtt_mirror.c.ts,
    mqtt_mirror.c.arrival_id,
)
Index("mqtt_mirror_by_hour", mqtt_mirror.c.arrival_hour)
Index("mqtt_mirror_by_arrival", mqtt_mirror.c.arrival_id)
Index("mqtt_mirror_by_kind", mqtt_mirror.c.kind, mqtt_mirror.c.arrival_id)
Index("mqtt_mirror_by_trace", mqtt_mirror.c.trace_id)

mqtt_dead_letters = table(
    "mqtt_dead_letters",
    "One row per message that is not a valid event, and why; a replay judges it again.",
    count("arrival_id", "Its arrival in mqtt_inbox", key=True),
    text("topic", "Topic of the message", from_senders=True),
    text("kind", "Kind of the event; NULL: not readable", optional=True, from_senders=True),
    text(
        "reason_code",
        "Kind of the refusal: not_utf8, not_json, not_an_object, missing_field, wrong_type, "
        "too_deep, not_finite, number_too_large, schema, key_reused or too_large",
    ),
    text("reason", "Refusal in words", from_senders=True),
    text("payload", "Bytes of the message, Base64, the first 1,024", from_senders=True),
    text("sha256", "SHA-256 of the whole message, hex"),
    moment("received_at", "UTC time of the arrival"),
    moment("failed_at", "UTC time of the latest refusal"),
    moment("ended_at", "UTC time at which a replay took it; NULL: it is dead", optional=True),
    text("run_id", "Dagster run of the latest refusal or replay"),
)

Index("mqtt_dead_letters_by_reason", mqtt_dead_letters.c.reason_code, mqtt_dead_letters.c.failed_at)

mqtt_seen_keys = table(
    "mqtt_seen_keys",
    "One row per idempotency key that was seen, kept for MQTT_KEYS_DAYS.",
    text("idempotency_key", "Idempotency key of the event", key=True, from_senders=True),
    text("sha256", "SHA-256 of the envelope in canonical JSON, hex"),
    count("duplicate_count", "Further arrivals with the same content"),
    moment("seen_at", "UTC time of the first arrival"),
    internal=True,
)

Index("mqtt_seen_keys_by_time", mqtt_seen_keys.c.seen_at)

mqtt_projects = table(
    "mqtt_projects",
    "One row per project, folded from its events by ts, then arrival.",
    text("project_id", "ID of the project", key=True, from_senders=True),
    text("name", "Name; NULL: no event gave one", optional=True, from_senders=True),
    text("description", "Description; NULL: none", optional=True, from_senders=True),
    text("status", "Status; NULL: no event gave one", optional=True, from_senders=True),
    text("owner_id", "ID of the owner; NULL: none", optional=True, from_senders=True),
    text(
        "metadata", "Further values, canonical JSON; NULL: none", optional=True, from_senders=True
    ),
    text(
        "updated_by", "User of the latest event; NULL: not given", optional=True, from_senders=True
    ),
    moment("updated_at", "Time of the latest event, UTC"),
    count("event_count", "Events that it was folded from"),
    count("arrival_id", "Arrival of the latest event in the order of the fold"),
)

mqtt_components = table(
    "mqtt_components",
    "One row per component of a project, folded from its events by ts, then arrival.",
    text("component_id", "ID of the component", key=True, from_senders=True),
    text(
        "project_id", "ID of its project; NULL: no event gave one", optional=True, from_senders=True
    ),
    text("name", "Name; NULL: no event gave one", optional=True, from_senders=True),
    text(
        "status",
        "Status: pending, in_progress, completed or blocked; NULL: no event gave one",
        optional=True,
    ),
    count("progress", "Progress, 0 to 100; NULL: no event gave one", optional=True),
    count("position", "Place among the components of the project; NULL: none", optional=True),
    text(
        "updated_by", "User of the latest event; NULL: not given", optional=True, from_senders=True
    ),
    moment("updated_at", "Time of the latest event, UTC"),
    count("event_count", "Events that it was folded from"),
    count("arrival_id", "Arrival of the latest event in the order of the fold"),
)

Index("mqtt_components_by_project", mqtt_components.c.project_id)

mqtt_component_dependencies = table(
    "mqtt_component_dependencies",
    "One row per component and another that it needs first.",
    text("component_id", "ID of the component", key=True, from_senders=True),
    text("depends_on_id", "ID of the component that it needs", key=True, from_senders=True),
    text(
        "updated_by", "User of the latest event; NULL: not given", optional=True, from_senders=True
    ),
    moment("updated_at", "Time of the latest event, UTC"),
    count("event_count", "Events that it was folded from"),
    count("arrival_id", "Arrival of the latest event in the order of the fold"),
)

mqtt_tasks = table(
    "mqtt_tasks",
    "One row per task, folded from its events by ts, then arrival.",
    text("task_id", "ID of the task", key=True, from_senders=True),
    text(
        "project_id", "ID of its project; NULL: no event gave one", optional=True, from_senders=True
    ),
    text("component_id", "ID of its component; NULL: none", optional=True, from_senders=True),
    text("title", "Title; NULL: no event gave one", optional=True, from_senders=True),
    text(
        "status",
        "Status: todo, in_progress, review or done; NULL: no event gave one",
        optional=True,
    ),
    text("assignee_id", "ID of the assignee; NULL: none", optional=True, from_senders=True),
    moment("due_at", "UTC time at which it is due; NULL: none", optional=True),
    moment("completed_at", "UTC time of its completion; NULL: not completed", optional=True),
    text(
        "updated_by", "User of the latest event; NULL: not given", optional=True, from_senders=True
    ),
    moment("updated_at", "Time of the latest event, UTC"),
    count("event_count", "Events that it was folded from"),
    count("arrival_id", "Arrival of the latest event in the order of the fold"),
)

Index("mqtt_tasks_by_project", mqtt_tasks.c.project_id)

mqtt_metrics = table(
    "mqtt_metrics",
    "One row per metric of an entity and time, from the events that report it.",
    text(
        "metric_id", "Entity, name and time of the metric, joined by |", key=True, from_senders=True
    ),
    text("subject_id", "ID of the entity that it measures; empty: none", from_senders=True),
    text("name", "Name of the metric", from_senders=True),
    moment("measured_at", "UTC time of the measurement"),
    ratio("value", "Value, in its unit"),
    text("unit", "Unit; NULL: none", optional=True, from_senders=True),
    moment("updated_at", "Time of the latest event, UTC"),
    count("event_count", "Events that it was folded from"),
    count("arrival_id", "Arrival of the latest event in the order of the fold"),
)

Index("mqtt_metrics_by_arrival", mqtt_metrics.c.arrival_id)

mqtt_bridges = table(
    "mqtt_bridges",
    "One row per broker: the state of its bridge.",
    text("broker", "Broker: host and port", key=True),
    text("holder", "Process of the bridge: host and process ID"),
    moment("connected_since", "UTC time of the connection; NULL: not connected", optional=True),
    moment("last_message_at", "UTC time of the latest message; NULL: none", optional=True),
    count("receive_maximum", "Messages that the broker sends without an acknowledgement"),
    count("backlog_count", "Messages that were received and are not stored yet"),
    count("message_count", "Messages that were stored, all connections together"),
    moment(
        "session_lost_at",
        "UTC time from which messages may be missing, as the broker had lost the session; "
        "NULL: never",
        optional=True,
    ),
    text("problem", "Why it is not connected; NULL: it is", optional=True),
    moment("changed_at", "UTC time of the latest change"),
    text(
        "topics",
        "Topic filters that the broker's session may have, separated by commas; NULL: not known",
        optional=True,
    ),
    text(
        "broker_figures",
        "The broker's own figures, from its $SYS topics, a JSON object; NULL: none",
        optional=True,
    ),
)
