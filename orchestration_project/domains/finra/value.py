"""Dollar value of a week's shares: volume by FINRA, prices by others.

Shares are those of the week. A source may state closes and volumes after later splits; those of
`prices_daily.later_splits` are undone, and without them a close has no known meaning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from math import prod

import polars as pl

from orchestration_project.domains.finra.across import known_since
from orchestration_project.domains.finra.gold import ratio_of
from orchestration_project.domains.finra.tables.weekly import finra_symbol_week_value
from orchestration_project.domains.prices.tables import NO_LATER_SPLITS
from orchestration_project.engine.contracts.balance import DerivedKeys
from orchestration_project.engine.contracts.values import fit_to_table
from orchestration_project.tables.schema import USD_SCALE

ONE = 10**USD_SCALE
MAX_INTEGER = 2**63 - 1
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
) -> DerivedKeys:
    """Return `finra_symbol_week_value` of a week, and why other symbols have no value.

    Args:
        symbol_weeks: Its rows of `finra_symbol_week`, of all tiers.
        prices: The week's rows of `prices_daily`, by `PRICE_COLUMNS`.
        week_start: Its Monday.
        session_days: The days on which the exchange traded; a symbol that lacks one is left out.
    """
    is_session = pl.col("trade_date").is_in(list(session_days))
    by_symbol = prices.filter(is_session).sort("trade_date").partition_by("symbol", as_dict=True)
    priced = {
        str(symbol): _compute_week_price(rows)
        for (symbol,), rows in by_symbol.items()
        if rows.height == len(session_days)
    }
    is_priced = pl.col("symbol").is_in(list(priced))
    has_prices = pl.col("symbol").is_in([str(symbol) for (symbol,) in by_symbol])
    excluded = {
        "no_price": symbol_weeks.filter(~has_prices).height,
        "sessions_missing": symbol_weeks.filter(has_prices, ~is_priced).height,
    }
    shares = pl.col("share_quantity")
    valued = symbol_weeks.rename({"total_share_quantity": "share_quantity"}).filter(is_priced)
    weekly = [priced[symbol] for symbol in valued["symbol"]]
    estimates = [
        None if week.price is None else week.price * Fraction(quantity)
        for week, quantity in zip(weekly, valued["share_quantity"], strict=True)
    ]
    estimate = pl.Series(
        [None if fraction is None else float(fraction) for fraction in estimates], dtype=pl.Float64
    )
    rows = fit_to_table(
        valued.with_columns(
            known_since(symbol_weeks, prices),
            week_start=pl.lit(week_start),
            price=pl.Series([_fit_integer(week.price) for week in weekly], dtype=pl.Int64),
            undone_splits=pl.Series([week.later_splits for week in weekly], dtype=pl.String),
            session_count=pl.lit(len(session_days), pl.Int64),
            estimate=estimate,
            market_shares=pl.Series([week.market_shares for week in weekly], dtype=pl.Float64),
            estimated_notional_usd=pl.Series(
                [_fit_integer(exact) for exact in estimates], dtype=pl.Int64
            ),
        ).with_columns(
            price_reason=pl.when(pl.col("price").is_null()).then(pl.lit(UNKNOWN_SPLITS)),
            dollar_volume_share=ratio_of(pl.col("estimate"), pl.col("estimate").sum().over("tier")),
            market_volume_share=ratio_of(shares, pl.col("market_shares")),
            is_stale=False,
        ),
        finra_symbol_week_value,
    )
    return DerivedKeys(rows, excluded)


@dataclass(frozen=True)
class WeekPrice:
    """Mean close of a symbol's week as traded, exact, and the shares that the source counted.

    Both are None where later splits are unknown.
    """

    price: Fraction | None
    later_splits: str | None
    market_shares: float | None


def _compute_week_price(rows: pl.DataFrame) -> WeekPrice:
    """Return the mean close of a symbol's sessions, weighted by volume if there was any."""
    splits = rows["later_splits"].to_list()
    if None in splits:
        return WeekPrice(None, None, None)
    factors = [split_factor(text) for text in splits]
    closes = [close * factor for close, factor in zip(rows["close"], factors, strict=True)]
    volumes = [
        Fraction(volume) / factor for volume, factor in zip(rows["volume"], factors, strict=True)
    ]
    total = sum(volumes, Fraction(0))
    weights = volumes if total else [Fraction(1)] * len(volumes)
    products = (close * weight for close, weight in zip(closes, weights, strict=True))
    price = sum(products, Fraction(0)) / sum(weights, Fraction(0))
    return WeekPrice(price, splits[0], float(total))


def _fit_integer(value: Fraction | None) -> int | None:
    """Return the nearest integer of 64 bits, None where there is none."""
    nearest = None if value is None else round(value)
    return None if nearest is None or nearest > MAX_INTEGER else nearest


def split_factor(later_splits: str) -> Fraction:
    """Return how many shares one share has become by splits such as ``2026-10-14 4``."""
    if later_splits == NO_LATER_SPLITS:
        return Fraction(1)
    return prod(
        (Fraction(split.split(" ")[1]) for split in later_splits.split(", ")), start=Fraction(1)
    )


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
