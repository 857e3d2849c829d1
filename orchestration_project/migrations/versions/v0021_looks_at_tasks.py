"""Indexes that hold all a look at the tasks reads, so that it does not read their records."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

TABLE = "saas_source_states"
INDEXES = {
    "saas_source_states_by_hash": ["system", "gone_at", "entity_id", "state_hash"],
    "saas_source_states_by_treatment": [
        "system",
        "gone_at",
        "rule",
        "action",
        "unresolved_email",
        "target_key",
    ],
}


def upgrade() -> None:
    """Create them."""
    for name, columns in INDEXES.items():
        op.create_index(name, TABLE, columns)


def downgrade() -> None:
    """Drop them."""
    for name in INDEXES:
        op.drop_index(name, TABLE)
