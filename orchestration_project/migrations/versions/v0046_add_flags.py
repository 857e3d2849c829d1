"""Add flags."""

from orchestration_project.migrations.changes import (
    AddColumn,
    CreateTable,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Table

revision = "0046"
down_revision = "0045"

# fmt: off
CHANGES = [
    CreateTable(Table("operations_flags", "One row per flag that the job operations_edit_flags or the API made.", [
        Column("name", "text", "Name of the flag", key=True),
        Column("share", "double", "Share of keys that it holds for, 0 to 1, by a hash of flag and key"),
        Column("listed_keys", "text", "Keys that it always holds for, a JSON list"),
        Column("owner", "text", "Person or team that answers for it"),
        Column("expires_at", "timestamp", "UTC time from which it holds for no key; NULL: never", optional=True),
        Column("version_number", "bigint", "Version of the flag, from 1"),
        Column("edited_by", "text", "User of the latest version"),
        Column("edited_at", "timestamp", "UTC time of the latest version"),
    ])),
    CreateTable(Table("operations_flag_versions", "One row per version of a flag; rows are added and never changed.", [
        Column("name", "text", "Name of the flag", key=True),
        Column("version_number", "bigint", "Version of the flag, from 1", key=True),
        Column("action", "text", "Cause: create, change or delete"),
        Column("definition", "text", "The flag as of this version, a JSON object"),
        Column("edited_by", "text", "User of the edit"),
        Column("edited_at", "timestamp", "UTC time of the edit"),
        Column("run_id", "text", "Dagster run of the edit; NULL: the API", optional=True),
    ])),
    AddColumn("operations_schedules", Column("flag", "text", "Flag that must hold for a due time; NULL: each starts a run", optional=True)),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
