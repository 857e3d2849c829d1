"""FINRA's tables across weeks and tiers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
BIG_INTEGER = sa.BigInteger()
DATE = sa.Date()
DOUBLE = sa.Double()

TABLES = ("finra_tier_week", "finra_concentration_week", "finra_symbol_rolling_6w")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "finra_symbol_rolling_6w",
        sa.Column("week_start", DATE, nullable=False, comment="Monday of the window's last week"),
        sa.Column("tier", TEXT, nullable=False, comment="T1, T2 or OTCE"),
        sa.Column("symbol", TEXT, nullable=False, comment="FINRA's issue symbol"),
        sa.Column(
            "weeks_in_window",
            BIG_INTEGER,
            nullable=False,
            comment="Weeks of the six, by date, that have the symbol, 1-6",
        ),
        sa.Column(
            "is_complete",
            sa.Boolean(),
            nullable=False,
            comment="Whether all six weeks of the tier are landed",
        ),
        sa.Column(
            "average_shares_per_week",
            DOUBLE,
            nullable=False,
            comment="Shares, mean of the weeks that have the symbol",
        ),
        sa.Column(
            "min_share_quantity",
            BIG_INTEGER,
            nullable=False,
            comment="Shares in the least of these weeks",
        ),
        sa.Column(
            "max_share_quantity",
            BIG_INTEGER,
            nullable=False,
            comment="Shares in the greatest of these weeks",
        ),
        sa.Column(
            "average_trades_per_week",
            DOUBLE,
            nullable=False,
            comment="Trades, mean of the weeks that have the symbol",
        ),
        sa.Column(
            "min_trade_count",
            BIG_INTEGER,
            nullable=False,
            comment="Trades in the least of these weeks",
        ),
        sa.Column(
            "max_trade_count",
            BIG_INTEGER,
            nullable=False,
            comment="Trades in the greatest of these weeks",
        ),
        sa.Column(
            "trend_ratio",
            DOUBLE,
            nullable=True,
            comment="Mean shares, last 3 weeks / first 3; NULL: nothing there",
        ),
        sa.Column(
            "trend_direction",
            TEXT,
            nullable=True,
            comment="up: ratio over 1.1; down: under 0.9; else flat",
        ),
        sa.PrimaryKeyConstraint("week_start", "tier", "symbol"),
        comment="One row per week, tier and symbol traded in it: its trading in the six weeks that end there.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "finra_concentration_week",
        sa.Column("week_start", DATE, nullable=False, comment="Monday of the week"),
        sa.Column("tier", TEXT, nullable=False, comment="T1, T2 or OTCE"),
        sa.Column("symbol", TEXT, nullable=False, comment="FINRA's issue symbol"),
        sa.Column(
            "hhi_lower",
            DOUBLE,
            nullable=True,
            comment="Herfindahl index 0-1 if De Minimis Firms are tiny",
        ),
        sa.Column(
            "hhi_upper",
            DOUBLE,
            nullable=True,
            comment="Herfindahl index 0-1 if De Minimis Firms are one",
        ),
        sa.Column(
            "hhi_lower_change",
            DOUBLE,
            nullable=True,
            comment="hhi_lower less that of the week before; NULL: none",
        ),
        sa.Column(
            "hhi_upper_change",
            DOUBLE,
            nullable=True,
            comment="hhi_upper less that of the week before; NULL: none",
        ),
        sa.Column(
            "top_1_venue_share",
            DOUBLE,
            nullable=True,
            comment="Share of shares of the largest named venue, 0-1",
        ),
        sa.Column(
            "top_3_venue_share",
            DOUBLE,
            nullable=True,
            comment="Share of shares of the 3 largest, 0-1",
        ),
        sa.Column(
            "top_5_venue_share",
            DOUBLE,
            nullable=True,
            comment="Share of shares of the 5 largest, 0-1",
        ),
        sa.PrimaryKeyConstraint("week_start", "tier", "symbol"),
        comment="One row per week, tier and symbol: how few venues had its trading, and how that changed.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "finra_tier_week",
        sa.Column("week_start", DATE, nullable=False, comment="Monday of the week"),
        sa.Column("tier", TEXT, nullable=False, comment="T1, T2 or OTCE"),
        sa.Column("share_quantity", BIG_INTEGER, nullable=False, comment="Shares, both markets"),
        sa.Column("trade_count", BIG_INTEGER, nullable=False, comment="Trades, both markets"),
        sa.Column("row_count", BIG_INTEGER, nullable=False, comment="Rows of finra_otc_weekly"),
        sa.Column("symbol_count", BIG_INTEGER, nullable=False, comment="Symbols traded"),
        sa.Column(
            "venue_count",
            BIG_INTEGER,
            nullable=False,
            comment="Venues that are known by name: De Minimis Firms are not one",
        ),
        sa.Column(
            "market_share",
            DOUBLE,
            nullable=True,
            comment="Share of all tiers' shares in the week, 0-1",
        ),
        sa.PrimaryKeyConstraint("week_start", "tier"),
        comment="One row per week and tier, once all tiers are landed: its trading and its part of the market.",
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in TABLES:
        op.drop_table(name)
