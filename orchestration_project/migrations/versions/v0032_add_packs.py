"""Add where a blob begins in a pack."""

from orchestration_project.migrations.changes import AddColumn, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column

revision = "0032"
down_revision = "0031"

# fmt: off
CHANGES = [
    AddColumn("blobs", Column("byte_offset", "bigint", "Start in a pack, bytes; NULL: an object of its own", optional=True)),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them: what lies in packs cannot be read by the version before."""
    downgrade_by(CHANGES)
