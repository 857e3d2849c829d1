"""Source columns of each column of FINRA's derived tables."""

from typing import Any

from sqlalchemy import Column, Table

from orchestration_project.domains.finra.tables.datasets import finra_short_interest
from orchestration_project.domains.finra.tables.equity_datasets import finra_reg_sho_daily
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.domains.prices.tables import prices_daily

_weekly, _daily = finra_otc_weekly.c, prices_daily.c
_symbols, _venues = finra_symbol_week.c, finra_venue_week.c
_sales, _interest = finra_reg_sho_daily.c, finra_short_interest.c
_PRICE = (_daily.close, _daily.volume, _daily.later_splits)
_SALES = ("short_quantity", "short_exempt_quantity", "total_quantity")
_SHARES_BY_VENUE = (_weekly.share_quantity, _weekly.venue_id)
_WINDOW_OF_SHARES, _WINDOW_OF_TRADES = (
    (_symbols.total_share_quantity,),
    (_symbols.total_trade_count,),
)

_WEEKLY_NOTIONAL = {
    "notional_usd": (_weekly.notional_usd,),
    "vwap": (_weekly.notional_usd, _weekly.share_quantity),
    "notional_share": (_weekly.notional_usd,),
}
_WEEKLY_FIRMS: dict[str, tuple[Column[Any], ...]] = dict.fromkeys(
    ("firm_count", "firm_hhi_lower", "firm_hhi_upper"), (*_SHARES_BY_VENUE, _weekly.firm_crd_number)
)
_WEEKLY_DATES = {
    "published_at": (_weekly.last_update_date,),
    "known_from": (_weekly.known_from,),
}


def _trace_dates(table: Table) -> dict[str, tuple[Column[Any], ...]]:
    """Return the columns that date a row which is derived of the derived ``table``."""
    latest = {name: (table.c[name],) for name in _WEEKLY_DATES}
    return {**latest, "is_stale": (table.c.known_from,)}


_OF_VENUES = (
    *("week_start", "market", "venue_id", "firm_crd_number", "participant_name"),
    *("share_quantity", "trade_count", "symbol_count", "notional_usd"),
)
_CHANGE = (
    *("movement", "share_quantity", "previous_share_quantity", "share_change", "change_ratio"),
    *("change_rank", "ratio_rank"),
)
_DEVIATION = (
    *("share_quantity", "trailing_mean", "trailing_deviation", "z_score", "trailing_week_count"),
    *("window_weeks", "min_week_count", "z_limit"),
)

MADE_OF: dict[str, dict[str, tuple[Column[Any], ...]]] = {
    "finra_symbol_week": {
        "week_start": (_weekly.week_start,),
        "tier": (_weekly.tier,),
        "symbol": (_weekly.symbol,),
        "ats_share_quantity": (_weekly.share_quantity, _weekly.market),
        "non_ats_share_quantity": (_weekly.share_quantity, _weekly.market),
        "total_share_quantity": (_weekly.share_quantity,),
        "ats_trade_count": (_weekly.trade_count, _weekly.market),
        "non_ats_trade_count": (_weekly.trade_count, _weekly.market),
        "total_trade_count": (_weekly.trade_count,),
        "venue_count": (_weekly.venue_id,),
        "average_trade_size": (_weekly.share_quantity, _weekly.trade_count),
        "top_venue_id": _SHARES_BY_VENUE,
        "top_venue_share": _SHARES_BY_VENUE,
        "hhi_lower": _SHARES_BY_VENUE,
        "hhi_upper": _SHARES_BY_VENUE,
        "top_3_venue_share": _SHARES_BY_VENUE,
        "top_5_venue_share": _SHARES_BY_VENUE,
        **_WEEKLY_NOTIONAL,
        "ats_share_of_shares": (_weekly.share_quantity, _weekly.market),
        "ats_share_of_trades": (_weekly.trade_count, _weekly.market),
        **_WEEKLY_FIRMS,
        **_WEEKLY_DATES,
    },
    "finra_venue_week": {
        "week_start": (_weekly.week_start,),
        "tier": (_weekly.tier,),
        "market": (_weekly.market,),
        "venue_id": (_weekly.venue_id,),
        "share_quantity": (_weekly.share_quantity,),
        "trade_count": (_weekly.trade_count,),
        "symbol_count": (_weekly.symbol,),
        "tier_share": (_weekly.share_quantity,),
        "rank": _SHARES_BY_VENUE,
        "share_in_market": _SHARES_BY_VENUE,
        "rank_in_market": _SHARES_BY_VENUE,
        **_WEEKLY_NOTIONAL,
        "firm_crd_number": (_weekly.firm_crd_number,),
        "participant_name": (_weekly.participant_name,),
        **_WEEKLY_DATES,
    },
    "finra_symbol_rolling_6w": {
        "week_start": (_symbols.week_start,),
        "tier": (_symbols.tier,),
        "symbol": (_symbols.symbol,),
        "weeks_in_window": (_symbols.week_start, _symbols.symbol),
        "is_complete": (_symbols.week_start,),
        "average_shares_per_week": _WINDOW_OF_SHARES,
        "min_share_quantity": _WINDOW_OF_SHARES,
        "max_share_quantity": _WINDOW_OF_SHARES,
        "average_trades_per_week": _WINDOW_OF_TRADES,
        "min_trade_count": _WINDOW_OF_TRADES,
        "max_trade_count": _WINDOW_OF_TRADES,
        "trend_ratio": _WINDOW_OF_SHARES,
        "trend_direction": _WINDOW_OF_SHARES,
        **_trace_dates(finra_symbol_week),
    },
    "finra_concentration_week": {
        "week_start": (_symbols.week_start,),
        "tier": (_symbols.tier,),
        "symbol": (_symbols.symbol,),
        "hhi_lower": (_symbols.hhi_lower,),
        "hhi_upper": (_symbols.hhi_upper,),
        "hhi_lower_change": (_symbols.hhi_lower,),
        "hhi_upper_change": (_symbols.hhi_upper,),
        "top_venue_share": (_symbols.top_venue_share,),
        "top_3_venue_share": (_symbols.top_3_venue_share,),
        "top_5_venue_share": (_symbols.top_5_venue_share,),
        **_trace_dates(finra_symbol_week),
    },
    "finra_tier_week": {
        "week_start": (_venues.week_start,),
        "tier": (_venues.tier,),
        "share_quantity": (_venues.share_quantity,),
        "trade_count": (_venues.trade_count,),
        "row_count": (_venues.symbol_count,),
        "symbol_count": (_symbols.symbol,),
        "venue_count": (_venues.venue_id,),
        "market_share": (_venues.share_quantity,),
        "ats_share_quantity": (_venues.share_quantity, _venues.market),
        "ats_trade_count": (_venues.trade_count, _venues.market),
        "notional_usd": (_venues.notional_usd,),
        "vwap": (_venues.notional_usd, _venues.share_quantity),
        "notional_share": (_venues.notional_usd,),
        "ats_share_of_shares": (_venues.share_quantity, _venues.market),
        "ats_share_of_trades": (_venues.trade_count, _venues.market),
        "firm_count": (_venues.venue_id, _venues.firm_crd_number),
        "firm_hhi_lower": (_venues.share_quantity, _venues.firm_crd_number),
        "firm_hhi_upper": (_venues.share_quantity, _venues.firm_crd_number),
        **_trace_dates(finra_venue_week),
    },
    "finra_symbol_week_value": {
        "week_start": (_symbols.week_start,),
        "tier": (_symbols.tier,),
        "symbol": (_symbols.symbol, _daily.symbol),
        "share_quantity": (_symbols.total_share_quantity,),
        "price": _PRICE,
        "undone_splits": (_daily.later_splits,),
        "price_reason": (_daily.later_splits,),
        "session_count": (_daily.trade_date,),
        "estimated_notional_usd": (_symbols.total_share_quantity, *_PRICE),
        "dollar_volume_share": (_symbols.total_share_quantity, *_PRICE),
        "market_volume_share": (_symbols.total_share_quantity, _daily.volume, _daily.later_splits),
        **_trace_dates(finra_symbol_week),
    },
    "finra_symbol_week_short": {
        "week_start": (_symbols.week_start, _sales.trade_date),
        "symbol": (_symbols.symbol, _sales.symbol),
        "otc_share_quantity": (_symbols.total_share_quantity,),
        "ats_share_quantity": (_symbols.ats_share_quantity,),
        **{name: (_sales[name],) for name in _SALES},
        "short_day_count": (_sales.trade_date,),
        "loaded_day_count": (_sales.trade_date,),
        "settlement_date": (_interest.settlement_date,),
        "short_interest_quantity": (_interest.short_quantity,),
        "short_volume_ratio": (_sales.short_quantity, _sales.total_quantity),
        "short_interest_to_otc_ratio": (
            _interest.short_quantity,
            _symbols.total_share_quantity,
        ),
        "published_at": (_symbols.published_at,),
        "known_from": (_symbols.known_from, _sales.known_from, _interest.known_from),
        "is_stale": (_symbols.known_from,),
    },
    "finra_venue_week_all_tiers": {
        **{name: (_venues[name],) for name in _OF_VENUES},
        "tier_count": (_venues.tier,),
        "market_share": (_venues.share_quantity,),
        "rank": (_venues.share_quantity,),
        "share_in_market": (_venues.share_quantity,),
        "rank_in_market": (_venues.share_quantity,),
        "vwap": (_venues.notional_usd, _venues.share_quantity),
        "notional_share": (_venues.notional_usd,),
        **_trace_dates(finra_venue_week),
    },
    "finra_symbol_movers_week": {
        **{name: (_symbols[name],) for name in ("week_start", "tier", "symbol")},
        **dict.fromkeys(_CHANGE, (_symbols.total_share_quantity,)),
        **_trace_dates(finra_symbol_week),
    },
    "finra_venue_movers_week": {
        **{name: (_venues[name],) for name in ("week_start", "tier", "market", "venue_id")},
        **dict.fromkeys(_CHANGE, (_venues.share_quantity,)),
        **_trace_dates(finra_venue_week),
    },
    "finra_symbol_anomalies_week": {
        **{name: (_symbols[name],) for name in ("week_start", "tier", "symbol")},
        **dict.fromkeys(_DEVIATION, (_symbols.total_share_quantity,)),
        **_trace_dates(finra_symbol_week),
    },
    "finra_symbols": {
        "symbol": (_weekly.symbol,),
        "tier": (_weekly.tier, _weekly.week_start),
        **dict.fromkeys(("issue_name", "issue_name_count"), (_weekly.issue_name,)),
        **dict.fromkeys(("first_week", "last_week", "week_count"), (_weekly.week_start,)),
        "tier_move_count": (_weekly.tier, _weekly.week_start),
        "is_reuse_candidate": (_weekly.issue_name, _weekly.week_start),
        **_trace_dates(finra_symbol_week),
    },
    "finra_symbol_changes": {
        "symbol": (_weekly.symbol,),
        **dict.fromkeys(("week_start", "previous_week", "gap_weeks"), (_weekly.week_start,)),
        **dict.fromkeys(("kind", "previous_value", "value"), (_weekly.tier, _weekly.issue_name)),
        **_trace_dates(finra_symbol_week),
    },
    "finra_symbol_renames": {
        **dict.fromkeys(("symbol", "new_symbol"), (_weekly.symbol,)),
        **dict.fromkeys(("last_week", "first_week", "gap_weeks"), (_weekly.week_start,)),
        **dict.fromkeys(("tier", "new_tier"), (_weekly.tier,)),
        **dict.fromkeys(
            ("issue_name", "new_issue_name", "has_same_issue_name"), (_weekly.issue_name,)
        ),
        "has_similar_trading": (_symbols.total_share_quantity, _symbols.top_venue_id),
        "share_ratio": (_symbols.total_share_quantity,),
        **_trace_dates(finra_symbol_week),
    },
}
"""Source columns of each column, by derived table."""
