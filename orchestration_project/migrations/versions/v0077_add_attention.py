"""Add marks of entries that need a person."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0077"
down_revision = "0076"

# fmt: off
CHANGES = [
    CreateTable(Table("operations_attention", "One row per entry of the page Attention that a person ignores or has acknowledged.", [
        Column("entry_id", "text", "Entry ID: first 64 bits of the SHA-256 of kind and unit, hex", key=True),
        Column("state", "text", "State: ignored (hidden until its end) or acknowledged (somebody works on it)"),
        Column("since", "timestamp", "UTC time since which it needed a person; a later problem is not marked"),
        Column("until", "timestamp", "UTC time at which the mark ends; NULL: with the problem", optional=True),
        Column("reason", "text", "Reason in words"),
        Column("marked_by", "text", "User"),
        Column("marked_at", "timestamp", "UTC time of the mark"),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
