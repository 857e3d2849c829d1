"""Dollar value of a week's shares: volume by FINRA, prices by others.

Shares are those of the week. A source may state closes and volumes after later splits; those of
`prices_daily.later_splits` are undone, and without them a close has no known meaning.
"""

from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from math import prod

import polars as pl

from orchestration_project.domains.finra.across import known_since
from orchestration_project.domains.finra.gold import ratio_of
from orchestration_project.tables.finra import finra_symbol_week_value
from orchestration_project.tables.prices import NO_LATER_SPLITS
from orchestration_project.tables.schema import USD_SCALE, in_table_order

ONE = 10**USD_SCALE
PRICE_COLUMNS = ("symbol", "trade_date", "close", "volume", "later_splits", "known_from")
"""Columns of `prices_daily` that a value is made of."""

UNKNOWN_SPLITS = (
    "later splits in its prices are unknown: load its months again with full: true; "
    "a file needs split_ratio"
)


def symbol_week_value(
    symbol_weeks: pl.DataFrame,
    prices: pl.DataFrame,
    *,
    week_start: date,
    session_days: Sequence[date],
) -> pl.DataFrame:
    """Return `finra_symbol_week_value` of a week.

    Args:
        symbol_weeks: Its rows of `finra_symbol_week`, of all tiers.
        prices: The week's rows of `prices_daily`, by `PRICE_COLUMNS`.
        week_start: Its Monday.
        session_days: The days on which the exchange traded; a symbol that lacks one is left out.
    """
    volume, close = pl.col("traded_volume"), pl.col("traded_close")
    mean = pl.when(volume.sum() > 0).then((close * volume).sum() / volume.sum())
    is_known = pl.col("later_splits").is_not_null().all()
    weekly = (
        _as_traded(prices)
        .filter(pl.col("trade_date").is_in(list(session_days)))
        .group_by("symbol")
        .agg(
            price=pl.when(is_known).then(pl.coalesce(mean, close.mean())),
            undone_splits=pl.when(is_known).then(
                pl.col("later_splits").sort_by("trade_date").first()
            ),
            session_count=pl.len().cast(pl.Int64),
            market_shares=pl.when(is_known).then(volume.sum()),
        )
        .filter(pl.col("session_count") == len(session_days))
    )
    shares = pl.col("share_quantity")
    valued = (
        symbol_weeks.rename({"total_share_quantity": "share_quantity"})
        .join(weekly, on="symbol")
        .with_columns(estimate=shares.cast(pl.Float64) * pl.col("price"))
    )
    return in_table_order(
        valued.with_columns(
            known_since(symbol_weeks, prices),
            week_start=pl.lit(week_start),
            price=pl.col("price").round().cast(pl.Int64),
            price_reason=pl.when(pl.col("price").is_null()).then(pl.lit(UNKNOWN_SPLITS)),
            estimated_notional_usd=pl.col("estimate").round().cast(pl.Int64, strict=False),
            dollar_volume_share=ratio_of(pl.col("estimate"), pl.col("estimate").sum().over("tier")),
            market_volume_share=ratio_of(shares, pl.col("market_shares")),
            is_stale=False,
        ),
        finra_symbol_week_value,
    )


def _as_traded(prices: pl.DataFrame) -> pl.DataFrame:
    """Add ``traded_close`` and ``traded_volume``, before later splits; null where unknown."""
    texts = prices["later_splits"].unique().drop_nulls().to_list()
    factor = pl.col("later_splits").replace_strict(
        {text: split_factor(text) for text in texts}, default=None, return_dtype=pl.Float64
    )
    return prices.with_columns(
        traded_close=pl.col("close") * factor,
        traded_volume=pl.col("volume").cast(pl.Float64) / factor,
    )


def split_factor(later_splits: str) -> float:
    """Return how many shares one share has become by splits such as ``2026-10-14 4``."""
    if later_splits == NO_LATER_SPLITS:
        return 1.0
    return float(prod(Fraction(split.split(" ")[1]) for split in later_splits.split(", ")))


def coverage(valued: pl.DataFrame, symbol_weeks: pl.DataFrame) -> float:
    """Return the share (0-1) of a week's shares that has a value; 0 without shares."""
    total = symbol_weeks["total_share_quantity"].sum()
    shares = valued.filter(pl.col("price").is_not_null())["share_quantity"]
    return float(shares.sum()) / float(total) if total else 0.0


def differing_weeks(sums: pl.DataFrame, *, max_factor: float) -> pl.DataFrame:
    """Return weeks and tiers whose estimate differs from FINRA's traded value by more than that.

    Args:
        sums: week_start, tier, estimated_dollars and notional_dollars (US dollars).
        max_factor: Largest factor, up and down; both are 0 without trading, and agree.
    """
    estimated, notional = pl.col("estimated_dollars"), pl.col("notional_dollars")
    is_more = (estimated > notional * max_factor) | (notional > estimated * max_factor)
    return sums.filter(is_more).with_columns(factor=ratio_of(estimated, notional))
