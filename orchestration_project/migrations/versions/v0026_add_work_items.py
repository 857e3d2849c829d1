"""Work items, and those of the webhook deliveries that `inbox` has.

A delivery whose source has no job has none. A running one is leased by its run: the sensor settles
it when that has ended.
"""

from alembic import op

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0026"
down_revision = "0025"

# fmt: off
CHANGES = [
    CreateTable(Table("work_items", "One row per item of work: a message, a document, an address; its state, attempts and lease.", [
        Column("topic", "text", "What kind of work, such as webhooks/github", key=True),
        Column("item_key", "text", "The item among those of its topic", key=True),
        Column("version", "text", "State of the item that is worked on; a new one replaces it"),
        Column("state", "text", "ready, leased, done, skipped, failed (it is retried) or dead (it is not)"),
        Column("attempt_count", "bigint", "Attempts at this version that ended"),
        Column("allowed_count", "bigint", "Attempts after which it is dead; a retry allows more"),
        Column("enqueued_at", "timestamp", "UTC time at which the version was enqueued; the order of the topic"),
        Column("due_at", "timestamp", "UTC time from which it may be claimed; of a ready item enqueued_at"),
        Column("lease_holder", "text", "Dagster run that has claimed it; NULL: none", optional=True),
        Column("lease_token", "bigint", "Rises with each claim and version; a settlement must still have it"),
        Column("expires_at", "timestamp", "UTC time from which another run may claim it", optional=True),
        Column("input_sha256", "text", "SHA-256 of the bytes of the version, hex", optional=True),
        Column("result_version", "text", "Version of the rules that made the latest result", optional=True),
        Column("reason_code", "text", "Kind of the latest failure or reject, one word", optional=True),
        Column("reason", "text", "The latest failure or reject, and what to do about it", optional=True),
        Column("run_id", "text", "Dagster run of the latest attempt; NULL: none yet", optional=True),
        Column("changed_at", "timestamp", "UTC time at which state or run last changed"),
    ], indexes=[
        Index("work_items_by_due", ["topic", "state", "due_at", "item_key"]),
        Index("work_items_by_state", ["state", "topic", "item_key"]),
    ])),
]
# fmt: on


ITEMS_OF_INBOX = """
INSERT INTO work_items (
    topic, item_key, version, state, attempt_count, allowed_count, enqueued_at, due_at,
    lease_holder, lease_token, input_sha256, run_id, changed_at
)
SELECT
    'webhooks/' || source, delivery_id, sha256,
    CASE state WHEN 'received' THEN 'ready' WHEN 'running' THEN 'leased' ELSE state END,
    attempt_count, allowed_count, received_at,
    CASE state WHEN 'failed' THEN changed_at ELSE received_at END,
    CASE state WHEN 'running' THEN run_id END, attempt_count, sha256, run_id, changed_at
FROM inbox
WHERE allowed_count > 0
"""


def upgrade() -> None:
    """Make the changes, and the items of the deliveries."""
    upgrade_by(CHANGES)
    op.execute(ITEMS_OF_INBOX)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
