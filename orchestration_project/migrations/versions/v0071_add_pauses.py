"""Add pauses."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0071"
down_revision = "0070"

# fmt: off
CHANGES = [
    CreateTable(Table("operations_pauses", "One row per pause of a domain, asset or source; a row stays after its end.", [
        Column("subject", "text", "Subject: all, a domain, an asset or source:<name>", key=True),
        Column("paused_at", "timestamp", "UTC time from which no run of the subject starts", key=True),
        Column("reason", "text", "Reason in words"),
        Column("paused_by", "text", "User who paused it"),
        Column("until", "timestamp", "UTC time at which it ends by itself; NULL: when resumed", optional=True),
        Column("resumed_at", "timestamp", "UTC time at which it was resumed; NULL: it was not", optional=True),
        Column("resumed_by", "text", "User who resumed or replaced it; NULL: it was not", optional=True),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
