"""Add artifact repairs."""

from orchestration_project.migrations.changes import (
    ChangeComment,
    CreateIndex,
    CreateTable,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0047"
down_revision = "0046"

# fmt: off
CHANGES = [
    CreateTable(Table("operations_damaged_artifacts", "One row per artifact that was found damaged, with how it was repaired or what is lost.", [
        Column("name", "text", "Path of the artifact in the artifact store when it was found", key=True),
        Column("sha256", "text", "SHA-256 of the bytes that it must have, hex", key=True),
        Column("problem", "text", "Problem: missing, truncated, changed or unreadable"),
        Column("state", "text", "State: damaged, repaired, rederived (equal rows in other bytes) or lost"),
        Column("repaired_from", "text", "Origin of the repair: second_store, source or derived; NULL: not repaired, or found whole", optional=True),
        Column("reason", "text", "Findings of the latest repair; NULL: none yet", optional=True),
        Column("loss", "text", "What is lost, sentences; NULL: it is not lost", optional=True),
        Column("attempt_count", "bigint", "Repairs that were tried"),
        Column("found_at", "timestamp", "UTC time at which it was last found damaged"),
        Column("changed_at", "timestamp", "UTC time of the latest change of state"),
        Column("run_id", "text", "Dagster run of the latest change"),
    ], indexes=[
        Index("operations_damaged_artifacts_by_state", ["state"]),
    ])),
    CreateTable(Table("operations_artifact_copies", "One row per second artifact store and kind of rows that it follows: how far it is a copy.", [
        Column("url", "text", "Folder or URL of the second store, without secrets", key=True),
        Column("kind", "text", "Followed rows: blobs, exports or removals", key=True),
        Column("followed_until", "timestamp", "UTC time up to which the rows were followed"),
        Column("object_count", "bigint", "Objects copied so far; of removals, deleted"),
        Column("byte_count", "bigint", "Their size as stored, bytes"),
        Column("changed_at", "timestamp", "UTC time of the latest change"),
        Column("run_id", "text", "Dagster run of the latest change"),
    ])),
    ChangeComment("blobs", "stored_at", "UTC time at which the bytes were first recorded", "UTC time at which the bytes were recorded at this path"),
    CreateIndex("blobs", Index("blobs_by_time", ["stored_at", "sha256"])),
    CreateIndex("operations_removals", Index("operations_removals_by_time", ["removed_at"])),
    CreateIndex("operations_exports", Index("operations_exports_by_time", ["rendered_at"])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
