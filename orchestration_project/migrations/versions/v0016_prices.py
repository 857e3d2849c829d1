"""Prices by symbol and day, what is derived of them, and what of each symbol waits."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")

SOURCE_BEFORE = "Where from: demo, api, files or webhooks"
SOURCE_NOW = "Where from: demo, api, files, webhooks, alpha_vantage or yahoo"
KEY_BEFORE = "Dagster''s key of the partition"
KEY_NOW = "What was asked for: Dagster''s key of the partition; of prices the symbol"

CAUSE_BEFORE = "first, source, metadata, ours or none"
CAUSE_NOW = "first, more (days of a range), source, metadata, ours or none"

DECIMALS = ("open", "high", "low", "close", "adjusted_close", "dividend", "split_ratio")
COMMENT = "One row per row of prices_daily, for reading: prices, dividends and ratios as decimals."
COMMENTS = {
    "symbol": "The symbol in FINRA''s spelling, exact to the byte",
    "trade_date": "Trading day in New York",
    **dict.fromkeys(DECIMALS[:4], "US dollars with 6 decimals, text on SQLite"),
    "adjusted_close": "US dollars with 6 decimals, text on SQLite; NULL: not given",
    "volume": "Shares traded",
    "dividend": "US dollars a share with 6 decimals, text on SQLite; NULL: not given",
    "split_ratio": "New shares for an old one with 6 decimals, text on SQLite; NULL: not given",
    "source": "Where from: demo, alpha_vantage, yahoo or files",
    "capture_id": "The capture that the row was read from",
    "known_from": "UTC time from which we knew the row",
}


def upgrade() -> None:
    """Create the tables and the view; PostgreSQL also keeps what the columns hold."""
    op.create_table(
        "prices_daily",
        sa.Column(
            "symbol",
            TEXT,
            nullable=False,
            comment="The symbol in FINRA's spelling, exact to the byte",
        ),
        sa.Column("trade_date", sa.Date(), nullable=False, comment="Trading day in New York"),
        sa.Column(
            "open", sa.BigInteger(), nullable=False, comment="First price, US dollars x 10^6"
        ),
        sa.Column(
            "high", sa.BigInteger(), nullable=False, comment="Highest price, US dollars x 10^6"
        ),
        sa.Column(
            "low", sa.BigInteger(), nullable=False, comment="Lowest price, US dollars x 10^6"
        ),
        sa.Column(
            "close",
            sa.BigInteger(),
            nullable=False,
            comment="Last price, US dollars x 10^6; of yahoo after all later splits",
        ),
        sa.Column(
            "adjusted_close",
            sa.BigInteger(),
            nullable=True,
            comment="close after all later splits and dividends, US dollars x 10^6; NULL: not given",
        ),
        sa.Column("volume", sa.BigInteger(), nullable=False, comment="Shares traded"),
        sa.Column(
            "dividend",
            sa.BigInteger(),
            nullable=True,
            comment="US dollars x 10^6 a share, ex on this day; NULL: not given",
        ),
        sa.Column(
            "split_ratio",
            sa.BigInteger(),
            nullable=True,
            comment="New shares for an old one x 10^6; 1000000: no split; NULL: not given",
        ),
        sa.Column(
            "source",
            TEXT,
            nullable=False,
            comment="Where from: demo, alpha_vantage, yahoo or files",
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
        sa.PrimaryKeyConstraint("symbol", "trade_date"),
        comment="One row per symbol and trading day: its prices and volume, as the source has them now.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "prices_daily_history",
        sa.Column(
            "symbol",
            TEXT,
            nullable=False,
            comment="The symbol in FINRA's spelling, exact to the byte",
        ),
        sa.Column("trade_date", sa.Date(), nullable=False, comment="Trading day in New York"),
        sa.Column(
            "open", sa.BigInteger(), nullable=False, comment="First price, US dollars x 10^6"
        ),
        sa.Column(
            "high", sa.BigInteger(), nullable=False, comment="Highest price, US dollars x 10^6"
        ),
        sa.Column(
            "low", sa.BigInteger(), nullable=False, comment="Lowest price, US dollars x 10^6"
        ),
        sa.Column(
            "close",
            sa.BigInteger(),
            nullable=False,
            comment="Last price, US dollars x 10^6; of yahoo after all later splits",
        ),
        sa.Column(
            "adjusted_close",
            sa.BigInteger(),
            nullable=True,
            comment="close after all later splits and dividends, US dollars x 10^6; NULL: not given",
        ),
        sa.Column("volume", sa.BigInteger(), nullable=False, comment="Shares traded"),
        sa.Column(
            "dividend",
            sa.BigInteger(),
            nullable=True,
            comment="US dollars x 10^6 a share, ex on this day; NULL: not given",
        ),
        sa.Column(
            "split_ratio",
            sa.BigInteger(),
            nullable=True,
            comment="New shares for an old one x 10^6; 1000000: no split; NULL: not given",
        ),
        sa.Column(
            "source",
            TEXT,
            nullable=False,
            comment="Where from: demo, alpha_vantage, yahoo or files",
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
        sa.PrimaryKeyConstraint("symbol", "trade_date", "known_from"),
        comment="One row per earlier state of a row of prices_daily: true from known_from to known_to.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "prices_corporate_actions",
        sa.Column("symbol", TEXT, nullable=False, comment="As in prices_daily"),
        sa.Column(
            "trade_date",
            sa.Date(),
            nullable=False,
            comment="First trading day after the action: the ex-date",
        ),
        sa.Column("kind", TEXT, nullable=False, comment="dividend or split"),
        sa.Column(
            "dividend",
            sa.BigInteger(),
            nullable=True,
            comment="US dollars x 10^6 a share; NULL: a split",
        ),
        sa.Column(
            "split_ratio",
            sa.BigInteger(),
            nullable=True,
            comment="New shares for an old one x 10^6; NULL: a dividend",
        ),
        sa.Column("source", TEXT, nullable=False, comment="Where from, as in prices_daily"),
        sa.PrimaryKeyConstraint("symbol", "trade_date", "kind"),
        comment="One row per symbol, day and kind of corporate action, as the prices of the day tell of it.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "prices_returns",
        sa.Column("symbol", TEXT, nullable=False, comment="As in prices_daily"),
        sa.Column("trade_date", sa.Date(), nullable=False, comment="Trading day in New York"),
        sa.Column(
            "previous_date",
            sa.Date(),
            nullable=False,
            comment="The trading day that the return begins with",
        ),
        sa.Column(
            "missing_count",
            sa.BigInteger(),
            nullable=False,
            comment="Sessions between the two that have no price",
        ),
        sa.Column(
            "is_after_gap",
            sa.Boolean(),
            nullable=False,
            comment="Whether there are any: the return is that of several sessions",
        ),
        sa.Column(
            "is_adjusted",
            sa.Boolean(),
            nullable=False,
            comment="Of adjusted_close (true), or of close, where that is not given",
        ),
        sa.Column("simple_return", sa.Double(), nullable=False, comment="Price / price before - 1"),
        sa.Column(
            "log_return",
            sa.Double(),
            nullable=False,
            comment="Natural logarithm of price / price before",
        ),
        sa.Column(
            "volatility_20d",
            sa.Double(),
            nullable=True,
            comment="Standard deviation of the log returns of 20 sessions, a day; NULL: one is missing",
        ),
        sa.Column("volatility_60d", sa.Double(), nullable=True, comment="The same of 60 sessions"),
        sa.PrimaryKeyConstraint("symbol", "trade_date"),
        comment="One row per symbol and trading day after its first: its return, and how restless it was.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "prices_symbol_months",
        sa.Column("symbol", TEXT, nullable=False, comment="As in prices_daily"),
        sa.Column("month_start", sa.Date(), nullable=False, comment="First day of the month"),
        sa.Column(
            "state",
            TEXT,
            nullable=False,
            comment="landed, waiting (for source or quota), refused or unmapped",
        ),
        sa.Column("reason", TEXT, nullable=True, comment="Why it is not landed; NULL: it is"),
        sa.Column(
            "landed_through_date",
            sa.Date(),
            nullable=True,
            comment="Last day of the month up to which the source was asked; NULL: none",
        ),
        sa.Column(
            "row_count",
            sa.BigInteger(),
            nullable=False,
            comment="Rows of prices_daily in the month",
        ),
        sa.Column("source", TEXT, nullable=False, comment="Where from, as in prices_daily"),
        sa.Column(
            "changed_at",
            MOMENT,
            nullable=False,
            comment="UTC time since which state and reason are these",
        ),
        sa.Column(
            "resumes_at",
            MOMENT,
            nullable=True,
            comment="UTC time before which asking is in vain; NULL: none",
        ),
        sa.Column("run_id", TEXT, nullable=False, comment="Dagster run that looked last"),
        sa.PrimaryKeyConstraint("symbol", "month_start"),
        comment="One row per symbol and month that was asked for: how far it is landed, and what waits.",
        sqlite_with_rowid=False,
    )
    _create_view()
    _describe_spine(SOURCE_NOW, KEY_NOW, KEY_NOW, CAUSE_NOW)


def _create_view() -> None:
    columns = ", ".join(_shown(name) for name in COMMENTS)
    op.execute(f"CREATE VIEW v_prices_daily AS SELECT {columns} FROM prices_daily")  # noqa: S608 - frozen names
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"COMMENT ON VIEW v_prices_daily IS '{COMMENT}'")
        for column, comment in COMMENTS.items():
            op.execute(f"COMMENT ON COLUMN v_prices_daily.{column} IS '{comment}'")


def _shown(name: str) -> str:
    column = f"prices_daily.{name}"
    if name not in DECIMALS:
        return f"{column} AS {name}"
    if op.get_bind().dialect.name != "sqlite":
        return f"CAST({column} * 0.000001 AS NUMERIC(19, 6)) AS {name}"
    return (
        f"CASE WHEN {column} IS NOT NULL THEN printf('%s%d.%06d', "
        f"CASE WHEN {column} < 0 THEN '-' ELSE '' END, "
        f"abs({column} / 1000000), abs({column} % 1000000)) END AS {name}"
    )


def _describe_spine(source: str, key: str, key_of_captures: str, cause: str) -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in ("captures", "deliveries", "landings"):
        op.execute(f"COMMENT ON COLUMN {table}.source IS '{source}'")
    for table in ("deliveries", "audits", "landings"):
        op.execute(f"COMMENT ON COLUMN {table}.partition_key IS '{key}'")
    op.execute(f"COMMENT ON COLUMN captures.partition_key IS '{key_of_captures}'")
    op.execute(f"COMMENT ON COLUMN landings.change_cause IS '{cause}'")


def downgrade() -> None:
    """Drop them."""
    _describe_spine(SOURCE_BEFORE, KEY_BEFORE, f"{KEY_BEFORE} that asked for it", CAUSE_BEFORE)
    op.execute("DROP VIEW v_prices_daily")
    op.drop_table("prices_symbol_months")
    op.drop_table("prices_returns")
    op.drop_table("prices_corporate_actions")
    op.drop_table("prices_daily_history")
    op.drop_table("prices_daily")
