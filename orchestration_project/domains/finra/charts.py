"""Data of the charts of trading over time: shares of ATSs and of OTC, movers, restatements."""

import polars as pl

from orchestration_project.domains.finra.calendar import publication_date
from orchestration_project.domains.finra.gold import ratio_of

MOVERS_SHOWN = 12
"""Symbols with the largest changes of a week."""

SYMBOLS_SHOWN = 3
"""Symbols with the largest short interest of the newest settlement date that have prices."""

DAYS_PER_WEEK = 7


def ats_shares(sums: pl.DataFrame) -> pl.DataFrame:
    """Return the share of ATSs in the shares of each week and tier.

    Args:
        sums: week_start, tier, market and share_quantity.

    Returns:
        week_start, tier and share (0-1; null: no shares), oldest first.
    """
    shares = pl.col("share_quantity")
    return _sort_rows(
        sums.group_by("week_start", "tier").agg(
            share=ratio_of(shares.filter(pl.col("market") == "ATS").sum(), shares.sum())
        )
    )


def off_exchange_shares(values: pl.DataFrame) -> pl.DataFrame:
    """Return the share of OTC in all shares traded, of symbols with prices, by week and tier.

    Args:
        values: week_start, tier, share_quantity (OTC) and market_volume_share (0-1) of symbols.

    Returns:
        week_start, tier and share (0-1; null: no shares), oldest first.
    """
    known_frame = values.filter(pl.col("market_volume_share") > 0)
    col = pl.col("share_quantity")
    whole = col.cast(pl.Float64) / pl.col("market_volume_share")
    return _sort_rows(
        known_frame.group_by("week_start", "tier").agg(share=ratio_of(col.sum(), whole.sum()))
    )


def largest_movers(movers: pl.DataFrame) -> pl.DataFrame:
    """Return the symbols of a week with the largest changes without sign, the largest first.

    Args:
        movers: tier, symbol, movement and share_change of a week, of all tiers.
    """
    return (
        movers.with_columns(size=pl.col("share_change").abs())
        .sort("size", "symbol", "tier", descending=[True, False, False])
        .head(MOVERS_SHOWN)
        .drop("size")
    )


def short_interest_with_price(interest: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """Return short interest and the close of its settlement date, of the largest symbols.

    Args:
        interest: settlement_date, symbol and short_quantity.
        prices: trade_date, symbol and close (US dollars) of these symbols.

    Returns:
        symbol, settlement_date, short_quantity and close; null: no close in the week up to it.
    """
    newest = interest.filter(pl.col("settlement_date") == pl.col("settlement_date").max())
    head = (
        newest.filter(pl.col("symbol").is_in(prices["symbol"].unique().to_list()))
        .sort("short_quantity", "symbol", descending=[True, False])
        .head(SYMBOLS_SHOWN)
    )
    of_shown = head.select("symbol").join(interest, on="symbol").sort("settlement_date", "symbol")
    closes = prices.sort("trade_date").with_columns(settlement_date=pl.col("trade_date"))
    joined = of_shown.join_asof(
        closes, on="settlement_date", by="symbol", tolerance="7d", check_sortedness=False
    )
    order = {symbol: index for index, symbol in enumerate(head["symbol"])}
    index = pl.col("symbol").replace_strict(order, return_dtype=pl.Int64)
    columns = ("symbol", "settlement_date", "short_quantity", "close")
    return joined.sort(index, "settlement_date").select(columns)


def restatement_sizes(
    ended: pl.DataFrame, begun: pl.DataFrame, weeks: pl.DataFrame
) -> pl.DataFrame:
    """Return how much each restatement moved, and how long after publication it was loaded.

    Args:
        ended: Rows that a restatement replaced: their key, share_quantity, and its time as at.
        begun: Rows that it wrote, the same columns.
        weeks: week_start, tier and share_quantity of each week as it is now.

    Returns:
        week_start, tier, at, age_weeks (since FINRA's calendar published the week), moved_shares
        and moved_ratio (of the week's shares; null: it has none), oldest restatement first.
    """
    partition, row = ["week_start", "tier", "at"], ["market", "symbol", "venue_id"]
    sides = pl.concat(
        [
            ended.with_columns(change=-pl.col("share_quantity")),
            begun.with_columns(change=pl.col("share_quantity")),
        ]
    )
    frame = (
        sides.group_by(*partition, *row)
        .agg(pl.col("change").sum())
        .group_by(partition)
        .agg(moved_shares=pl.col("change").abs().sum())
        .join(weeks, on=["week_start", "tier"], how="left")
    )
    published = [publication_date(*key) for key in frame.select("week_start", "tier").iter_rows()]
    days = (pl.col("at").dt.date() - pl.col("published")).dt.total_days()
    return (
        frame.with_columns(published=pl.Series(published, dtype=pl.Date))
        .with_columns(
            age_weeks=days.cast(pl.Float64) / DAYS_PER_WEEK,
            moved_ratio=ratio_of(pl.col("moved_shares"), pl.col("share_quantity")),
        )
        .select(*partition, "age_weeks", "moved_shares", "moved_ratio")
        .sort("at", "week_start", "tier")
    )


def _sort_rows(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("week_start", "tier")
