"""Add files that inboxes refused over HTTP, and indexes of failed runs."""

from orchestration_project.migrations.changes import (
    CreateIndex,
    CreateTable,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0080"
down_revision = "0079"

# fmt: off
CHANGES = [
    CreateTable(Table("upload_refusals", "One row per file that an inbox refused over HTTP, by sender and status; its bytes are gone.", [
        Column("refusal_id", "text", "First 128 bits of the SHA-256 of inbox, user, name and status", key=True),
        Column("inbox", "text", "Name of the inbox in inboxes.yaml"),
        Column("file_name", "text", "Name of the file as the sender gave it"),
        Column("user_name", "text", "Owner of the key"),
        Column("status", "bigint", "HTTP status of the answer, such as 413"),
        Column("reason", "text", "Reason in words"),
        Column("expected", "text", "Files that the inbox accepts, in words; empty: see the reason"),
        Column("byte_count", "bigint", "Size that the request named, bytes; NULL: none", optional=True),
        Column("attempt_count", "bigint", "Requests that were refused so"),
        Column("first_refused_at", "timestamp", "UTC time of the first refusal"),
        Column("refused_at", "timestamp", "UTC time of the latest refusal"),
    ], indexes=[
        Index("upload_refusals_by_user", ["user_name", "refused_at"]),
    ])),
    CreateIndex("operations_runs", Index("operations_runs_by_status", ["status", "created_at"])),
    CreateIndex("operations_runs", Index("operations_runs_by_partition", ["job", "partition_key", "created_at"])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
