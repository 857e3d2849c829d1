"""Derivations across weeks and tiers: rolling window, concentration, shares of tiers.

docs/reference/tables.md defines them. Sums are exact integers of 128 bits, and the trend
is decided on them, so that no order of rows and no rounding tips a symbol over a threshold.
"""

from datetime import date

import polars as pl

from orchestration_project.domains.finra.calendar import WEEK
from orchestration_project.domains.finra.contract import DE_MINIMIS
from orchestration_project.domains.finra.gold import ratio_of
from orchestration_project.tables.finra import (
    finra_concentration_week,
    finra_symbol_rolling_6w,
    finra_tier_week,
)
from orchestration_project.tables.schema import in_table_order

TREND_PERCENT = 10
"""A symbol trends when its last three weeks differ from the three before by more than this."""

RECENT_WEEKS = 3
"""The half of the window that the trend holds against the other half."""


def symbol_rolling_6w(
    symbol_weeks: pl.DataFrame, *, week_start: date, is_complete: bool
) -> pl.DataFrame:
    """Return `finra_symbol_rolling_6w` of the week and tier that end the window.

    ``symbol_weeks`` has the window's rows of `finra_symbol_week`. A week without the symbol is
    absent from its figures: FINRA does not say whether nobody traded or nobody reported.
    """
    shares, trades = pl.col("total_share_quantity"), pl.col("total_trade_count")
    is_recent = pl.col("week_start") > week_start - RECENT_WEEKS * WEEK
    wide = shares.cast(pl.Int128)
    windows = symbol_weeks.group_by("tier", "symbol").agg(
        is_current=(pl.col("week_start") == week_start).any(),
        weeks_in_window=pl.len().cast(pl.Int64),
        average_shares_per_week=ratio_of(wide.sum(), pl.len()),
        min_share_quantity=shares.min(),
        max_share_quantity=shares.max(),
        average_trades_per_week=ratio_of(trades.cast(pl.Int128).sum(), pl.len()),
        min_trade_count=trades.min(),
        max_trade_count=trades.max(),
        recent_shares=wide.filter(is_recent).sum(),
        recent_weeks=is_recent.sum().cast(pl.Int128),
        earlier_shares=wide.filter(~is_recent).sum(),
        earlier_weeks=(~is_recent).sum().cast(pl.Int128),
    )
    # mean / mean = (recent sum x earlier weeks) / (earlier sum x recent weeks)
    recent = pl.col("recent_shares") * pl.col("earlier_weeks")
    earlier = pl.col("earlier_shares") * pl.col("recent_weeks")
    return in_table_order(
        windows.filter("is_current").with_columns(
            week_start=pl.lit(week_start),
            is_complete=pl.lit(is_complete),
            trend_ratio=ratio_of(recent, earlier),
            trend_direction=_direction(recent, earlier),
        ),
        finra_symbol_rolling_6w,
    )


def _direction(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
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
    is landed.
    """
    indices = ("hhi_lower", "hhi_upper")
    before = symbol_weeks.filter(pl.col("week_start") == week_start - WEEK).select(
        "symbol", *(pl.col(name).alias(f"{name}_before") for name in indices)
    )
    return in_table_order(
        symbol_weeks.filter(pl.col("week_start") == week_start)
        .join(before, on="symbol", how="left")
        .with_columns(
            pl.col("top_venue_share").alias("top_1_venue_share"),
            *(
                (pl.col(name) - pl.col(f"{name}_before")).alias(f"{name}_change")
                for name in indices
            ),
        ),
        finra_concentration_week,
    )


def tier_week(venue_weeks: pl.DataFrame, symbols: pl.DataFrame) -> pl.DataFrame:
    """Return `finra_tier_week` of a week.

    ``venue_weeks`` are its rows of `finra_venue_week`, ``symbols`` (tier, symbol) those of
    `finra_symbol_week`, of all tiers.
    """
    venue, total = pl.col("venue_id"), pl.col("share_quantity")
    tiers = venue_weeks.group_by("week_start", "tier").agg(
        pl.col("share_quantity", "trade_count").sum(),
        row_count=pl.col("symbol_count").sum(),
        venue_count=venue.filter(venue != DE_MINIMIS).n_unique().cast(pl.Int64),
    )
    counts = symbols.group_by("tier").agg(symbol_count=pl.len().cast(pl.Int64))
    return in_table_order(
        tiers.join(counts, on="tier").with_columns(
            market_share=ratio_of(total, total.cast(pl.Int128).sum())
        ),
        finra_tier_week,
    )
