"""Add topics of bridges."""

from orchestration_project.migrations.changes import AddColumn, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column

revision = "0045"
down_revision = "0044"

# fmt: off
CHANGES = [
    AddColumn("mqtt_bridges", Column("topics", "text", "Topic filters that the broker's session may have, separated by commas; NULL: not known", optional=True)),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
