"""What was cleaned up."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
BIG_INTEGER = sa.BigInteger()
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "operations_removals",
        sa.Column(
            "name", TEXT, nullable=False, comment="The artifact, relative to the artifact store"
        ),
        sa.Column("removed_at", MOMENT, nullable=False, comment="UTC time"),
        sa.Column("kind", TEXT, nullable=False, comment="captured bytes, staged rows or picture"),
        sa.Column("byte_count", BIG_INTEGER, nullable=False, comment="Size as stored, bytes"),
        sa.Column(
            "put_at",
            MOMENT,
            nullable=False,
            comment="UTC time at which it was last put into the store",
        ),
        sa.Column("run_id", TEXT, nullable=False, comment="Dagster run"),
        sa.PrimaryKeyConstraint("name", "removed_at"),
        comment="One row per artifact that was cleaned up, recorded before it was deleted.",
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("operations_removals")
