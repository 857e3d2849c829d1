"""What the shares of FINRA's weeks were worth, by the prices of their sessions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "finra_symbol_week_value",
        sa.Column("week_start", sa.Date(), nullable=False, comment="Monday of the week"),
        sa.Column("tier", TEXT, nullable=False, comment="T1, T2 or OTCE"),
        sa.Column("symbol", TEXT, nullable=False, comment="FINRA's issue symbol"),
        sa.Column(
            "share_quantity",
            sa.BigInteger(),
            nullable=False,
            comment="Shares traded OTC, both markets",
        ),
        sa.Column(
            "price",
            sa.BigInteger(),
            nullable=False,
            comment="Mean close by volume, as traded, US dollars x 10^6",
        ),
        sa.Column("session_count", sa.BigInteger(), nullable=False, comment="Sessions of the week"),
        sa.Column(
            "notional_dollars",
            sa.Double(),
            nullable=False,
            comment="Estimate of the traded value: shares x price, US dollars",
        ),
        sa.Column(
            "dollar_volume_share",
            sa.Double(),
            nullable=True,
            comment="Its share of the tier's estimates, 0-1",
        ),
        sa.Column(
            "market_volume_share",
            sa.Double(),
            nullable=True,
            comment="Shares traded OTC / all shares traded, as the source of prices counts them",
        ),
        sa.PrimaryKeyConstraint("week_start", "tier", "symbol"),
        comment="One row per week, tier and symbol with prices of all sessions: what its shares were worth.",
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("finra_symbol_week_value")
