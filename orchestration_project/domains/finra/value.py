"""Dollar value of a week's shares: volume by FINRA, prices by others.

Shares are those of the week. A source may write closes and volumes after all later splits; such a
split does not show as a jump of its own day, and is undone.
"""

from collections.abc import Sequence
from datetime import date

import polars as pl

from orchestration_project.domains.finra.across import known_since
from orchestration_project.domains.finra.gold import ratio_of
from orchestration_project.tables.finra import finra_symbol_week_value
from orchestration_project.tables.schema import USD_SCALE, in_table_order

ONE = 10**USD_SCALE
SPLIT_COLUMNS = ("symbol", "trade_date", "split_ratio", "close", "close_before")


def symbol_week_value(
    symbol_weeks: pl.DataFrame,
    prices: pl.DataFrame,
    splits: pl.DataFrame,
    *,
    week_start: date,
    session_days: Sequence[date],
) -> pl.DataFrame:
    """Return `finra_symbol_week_value` of a week.

    Args:
        symbol_weeks: Its rows of `finra_symbol_week`, of all tiers.
        prices: symbol, trade_date, close, volume and known_from of the week, as `prices_daily` has
            them.
        splits: All splits since, by `SPLIT_COLUMNS`: with the closes of the day and that before.
        week_start: Its Monday.
        session_days: The days on which the exchange traded; a symbol that lacks one is left out.
    """
    traded = pl.col("volume").cast(pl.Float64)
    mean = pl.when(traded.sum() > 0).then((pl.col("close") * traded).sum() / traded.sum())
    weekly = (
        _as_of_the_day(prices, splits)
        .filter(pl.col("trade_date").is_in(list(session_days)))
        .group_by("symbol")
        .agg(
            price=pl.coalesce(mean, pl.col("close").mean()),
            session_count=pl.len().cast(pl.Int64),
            market_shares=traded.sum(),
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
            estimated_notional_usd=pl.col("estimate").round().cast(pl.Int64, strict=False),
            dollar_volume_share=ratio_of(pl.col("estimate"), pl.col("estimate").sum().over("tier")),
            market_volume_share=ratio_of(shares, pl.col("market_shares")),
            is_stale=False,
        ),
        finra_symbol_week_value,
    )


def _as_of_the_day(prices: pl.DataFrame, splits: pl.DataFrame) -> pl.DataFrame:
    """Return closes and volumes as they were traded, whatever was split since."""
    step = pl.col("close_before") / pl.col("close")
    ratio = pl.col("split_ratio") / ONE
    is_written_back = step.log().abs() < (step / ratio).log().abs()
    undone = splits.filter(is_written_back).select(
        "symbol", pl.col("trade_date").alias("split_date"), ratio=ratio
    )
    factors = (
        prices.select("symbol", "trade_date")
        .join(undone, on="symbol")
        .filter(pl.col("split_date") > pl.col("trade_date"))
        .group_by("symbol", "trade_date")
        .agg(factor=pl.col("ratio").product())
    )
    factor = pl.col("factor").fill_null(1.0)
    return prices.join(factors, on=["symbol", "trade_date"], how="left").with_columns(
        close=pl.col("close") * factor, volume=pl.col("volume").cast(pl.Float64) / factor
    )


def coverage(valued: pl.DataFrame, symbol_weeks: pl.DataFrame) -> float:
    """Return the share (0-1) of a week's shares that has a value; 0 without shares."""
    total = symbol_weeks["total_share_quantity"].sum()
    return float(valued["share_quantity"].sum()) / float(total) if total else 0.0


def differing_weeks(sums: pl.DataFrame, *, max_factor: float) -> pl.DataFrame:
    """Return weeks and tiers whose estimate differs from FINRA's traded value by more than that.

    Args:
        sums: week_start, tier, estimated_dollars and notional_dollars (US dollars).
        max_factor: Largest factor, up and down; both are 0 without trading, and agree.
    """
    estimated, notional = pl.col("estimated_dollars"), pl.col("notional_dollars")
    is_more = (estimated > notional * max_factor) | (notional > estimated * max_factor)
    return sums.filter(is_more).with_columns(factor=ratio_of(estimated, notional))
