"""Add versions of document files."""

from orchestration_project.migrations.changes import AddColumn, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column

revision = "0066"
down_revision = "0065"

# fmt: off
CHANGES = [
    AddColumn("documents_files", Column("file_version", "text", "Distinguishes states of the same size and change time: the time at which the file system last changed the file in any way (ctime), or an object's ETag. Where it changes, the bytes are read and compared by SHA-256; NULL: an upload, or not known yet", optional=True)),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
