"""An index that holds all a look reads of tasks that stay as they are, without their records."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

NAME, TABLE = "saas_source_states_by_hash", "saas_source_states"


def upgrade() -> None:
    """Create it."""
    op.create_index(NAME, TABLE, ["system", "gone_at", "entity_id", "state_hash"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index(NAME, TABLE)
