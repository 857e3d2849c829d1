"""Derivations across weeks and tiers: rolling window, concentration, shares of tiers.

docs/reference/tables.md defines them. Sums are exact integers of 128 bits, and the trend
is decided on them, so that no order of rows and no rounding tips a symbol over a threshold.
"""

from collections.abc import Mapping
from datetime import date, datetime

import polars as pl

from orchestration_project.domains.finra.calendar import WEEK
from orchestration_project.domains.finra.contract import DE_MINIMIS
from orchestration_project.domains.finra.gold import (
    GREATEST,
    IS_NAMED,
    NAMED_SHARES,
    OF_ATS,
    SHARES,
    TRADES,
    VENUE,
    firm_formula,
    firm_id,
    hhi_formula,
    millionths,
    notional_formulas,
    notional_of,
    rank_of_named,
    ratio_of,
    ratio_of_squares,
    sum_if_complete,
)
from orchestration_project.domains.finra.tables.market import finra_venue_week_all_tiers
from orchestration_project.domains.finra.tables.weekly import (
    finra_concentration_week,
    finra_symbol_rolling_6w,
    finra_tier_week,
)
from orchestration_project.engine.contracts.formulas import Formula
from orchestration_project.engine.contracts.values import fit_to_table

TREND_PERCENT = 10
"""A symbol trends when its last three weeks differ from the three before by more than this."""

RECENT_WEEKS = 3
"""The half of the window that the trend holds against the other half."""


def symbol_rolling_6w(
    symbol_weeks: pl.DataFrame, *, week_start: date, is_complete: bool
) -> pl.DataFrame:
    """Return `finra_symbol_rolling_6w` of the week and tier that end the window.

    ``symbol_weeks`` has the window's rows of `finra_symbol_week`. A week without the symbol is left
    out of means, extremes and trend alike, and counts no zero: FINRA publishes the trades that were
    reported in a tier (rules 6110 and 6610), and the symbol may have traded in another one. A
    window of which a week is not loaded is not complete and has no trend.
    """
    shares, trades = pl.col("total_share_quantity"), pl.col("total_trade_count")
    is_recent = pl.col("week_start") > week_start - RECENT_WEEKS * WEEK
    windows = symbol_weeks.group_by("tier", "symbol").agg(
        is_current=(pl.col("week_start") == week_start).any(),
        weeks_in_window=pl.len().cast(pl.Int64),
        average_shares_per_week=ratio_of(shares.sum(), pl.len()),
        min_share_quantity=shares.min(),
        max_share_quantity=shares.max(),
        average_trades_per_week=ratio_of(trades.cast(pl.Int128).sum(), pl.len()),
        min_trade_count=trades.min(),
        max_trade_count=trades.max(),
        recent_shares=shares.filter(is_recent).sum(),
        recent_weeks=is_recent.sum().cast(pl.Int128),
        earlier_shares=shares.filter(~is_recent).sum(),
        earlier_weeks=(~is_recent).sum().cast(pl.Int128),
        published_at=pl.col("published_at").max(),
    )
    # mean / mean = (recent sum x earlier weeks) / (earlier sum x recent weeks)
    recent = pl.col("recent_shares") * pl.col("earlier_weeks")
    earlier = pl.col("earlier_shares") * pl.col("recent_weeks")
    return fit_to_table(
        windows.filter("is_current").with_columns(
            known_since(symbol_weeks),
            week_start=pl.lit(week_start),
            is_complete=pl.lit(is_complete),
            trend_ratio=ratio_of(recent, earlier) if is_complete else None,
            trend_direction=_classify_trend(recent, earlier) if is_complete else None,
            is_stale=False,
        ),
        finra_symbol_rolling_6w,
    )


OWN_WEEK: Formula = ["equal", "week_start", ["given", "week_start"]]
WEEK_BEFORE: Formula = ["equal", "week_start", ["days_after", ["given", "week_start"], -7]]
WEEKS_IN_WINDOW = 6

OF_TIER: Mapping[str, Formula] = {
    "published_at": ["max", "published_at"],
    "known_from": ["over", ["tier"], ["max", "known_from"]],
}
"""Times of what is derived of weeks of a tier; `known_since` computes the same."""


def _sum_recent(formula: Formula, *, is_recent: bool) -> Formula:
    first: Formula = ["days_after", ["given", "week_start"], -7 * RECENT_WEEKS]
    recent: Formula = ["greater", "week_start", first]
    return ["where", recent if is_recent else ["not", recent], formula]


_WEEKS: Formula = ["count", "symbol"]
_SYMBOL_SHARES: Formula = ["sum", "total_share_quantity"]
_IS_COMPLETE: Formula = [
    *("equal", ["over", ["tier"], ["count", ["count", "symbol"], "week_start"]]),
    WEEKS_IN_WINDOW,
]
_RECENT: Formula = [
    "multiply",
    _sum_recent(_SYMBOL_SHARES, is_recent=True),
    _sum_recent(_WEEKS, is_recent=False),
]
_EARLIER: Formula = [
    "multiply",
    _sum_recent(_SYMBOL_SHARES, is_recent=False),
    _sum_recent(_WEEKS, is_recent=True),
]
_DIRECTION: Formula = [
    *("if", ["equal", _EARLIER, 0], None),
    [
        "if",
        ["greater", ["multiply", _RECENT, 100], ["multiply", _EARLIER, 100 + TREND_PERCENT]],
        ["text", "up"],
        [
            "if",
            ["greater", ["multiply", _EARLIER, 100 - TREND_PERCENT], ["multiply", _RECENT, 100]],
            ["text", "down"],
            ["text", "flat"],
        ],
    ],
]

ROLLING_FORMULAS: Mapping[str, Formula] = {
    "week_start": ["given", "week_start"],
    "tier": "tier",
    "symbol": "symbol",
    "weeks_in_window": _WEEKS,
    "is_complete": _IS_COMPLETE,
    "average_shares_per_week": ["ratio", _SYMBOL_SHARES, _WEEKS],
    "min_share_quantity": ["min", "total_share_quantity"],
    "max_share_quantity": ["max", "total_share_quantity"],
    "average_trades_per_week": ["ratio", ["sum", "total_trade_count"], _WEEKS],
    "min_trade_count": ["min", "total_trade_count"],
    "max_trade_count": ["max", "total_trade_count"],
    "trend_ratio": ["if", _IS_COMPLETE, ["ratio", _RECENT, _EARLIER]],
    "trend_direction": ["if", _IS_COMPLETE, _DIRECTION],
    **OF_TIER,
}
"""Formulas of `finra_symbol_rolling_6w`, of the symbol's weeks in the window."""


def known_since(*inputs: pl.DataFrame) -> pl.Expr:
    """Return known_from of what is derived of ``inputs``: the latest load of any of their rows.

    Of all rows, not of a symbol's alone: a load that removed the symbol from a week counts, too.
    """
    latest = (frame["known_from"].max() for frame in inputs)
    moments = [item for item in latest if isinstance(item, datetime)]
    return pl.lit(max(moments, default=None), pl.Datetime("us", "UTC")).alias("known_from")


def _classify_trend(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    return (
        pl.when(whole == 0)
        .then(None)
        .when(part * 100 > whole * (100 + TREND_PERCENT))
        .then(pl.lit("up"))
        .when(part * 100 < whole * (100 - TREND_PERCENT))
        .then(pl.lit("down"))
        .otherwise(pl.lit("flat"))
    )


def concentration_week(symbol_weeks: pl.DataFrame, *, week_start: date) -> pl.DataFrame:
    """Return `finra_concentration_week` of a week and tier.

    ``symbol_weeks`` are the rows of `finra_symbol_week` of the week and of the one before, if that
    is loaded.
    """
    indices = ("hhi_lower", "hhi_upper")
    before = symbol_weeks.filter(pl.col("week_start") == week_start - WEEK).select(
        "symbol", *(pl.col(name).alias(f"{name}_before") for name in (*indices, "published_at"))
    )
    return fit_to_table(
        symbol_weeks.filter(pl.col("week_start") == week_start)
        .join(before, on="symbol", how="left")
        .with_columns(
            known_since(symbol_weeks),
            *(
                (pl.col(name) - pl.col(f"{name}_before")).alias(f"{name}_change")
                for name in indices
            ),
            published_at=pl.max_horizontal("published_at", "published_at_before"),
            is_stale=False,
        ),
        finra_concentration_week,
    )


def _select_week(week: Formula, name: str) -> Formula:
    return ["where", week, ["max", name]]


CONCENTRATION_FORMULAS: Mapping[str, Formula] = {
    "week_start": ["given", "week_start"],
    "tier": "tier",
    "symbol": "symbol",
    **{
        name: _select_week(OWN_WEEK, name)
        for name in (
            *("hhi_lower", "hhi_upper"),
            *("top_venue_share", "top_3_venue_share", "top_5_venue_share"),
        )
    },
    **{
        f"{name}_change": [
            "subtract",
            _select_week(OWN_WEEK, name),
            _select_week(WEEK_BEFORE, name),
        ]
        for name in ("hhi_lower", "hhi_upper")
    },
    **OF_TIER,
}
"""Formulas of `finra_concentration_week`, of the symbol's week and the one before."""


def tier_week(venue_weeks: pl.DataFrame, symbols: pl.DataFrame) -> pl.DataFrame:
    """Return `finra_tier_week` of a week.

    ``venue_weeks`` are its rows of `finra_venue_week`, ``symbols`` (tier, symbol) those of
    `finra_symbol_week`, of all tiers.
    """
    venue, total, trades = pl.col("venue_id"), pl.col("share_quantity"), pl.col("trade_count")
    is_ats = pl.col("market") == "ATS"
    tiers = venue_weeks.group_by("week_start", "tier").agg(
        pl.col("share_quantity", "trade_count").sum(),
        row_count=pl.col("symbol_count").sum(),
        venue_count=venue.filter(venue != DE_MINIMIS).n_unique().cast(pl.Int64),
        ats_share_quantity=total.filter(is_ats).sum(),
        ats_trade_count=trades.filter(is_ats).sum(),
        notional_usd=sum_if_complete("notional_usd"),
        published_at=pl.col("published_at").max(),
    )
    counts = symbols.group_by("tier").agg(symbol_count=pl.len().cast(pl.Int64))
    return fit_to_table(
        tiers.with_columns(**notional_of(total))
        .join(counts, on="tier")
        .join(firm_indices(venue_weeks, "tier"), on="tier")
        .with_columns(
            known_since(venue_weeks),
            market_share=ratio_of(total, total.sum()),
            ats_share_of_shares=ratio_of(pl.col("ats_share_quantity"), total),
            ats_share_of_trades=ratio_of(pl.col("ats_trade_count"), trades),
            is_stale=False,
        ),
        finra_tier_week,
    )


def venue_week_all_tiers(venue_weeks: pl.DataFrame) -> pl.DataFrame:
    """Return `finra_venue_week_all_tiers` of all rows of a week of `finra_venue_week`."""
    shares = pl.col("share_quantity")
    venues = venue_weeks.group_by("week_start", "market", "venue_id").agg(
        pl.col("share_quantity", "trade_count", "symbol_count").sum(),
        pl.col(*GREATEST, "published_at").max(),
        tier_count=pl.col("tier").n_unique().cast(pl.Int64),
        notional_usd=sum_if_complete("notional_usd"),
    )
    whole = shares.sum()
    return fit_to_table(
        venues.with_columns(
            known_since(venue_weeks),
            **notional_of(shares),
            market_share=ratio_of(shares, whole),
            rank=rank_of_named(),
            share_in_market=ratio_of(shares, whole.over("market")),
            rank_in_market=rank_of_named().over("market"),
            is_stale=False,
        ),
        finra_venue_week_all_tiers,
    )


_OF_WEEK: Formula = ["week_start"]
_FIRM: Formula = firm_formula("firm_crd_number")
_IS_NAMED_FIRM: Formula = ["not", ["equal", _FIRM, ["text", DE_MINIMIS]]]
_TIMES_OF_WEEK: Mapping[str, Formula] = {
    "published_at": ["max", "published_at"],
    "known_from": ["over", _OF_WEEK, ["max", "known_from"]],
}

TIER_FORMULAS: Mapping[str, Formula] = {
    "week_start": "week_start",
    "tier": "tier",
    "share_quantity": SHARES,
    "trade_count": TRADES,
    "row_count": ["sum", "symbol_count"],
    "symbol_count": ["count", "symbol"],
    "venue_count": ["where", IS_NAMED, ["count", SHARES, "venue_id"]],
    "market_share": ["ratio", SHARES, ["over", _OF_WEEK, SHARES]],
    "ats_share_quantity": ["where", OF_ATS, SHARES],
    "ats_trade_count": ["where", OF_ATS, TRADES],
    **notional_formulas(_OF_WEEK),
    "ats_share_of_shares": ["ratio", ["where", OF_ATS, SHARES], SHARES],
    "ats_share_of_trades": ["ratio", ["where", OF_ATS, TRADES], TRADES],
    "firm_count": ["where", _IS_NAMED_FIRM, ["count", SHARES, _FIRM]],
    "firm_hhi_lower": hhi_formula(_FIRM, _IS_NAMED_FIRM),
    "firm_hhi_upper": hhi_formula(_FIRM),
    **_TIMES_OF_WEEK,
}
"""Formulas of `finra_tier_week`, of its venues; symbol_count is of its symbols."""

ALL_TIERS_FORMULAS: Mapping[str, Formula] = {
    "week_start": "week_start",
    "market": "market",
    "venue_id": "venue_id",
    **{name: ["max", name] for name in GREATEST},
    "share_quantity": SHARES,
    "trade_count": TRADES,
    "symbol_count": ["sum", "symbol_count"],
    "tier_count": ["count", SHARES, "tier"],
    "market_share": ["ratio", SHARES, ["over", _OF_WEEK, SHARES]],
    "rank": ["rank", NAMED_SHARES, _OF_WEEK, *VENUE],
    "share_in_market": ["ratio", SHARES, ["over", [*_OF_WEEK, "market"], SHARES]],
    "rank_in_market": ["rank", NAMED_SHARES, [*_OF_WEEK, "market"], "venue_id"],
    **notional_formulas(_OF_WEEK),
    **_TIMES_OF_WEEK,
}
"""Formulas of `finra_venue_week_all_tiers`, of the venue in all tiers."""


def firm_indices(venue_weeks: pl.DataFrame, *group: str) -> pl.DataFrame:
    """Return firm_count, firm_hhi_lower and firm_hhi_upper (0-1) by ``group``.

    ``venue_weeks`` are rows of `finra_venue_week`. All venues of a firm are one.
    """
    shares, is_named = pl.col("share_quantity"), pl.col("firm") != DE_MINIMIS
    square = shares * shares
    whole = shares.sum() * shares.sum()
    return (
        venue_weeks.group_by(*group, firm_id().alias("firm"))
        .agg(millionths(shares.sum()))
        .group_by(group)
        .agg(
            firm_count=is_named.sum().cast(pl.Int64),
            firm_hhi_lower=ratio_of_squares(square.filter(is_named).sum(), whole),
            firm_hhi_upper=ratio_of_squares(square.sum(), whole),
        )
    )
