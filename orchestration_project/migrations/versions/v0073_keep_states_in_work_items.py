"""Keep states of webhook deliveries in work items alone."""

from dataclasses import replace

from alembic import op

from orchestration_project.migrations.changes import (
    CreateView,
    RebuildTable,
    SchemaChange,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Index, Table, View

revision = "0073"
down_revision = "0072"

# fmt: off
BEFORE = Table("inbox", "One row per webhook delivery with a valid signature, stored before the response.", [
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
])
AFTER = Table("inbox", "One row per webhook delivery with a valid signature, stored before the response.", [
    Column("source", "text", "Name of the source in webhooks.yaml", key=True),
    Column("delivery_id", "text", "Delivery ID of the sender, else sha256: and the digest of the body", key=True),
    Column("kind", "text", "Event type in the sender's terms; NULL: no type", optional=True),
    Column("body", "text", "Body as received, Base64; NULL: removed by WEBHOOK_BODY_DAYS or WEBHOOK_DEAD_BODY_DAYS", optional=True),
    Column("headers", "text", "Headers without secrets and signatures, a JSON object"),
    Column("sha256", "text", "SHA-256 of the body as received, hex"),
    Column("byte_count", "bigint", "Size of the body as received, bytes"),
    Column("received_at", "timestamp", "UTC time of the receipt, unique among the rows of a process"),
    Column("trace_id", "text", "W3C trace ID, 32 hex digits; NULL: no trace", optional=True),
    Column("span_id", "text", "W3C span ID of the delivery, 16 hex digits; NULL: no trace", optional=True),
], indexes=[
    Index("inbox_by_source", ["source", "received_at", "delivery_id"]),
    Index("inbox_by_trace", ["trace_id"]),
])
STATES = CreateView(View("inbox_states", "One row per webhook delivery of the inbox, with the state of its work item.", {
    "source": "Name of the source in webhooks.yaml",
    "delivery_id": "Delivery ID of the sender, else sha256: and the digest of the body",
    "kind": "Event type in the sender's terms; NULL: no type",
    "received_at": "UTC time of the receipt, unique among the rows of a process",
    "state": "State: received, running, done, failed (it is retried) or dead (it is not)",
    "attempt_count": "Runs for the delivery that ended",
    "allowed_count": "Attempts after which the state is dead; a replay allows more; 0: without work",
    "run_id": "Dagster run of the latest attempt; NULL: none yet",
    "changed_at": "UTC time of the latest change of state or run",
    "trace_id": "W3C trace ID, 32 hex digits; NULL: no trace",
    "span_id": "W3C span ID of the delivery, 16 hex digits; NULL: no trace",
}, """
SELECT inbox.source AS source,
inbox.delivery_id AS delivery_id,
inbox.kind AS kind,
inbox.received_at AS received_at,
coalesce(CASE work_items.state WHEN 'ready' THEN 'received' WHEN 'leased' THEN 'running' WHEN 'skipped' THEN 'done' ELSE work_items.state END, 'done') AS state,
coalesce(work_items.attempt_count, 0) AS attempt_count,
coalesce(work_items.allowed_count, 0) AS allowed_count,
work_items.run_id AS run_id,
coalesce(work_items.changed_at, inbox.received_at) AS changed_at,
inbox.trace_id AS trace_id,
inbox.span_id AS span_id
FROM inbox LEFT OUTER JOIN work_items ON work_items.topic = ('webhooks/' || inbox.source) AND work_items.item_key = inbox.delivery_id
"""))
# fmt: on

CHANGES: list[SchemaChange] = [RebuildTable(BEFORE, AFTER), STATES]

ITEMS_THAT_WERE_DELETED = """
INSERT INTO work_items (
    topic, item_key, version, state, attempt_count, allowed_count, enqueued_at, due_at,
    lease_token, input_sha256, reason_code, reason, run_id, changed_at
)
SELECT
    'webhooks/' || source, delivery_id, sha256,
    CASE state WHEN 'received' THEN 'ready' WHEN 'running' THEN 'failed' ELSE state END,
    attempt_count, allowed_count, received_at,
    CASE state WHEN 'failed' THEN changed_at ELSE received_at END,
    attempt_count, sha256,
    CASE WHEN state = 'dead' AND body IS NULL THEN 'body_removed' END,
    CASE WHEN state = 'dead' AND body IS NULL
        THEN 'removed with the body of the delivery, by WEBHOOK_BODY_DAYS or its like for dead' END,
    run_id, changed_at
FROM inbox
WHERE (allowed_count > 0 OR state <> 'done' OR run_id IS NOT NULL) AND NOT EXISTS (
    SELECT 1 FROM work_items AS item
    WHERE item.topic = 'webhooks/' || inbox.source AND item.item_key = inbox.delivery_id
)
"""
"""Until now the items of deliveries were deleted with their bodies."""

ITEM = """
    SELECT {} FROM work_items AS item
    WHERE item.topic = 'webhooks/' || inbox.source AND item.item_key = inbox.delivery_id
"""
STATE = """
    CASE item.state WHEN 'ready' THEN 'received' WHEN 'leased' THEN 'running'
        WHEN 'skipped' THEN 'done' ELSE item.state END
"""
COPIES = f"""
UPDATE inbox SET
    state = COALESCE(({ITEM.format(STATE)}), 'done'),
    attempt_count = COALESCE(({ITEM.format("item.attempt_count")}), 0),
    allowed_count = COALESCE(({ITEM.format("item.allowed_count")}), 0),
    run_id = ({ITEM.format("item.run_id")}),
    changed_at = COALESCE(({ITEM.format("item.changed_at")}), received_at)
"""  # noqa: S608 - ours


def upgrade() -> None:
    """Make the changes; each delivery that had work has a work item."""
    op.execute(ITEMS_THAT_WERE_DELETED)
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them; the copies are filled from the work items."""
    names = {column.name for column in AFTER.columns}
    filled = [
        column if column.name in names else replace(column, optional=True)
        for column in BEFORE.columns
    ]
    nullable = replace(BEFORE, columns=filled, indexes=[])
    downgrade_by([RebuildTable(nullable, AFTER), STATES])
    op.execute(COPIES)
    downgrade_by([RebuildTable(BEFORE, nullable)])
