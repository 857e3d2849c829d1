"""The fields that sources list."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "source_fields",
        sa.Column("source", TEXT, nullable=False, comment="Where from: demo or api"),
        sa.Column("dataset", TEXT, nullable=False, comment="The source's name of the dataset"),
        sa.Column("field_name", TEXT, nullable=False, comment="The field, exact to the byte"),
        sa.Column(
            "first_seen_at",
            MOMENT,
            nullable=False,
            comment="UTC time of the first look that found the field in this type",
        ),
        sa.Column("field_type", TEXT, nullable=False, comment="Its type in the source's words"),
        sa.Column(
            "last_seen_at", MOMENT, nullable=False, comment="UTC time of the last look that did"
        ),
        sa.Column(
            "gone_at",
            MOMENT,
            nullable=True,
            comment="UTC time of the first look that did not any more; NULL: it is there",
        ),
        sa.PrimaryKeyConstraint("source", "dataset", "field_name", "first_seen_at"),
        comment="One row per dataset, field and period in which a source listed it in one type.",
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("source_fields")
