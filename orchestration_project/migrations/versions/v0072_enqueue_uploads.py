"""Enqueue uploads that waited for a poll of documents."""

from alembic import op

from orchestration_project.migrations.changes import SchemaChange

revision = "0072"
down_revision = "0071"

CHANGES: list[SchemaChange] = []

ENQUEUE = """
INSERT INTO work_items (
    topic, item_key, version, state, attempt_count, allowed_count, enqueued_at, due_at,
    lease_token, input_sha256, changed_at
)
SELECT 'uploads/' || inbox, upload_id, sha256, 'ready', 0, 3, received_at, received_at,
    0, sha256, received_at
FROM uploads
WHERE NOT EXISTS (
    SELECT 1 FROM work_items AS item
    WHERE item.topic = 'uploads/' || uploads.inbox AND item.item_key = uploads.upload_id
) AND NOT EXISTS (
    SELECT 1 FROM documents_files AS file
    WHERE file.path > '/inbox/' || uploads.inbox || '/' || uploads.upload_id || '/'
        AND file.path < '/inbox/' || uploads.inbox || '/' || uploads.upload_id || '0'
)
"""
"""A slash is followed by 0, so the last two texts enclose the paths of an upload."""


def upgrade() -> None:
    """Make the changes."""
    op.execute(ENQUEUE)


def downgrade() -> None:
    """Keep the work items: an earlier version lists the uploads and leaves these alone."""
