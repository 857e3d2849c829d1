"""An index for the newest captures."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

NAME, TABLE = "captures_by_time", "captures"


def upgrade() -> None:
    """Create it."""
    op.create_index(NAME, TABLE, ["fetched_at", "capture_id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index(NAME, TABLE)
