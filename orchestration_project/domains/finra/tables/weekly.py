"""FINRA's tables: OTC trading by week, symbol and venue, and what is derived of it."""

from typing import Any

from sqlalchemy import Column, func, type_coerce

from orchestration_project.tables.key_groups import look_up_in_groups
from orchestration_project.tables.schema import (
    BYTEWISE_TEXT,
    PUBLICATION,
    USD_SCALE,
    count,
    day,
    flag,
    history_of,
    moment,
    quantity,
    ratio,
    scaled,
    table,
    text,
)
from orchestration_project.tables.views import ViewColumn, as_it_is, in_decimals, labelled, view

NOTIONAL_SCALE = USD_SCALE
"""`notional_usd` holds US dollars times 10 to this power, so that it is exact everywhere."""

TIER_NAMES = {"T1": "NMS Tier 1", "T2": "NMS Tier 2", "OTCE": "OTC Equity Securities"}
MARKET_NAMES = {"ATS": "ATS", "NON_ATS": "Non-ATS OTC"}
"""Displayed names of codes; a code without a name is displayed itself."""

TIERS, MARKETS = tuple(TIER_NAMES), tuple(MARKET_NAMES)

METADATA_COLUMNS = ("initial_published_date", "last_update_date", "last_reported_date")
"""Columns about FINRA's publication of a row: if only they change, the trading is not restated."""

finra_otc_weekly = table(
    "finra_otc_weekly",
    "One row per week, tier, market, symbol and venue: the shares and trades reported to FINRA.",
    day("week_start", "Monday of the week", key=True),
    text("tier", "FINRA tier: T1, T2 or OTCE", values=TIERS, key=True),
    text("market", "Market: ATS, or NON_ATS (other OTC trading)", values=MARKETS, key=True),
    text("symbol", "FINRA's issue symbol, exact to the byte", key=True),
    text("venue_id", "Venue ID: MPID, else CRD:number, else NAME:name", key=True),
    day("week_end", "Friday of the week"),
    text("mpid", "Market participant identifier", optional=True),
    count(
        "firm_crd_number",
        "CRD number of the firm in FINRA's registry; 0: De Minimis Firms",
        optional=True,
    ),
    text("participant_name", "Name of the venue or firm", optional=True),
    text("issue_name", "Name of the security", optional=True),
    quantity("share_quantity", "Shares traded in the week"),
    count("trade_count", "Trades in the week"),
    count("notional_usd", "Traded value, US dollars x 10^6; NULL: not reported", optional=True),
    text("product_type", "FINRA's product type code", optional=True),
    day("initial_published_date", "Day on which FINRA first published the row", optional=True),
    day("last_update_date", "Day on which FINRA last changed the row", optional=True),
    day("last_reported_date", "Day of the last report in the row", optional=True),
    count("capture_id", "Capture that the row was read from"),
    moment("known_from", "UTC time from which the row is valid (system time)"),
)

finra_otc_weekly.info[PUBLICATION] = ("initial_published_date", "last_update_date")
finra_otc_weekly_history = history_of(finra_otc_weekly)


def notional(row: str, whole: str) -> list[Column[Any]]:
    """Return the columns of traded value, of each ``row`` and its share of a ``whole``."""
    return [
        count(
            "notional_usd",
            f"Traded value of the {row}, US dollars x 10^6; NULL: FINRA lacks it for a row",
            optional=True,
        ),
        ratio("vwap", "notional_usd per share, US dollars; NULL: no notional_usd", optional=True),
        ratio("notional_share", f"Share of the notional_usd of the {whole}, 0-1", optional=True),
    ]


def ats_shares() -> list[Column[Any]]:
    """Return the columns of the ATSs' share, 0-1."""
    return [
        ratio("ats_share_of_shares", "Share of ATSs in the shares, 0-1", optional=True),
        ratio("ats_share_of_trades", "Share of ATSs in the trades, 0-1", optional=True),
    ]


def firms() -> list[Column[Any]]:
    """Return the columns of firms, in which all venues of a CRD number are one."""
    index = "Herfindahl-Hirschman index (HHI) of firms by CRD, De Minimis Firms as"
    return [
        count("firm_count", "Named firms: venues of one CRD number are one", optional=True),
        ratio("firm_hhi_lower", f"{index} many tiny firms, 0-1", optional=True),
        ratio("firm_hhi_upper", f"{index} one firm, 0-1", optional=True),
    ]


def point_in_time(*, may_be_stale: bool = False) -> list[Column[Any]]:
    """Return the columns that date a derived row; older ones were never derived with them."""
    stale = flag(
        "is_stale", "Whether an input changed since; until it is derived again", optional=True
    )
    return [
        moment("published_at", "Latest last_update_date of the inputs, at 00:00", optional=True),
        moment("known_from", "UTC time of the latest load of the inputs", optional=True),
        *([stale] if may_be_stale else []),
    ]


finra_symbol_week = table(
    "finra_symbol_week",
    "One row per week, tier and symbol: trading over all venues, and its concentration.",
    day("week_start", "Monday of the week", key=True),
    text("tier", "FINRA tier: T1, T2 or OTCE", values=TIERS, key=True),
    text("symbol", "FINRA's issue symbol", key=True),
    quantity("ats_share_quantity", "Shares traded on ATSs"),
    quantity("non_ats_share_quantity", "Shares traded OTC outside ATSs"),
    quantity("total_share_quantity", "Shares, both markets"),
    count("ats_trade_count", "Trades on ATSs"),
    count("non_ats_trade_count", "Trades outside ATSs"),
    count("total_trade_count", "Trades, both markets"),
    count("venue_count", "Named venues, without De Minimis Firms"),
    ratio("average_trade_size", "Shares per trade; NULL: no trades", optional=True),
    text(
        "top_venue_id",
        "Named venue with the most shares; of equal ones the lowest ID",
        optional=True,
    ),
    ratio("top_venue_share", "Share of top_venue_id in the symbol's shares, 0-1", optional=True),
    ratio(
        "hhi_lower",
        "Herfindahl-Hirschman index (HHI) with De Minimis Firms as many tiny venues, 0-1",
        optional=True,
    ),
    ratio(
        "hhi_upper",
        "Herfindahl-Hirschman index (HHI) with De Minimis Firms as one venue, 0-1",
        optional=True,
    ),
    ratio("top_3_venue_share", "Share of the 3 largest named venues, 0-1", optional=True),
    ratio("top_5_venue_share", "Share of the 5 largest named venues, 0-1", optional=True),
    *notional("symbol", "tier"),
    *ats_shares(),
    *firms(),
    *point_in_time(),
)

finra_venue_week = table(
    "finra_venue_week",
    "One row per week, tier, market and venue: trading, and share of the tier.",
    day("week_start", "Monday of the week", key=True),
    text("tier", "FINRA tier: T1, T2 or OTCE", values=TIERS, key=True),
    text("market", "Market: ATS or NON_ATS", values=MARKETS, key=True),
    text("venue_id", "As in finra_otc_weekly", key=True),
    quantity("share_quantity", "Shares traded in the week"),
    count("trade_count", "Trades in the week"),
    count("symbol_count", "Symbols traded"),
    ratio("tier_share", "Share of the tier's shares in the week, both markets, 0-1", optional=True),
    count("rank", "Rank by shares in the tier, from 1; NULL: De Minimis Firms", optional=True),
    ratio("share_in_market", "Share of its market's shares in the tier, 0-1", optional=True),
    count(
        "rank_in_market",
        "Rank by shares in its market and tier, from 1; NULL: De Minimis Firms",
        optional=True,
    ),
    *notional("venue", "tier"),
    count("firm_crd_number", "As in finra_otc_weekly", optional=True),
    text("participant_name", "Name of the venue or firm in the week", optional=True),
    *point_in_time(),
)

finra_symbol_rolling_6w = table(
    "finra_symbol_rolling_6w",
    "One row per week, tier and symbol traded in it: trading in the six weeks up to it.",
    day("week_start", "Monday of the window's last week", key=True),
    text("tier", "FINRA tier: T1, T2 or OTCE", values=TIERS, key=True),
    text("symbol", "FINRA's issue symbol", key=True),
    count("weeks_in_window", "Weeks of the window in which the symbol was traded, 1-6"),
    flag("is_complete", "Whether all six weeks of the tier are loaded"),
    ratio("average_shares_per_week", "Mean shares of the weeks in which the symbol was traded"),
    quantity("min_share_quantity", "Minimum shares of these weeks"),
    quantity("max_share_quantity", "Maximum shares of these weeks"),
    ratio("average_trades_per_week", "Mean trades of the weeks in which the symbol was traded"),
    count("min_trade_count", "Minimum trades of these weeks"),
    count("max_trade_count", "Maximum trades of these weeks"),
    ratio(
        "trend_ratio",
        "Mean shares of traded weeks, last 3 / first 3; NULL: first 3 had none, or incomplete",
        optional=True,
    ),
    text(
        "trend_direction",
        "Trend: up (trend_ratio over 1.1), down (under 0.9) or flat",
        values=("up", "down", "flat"),
        optional=True,
    ),
    *point_in_time(may_be_stale=True),
)

finra_concentration_week = table(
    "finra_concentration_week",
    "One row per week, tier and symbol: concentration of its trading on venues, and its change.",
    day("week_start", "Monday of the week", key=True),
    text("tier", "FINRA tier: T1, T2 or OTCE", values=TIERS, key=True),
    text("symbol", "FINRA's issue symbol", key=True),
    ratio(
        "hhi_lower",
        "Herfindahl-Hirschman index (HHI) with De Minimis Firms as many tiny venues, 0-1",
        optional=True,
    ),
    ratio(
        "hhi_upper",
        "Herfindahl-Hirschman index (HHI) with De Minimis Firms as one venue, 0-1",
        optional=True,
    ),
    ratio(
        "hhi_lower_change",
        "hhi_lower minus that of the previous week; NULL: no previous week",
        optional=True,
    ),
    ratio(
        "hhi_upper_change",
        "hhi_upper minus that of the previous week; NULL: no previous week",
        optional=True,
    ),
    ratio("top_venue_share", "Share of shares of the largest named venue, 0-1", optional=True),
    ratio("top_3_venue_share", "Share of shares of the 3 largest, 0-1", optional=True),
    ratio("top_5_venue_share", "Share of shares of the 5 largest, 0-1", optional=True),
    *point_in_time(may_be_stale=True),
)

finra_tier_week = table(
    "finra_tier_week",
    "One row per week and tier, once all tiers are loaded: trading, and share of the market.",
    day("week_start", "Monday of the week", key=True),
    text("tier", "FINRA tier: T1, T2 or OTCE", values=TIERS, key=True),
    quantity("share_quantity", "Shares, both markets"),
    count("trade_count", "Trades, both markets"),
    count("row_count", "Rows of finra_otc_weekly"),
    count("symbol_count", "Symbols traded"),
    count("venue_count", "Named venues, without De Minimis Firms"),
    ratio("market_share", "Share of all tiers' shares in the week, 0-1", optional=True),
    quantity("ats_share_quantity", "Shares traded on ATSs", optional=True),
    count("ats_trade_count", "Trades on ATSs", optional=True),
    *notional("tier", "week, all tiers"),
    *ats_shares(),
    *firms(),
    *point_in_time(may_be_stale=True),
)

finra_symbol_week_value = table(
    "finra_symbol_week_value",
    "One row per week, tier and symbol with prices of all sessions: estimated traded value.",
    day("week_start", "Monday of the week", key=True),
    text("tier", "FINRA tier: T1, T2 or OTCE", values=TIERS, key=True),
    text("symbol", "FINRA's issue symbol", key=True),
    quantity("share_quantity", "Shares traded OTC, both markets"),
    scaled(
        "price",
        "Volume-weighted mean close as traded, US dollars x 10^6; NULL: see price_reason",
        optional=True,
    ),
    text(
        "undone_splits",
        "Later splits undone in price: prices_daily.later_splits of the week; NULL: unknown",
        optional=True,
    ),
    text("price_reason", "Reason why price is NULL", optional=True),
    count("session_count", "Trading sessions of the week"),
    scaled(
        "estimated_notional_usd",
        "Estimated traded value: share_quantity x price, US dollars x 10^6",
        optional=True,
    ),
    ratio("dollar_volume_share", "Share of the tier's estimated traded value, 0-1", optional=True),
    ratio(
        "market_volume_share",
        "Shares traded OTC / all shares traded, counted by the source of prices",
        optional=True,
    ),
    *point_in_time(may_be_stale=True),
)

_weekly = finra_otc_weekly.c

v_finra_otc_weekly = view(
    "v_finra_otc_weekly",
    "One row per row of finra_otc_weekly, with names, labels, and money in dollars.",
    as_it_is(_weekly.week_start),
    as_it_is(_weekly.tier),
    as_it_is(_weekly.market),
    as_it_is(_weekly.symbol),
    as_it_is(_weekly.venue_id),
    as_it_is(_weekly.week_end),
    ViewColumn("tier_name", labelled(_weekly.tier, TIER_NAMES), "Name of the tier"),
    ViewColumn("market_name", labelled(_weekly.market, MARKET_NAMES), "Name of the market"),
    as_it_is(_weekly.issue_name),
    ViewColumn(
        "venue_name",
        type_coerce(
            func.coalesce(_weekly.participant_name, _weekly.mpid, _weekly.venue_id), BYTEWISE_TEXT
        ),
        "Name of the venue or firm, else its MPID, else its venue_id",
    ),
    ViewColumn(
        "share_quantity",
        in_decimals(_weekly.share_quantity),
        "Shares traded in the week, with 6 decimals, text on SQLite",
    ),
    as_it_is(_weekly.trade_count),
    ViewColumn(
        "notional_dollars",
        in_decimals(_weekly.notional_usd),
        "Traded value, US dollars with 6 decimals, text on SQLite; NULL: not reported",
        optional=True,
    ),
    as_it_is(_weekly.last_update_date),
    as_it_is(_weekly.capture_id),
    as_it_is(_weekly.known_from),
)

look_up_in_groups(  # a year has 312 weeks, tiers and markets
    3, finra_otc_weekly, v_finra_otc_weekly.table, finra_venue_week
)
look_up_in_groups(
    2,
    finra_symbol_week,
    finra_symbol_week_value,
    finra_symbol_rolling_6w,
    finra_concentration_week,
)
