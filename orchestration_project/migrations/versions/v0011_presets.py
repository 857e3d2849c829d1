"""Presets that were applied: what later runs go by, since when, by whom and why."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "operations_presets",
        sa.Column("job", TEXT, nullable=False, comment="The job whose runs take it"),
        sa.Column(
            "applied_number",
            sa.BigInteger(),
            nullable=False,
            autoincrement=False,
            comment="1 for the first that was applied to the job, then 2, …",
        ),
        sa.Column(
            "preset",
            TEXT,
            nullable=False,
            comment="Its name: that of its file in presets/, without .yaml",
        ),
        sa.Column(
            "content",
            TEXT,
            nullable=False,
            comment="The fields that it set then, with their values, JSON",
        ),
        sa.Column("user_name", TEXT, nullable=False, comment="Who applied it"),
        sa.Column("reason", TEXT, nullable=False, comment="Why"),
        sa.Column("run_id", TEXT, nullable=False, comment="Dagster run that applied it"),
        sa.Column("applied_at", MOMENT, nullable=False, comment="UTC time"),
        sa.PrimaryKeyConstraint("job", "applied_number"),
        comment="One row per time that a preset was applied; of each job the latest one is in force.",
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("operations_presets")
