"""Remove bodies of webhooks."""

from alembic import op

from orchestration_project.migrations.changes import (
    ChangeComment,
    RebuildTable,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0067"
down_revision = "0066"

# fmt: off
CHANGES = [
    RebuildTable(Table("inbox", "One row per webhook delivery with a valid signature, stored before the response.", [
        Column("source", "text", "Name of the source in webhooks.yaml", key=True),
        Column("delivery_id", "text", "Delivery ID of the sender, else sha256: and the digest of the body", key=True),
        Column("kind", "text", "Event type in the sender's terms; NULL: no type", optional=True),
        Column("body", "text", "Body as received, Base64"),
        Column("headers", "text", "Headers without secrets and signatures, a JSON object"),
        Column("sha256", "text", "SHA-256 of the body as received, hex"),
        Column("byte_count", "bigint", "Size of the body as received, bytes"),
        Column("received_at", "timestamp", "UTC time of the receipt, unique among the rows of a process"),
        Column("state", "text", "State: received, running, done, failed (it is retried) or dead (it is not)"),
        Column("attempt_count", "bigint", "Runs for the delivery that ended"),
        Column("allowed_count", "bigint", "Attempts after which the state is dead; a replay allows more"),
        Column("run_id", "text", "Dagster run of the latest attempt; NULL: none yet", optional=True),
        Column("changed_at", "timestamp", "UTC time of the latest change of state or run"),
        Column("trace_id", "text", "W3C trace ID, 32 hex digits; NULL: no trace", optional=True),
        Column("span_id", "text", "W3C span ID of the delivery, 16 hex digits; NULL: no trace", optional=True),
    ], indexes=[
        Index("inbox_by_state", ["state", "source", "received_at", "delivery_id"]),
        Index("inbox_by_trace", ["trace_id"]),
    ]), Table("inbox", "One row per webhook delivery with a valid signature, stored before the response.", [
        Column("source", "text", "Name of the source in webhooks.yaml", key=True),
        Column("delivery_id", "text", "Delivery ID of the sender, else sha256: and the digest of the body", key=True),
        Column("kind", "text", "Event type in the sender's terms; NULL: no type", optional=True),
        Column("body", "text", "Body as received, Base64; NULL: removed by WEBHOOK_BODY_DAYS or WEBHOOK_DEAD_BODY_DAYS", optional=True),
        Column("headers", "text", "Headers without secrets and signatures, a JSON object"),
        Column("sha256", "text", "SHA-256 of the body as received, hex"),
        Column("byte_count", "bigint", "Size of the body as received, bytes"),
        Column("received_at", "timestamp", "UTC time of the receipt, unique among the rows of a process"),
        Column("state", "text", "State: received, running, done, failed (it is retried) or dead (it is not)"),
        Column("attempt_count", "bigint", "Runs for the delivery that ended"),
        Column("allowed_count", "bigint", "Attempts after which the state is dead; a replay allows more"),
        Column("run_id", "text", "Dagster run of the latest attempt; NULL: none yet", optional=True),
        Column("changed_at", "timestamp", "UTC time of the latest change of state or run"),
        Column("trace_id", "text", "W3C trace ID, 32 hex digits; NULL: no trace", optional=True),
        Column("span_id", "text", "W3C span ID of the delivery, 16 hex digits; NULL: no trace", optional=True),
    ], indexes=[
        Index("inbox_by_state", ["state", "source", "received_at", "delivery_id"]),
        Index("inbox_by_trace", ["trace_id"]),
    ])),
    RebuildTable(Table("events_webhooks", "One row per webhook delivery whose body is a JSON object.", [
        Column("source", "text", "Name of the source in webhooks.yaml", key=True),
        Column("delivery_id", "text", "Delivery ID of the sender, else sha256: and the digest of the body", key=True),
        Column("received_at", "timestamp", "UTC time of the receipt"),
        Column("kind", "text", "Event type in the sender's terms; NULL: no type", optional=True),
        Column("payload", "text", "Body as received, a JSON object"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
    ]), Table("events_webhooks", "One row per webhook delivery whose body is a JSON object.", [
        Column("source", "text", "Name of the source in webhooks.yaml", key=True),
        Column("delivery_id", "text", "Delivery ID of the sender, else sha256: and the digest of the body", key=True),
        Column("received_at", "timestamp", "UTC time of the receipt"),
        Column("kind", "text", "Event type in the sender's terms; NULL: no type", optional=True),
        Column("payload", "text", "Body as received, a JSON object; NULL: removed by WEBHOOK_BODY_DAYS or WEBHOOK_DEAD_BODY_DAYS", optional=True),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
    ])),
    RebuildTable(Table("events_webhooks_history", "One row per earlier state of a row of events_webhooks, valid from known_from to known_to.", [
        Column("source", "text", "Name of the source in webhooks.yaml", key=True),
        Column("delivery_id", "text", "Delivery ID of the sender, else sha256: and the digest of the body", key=True),
        Column("received_at", "timestamp", "UTC time of the receipt"),
        Column("kind", "text", "Event type in the sender's terms; NULL: no type", optional=True),
        Column("payload", "text", "Body as received, a JSON object"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed (system time)"),
        Column("change_cause", "text", "Cause: source (other values), metadata (other dates only) or ours (new rules)"),
        Column("rule_version", "text", "Version of the rules that produced the next row"),
    ]), Table("events_webhooks_history", "One row per earlier state of a row of events_webhooks, valid from known_from to known_to.", [
        Column("source", "text", "Name of the source in webhooks.yaml", key=True),
        Column("delivery_id", "text", "Delivery ID of the sender, else sha256: and the digest of the body", key=True),
        Column("received_at", "timestamp", "UTC time of the receipt"),
        Column("kind", "text", "Event type in the sender's terms; NULL: no type", optional=True),
        Column("payload", "text", "Body as received, a JSON object; NULL: removed by WEBHOOK_BODY_DAYS or WEBHOOK_DEAD_BODY_DAYS", optional=True),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed (system time)"),
        Column("change_cause", "text", "Cause: source (other values), metadata (other dates only) or ours (new rules)"),
        Column("rule_version", "text", "Version of the rules that produced the next row"),
    ])),
    ChangeComment("events_routed", "fields", "Values of the target's fields, a JSON object", "Values of the target's fields, a JSON object; {}: not planned, or removed with the body"),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them; a body that was removed is an empty one in the earlier tables."""
    op.execute("UPDATE inbox SET body = '' WHERE body IS NULL")
    for table in ("events_webhooks", "events_webhooks_history"):
        op.execute(f"UPDATE {table} SET payload = '{{}}' WHERE payload IS NULL")  # noqa: S608 - ours
    downgrade_by(CHANGES)
