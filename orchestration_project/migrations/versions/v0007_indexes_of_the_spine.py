"""Ways to look up what was delivered of a partition without reading all that ever was."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INDEXES = (
    ("captures_by_group", "captures", ["group_id", "part_number"]),
    ("deliveries_by_partition", "deliveries", ["table_name", "partition_key"]),
    ("landings_by_partition", "landings", ["table_name", "partition_key", "landed_at"]),
)


def upgrade() -> None:
    """Create the indexes."""
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    """Drop them."""
    for name, table, _ in INDEXES:
        op.drop_index(name, table_name=table)
