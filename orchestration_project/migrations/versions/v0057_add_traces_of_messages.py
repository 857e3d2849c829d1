"""Add traces of messages."""

from orchestration_project.migrations.changes import AddColumn, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column

revision = "0057"
down_revision = "0056"

# fmt: off
CHANGES = [
    AddColumn("mqtt_inbox", Column("trace_id", "text", "Trace of the message's user property traceparent, a UUID; NULL: none, or malformed", optional=True)),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
