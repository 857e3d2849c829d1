"""State splits applied to prices."""

import sqlalchemy as sa
from alembic import op

from orchestration_project.migrations.changes import (
    ChangeComment,
    CreateView,
    DropView,
    RebuildTable,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Table, View

revision = "0061"
down_revision = "0060"

# fmt: off
CHANGES = [
    DropView(View("v_prices_daily", "One row per row of prices_daily, with prices, dividends and ratios as decimals.", {
        "symbol": "Symbol in FINRA's spelling, exact to the byte",
        "trade_date": "Trading day in New York",
        "open": "US dollars with 6 decimals, text on SQLite",
        "high": "US dollars with 6 decimals, text on SQLite",
        "low": "US dollars with 6 decimals, text on SQLite",
        "close": "US dollars with 6 decimals, text on SQLite",
        "adjusted_close": "US dollars with 6 decimals, text on SQLite; NULL: not given",
        "volume": "Shares traded, with 6 decimals, text on SQLite",
        "dividend": "US dollars per share with 6 decimals, text on SQLite; NULL: not given",
        "split_ratio": "New shares per old share with 6 decimals, text on SQLite; NULL: not given",
        "source": "Source: demo, alpha_vantage, yahoo or files",
        "capture_id": "Capture that the row was read from",
        "known_from": "UTC time from which the row is valid (system time)",
    }, """
SELECT prices_daily.symbol AS symbol,
prices_daily.trade_date AS trade_date,
CAST(prices_daily.open * 0.000001 AS NUMERIC(19, 6)) AS open,
CAST(prices_daily.high * 0.000001 AS NUMERIC(19, 6)) AS high,
CAST(prices_daily.low * 0.000001 AS NUMERIC(19, 6)) AS low,
CAST(prices_daily.close * 0.000001 AS NUMERIC(19, 6)) AS close,
CAST(prices_daily.adjusted_close * 0.000001 AS NUMERIC(19, 6)) AS adjusted_close,
CAST(prices_daily.volume_micros * 0.000001 AS NUMERIC(19, 6)) AS volume,
CAST(prices_daily.dividend * 0.000001 AS NUMERIC(19, 6)) AS dividend,
CAST(prices_daily.split_ratio * 0.000001 AS NUMERIC(19, 6)) AS split_ratio,
prices_daily.source AS source,
prices_daily.capture_id AS capture_id,
prices_daily.known_from AS known_from
FROM prices_daily
""", sqlite_sql="""
SELECT prices_daily.symbol AS symbol,
prices_daily.trade_date AS trade_date,
CASE WHEN prices_daily.open IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.open < 0 THEN '-' ELSE '' END, abs(prices_daily.open / 1000000), abs(prices_daily.open % 1000000)) END AS open,
CASE WHEN prices_daily.high IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.high < 0 THEN '-' ELSE '' END, abs(prices_daily.high / 1000000), abs(prices_daily.high % 1000000)) END AS high,
CASE WHEN prices_daily.low IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.low < 0 THEN '-' ELSE '' END, abs(prices_daily.low / 1000000), abs(prices_daily.low % 1000000)) END AS low,
CASE WHEN prices_daily.close IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.close < 0 THEN '-' ELSE '' END, abs(prices_daily.close / 1000000), abs(prices_daily.close % 1000000)) END AS close,
CASE WHEN prices_daily.adjusted_close IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.adjusted_close < 0 THEN '-' ELSE '' END, abs(prices_daily.adjusted_close / 1000000), abs(prices_daily.adjusted_close % 1000000)) END AS adjusted_close,
CASE WHEN prices_daily.volume_micros IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.volume_micros < 0 THEN '-' ELSE '' END, abs(prices_daily.volume_micros / 1000000), abs(prices_daily.volume_micros % 1000000)) END AS volume,
CASE WHEN prices_daily.dividend IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.dividend < 0 THEN '-' ELSE '' END, abs(prices_daily.dividend / 1000000), abs(prices_daily.dividend % 1000000)) END AS dividend,
CASE WHEN prices_daily.split_ratio IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.split_ratio < 0 THEN '-' ELSE '' END, abs(prices_daily.split_ratio / 1000000), abs(prices_daily.split_ratio % 1000000)) END AS split_ratio,
prices_daily.source AS source,
prices_daily.capture_id AS capture_id,
prices_daily.known_from AS known_from
FROM prices_daily
""")),
    ChangeComment("finra_symbol_rolling_6w", "trend_ratio", "Mean shares of the last 3 weeks / of the first 3; NULL: first 3 had none, or incomplete", "Mean shares of traded weeks, last 3 / first 3; NULL: first 3 had none, or incomplete"),
    RebuildTable(Table("finra_symbol_week_value", "One row per week, tier and symbol with prices of all sessions: estimated traded value.", [
        Column("week_start", "date", "Monday of the week", key=True),
        Column("tier", "text", "FINRA tier: T1, T2 or OTCE", key=True),
        Column("symbol", "text", "FINRA's issue symbol", key=True),
        Column("share_quantity_micros", "bigint", "Shares traded OTC, both markets; 6 decimals, in SQL share_quantity_micros, x 10^6"),
        Column("price", "bigint", "Volume-weighted mean of unadjusted closes, US dollars x 10^6"),
        Column("session_count", "bigint", "Trading sessions of the week"),
        Column("estimated_notional_usd", "bigint", "Estimated traded value: share_quantity x price, US dollars x 10^6", optional=True),
        Column("dollar_volume_share", "double", "Share of the tier's estimated traded value, 0-1", optional=True),
        Column("market_volume_share", "double", "Shares traded OTC / all shares traded, counted by the source of prices", optional=True),
        Column("published_at", "timestamp", "Latest last_update_date of the inputs, at 00:00", optional=True),
        Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True),
        Column("is_stale", "boolean", "Whether an input changed since; until it is derived again", optional=True),
    ]), Table("finra_symbol_week_value", "One row per week, tier and symbol with prices of all sessions: estimated traded value.", [
        Column("week_start", "date", "Monday of the week", key=True),
        Column("tier", "text", "FINRA tier: T1, T2 or OTCE", key=True),
        Column("symbol", "text", "FINRA's issue symbol", key=True),
        Column("share_quantity_micros", "bigint", "Shares traded OTC, both markets; 6 decimals, in SQL share_quantity_micros, x 10^6"),
        Column("price", "bigint", "Volume-weighted mean close as traded, US dollars x 10^6; NULL: see price_reason", optional=True),
        Column("undone_splits", "text", "Later splits undone in price: prices_daily.later_splits of the week; NULL: unknown", optional=True),
        Column("price_reason", "text", "Reason why price is NULL", optional=True),
        Column("session_count", "bigint", "Trading sessions of the week"),
        Column("estimated_notional_usd", "bigint", "Estimated traded value: share_quantity x price, US dollars x 10^6", optional=True),
        Column("dollar_volume_share", "double", "Share of the tier's estimated traded value, 0-1", optional=True),
        Column("market_volume_share", "double", "Shares traded OTC / all shares traded, counted by the source of prices", optional=True),
        Column("published_at", "timestamp", "Latest last_update_date of the inputs, at 00:00", optional=True),
        Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True),
        Column("is_stale", "boolean", "Whether an input changed since; until it is derived again", optional=True),
    ])),
    RebuildTable(Table("prices_daily", "One row per symbol and trading day: the source's latest prices and volume.", [
        Column("symbol", "text", "Symbol in FINRA's spelling, exact to the byte", key=True),
        Column("trade_date", "date", "Trading day in New York", key=True),
        Column("open", "bigint", "First price, US dollars x 10^6"),
        Column("high", "bigint", "Highest price, US dollars x 10^6"),
        Column("low", "bigint", "Lowest price, US dollars x 10^6"),
        Column("close", "bigint", "Last price, US dollars x 10^6; from yahoo adjusted for all later splits"),
        Column("adjusted_close", "bigint", "Close adjusted for all later splits and dividends, US dollars x 10^6; NULL: not given", optional=True),
        Column("volume_micros", "bigint", "Shares traded; 6 decimals, in SQL volume_micros, x 10^6"),
        Column("dividend", "bigint", "Dividend with this ex-date, US dollars x 10^6 per share; NULL: not given", optional=True),
        Column("split_ratio", "bigint", "New shares per old share x 10^6; 1000000: no split; NULL: not given", optional=True),
        Column("source", "text", "Source: demo, alpha_vantage, yahoo or files"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
    ]), Table("prices_daily", "One row per symbol and trading day: the source's latest prices and volume.", [
        Column("symbol", "text", "Symbol in FINRA's spelling, exact to the byte", key=True),
        Column("trade_date", "date", "Trading day in New York", key=True),
        Column("open", "bigint", "First price, US dollars x 10^6"),
        Column("high", "bigint", "Highest price, US dollars x 10^6"),
        Column("low", "bigint", "Lowest price, US dollars x 10^6"),
        Column("close", "bigint", "Last price, US dollars x 10^6; adjusted for later_splits, not for dividends"),
        Column("adjusted_close", "bigint", "Close adjusted for all later splits and dividends, US dollars x 10^6; NULL: not given", optional=True),
        Column("volume_micros", "bigint", "Shares traded; 6 decimals, in SQL volume_micros, x 10^6"),
        Column("dividend", "bigint", "Dividend with this ex-date, US dollars x 10^6 per share; NULL: not given", optional=True),
        Column("split_ratio", "bigint", "New shares per old share x 10^6; 1000000: no split; NULL: not given", optional=True),
        Column("later_splits", "text", "Later splits for which the source adjusted prices and volume, e.g. 2026-10-14 4; none: as traded; NULL: unknown", optional=True),
        Column("source", "text", "Source: demo, alpha_vantage, yahoo or files"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
    ])),
    RebuildTable(Table("prices_daily_history", "One row per earlier state of a row of prices_daily, valid from known_from to known_to.", [
        Column("symbol", "text", "Symbol in FINRA's spelling, exact to the byte", key=True),
        Column("trade_date", "date", "Trading day in New York", key=True),
        Column("open", "bigint", "First price, US dollars x 10^6"),
        Column("high", "bigint", "Highest price, US dollars x 10^6"),
        Column("low", "bigint", "Lowest price, US dollars x 10^6"),
        Column("close", "bigint", "Last price, US dollars x 10^6; from yahoo adjusted for all later splits"),
        Column("adjusted_close", "bigint", "Close adjusted for all later splits and dividends, US dollars x 10^6; NULL: not given", optional=True),
        Column("volume_micros", "bigint", "Shares traded; 6 decimals, in SQL volume_micros, x 10^6"),
        Column("dividend", "bigint", "Dividend with this ex-date, US dollars x 10^6 per share; NULL: not given", optional=True),
        Column("split_ratio", "bigint", "New shares per old share x 10^6; 1000000: no split; NULL: not given", optional=True),
        Column("source", "text", "Source: demo, alpha_vantage, yahoo or files"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed (system time)"),
        Column("change_cause", "text", "Cause: source (other values), metadata (other dates only) or ours (new rules)"),
        Column("rule_version", "text", "Version of the rules that produced the next row"),
    ]), Table("prices_daily_history", "One row per earlier state of a row of prices_daily, valid from known_from to known_to.", [
        Column("symbol", "text", "Symbol in FINRA's spelling, exact to the byte", key=True),
        Column("trade_date", "date", "Trading day in New York", key=True),
        Column("open", "bigint", "First price, US dollars x 10^6"),
        Column("high", "bigint", "Highest price, US dollars x 10^6"),
        Column("low", "bigint", "Lowest price, US dollars x 10^6"),
        Column("close", "bigint", "Last price, US dollars x 10^6; adjusted for later_splits, not for dividends"),
        Column("adjusted_close", "bigint", "Close adjusted for all later splits and dividends, US dollars x 10^6; NULL: not given", optional=True),
        Column("volume_micros", "bigint", "Shares traded; 6 decimals, in SQL volume_micros, x 10^6"),
        Column("dividend", "bigint", "Dividend with this ex-date, US dollars x 10^6 per share; NULL: not given", optional=True),
        Column("split_ratio", "bigint", "New shares per old share x 10^6; 1000000: no split; NULL: not given", optional=True),
        Column("later_splits", "text", "Later splits for which the source adjusted prices and volume, e.g. 2026-10-14 4; none: as traded; NULL: unknown", optional=True),
        Column("source", "text", "Source: demo, alpha_vantage, yahoo or files"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed (system time)"),
        Column("change_cause", "text", "Cause: source (other values), metadata (other dates only) or ours (new rules)"),
        Column("rule_version", "text", "Version of the rules that produced the next row"),
    ])),
    CreateView(View("v_prices_daily", "One row per row of prices_daily, with prices, dividends and ratios as decimals.", {
        "symbol": "Symbol in FINRA's spelling, exact to the byte",
        "trade_date": "Trading day in New York",
        "open": "US dollars with 6 decimals, text on SQLite",
        "high": "US dollars with 6 decimals, text on SQLite",
        "low": "US dollars with 6 decimals, text on SQLite",
        "close": "US dollars with 6 decimals, text on SQLite",
        "adjusted_close": "US dollars with 6 decimals, text on SQLite; NULL: not given",
        "volume": "Shares traded, with 6 decimals, text on SQLite",
        "dividend": "US dollars per share with 6 decimals, text on SQLite; NULL: not given",
        "split_ratio": "New shares per old share with 6 decimals, text on SQLite; NULL: not given",
        "later_splits": "Later splits for which the source adjusted prices and volume, e.g. 2026-10-14 4; none: as traded; NULL: unknown",
        "source": "Source: demo, alpha_vantage, yahoo or files",
        "capture_id": "Capture that the row was read from",
        "known_from": "UTC time from which the row is valid (system time)",
    }, """
SELECT prices_daily.symbol AS symbol,
prices_daily.trade_date AS trade_date,
CAST(prices_daily.open * 0.000001 AS NUMERIC(19, 6)) AS open,
CAST(prices_daily.high * 0.000001 AS NUMERIC(19, 6)) AS high,
CAST(prices_daily.low * 0.000001 AS NUMERIC(19, 6)) AS low,
CAST(prices_daily.close * 0.000001 AS NUMERIC(19, 6)) AS close,
CAST(prices_daily.adjusted_close * 0.000001 AS NUMERIC(19, 6)) AS adjusted_close,
CAST(prices_daily.volume_micros * 0.000001 AS NUMERIC(19, 6)) AS volume,
CAST(prices_daily.dividend * 0.000001 AS NUMERIC(19, 6)) AS dividend,
CAST(prices_daily.split_ratio * 0.000001 AS NUMERIC(19, 6)) AS split_ratio,
prices_daily.later_splits AS later_splits,
prices_daily.source AS source,
prices_daily.capture_id AS capture_id,
prices_daily.known_from AS known_from
FROM prices_daily
""", sqlite_sql="""
SELECT prices_daily.symbol AS symbol,
prices_daily.trade_date AS trade_date,
CASE WHEN prices_daily.open IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.open < 0 THEN '-' ELSE '' END, abs(prices_daily.open / 1000000), abs(prices_daily.open % 1000000)) END AS open,
CASE WHEN prices_daily.high IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.high < 0 THEN '-' ELSE '' END, abs(prices_daily.high / 1000000), abs(prices_daily.high % 1000000)) END AS high,
CASE WHEN prices_daily.low IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.low < 0 THEN '-' ELSE '' END, abs(prices_daily.low / 1000000), abs(prices_daily.low % 1000000)) END AS low,
CASE WHEN prices_daily.close IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.close < 0 THEN '-' ELSE '' END, abs(prices_daily.close / 1000000), abs(prices_daily.close % 1000000)) END AS close,
CASE WHEN prices_daily.adjusted_close IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.adjusted_close < 0 THEN '-' ELSE '' END, abs(prices_daily.adjusted_close / 1000000), abs(prices_daily.adjusted_close % 1000000)) END AS adjusted_close,
CASE WHEN prices_daily.volume_micros IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.volume_micros < 0 THEN '-' ELSE '' END, abs(prices_daily.volume_micros / 1000000), abs(prices_daily.volume_micros % 1000000)) END AS volume,
CASE WHEN prices_daily.dividend IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.dividend < 0 THEN '-' ELSE '' END, abs(prices_daily.dividend / 1000000), abs(prices_daily.dividend % 1000000)) END AS dividend,
CASE WHEN prices_daily.split_ratio IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.split_ratio < 0 THEN '-' ELSE '' END, abs(prices_daily.split_ratio / 1000000), abs(prices_daily.split_ratio % 1000000)) END AS split_ratio,
prices_daily.later_splits AS later_splits,
prices_daily.source AS source,
prices_daily.capture_id AS capture_id,
prices_daily.known_from AS known_from
FROM prices_daily
""")),
]
# fmt: on


def upgrade() -> None:
    """Make the changes; Alpha Vantage states prices as traded, other rows stay unknown."""
    upgrade_by(CHANGES)
    for name in ("prices_daily", "prices_daily_history"):
        prices = sa.table(
            name, sa.column("source", sa.Text()), sa.column("later_splits", sa.Text())
        )
        is_traded = prices.c.source == "alpha_vantage"
        op.execute(sa.update(prices).where(is_traded).values(later_splits="none"))


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
