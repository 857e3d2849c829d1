"""An index that finds the captures of the same bytes."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

NAME, TABLE = "captures_by_sha256", "captures"


def upgrade() -> None:
    """Create it."""
    op.create_index(NAME, TABLE, ["sha256"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index(NAME, TABLE)
