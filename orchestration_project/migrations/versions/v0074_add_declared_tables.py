"""Add declared tables."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0074"
down_revision = "0073"

# fmt: off
CHANGES = [
    CreateTable(Table("declared_tables", "One row per table that a project's files declare, and per history of such a table.", [
        Column("table_name", "text", "Name of the table", key=True),
        Column("declaration", "text", "Its comment, asset, history and columns, JSON"),
        Column("recorded_at", "timestamp", "UTC time at which this declaration was recorded"),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
