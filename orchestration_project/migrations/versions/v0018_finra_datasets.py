"""Tables of FINRA's further datasets: trading in US Treasuries by week, and in bonds by CUSIP."""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")

TABLES = ("finra_treasury_weekly", "fact_bond_trade_activity")


def upgrade() -> None:
    """Create the tables and their histories."""
    _create(
        "finra_treasury_weekly",
        "One row per week, product category, range of maturity and benchmark: the trading in US Treasury securities reported to FINRA.",
        _treasury_columns,
        ("week_start", "product_category", "years_to_maturity", "benchmark"),
    )
    _create(
        "fact_bond_trade_activity",
        "One row per week, tier and bond: the par value and the trades of a licensed feed.",
        _bond_columns,
        ("week_ending", "tier", "cusip"),
    )


def _treasury_columns() -> list[sa.Column]:
    return [
        sa.Column("week_start", sa.Date(), nullable=False, comment="Monday of the week"),
        sa.Column(
            "product_category", TEXT, nullable=False, comment="Such as Bills or Nominal Coupons"
        ),
        sa.Column(
            "years_to_maturity",
            TEXT,
            nullable=False,
            comment="Range of remaining years; blank: not told apart",
        ),
        sa.Column(
            "benchmark",
            TEXT,
            nullable=False,
            comment="On-the-run or Off-the-run; blank: not told apart",
        ),
        sa.Column(
            "ats_interdealer_volume",
            sa.BigInteger(),
            nullable=True,
            comment="Volume on ATSs and between dealers, in FINRA's unit x 10^6",
        ),
        sa.Column(
            "dealer_customer_volume",
            sa.BigInteger(),
            nullable=True,
            comment="Volume between dealers and customers, in FINRA's unit x 10^6",
        ),
    ]


def _bond_columns() -> list[sa.Column]:
    return [
        sa.Column("week_ending", sa.Date(), nullable=False, comment="Friday of the week"),
        sa.Column("tier", TEXT, nullable=False, comment="Bucket of liquidity: T1, T2 or OTCE"),
        sa.Column(
            "cusip",
            TEXT,
            nullable=False,
            comment="The bond: nine characters, the last a check digit",
        ),
        sa.Column(
            "volume_total",
            sa.BigInteger(),
            nullable=False,
            comment="Par value traded in the week, US dollars",
        ),
        sa.Column("trade_count", sa.BigInteger(), nullable=False, comment="Trades in the week"),
    ]


def _create(
    name: str, comment: str, columns: Callable[[], list[sa.Column]], key: tuple[str, ...]
) -> None:
    op.create_table(
        name,
        *columns(),
        *_bookkeeping(),
        sa.PrimaryKeyConstraint(*key),
        comment=comment,
        sqlite_with_rowid=False,
    )
    op.create_table(
        f"{name}_history",
        *columns(),
        *_bookkeeping(),
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
        sa.PrimaryKeyConstraint(*key, "known_from"),
        comment=f"One row per earlier state of a row of {name}: true from known_from to known_to.",
        sqlite_with_rowid=False,
    )


def _bookkeeping() -> list[sa.Column]:
    return [
        sa.Column(
            "capture_id",
            sa.BigInteger(),
            nullable=False,
            comment="The capture that the row was read from",
        ),
        sa.Column(
            "known_from",
            MOMENT,
            nullable=False,
            comment="UTC time from which we knew the row",
        ),
    ]


def downgrade() -> None:
    """Drop them."""
    for name in reversed(TABLES):
        op.drop_table(f"{name}_history")
        op.drop_table(name)
