"""Derivations of a symbol's prices: corporate actions and returns.

A row depends on its own window alone and adds it up in one order, so that deriving a part again
gives the same digits as deriving all.
"""

from datetime import date
from functools import reduce
from operator import add

import polars as pl

from orchestration_project.domains.prices.calendar import session_days
from orchestration_project.domains.prices.contract import ONE
from orchestration_project.domains.prices.tables import (
    prices_corporate_actions,
    prices_daily,
    prices_returns,
)
from orchestration_project.engine.contracts.balance import Conservation, DerivedKeys, Measure
from orchestration_project.engine.contracts.values import fit_to_table

GOLD_VERSION = "2"
"""Version of the definitions here; another one makes everything out of date."""

WINDOWS = {"volatility_20d": 20, "volatility_60d": 60}
"""Returns of so many sessions."""

ROWS_BEFORE = max(WINDOWS.values())
"""So many rows before a row its figures are made of."""


ACTIONS = Conservation(
    source=prices_daily,
    derived=prices_corporate_actions,
    partition=["symbol"],
    measures=[Measure("dividends", ["dividend"], ["dividend"])],
)
RETURNS = Conservation(
    source=prices_daily, derived=prices_returns, partition=["symbol"], keys=["trade_date"]
)
"""Both are compared where a part of a symbol's days is written; other days are as they were."""


def corporate_actions(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `prices_corporate_actions` of ``rows`` of prices_daily."""
    common = ("symbol", "trade_date", "source", "known_from")
    nothing = pl.lit(None, pl.Int64)
    dividends = rows.filter(pl.col("dividend") > 0).select(
        *common, "dividend", kind=pl.lit("dividend"), split_ratio=nothing
    )
    splits = rows.filter(pl.col("split_ratio") != ONE).select(
        *common, dividend=nothing, kind=pl.lit("split"), split_ratio="split_ratio"
    )
    return fit_to_table(pl.concat([dividends, splits], how="diagonal"), prices_corporate_actions)


def returns(rows: pl.DataFrame, *, since: date) -> pl.DataFrame:
    """Return `prices_returns` of one symbol from ``since`` on.

    ``rows`` are its rows of prices_daily from `ROWS_BEFORE` + 1 rows before that day on, or all.
    """
    prices = rows.sort("trade_date")
    missing = _count_sessions(prices["trade_date"])
    is_adjusted = pl.all_horizontal(
        pl.col("adjusted_close").is_not_null(), pl.col("adjusted_close").shift().is_not_null()
    )
    growth = (
        pl.when("is_adjusted")
        .then(pl.col("adjusted_close") / pl.col("adjusted_close").shift())
        .otherwise(pl.col("close") / pl.col("close").shift())
    )
    loads = pl.col("known_from").cast(pl.Int64)
    known_expression = loads.rolling_max(ROWS_BEFORE + 1, min_samples=1)
    frame = (
        prices.with_columns(
            is_adjusted=is_adjusted,
            previous_date=pl.col("trade_date").shift(),
            missing_count=missing,
            is_after_gap=missing > 0,
            known_from=known_expression.cast(pl.Datetime("us", "UTC")),
        )
        .with_columns(simple_return=growth - 1, log_return=growth.log())
        .slice(1)
    )
    volatile = {name: _compute_deviation(frame, length) for name, length in WINDOWS.items()}
    return fit_to_table(
        frame.with_columns(**volatile).filter(pl.col("trade_date") >= since), prices_returns
    )


def returns_by_day(rows: pl.DataFrame, *, since: date) -> DerivedKeys:
    """Return `returns`, and whether the first of all days is among those from ``since`` on."""
    has_first = len(rows) > 0 and rows.filter(pl.col("trade_date") < since).is_empty()
    return DerivedKeys(returns(rows, since=since), {"first_day": int(has_first)})


def _count_sessions(days: pl.Series) -> pl.Series:
    """Return how many of the exchange's sessions lie between each day and the one before it."""
    if days.is_empty():
        return pl.Series(dtype=pl.Int64)
    every = session_days(days[0], days[-1])
    before, through = (every.search_sorted(days, side).cast(pl.Int64) for side in ("left", "right"))
    return before - through.shift()


def _compute_deviation(rows: pl.DataFrame, length: int) -> pl.Series:
    """Return the sample standard deviation of ``length`` log returns, none of which spans a gap.

    Window by window in one order: a frame's own sums add in whatever order is fastest.
    """
    logs, missing = rows["log_return"].to_numpy(), rows["missing_count"].to_numpy()
    count = len(rows) - length + 1
    if count <= 0:
        return pl.Series([None] * len(rows), dtype=pl.Float64)
    window = [slice(start, start + count) for start in range(length)]
    mean = reduce(add, (logs[each] for each in window)) / length
    squares = reduce(add, ((logs[each] - mean) ** 2 for each in window))
    has_gap = reduce(add, (missing[each] for each in window)) > 0
    data_frame = pl.DataFrame({"found": (squares / (length - 1)) ** 0.5, "has_gap": has_gap})
    whole = data_frame.select(pl.when(~pl.col("has_gap")).then("found")).to_series()
    return pl.concat([pl.Series([None] * (length - 1), dtype=pl.Float64), whole])
