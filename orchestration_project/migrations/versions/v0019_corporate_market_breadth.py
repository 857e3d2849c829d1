"""The table of FINRA's corporateMarketBreadth: how many corporate bonds rose, fell and stayed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")

TABLE = "finra_corporate_market_breadth"
KEY = ("trade_date", "product_category")


def upgrade() -> None:
    """Create the table and its history."""
    op.create_table(
        TABLE,
        *_columns(),
        sa.PrimaryKeyConstraint(*KEY),
        comment="One row per day and product category: how many corporate bonds rose, fell and stayed.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        f"{TABLE}_history",
        *_columns(),
        sa.Column(
            "known_to",
            MOMENT,
            nullable=False,
            comment="UTC time at which the row was replaced or removed",
        ),
        sa.Column(
            "change_cause",
            TEXT,
            nullable=False,
            comment="Why: source (values), metadata (only its dates), ours (our rules)",
        ),
        sa.Column(
            "rule_version",
            TEXT,
            nullable=False,
            comment="Version of our rules that made the row that followed",
        ),
        sa.PrimaryKeyConstraint(*KEY, "known_from"),
        comment=f"One row per earlier state of a row of {TABLE}: true from known_from to known_to.",
        sqlite_with_rowid=False,
    )


def _columns() -> list[sa.Column]:
    return [
        sa.Column("trade_date", sa.Date(), nullable=False, comment="Day of the trades"),
        sa.Column("product_category", TEXT, nullable=False, comment="Such as high yield"),
        sa.Column("trade_count", sa.BigInteger(), nullable=False, comment="Trades"),
        sa.Column(
            "advance_count", sa.BigInteger(), nullable=False, comment="Bonds whose price rose"
        ),
        sa.Column(
            "decline_count", sa.BigInteger(), nullable=False, comment="Bonds whose price fell"
        ),
        sa.Column(
            "unchanged_count", sa.BigInteger(), nullable=False, comment="Bonds whose price stayed"
        ),
        sa.Column(
            "new_high_count",
            sa.BigInteger(),
            nullable=False,
            comment="Bonds at their highest of 52 weeks",
        ),
        sa.Column(
            "new_low_count",
            sa.BigInteger(),
            nullable=False,
            comment="Bonds at their lowest of 52 weeks",
        ),
        sa.Column(
            "total_volume",
            sa.BigInteger(),
            nullable=True,
            comment="Volume traded, in FINRA's unit x 10^6",
        ),
        sa.Column(
            "capture_id",
            sa.BigInteger(),
            nullable=False,
            comment="The capture that the row was read from",
        ),
        sa.Column(
            "known_from", MOMENT, nullable=False, comment="UTC time from which we knew the row"
        ),
    ]


def downgrade() -> None:
    """Drop them."""
    op.drop_table(f"{TABLE}_history")
    op.drop_table(TABLE)
