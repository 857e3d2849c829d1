"""Prices by symbol and trading day, what is derived of them, and what of each symbol waits.

Prices, dividends and split ratios are exact: integers of 10^6 parts, decimals in the view.
"""

from typing import Any

from sqlalchemy import Column

from orchestration_project.tables.schema import (
    count,
    day,
    flag,
    history_of,
    moment,
    ratio,
    scaled,
    table,
    text,
)
from orchestration_project.tables.views import ViewColumn, as_it_is, in_dollars, view

PRICES = ("open", "high", "low", "close")
"""The prices that every day has."""

prices_daily = table(
    "prices_daily",
    "One row per symbol and trading day: its prices and volume, as the source has them now.",
    text("symbol", "The symbol in FINRA's spelling, exact to the byte", key=True),
    day("trade_date", "Trading day in New York", key=True),
    scaled("open", "First price, US dollars x 10^6"),
    scaled("high", "Highest price, US dollars x 10^6"),
    scaled("low", "Lowest price, US dollars x 10^6"),
    scaled("close", "Last price, US dollars x 10^6; of yahoo after all later splits"),
    scaled(
        "adjusted_close",
        "close after all later splits and dividends, US dollars x 10^6; NULL: not given",
        optional=True,
    ),
    count("volume", "Shares traded"),
    scaled("dividend", "US dollars x 10^6 a share, ex on this day; NULL: not given", optional=True),
    scaled(
        "split_ratio",
        "New shares for an old one x 10^6; 1000000: no split; NULL: not given",
        optional=True,
    ),
    text("source", "Where from: demo, alpha_vantage, yahoo or files"),
    count("capture_id", "The capture that the row was read from"),
    moment("known_from", "UTC time from which we knew the row"),
)

prices_daily_history = history_of(prices_daily)

prices_corporate_actions = table(
    "prices_corporate_actions",
    "One row per symbol, day and kind of corporate action, as the prices of the day tell of it.",
    text("symbol", "As in prices_daily", key=True),
    day("trade_date", "First trading day after the action: the ex-date", key=True),
    text("kind", "dividend or split", key=True),
    scaled("dividend", "US dollars x 10^6 a share; NULL: a split", optional=True),
    scaled("split_ratio", "New shares for an old one x 10^6; NULL: a dividend", optional=True),
    text("source", "Where from, as in prices_daily"),
)

prices_returns = table(
    "prices_returns",
    "One row per symbol and trading day after its first: its return, and how restless it was.",
    text("symbol", "As in prices_daily", key=True),
    day("trade_date", "Trading day in New York", key=True),
    day("previous_date", "The trading day that the return begins with"),
    count("missing_count", "Sessions between the two that have no price"),
    flag("is_after_gap", "Whether there are any: the return is that of several sessions"),
    flag("is_adjusted", "Of adjusted_close (true), or of close, where that is not given"),
    ratio("simple_return", "Price / price before - 1"),
    ratio("log_return", "Natural logarithm of price / price before"),
    ratio(
        "volatility_20d",
        "Standard deviation of the log returns of 20 sessions, a day; NULL: one is missing",
        optional=True,
    ),
    ratio("volatility_60d", "The same of 60 sessions", optional=True),
)

prices_symbol_months = table(
    "prices_symbol_months",
    "One row per symbol and month that was asked for: how far it is landed, and what waits.",
    text("symbol", "As in prices_daily", key=True),
    day("month_start", "First day of the month", key=True),
    text("state", "landed, waiting (for source or quota), refused or unmapped"),
    text("reason", "Why it is not landed; NULL: it is", optional=True),
    day(
        "landed_through_date",
        "Last day of the month up to which the source was asked; NULL: none",
        optional=True,
    ),
    count("row_count", "Rows of prices_daily in the month"),
    text("source", "Where from, as in prices_daily"),
    moment("changed_at", "UTC time since which state and reason are these"),
    moment("resumes_at", "UTC time before which asking is in vain; NULL: none", optional=True),
    text("run_id", "Dagster run that looked last"),
)

_daily = prices_daily.c


def _in_decimals(name: str, what: str, *, optional: bool = False) -> ViewColumn:
    comment = f"{what} with 6 decimals, text on SQLite" + "; NULL: not given" * optional
    return ViewColumn(name, in_dollars(_daily[name]), comment, optional=optional)


v_prices_daily = view(
    "v_prices_daily",
    "One row per row of prices_daily, for reading: prices, dividends and ratios as decimals.",
    as_it_is(_daily.symbol),
    as_it_is(_daily.trade_date),
    *(_in_decimals(name, "US dollars") for name in PRICES),
    _in_decimals("adjusted_close", "US dollars", optional=True),
    as_it_is(_daily.volume),
    _in_decimals("dividend", "US dollars a share", optional=True),
    _in_decimals("split_ratio", "New shares for an old one", optional=True),
    as_it_is(_daily.source),
    as_it_is(_daily.capture_id),
    as_it_is(_daily.known_from),
)

_PRICE = (_daily.adjusted_close, _daily.close)

MADE_OF: dict[str, dict[str, tuple[Column[Any], ...]]] = {
    "prices_corporate_actions": {
        "symbol": (_daily.symbol,),
        "trade_date": (_daily.trade_date,),
        "kind": (_daily.dividend, _daily.split_ratio),
        "dividend": (_daily.dividend,),
        "split_ratio": (_daily.split_ratio,),
        "source": (_daily.source,),
    },
    "prices_returns": {
        "symbol": (_daily.symbol,),
        "trade_date": (_daily.trade_date,),
        "previous_date": (_daily.trade_date,),
        "missing_count": (_daily.trade_date,),
        "is_after_gap": (_daily.trade_date,),
        "is_adjusted": (_daily.adjusted_close,),
        "simple_return": _PRICE,
        "log_return": _PRICE,
        "volatility_20d": _PRICE,
        "volatility_60d": _PRICE,
    },
}
"""Of each derived table, the columns that each of its columns is made of."""
