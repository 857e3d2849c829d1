"""Add pending announcements.

Loads of an earlier version have no row: what they changed is not announced again.
"""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0029"
down_revision = "0028"

# fmt: off
CHANGES = [
    CreateTable(Table("pending_announcements", "One row per load that Dagster is not known to have an event of: what that event announces.", [
        Column("table_name", "text", "The table", key=True),
        Column("partition_key", "text", "Dagster's key of the partition", key=True),
        Column("landed_at", "timestamp", "UTC time; known_from of the rows that it wrote", key=True),
        Column("group_id", "text", "The delivery"),
        Column("change_cause", "text", "first, more (days of a range), source, metadata, ours or none"),
        Column("sentence", "text", "What the load changed, in words; blank: nothing"),
        Column("figures", "text", "What the load changed, in figures, JSON; null: the dataset has none"),
        Column("run_id", "text", "Dagster run that loaded it"),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
