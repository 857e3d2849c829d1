"""Add deployment."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0048"
down_revision = "0047"

# fmt: off
CHANGES = [
    CreateTable(Table("operations_hosts", "One row per host and role of a program there: its release and last heartbeat.", [
        Column("host", "text", "Host name", key=True),
        Column("role", "text", "Role: gateway, daemon, code_server, bridge or worker", key=True),
        Column("release", "text", "Version of the program"),
        Column("tables_version", "text", "Version of the tables that the program needs"),
        Column("started_at", "timestamp", "UTC time at which the program started"),
        Column("last_seen_at", "timestamp", "UTC time of its last heartbeat"),
        Column("stopped_at", "timestamp", "UTC time at which it stopped; NULL: it did not", optional=True),
        Column("cores", "bigint", "CPU cores"),
        Column("memory_bytes", "bigint", "Memory, bytes"),
        Column("disk_bytes", "bigint", "Size of the disk of STATE_DIR, bytes"),
        Column("disk_free_bytes", "bigint", "Free space of that disk, bytes"),
    ])),
    CreateTable(Table("operations_backups", "One row per complete backup of this installation.", [
        Column("backup_id", "text", "Backup ID: UTC time of its start and 8 hex digits", key=True),
        Column("location", "text", "Folder or URL that it was stored in, without secrets"),
        Column("started_at", "timestamp", "UTC time at which it started"),
        Column("ended_at", "timestamp", "UTC time at which its manifest was stored"),
        Column("release", "text", "Version of the program that made it"),
        Column("database_bytes", "bigint", "Size of both databases in the backup, bytes"),
        Column("blob_count", "bigint", "Artifacts in the backup"),
        Column("blob_bytes", "bigint", "Size of these artifacts, bytes"),
        Column("missing_count", "bigint", "Artifacts that the database names and the store lacked"),
        Column("manifest_sha256", "text", "SHA-256 of the manifest, hex"),
        Column("verified_at", "timestamp", "UTC time of the latest restore with --check that found it whole; NULL: none", optional=True),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
