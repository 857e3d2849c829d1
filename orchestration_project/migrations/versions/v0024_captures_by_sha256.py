"""An index that finds the captures of the same bytes."""

from orchestration_project.migrations.changes import CreateIndex, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Index

revision = "0024"
down_revision = "0023"

# fmt: off
CHANGES = [
    CreateIndex("captures", Index("captures_by_sha256", ["sha256"])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
