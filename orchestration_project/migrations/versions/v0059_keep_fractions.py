"""Keep fractions."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations.changes import (
    ChangeComment,
    CreateView,
    DropView,
    RenameColumn,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import View

revision = "0059"
down_revision = "0058"

# fmt: off
CHANGES = [
    DropView(View("v_finra_otc_weekly", "One row per row of finra_otc_weekly, with names, labels, and money in dollars.", {
        "week_start": "Monday of the week",
        "tier": "FINRA tier: T1, T2 or OTCE",
        "market": "Market: ATS, or NON_ATS (other OTC trading)",
        "symbol": "FINRA's issue symbol, exact to the byte",
        "venue_id": "Venue ID: MPID, else CRD:number, else NAME:name",
        "week_end": "Friday of the week",
        "tier_name": "Name of the tier",
        "market_name": "Name of the market",
        "issue_name": "Name of the security",
        "venue_name": "Name of the venue or firm, else its MPID, else its venue_id",
        "share_quantity": "Shares traded in the week",
        "trade_count": "Trades in the week",
        "notional_dollars": "Traded value, US dollars with 6 decimals, text on SQLite; NULL: not reported",
        "last_update_date": "Day on which FINRA last changed the row",
        "capture_id": "Capture that the row was read from",
        "known_from": "UTC time from which the row is valid (system time)",
    }, """
SELECT finra_otc_weekly.week_start AS week_start,
finra_otc_weekly.tier AS tier,
finra_otc_weekly.market AS market,
finra_otc_weekly.symbol AS symbol,
finra_otc_weekly.venue_id AS venue_id,
finra_otc_weekly.week_end AS week_end,
CASE finra_otc_weekly.tier WHEN 'T1' THEN 'NMS Tier 1' WHEN 'T2' THEN 'NMS Tier 2' WHEN 'OTCE' THEN 'OTC Equity Securities' ELSE finra_otc_weekly.tier END AS tier_name,
CASE finra_otc_weekly.market WHEN 'ATS' THEN 'ATS' WHEN 'NON_ATS' THEN 'Non-ATS OTC' ELSE finra_otc_weekly.market END AS market_name,
finra_otc_weekly.issue_name AS issue_name,
coalesce(finra_otc_weekly.participant_name, finra_otc_weekly.mpid, finra_otc_weekly.venue_id) AS venue_name,
finra_otc_weekly.share_quantity AS share_quantity,
finra_otc_weekly.trade_count AS trade_count,
CAST(finra_otc_weekly.notional_usd * 0.000001 AS NUMERIC(19, 6)) AS notional_dollars,
finra_otc_weekly.last_update_date AS last_update_date,
finra_otc_weekly.capture_id AS capture_id,
finra_otc_weekly.known_from AS known_from
FROM finra_otc_weekly
""", sqlite_sql="""
SELECT finra_otc_weekly.week_start AS week_start,
finra_otc_weekly.tier AS tier,
finra_otc_weekly.market AS market,
finra_otc_weekly.symbol AS symbol,
finra_otc_weekly.venue_id AS venue_id,
finra_otc_weekly.week_end AS week_end,
CASE finra_otc_weekly.tier WHEN 'T1' THEN 'NMS Tier 1' WHEN 'T2' THEN 'NMS Tier 2' WHEN 'OTCE' THEN 'OTC Equity Securities' ELSE finra_otc_weekly.tier END AS tier_name,
CASE finra_otc_weekly.market WHEN 'ATS' THEN 'ATS' WHEN 'NON_ATS' THEN 'Non-ATS OTC' ELSE finra_otc_weekly.market END AS market_name,
finra_otc_weekly.issue_name AS issue_name,
coalesce(finra_otc_weekly.participant_name, finra_otc_weekly.mpid, finra_otc_weekly.venue_id) AS venue_name,
finra_otc_weekly.share_quantity AS share_quantity,
finra_otc_weekly.trade_count AS trade_count,
CASE WHEN finra_otc_weekly.notional_usd IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN finra_otc_weekly.notional_usd < 0 THEN '-' ELSE '' END, abs(finra_otc_weekly.notional_usd / 1000000), abs(finra_otc_weekly.notional_usd % 1000000)) END AS notional_dollars,
finra_otc_weekly.last_update_date AS last_update_date,
finra_otc_weekly.capture_id AS capture_id,
finra_otc_weekly.known_from AS known_from
FROM finra_otc_weekly
""")),
    DropView(View("v_prices_daily", "One row per row of prices_daily, with prices, dividends and ratios as decimals.", {
        "symbol": "Symbol in FINRA's spelling, exact to the byte",
        "trade_date": "Trading day in New York",
        "open": "US dollars with 6 decimals, text on SQLite",
        "high": "US dollars with 6 decimals, text on SQLite",
        "low": "US dollars with 6 decimals, text on SQLite",
        "close": "US dollars with 6 decimals, text on SQLite",
        "adjusted_close": "US dollars with 6 decimals, text on SQLite; NULL: not given",
        "volume": "Shares traded",
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
prices_daily.volume AS volume,
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
prices_daily.volume AS volume,
CASE WHEN prices_daily.dividend IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.dividend < 0 THEN '-' ELSE '' END, abs(prices_daily.dividend / 1000000), abs(prices_daily.dividend % 1000000)) END AS dividend,
CASE WHEN prices_daily.split_ratio IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN prices_daily.split_ratio < 0 THEN '-' ELSE '' END, abs(prices_daily.split_ratio / 1000000), abs(prices_daily.split_ratio % 1000000)) END AS split_ratio,
prices_daily.source AS source,
prices_daily.capture_id AS capture_id,
prices_daily.known_from AS known_from
FROM prices_daily
""")),
    RenameColumn("finra_otc_weekly", "share_quantity", "share_quantity_micros"),
    RenameColumn("finra_otc_weekly_history", "share_quantity", "share_quantity_micros"),
    RenameColumn("finra_symbol_week", "ats_share_quantity", "ats_share_quantity_micros"),
    RenameColumn("finra_symbol_week", "non_ats_share_quantity", "non_ats_share_quantity_micros"),
    RenameColumn("finra_symbol_week", "total_share_quantity", "total_share_quantity_micros"),
    RenameColumn("finra_venue_week", "share_quantity", "share_quantity_micros"),
    RenameColumn("finra_symbol_rolling_6w", "min_share_quantity", "min_share_quantity_micros"),
    RenameColumn("finra_symbol_rolling_6w", "max_share_quantity", "max_share_quantity_micros"),
    RenameColumn("finra_tier_week", "share_quantity", "share_quantity_micros"),
    RenameColumn("finra_tier_week", "ats_share_quantity", "ats_share_quantity_micros"),
    RenameColumn("finra_symbol_week_value", "share_quantity", "share_quantity_micros"),
    RenameColumn("market_volume_daily", "tape_a_share_quantity", "tape_a_share_quantity_micros"),
    RenameColumn("market_volume_daily", "tape_b_share_quantity", "tape_b_share_quantity_micros"),
    RenameColumn("market_volume_daily", "tape_c_share_quantity", "tape_c_share_quantity_micros"),
    RenameColumn("market_volume_daily", "total_share_quantity", "total_share_quantity_micros"),
    RenameColumn("market_volume_daily_history", "tape_a_share_quantity", "tape_a_share_quantity_micros"),
    RenameColumn("market_volume_daily_history", "tape_b_share_quantity", "tape_b_share_quantity_micros"),
    RenameColumn("market_volume_daily_history", "tape_c_share_quantity", "tape_c_share_quantity_micros"),
    RenameColumn("market_volume_daily_history", "total_share_quantity", "total_share_quantity_micros"),
    RenameColumn("off_exchange_share_daily", "exchange_share_quantity", "exchange_share_quantity_micros"),
    RenameColumn("off_exchange_share_daily", "off_exchange_share_quantity", "off_exchange_share_quantity_micros"),
    RenameColumn("off_exchange_share_weekly", "exchange_share_quantity", "exchange_share_quantity_micros"),
    RenameColumn("off_exchange_share_weekly", "off_exchange_share_quantity", "off_exchange_share_quantity_micros"),
    RenameColumn("off_exchange_share_weekly", "finra_ats_share_quantity", "finra_ats_share_quantity_micros"),
    RenameColumn("off_exchange_share_weekly", "finra_non_ats_share_quantity", "finra_non_ats_share_quantity_micros"),
    RenameColumn("fact_bond_trade_activity", "volume_total", "volume_total_micros"),
    RenameColumn("fact_bond_trade_activity_history", "volume_total", "volume_total_micros"),
    RenameColumn("finra_short_interest", "short_quantity", "short_quantity_micros"),
    RenameColumn("finra_short_interest", "previous_short_quantity", "previous_short_quantity_micros"),
    RenameColumn("finra_short_interest", "short_change", "short_change_micros"),
    RenameColumn("finra_short_interest", "average_daily_volume", "average_daily_volume_micros"),
    RenameColumn("finra_short_interest_history", "short_quantity", "short_quantity_micros"),
    RenameColumn("finra_short_interest_history", "previous_short_quantity", "previous_short_quantity_micros"),
    RenameColumn("finra_short_interest_history", "short_change", "short_change_micros"),
    RenameColumn("finra_short_interest_history", "average_daily_volume", "average_daily_volume_micros"),
    RenameColumn("finra_reg_sho_daily", "short_quantity", "short_quantity_micros"),
    RenameColumn("finra_reg_sho_daily", "short_exempt_quantity", "short_exempt_quantity_micros"),
    RenameColumn("finra_reg_sho_daily", "total_quantity", "total_quantity_micros"),
    RenameColumn("finra_reg_sho_daily_history", "short_quantity", "short_quantity_micros"),
    RenameColumn("finra_reg_sho_daily_history", "short_exempt_quantity", "short_exempt_quantity_micros"),
    RenameColumn("finra_reg_sho_daily_history", "total_quantity", "total_quantity_micros"),
    RenameColumn("finra_otc_monthly", "share_quantity", "share_quantity_micros"),
    RenameColumn("finra_otc_monthly_history", "share_quantity", "share_quantity_micros"),
    RenameColumn("finra_ats_blocks", "share_quantity", "share_quantity_micros"),
    RenameColumn("finra_ats_blocks", "block_share_quantity", "block_share_quantity_micros"),
    RenameColumn("finra_ats_blocks", "average_trade_size", "average_trade_size_micros"),
    RenameColumn("finra_ats_blocks", "average_block_size", "average_block_size_micros"),
    RenameColumn("finra_ats_blocks_history", "share_quantity", "share_quantity_micros"),
    RenameColumn("finra_ats_blocks_history", "block_share_quantity", "block_share_quantity_micros"),
    RenameColumn("finra_ats_blocks_history", "average_trade_size", "average_trade_size_micros"),
    RenameColumn("finra_ats_blocks_history", "average_block_size", "average_block_size_micros"),
    RenameColumn("finra_otc_blocks", "share_quantity", "share_quantity_micros"),
    RenameColumn("finra_otc_blocks", "block_share_quantity", "block_share_quantity_micros"),
    RenameColumn("finra_otc_blocks", "average_trade_size", "average_trade_size_micros"),
    RenameColumn("finra_otc_blocks", "average_block_size", "average_block_size_micros"),
    RenameColumn("finra_otc_blocks_history", "share_quantity", "share_quantity_micros"),
    RenameColumn("finra_otc_blocks_history", "block_share_quantity", "block_share_quantity_micros"),
    RenameColumn("finra_otc_blocks_history", "average_trade_size", "average_trade_size_micros"),
    RenameColumn("finra_otc_blocks_history", "average_block_size", "average_block_size_micros"),
    RenameColumn("prices_daily", "volume", "volume_micros"),
    RenameColumn("prices_daily_history", "volume", "volume_micros"),
    RenameColumn("finra_venue_week_all_tiers", "share_quantity", "share_quantity_micros"),
    RenameColumn("finra_symbol_movers_week", "share_quantity", "share_quantity_micros"),
    RenameColumn("finra_symbol_movers_week", "previous_share_quantity", "previous_share_quantity_micros"),
    RenameColumn("finra_symbol_movers_week", "share_change", "share_change_micros"),
    RenameColumn("finra_venue_movers_week", "share_quantity", "share_quantity_micros"),
    RenameColumn("finra_venue_movers_week", "previous_share_quantity", "previous_share_quantity_micros"),
    RenameColumn("finra_venue_movers_week", "share_change", "share_change_micros"),
    RenameColumn("finra_symbol_anomalies_week", "share_quantity", "share_quantity_micros"),
    RenameColumn("finra_symbol_week_short", "otc_share_quantity", "otc_share_quantity_micros"),
    RenameColumn("finra_symbol_week_short", "ats_share_quantity", "ats_share_quantity_micros"),
    RenameColumn("finra_symbol_week_short", "short_quantity", "short_quantity_micros"),
    RenameColumn("finra_symbol_week_short", "short_exempt_quantity", "short_exempt_quantity_micros"),
    RenameColumn("finra_symbol_week_short", "total_quantity", "total_quantity_micros"),
    RenameColumn("finra_symbol_week_short", "short_interest_quantity", "short_interest_quantity_micros"),
    ChangeComment("finra_otc_weekly", "share_quantity_micros", "Shares traded in the week", "Shares traded in the week; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("finra_otc_weekly_history", "share_quantity_micros", "Shares traded in the week", "Shares traded in the week; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("finra_symbol_week", "ats_share_quantity_micros", "Shares traded on ATSs", "Shares traded on ATSs; 6 decimals, in SQL ats_share_quantity_micros, x 10^6"),
    ChangeComment("finra_symbol_week", "non_ats_share_quantity_micros", "Shares traded OTC outside ATSs", "Shares traded OTC outside ATSs; 6 decimals, in SQL non_ats_share_quantity_micros, x 10^6"),
    ChangeComment("finra_symbol_week", "total_share_quantity_micros", "Shares, both markets", "Shares, both markets; 6 decimals, in SQL total_share_quantity_micros, x 10^6"),
    ChangeComment("finra_venue_week", "share_quantity_micros", "Shares traded in the week", "Shares traded in the week; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("finra_symbol_rolling_6w", "min_share_quantity_micros", "Minimum shares of these weeks", "Minimum shares of these weeks; 6 decimals, in SQL min_share_quantity_micros, x 10^6"),
    ChangeComment("finra_symbol_rolling_6w", "max_share_quantity_micros", "Maximum shares of these weeks", "Maximum shares of these weeks; 6 decimals, in SQL max_share_quantity_micros, x 10^6"),
    ChangeComment("finra_tier_week", "share_quantity_micros", "Shares, both markets", "Shares, both markets; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("finra_tier_week", "ats_share_quantity_micros", "Shares traded on ATSs", "Shares traded on ATSs; 6 decimals, in SQL ats_share_quantity_micros, x 10^6"),
    ChangeComment("finra_symbol_week_value", "share_quantity_micros", "Shares traded OTC, both markets", "Shares traded OTC, both markets; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("fact_bond_trade_activity", "volume_total_micros", "Par value traded in the week, US dollars", "Par value traded in the week, US dollars; 6 decimals, in SQL volume_total_micros, x 10^6"),
    ChangeComment("fact_bond_trade_activity_history", "volume_total_micros", "Par value traded in the week, US dollars", "Par value traded in the week, US dollars; 6 decimals, in SQL volume_total_micros, x 10^6"),
    ChangeComment("prices_daily", "volume_micros", "Shares traded", "Shares traded; 6 decimals, in SQL volume_micros, x 10^6"),
    ChangeComment("prices_daily_history", "volume_micros", "Shares traded", "Shares traded; 6 decimals, in SQL volume_micros, x 10^6"),
    ChangeComment("finra_short_interest", "short_quantity_micros", "Shares sold short", "Shares sold short; 6 decimals, in SQL short_quantity_micros, x 10^6"),
    ChangeComment("finra_short_interest", "previous_short_quantity_micros", "Shares sold short at the previous settlement date; NULL: not given", "Shares sold short at the previous settlement date; NULL: not given; 6 decimals, in SQL previous_short_quantity_micros, x 10^6"),
    ChangeComment("finra_short_interest", "short_change_micros", "Change of shares sold short since the previous settlement date; NULL: not reported", "Change of shares sold short since the previous settlement date; NULL: not reported; 6 decimals, in SQL short_change_micros, x 10^6"),
    ChangeComment("finra_short_interest", "average_daily_volume_micros", "Average shares traded per day; NULL: not given", "Average shares traded per day; NULL: not given; 6 decimals, in SQL average_daily_volume_micros, x 10^6"),
    ChangeComment("finra_short_interest_history", "short_quantity_micros", "Shares sold short", "Shares sold short; 6 decimals, in SQL short_quantity_micros, x 10^6"),
    ChangeComment("finra_short_interest_history", "previous_short_quantity_micros", "Shares sold short at the previous settlement date; NULL: not given", "Shares sold short at the previous settlement date; NULL: not given; 6 decimals, in SQL previous_short_quantity_micros, x 10^6"),
    ChangeComment("finra_short_interest_history", "short_change_micros", "Change of shares sold short since the previous settlement date; NULL: not reported", "Change of shares sold short since the previous settlement date; NULL: not reported; 6 decimals, in SQL short_change_micros, x 10^6"),
    ChangeComment("finra_short_interest_history", "average_daily_volume_micros", "Average shares traded per day; NULL: not given", "Average shares traded per day; NULL: not given; 6 decimals, in SQL average_daily_volume_micros, x 10^6"),
    ChangeComment("finra_venue_week_all_tiers", "share_quantity_micros", "Shares traded in the week", "Shares traded in the week; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("finra_symbol_movers_week", "share_quantity_micros", "Shares of the week; 0: left", "Shares of the week; 0: left; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("finra_symbol_movers_week", "previous_share_quantity_micros", "Shares of the previous week; 0: entered", "Shares of the previous week; 0: entered; 6 decimals, in SQL previous_share_quantity_micros, x 10^6"),
    ChangeComment("finra_symbol_movers_week", "share_change_micros", "share_quantity minus previous_share_quantity", "share_quantity minus previous_share_quantity; 6 decimals, in SQL share_change_micros, x 10^6"),
    ChangeComment("finra_venue_movers_week", "share_quantity_micros", "Shares of the week; 0: left", "Shares of the week; 0: left; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("finra_venue_movers_week", "previous_share_quantity_micros", "Shares of the previous week; 0: entered", "Shares of the previous week; 0: entered; 6 decimals, in SQL previous_share_quantity_micros, x 10^6"),
    ChangeComment("finra_venue_movers_week", "share_change_micros", "share_quantity minus previous_share_quantity", "share_quantity minus previous_share_quantity; 6 decimals, in SQL share_change_micros, x 10^6"),
    ChangeComment("finra_symbol_anomalies_week", "share_quantity_micros", "Shares of the week", "Shares of the week; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("finra_reg_sho_daily", "short_quantity_micros", "Volume of short sales, exempt ones included, shares x 10^6", "Volume of short sales, exempt ones included, shares; 6 decimals, in SQL short_quantity_micros, x 10^6"),
    ChangeComment("finra_reg_sho_daily", "short_exempt_quantity_micros", "Volume of short sales that are exempt, shares x 10^6", "Volume of short sales that are exempt, shares; 6 decimals, in SQL short_exempt_quantity_micros, x 10^6"),
    ChangeComment("finra_reg_sho_daily", "total_quantity_micros", "Volume of all trades, shares x 10^6", "Volume of all trades, shares; 6 decimals, in SQL total_quantity_micros, x 10^6"),
    ChangeComment("finra_reg_sho_daily_history", "short_quantity_micros", "Volume of short sales, exempt ones included, shares x 10^6", "Volume of short sales, exempt ones included, shares; 6 decimals, in SQL short_quantity_micros, x 10^6"),
    ChangeComment("finra_reg_sho_daily_history", "short_exempt_quantity_micros", "Volume of short sales that are exempt, shares x 10^6", "Volume of short sales that are exempt, shares; 6 decimals, in SQL short_exempt_quantity_micros, x 10^6"),
    ChangeComment("finra_reg_sho_daily_history", "total_quantity_micros", "Volume of all trades, shares x 10^6", "Volume of all trades, shares; 6 decimals, in SQL total_quantity_micros, x 10^6"),
    ChangeComment("finra_otc_monthly", "share_quantity_micros", "Shares traded in the month", "Shares traded in the month; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("finra_otc_monthly_history", "share_quantity_micros", "Shares traded in the month", "Shares traded in the month; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("finra_ats_blocks", "share_quantity_micros", "Shares traded, blocks and others", "Shares traded, blocks and others; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("finra_ats_blocks", "block_share_quantity_micros", "Shares traded in blocks", "Shares traded in blocks; 6 decimals, in SQL block_share_quantity_micros, x 10^6"),
    ChangeComment("finra_ats_blocks", "average_trade_size_micros", "Shares per trade, shares x 10^6; NULL: not given", "Shares per trade, shares; NULL: not given; 6 decimals, in SQL average_trade_size_micros, x 10^6"),
    ChangeComment("finra_ats_blocks", "average_block_size_micros", "Shares per block, shares x 10^6; NULL: not given", "Shares per block, shares; NULL: not given; 6 decimals, in SQL average_block_size_micros, x 10^6"),
    ChangeComment("finra_ats_blocks_history", "share_quantity_micros", "Shares traded, blocks and others", "Shares traded, blocks and others; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("finra_ats_blocks_history", "block_share_quantity_micros", "Shares traded in blocks", "Shares traded in blocks; 6 decimals, in SQL block_share_quantity_micros, x 10^6"),
    ChangeComment("finra_ats_blocks_history", "average_trade_size_micros", "Shares per trade, shares x 10^6; NULL: not given", "Shares per trade, shares; NULL: not given; 6 decimals, in SQL average_trade_size_micros, x 10^6"),
    ChangeComment("finra_ats_blocks_history", "average_block_size_micros", "Shares per block, shares x 10^6; NULL: not given", "Shares per block, shares; NULL: not given; 6 decimals, in SQL average_block_size_micros, x 10^6"),
    ChangeComment("finra_otc_blocks", "share_quantity_micros", "Shares traded, blocks and others", "Shares traded, blocks and others; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("finra_otc_blocks", "block_share_quantity_micros", "Shares traded in blocks", "Shares traded in blocks; 6 decimals, in SQL block_share_quantity_micros, x 10^6"),
    ChangeComment("finra_otc_blocks", "average_trade_size_micros", "Shares per trade, shares x 10^6; NULL: not given", "Shares per trade, shares; NULL: not given; 6 decimals, in SQL average_trade_size_micros, x 10^6"),
    ChangeComment("finra_otc_blocks", "average_block_size_micros", "Shares per block, shares x 10^6; NULL: not given", "Shares per block, shares; NULL: not given; 6 decimals, in SQL average_block_size_micros, x 10^6"),
    ChangeComment("finra_otc_blocks_history", "share_quantity_micros", "Shares traded, blocks and others", "Shares traded, blocks and others; 6 decimals, in SQL share_quantity_micros, x 10^6"),
    ChangeComment("finra_otc_blocks_history", "block_share_quantity_micros", "Shares traded in blocks", "Shares traded in blocks; 6 decimals, in SQL block_share_quantity_micros, x 10^6"),
    ChangeComment("finra_otc_blocks_history", "average_trade_size_micros", "Shares per trade, shares x 10^6; NULL: not given", "Shares per trade, shares; NULL: not given; 6 decimals, in SQL average_trade_size_micros, x 10^6"),
    ChangeComment("finra_otc_blocks_history", "average_block_size_micros", "Shares per block, shares x 10^6; NULL: not given", "Shares per block, shares; NULL: not given; 6 decimals, in SQL average_block_size_micros, x 10^6"),
    ChangeComment("finra_symbol_week_short", "otc_share_quantity_micros", "Shares traded OTC, both markets; NULL: none", "Shares traded OTC, both markets; NULL: none; 6 decimals, in SQL otc_share_quantity_micros, x 10^6"),
    ChangeComment("finra_symbol_week_short", "ats_share_quantity_micros", "Shares traded on ATSs; NULL: no OTC trading", "Shares traded on ATSs; NULL: no OTC trading; 6 decimals, in SQL ats_share_quantity_micros, x 10^6"),
    ChangeComment("finra_symbol_week_short", "short_quantity_micros", "Volume of short sales, shares x 10^6; NULL: none", "Volume of short sales, shares; NULL: none; 6 decimals, in SQL short_quantity_micros, x 10^6"),
    ChangeComment("finra_symbol_week_short", "short_exempt_quantity_micros", "Part of it that is exempt, shares x 10^6; NULL: none", "Part of it that is exempt, shares; NULL: none; 6 decimals, in SQL short_exempt_quantity_micros, x 10^6"),
    ChangeComment("finra_symbol_week_short", "total_quantity_micros", "Volume of all trades in the same data, shares x 10^6; NULL: none", "Volume of all trades in the same data, shares; NULL: none; 6 decimals, in SQL total_quantity_micros, x 10^6"),
    ChangeComment("finra_symbol_week_short", "short_interest_quantity_micros", "Shares sold short on settlement_date", "Shares sold short on settlement_date; 6 decimals, in SQL short_interest_quantity_micros, x 10^6"),
    ChangeComment("market_volume_daily", "tape_a_share_quantity_micros", "Shares of tape A", "Shares of tape A; 6 decimals, in SQL tape_a_share_quantity_micros, x 10^6"),
    ChangeComment("market_volume_daily", "tape_b_share_quantity_micros", "Shares of tape B", "Shares of tape B; 6 decimals, in SQL tape_b_share_quantity_micros, x 10^6"),
    ChangeComment("market_volume_daily", "tape_c_share_quantity_micros", "Shares of tape C", "Shares of tape C; 6 decimals, in SQL tape_c_share_quantity_micros, x 10^6"),
    ChangeComment("market_volume_daily", "total_share_quantity_micros", "Shares of all tapes", "Shares of all tapes; 6 decimals, in SQL total_share_quantity_micros, x 10^6"),
    ChangeComment("market_volume_daily_history", "tape_a_share_quantity_micros", "Shares of tape A", "Shares of tape A; 6 decimals, in SQL tape_a_share_quantity_micros, x 10^6"),
    ChangeComment("market_volume_daily_history", "tape_b_share_quantity_micros", "Shares of tape B", "Shares of tape B; 6 decimals, in SQL tape_b_share_quantity_micros, x 10^6"),
    ChangeComment("market_volume_daily_history", "tape_c_share_quantity_micros", "Shares of tape C", "Shares of tape C; 6 decimals, in SQL tape_c_share_quantity_micros, x 10^6"),
    ChangeComment("market_volume_daily_history", "total_share_quantity_micros", "Shares of all tapes", "Shares of all tapes; 6 decimals, in SQL total_share_quantity_micros, x 10^6"),
    ChangeComment("off_exchange_share_daily", "exchange_share_quantity_micros", "Shares traded on exchanges", "Shares traded on exchanges; 6 decimals, in SQL exchange_share_quantity_micros, x 10^6"),
    ChangeComment("off_exchange_share_daily", "off_exchange_share_quantity_micros", "Shares traded off exchange", "Shares traded off exchange; 6 decimals, in SQL off_exchange_share_quantity_micros, x 10^6"),
    ChangeComment("off_exchange_share_weekly", "exchange_share_quantity_micros", "Shares traded on exchanges", "Shares traded on exchanges; 6 decimals, in SQL exchange_share_quantity_micros, x 10^6"),
    ChangeComment("off_exchange_share_weekly", "off_exchange_share_quantity_micros", "Shares traded off exchange", "Shares traded off exchange; 6 decimals, in SQL off_exchange_share_quantity_micros, x 10^6"),
    ChangeComment("off_exchange_share_weekly", "finra_ats_share_quantity_micros", "FINRA's shares on ATSs, T1 and T2; NULL: a tape, or a tier is not loaded", "FINRA's shares on ATSs, T1 and T2; NULL: a tape, or a tier is not loaded; 6 decimals, in SQL finra_ats_share_quantity_micros, x 10^6"),
    ChangeComment("off_exchange_share_weekly", "finra_non_ats_share_quantity_micros", "FINRA's shares off exchange outside ATSs, T1 and T2; NULL: as above", "FINRA's shares off exchange outside ATSs, T1 and T2; NULL: as above; 6 decimals, in SQL finra_non_ats_share_quantity_micros, x 10^6"),
    CreateView(View("v_finra_otc_weekly", "One row per row of finra_otc_weekly, with names, labels, and money in dollars.", {
        "week_start": "Monday of the week",
        "tier": "FINRA tier: T1, T2 or OTCE",
        "market": "Market: ATS, or NON_ATS (other OTC trading)",
        "symbol": "FINRA's issue symbol, exact to the byte",
        "venue_id": "Venue ID: MPID, else CRD:number, else NAME:name",
        "week_end": "Friday of the week",
        "tier_name": "Name of the tier",
        "market_name": "Name of the market",
        "issue_name": "Name of the security",
        "venue_name": "Name of the venue or firm, else its MPID, else its venue_id",
        "share_quantity": "Shares traded in the week, with 6 decimals, text on SQLite",
        "trade_count": "Trades in the week",
        "notional_dollars": "Traded value, US dollars with 6 decimals, text on SQLite; NULL: not reported",
        "last_update_date": "Day on which FINRA last changed the row",
        "capture_id": "Capture that the row was read from",
        "known_from": "UTC time from which the row is valid (system time)",
    }, """
SELECT finra_otc_weekly.week_start AS week_start,
finra_otc_weekly.tier AS tier,
finra_otc_weekly.market AS market,
finra_otc_weekly.symbol AS symbol,
finra_otc_weekly.venue_id AS venue_id,
finra_otc_weekly.week_end AS week_end,
CASE finra_otc_weekly.tier WHEN 'T1' THEN 'NMS Tier 1' WHEN 'T2' THEN 'NMS Tier 2' WHEN 'OTCE' THEN 'OTC Equity Securities' ELSE finra_otc_weekly.tier END AS tier_name,
CASE finra_otc_weekly.market WHEN 'ATS' THEN 'ATS' WHEN 'NON_ATS' THEN 'Non-ATS OTC' ELSE finra_otc_weekly.market END AS market_name,
finra_otc_weekly.issue_name AS issue_name,
coalesce(finra_otc_weekly.participant_name, finra_otc_weekly.mpid, finra_otc_weekly.venue_id) AS venue_name,
CAST(finra_otc_weekly.share_quantity_micros * 0.000001 AS NUMERIC(19, 6)) AS share_quantity,
finra_otc_weekly.trade_count AS trade_count,
CAST(finra_otc_weekly.notional_usd * 0.000001 AS NUMERIC(19, 6)) AS notional_dollars,
finra_otc_weekly.last_update_date AS last_update_date,
finra_otc_weekly.capture_id AS capture_id,
finra_otc_weekly.known_from AS known_from
FROM finra_otc_weekly
""", sqlite_sql="""
SELECT finra_otc_weekly.week_start AS week_start,
finra_otc_weekly.tier AS tier,
finra_otc_weekly.market AS market,
finra_otc_weekly.symbol AS symbol,
finra_otc_weekly.venue_id AS venue_id,
finra_otc_weekly.week_end AS week_end,
CASE finra_otc_weekly.tier WHEN 'T1' THEN 'NMS Tier 1' WHEN 'T2' THEN 'NMS Tier 2' WHEN 'OTCE' THEN 'OTC Equity Securities' ELSE finra_otc_weekly.tier END AS tier_name,
CASE finra_otc_weekly.market WHEN 'ATS' THEN 'ATS' WHEN 'NON_ATS' THEN 'Non-ATS OTC' ELSE finra_otc_weekly.market END AS market_name,
finra_otc_weekly.issue_name AS issue_name,
coalesce(finra_otc_weekly.participant_name, finra_otc_weekly.mpid, finra_otc_weekly.venue_id) AS venue_name,
CASE WHEN finra_otc_weekly.share_quantity_micros IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN finra_otc_weekly.share_quantity_micros < 0 THEN '-' ELSE '' END, abs(finra_otc_weekly.share_quantity_micros / 1000000), abs(finra_otc_weekly.share_quantity_micros % 1000000)) END AS share_quantity,
finra_otc_weekly.trade_count AS trade_count,
CASE WHEN finra_otc_weekly.notional_usd IS NOT NULL THEN printf('%s%d.%06d', CASE WHEN finra_otc_weekly.notional_usd < 0 THEN '-' ELSE '' END, abs(finra_otc_weekly.notional_usd / 1000000), abs(finra_otc_weekly.notional_usd % 1000000)) END AS notional_dollars,
finra_otc_weekly.last_update_date AS last_update_date,
finra_otc_weekly.capture_id AS capture_id,
finra_otc_weekly.known_from AS known_from
FROM finra_otc_weekly
""")),
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
]

WHOLE = {
    "finra_otc_weekly": ["share_quantity"],
    "finra_otc_weekly_history": ["share_quantity"],
    "finra_symbol_week": ["ats_share_quantity", "non_ats_share_quantity", "total_share_quantity"],
    "finra_venue_week": ["share_quantity"],
    "finra_symbol_rolling_6w": ["min_share_quantity", "max_share_quantity"],
    "finra_tier_week": ["share_quantity", "ats_share_quantity"],
    "finra_symbol_week_value": ["share_quantity"],
    "market_volume_daily": ["tape_a_share_quantity", "tape_b_share_quantity", "tape_c_share_quantity", "total_share_quantity"],
    "market_volume_daily_history": ["tape_a_share_quantity", "tape_b_share_quantity", "tape_c_share_quantity", "total_share_quantity"],
    "off_exchange_share_daily": ["exchange_share_quantity", "off_exchange_share_quantity"],
    "off_exchange_share_weekly": ["exchange_share_quantity", "off_exchange_share_quantity", "finra_ats_share_quantity", "finra_non_ats_share_quantity"],
    "fact_bond_trade_activity": ["volume_total"],
    "fact_bond_trade_activity_history": ["volume_total"],
    "finra_short_interest": ["short_quantity", "previous_short_quantity", "short_change", "average_daily_volume"],
    "finra_short_interest_history": ["short_quantity", "previous_short_quantity", "short_change", "average_daily_volume"],
    "finra_otc_monthly": ["share_quantity"],
    "finra_otc_monthly_history": ["share_quantity"],
    "finra_ats_blocks": ["share_quantity", "block_share_quantity"],
    "finra_ats_blocks_history": ["share_quantity", "block_share_quantity"],
    "finra_otc_blocks": ["share_quantity", "block_share_quantity"],
    "finra_otc_blocks_history": ["share_quantity", "block_share_quantity"],
    "prices_daily": ["volume"],
    "prices_daily_history": ["volume"],
    "finra_venue_week_all_tiers": ["share_quantity"],
    "finra_symbol_movers_week": ["share_quantity", "previous_share_quantity", "share_change"],
    "finra_venue_movers_week": ["share_quantity", "previous_share_quantity", "share_change"],
    "finra_symbol_anomalies_week": ["share_quantity"],
    "finra_symbol_week_short": ["otc_share_quantity", "ats_share_quantity", "short_interest_quantity"],
}
"""Columns of whole numbers, by table, under their old names; the others hold millionths already."""
# fmt: on

MILLIONTHS = 1_000_000
MAX_WHOLE = (2**63 - 1) // MILLIONTHS


RULE_VERSIONS = {
    "finra_otc_weekly": ("4", "5"),
    "fact_bond_trade_activity": ("3", "4"),
    "finra_short_interest": ("3", "4"),
    "finra_otc_monthly": ("3", "4"),
    "finra_ats_blocks": ("3", "4"),
    "finra_otc_blocks": ("3", "4"),
    "market_volume_daily": ("1", "2"),
    "prices_daily": ("3", "4"),
}
"""Versions of the rules before and after, by table: fractions are read since."""

FRACTIONS = ("fractional_quantity", "not_a_volume", "not_an_amount")
"""Reasons of rejects that may have been fractions."""


def upgrade() -> None:
    """Make the changes; whole numbers become millionths.

    Raises:
        ConfigurationError: 64 bits do not hold the millionths of a number.
    """
    for name, columns in WHOLE.items():
        _refuse_too_large(name, columns)
        rows = _rows(name, columns)
        values = {column: rows.c[column] * MILLIONTHS for column in columns}
        op.execute(sa.update(rows).values(values))
    upgrade_by(CHANGES)
    for name, (before, after) in RULE_VERSIONS.items():
        _set_rule_version(name, before, after)


def downgrade() -> None:
    """Undo them; fractions are lost."""
    for name, (before, after) in RULE_VERSIONS.items():
        _set_rule_version(name, after, before)
    downgrade_by(CHANGES)
    for name, columns in WHOLE.items():
        rows = _rows(name, columns)
        values = {column: rows.c[column] // MILLIONTHS for column in columns}
        op.execute(sa.update(rows).values(values))


def _set_rule_version(name: str, before: str, after: str) -> None:
    """Set the version of the rules of loaded partitions of which the rules make the same rows.

    Those with rejects that may have been fractions are left to be loaded again.
    """
    fences = _texts("fences", "table_name", "scope_key", "landed_rule_version")
    rejects = _texts("rejects", "capture_id", "table_name", "reason_code")
    captures = _texts("captures", "capture_id", "partition_key")
    may_be_fraction = (
        sa.exists()
        .where(rejects.c.table_name == fences.c.table_name)
        .where(rejects.c.reason_code.in_(FRACTIONS))
        .where(captures.c.capture_id == rejects.c.capture_id)
        .where(captures.c.partition_key == fences.c.scope_key)
    )
    op.execute(
        sa.update(fences)
        .values(landed_rule_version=after)
        .where(fences.c.table_name == name, fences.c.landed_rule_version == before)
        .where(~may_be_fraction)
    )


def _texts(name: str, *columns: str) -> sa.TableClause:
    return sa.table(name, *(sa.column(column, sa.Text()) for column in columns))


def _refuse_too_large(name: str, columns: Sequence[str]) -> None:
    if op.get_context().as_sql:  # there is no database to read
        return
    rows = _rows(name, columns)
    is_too_large = sa.or_(*(sa.func.abs(rows.c[column]) > MAX_WHOLE for column in columns))
    counted = sa.select(sa.func.count()).select_from(rows).where(is_too_large)
    count = op.get_bind().execute(counted).scalar_one()
    if count:
        raise ConfigurationError(
            f"{count} rows of {name} have quantities that cannot be kept with six decimals",
            expected=f"at most {MAX_WHOLE} in each of {', '.join(columns)}",
            remedy="correct these rows at their source and load them again, or delete them",
        )


def _rows(name: str, columns: Sequence[str]) -> sa.TableClause:
    return sa.table(name, *(sa.column(column, sa.BigInteger()) for column in columns))
