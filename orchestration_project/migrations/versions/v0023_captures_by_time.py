"""An index for the newest captures."""

from orchestration_project.migrations.changes import CreateIndex, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Index

revision = "0023"
down_revision = "0022"

# fmt: off
CHANGES = [
    CreateIndex("captures", Index("captures_by_time", ["fetched_at", "capture_id"])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
