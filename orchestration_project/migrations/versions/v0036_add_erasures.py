"""Add erasures, and uploads of files."""

from orchestration_project.migrations.changes import (
    AddColumn,
    CreateTable,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0036"
down_revision = "0035"

# fmt: off
CHANGES = [
    CreateTable(Table("operations_erasures", "One row per erasure of a person or document, without what identified it.", [
        Column("erasure_id", "text", "ID of the request", key=True),
        Column("kind", "text", "Kind of the subject, such as saas/person"),
        Column("salt", "text", "Salt of identifier_hash, hex"),
        Column("identifier_hash", "text", "scrypt of the identifier with the salt, hex"),
        Column("rows_deleted", "bigint", "Rows deleted, of all tables"),
        Column("rows_masked", "bigint", "Rows in which the identifier was masked, of all tables"),
        Column("captures_deleted", "bigint", "Captures deleted, as no row of another subject needs them"),
        Column("captures_redacted", "bigint", "Captures whose bytes were replaced by redacted ones"),
        Column("artifacts_deleted", "bigint", "Other artifacts deleted, such as staged rows and pictures"),
        Column("files_changed", "bigint", "Files of STATE_DIR, and tables of Dagster, that were changed"),
        Column("tables", "text", "Rows deleted and masked by table, JSON"),
        Column("not_reached", "text", "Places that the erasure does not reach, a JSON list of sentences"),
        Column("user_name", "text", "User who requested it"),
        Column("reason", "text", "Reason that the user gave"),
        Column("requested_at", "timestamp", "UTC time of the request"),
        Column("erased_at", "timestamp", "UTC time at which all rows and bytes were erased"),
        Column("cleaned_at", "timestamp", "UTC time at which freed pages of the databases were overwritten; NULL: not yet", optional=True),
        Column("run_id", "text", "Dagster run"),
    ])),
    CreateTable(Table("operations_erasure_requests", "One row per requested erasure, deleted at its end: run config has only its ID.", [
        Column("request_id", "text", "ID of the request", key=True),
        Column("kind", "text", "Kind of the subject, such as saas/person"),
        Column("identifiers", "text", "Identifiers of the subject, a JSON list; NULL: erased, pages are being overwritten", optional=True),
        Column("user_name", "text", "User who requested it"),
        Column("reason", "text", "Reason that the user gave"),
        Column("requested_at", "timestamp", "UTC time of the request"),
    ])),
    AddColumn("captures", Column("erased_at", "timestamp", "UTC time at which an erasure replaced the bytes by redacted ones; NULL: as received", optional=True)),
    CreateTable(Table("uploads", "One row per file that was uploaded to an inbox: its bytes are a blob, its name is data.", [
        Column("inbox", "text", "Name of the inbox in inboxes.yaml", key=True),
        Column("upload_id", "text", "First 128 bits of the SHA-256 of sha256 and file_name, hex", key=True),
        Column("file_name", "text", "Name of the file as the sender gave it"),
        Column("content_type", "text", "Media type as the sender gave it"),
        Column("sha256", "text", "SHA-256 of the bytes, hex"),
        Column("byte_count", "bigint", "Size, bytes"),
        Column("user_name", "text", "Owner of the key"),
        Column("received_at", "timestamp", "UTC time at which the file was complete"),
        Column("capture_id", "bigint", "Capture of the bytes"),
    ], indexes=[
        Index("uploads_by_sha256", ["sha256"]),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
