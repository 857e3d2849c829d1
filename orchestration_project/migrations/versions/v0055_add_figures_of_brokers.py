"""Add figures of brokers."""

from orchestration_project.migrations.changes import (
    AddColumn,
    CreateIndex,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Index

revision = "0055"
down_revision = "0054"

# fmt: off
CHANGES = [
    AddColumn("mqtt_bridges", Column("broker_figures", "text", "The broker's own figures, from its $SYS topics, a JSON object; NULL: none", optional=True)),
    CreateIndex("mqtt_metrics", Index("mqtt_metrics_by_arrival", ["arrival_id"])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
