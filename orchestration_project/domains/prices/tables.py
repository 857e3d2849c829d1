"""Prices by symbol and trading day, tables derived of them, and states of symbol months.

Prices, dividends and split ratios are exact: integers of 10^6 parts, decimals in the view.
"""

from typing import Any

from sqlalchemy import Column

from orchestration_project.domains.finra.tables import symbols as symbol_master
from orchestration_project.tables.schema import (
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
from orchestration_project.tables.views import ViewColumn, as_it_is, in_decimals, view

PRICES = ("open", "high", "low", "close")
"""Price columns that are required."""

NO_LATER_SPLITS = "none"
"""Text of `prices_daily.later_splits` where the source has applied none."""

prices_daily = table(
    "prices_daily",
    "One row per symbol and trading day: the source's latest prices and volume.",
    text("symbol", "Symbol in FINRA's spelling, exact to the byte", key=True),
    day("trade_date", "Trading day in New York", key=True),
    scaled("open", "First price, US dollars x 10^6"),
    scaled("high", "Highest price, US dollars x 10^6"),
    scaled("low", "Lowest price, US dollars x 10^6"),
    scaled("close", "Last price, US dollars x 10^6; adjusted for later_splits, not for dividends"),
    scaled(
        "adjusted_close",
        "Close adjusted for all later splits and dividends, US dollars x 10^6; NULL: not given",
        optional=True,
    ),
    quantity("volume", "Shares traded"),
    scaled(
        "dividend",
        "Dividend with this ex-date, US dollars x 10^6 per share; NULL: not given",
        optional=True,
    ),
    scaled(
        "split_ratio",
        "New shares per old share x 10^6; 1000000: no split; NULL: not given",
        optional=True,
    ),
    text(
        "later_splits",
        "Later splits for which the source adjusted prices and volume, e.g. 2026-10-14 4; "
        "none: as traded; NULL: unknown",
        optional=True,
    ),
    text("source", "Source: demo, alpha_vantage, yahoo or files"),
    count("capture_id", "Capture that the row was read from"),
    moment("known_from", "UTC time from which the row is valid (system time)"),
)

prices_daily_history = history_of(prices_daily)

prices_symbol_spellings = table(
    "prices_symbol_spellings",
    "One row per vendor and symbol of finra_symbols: how the vendor spells it.",
    text("vendor", "Vendor: alpha_vantage or yahoo", key=True),
    text("symbol", "Symbol in FINRA's spelling, exact to the byte", key=True),
    text("vendor_symbol", "Vendor's spelling; NULL: the vendor is not asked", optional=True),
    flag("is_override", "Whether PRICES_SYMBOLS_FILE has the spelling, not a rule"),
    text("reason", "Reason why the vendor is not asked; NULL: it is", optional=True),
)

prices_corporate_actions = table(
    "prices_corporate_actions",
    "One row per symbol, day and kind of corporate action, from the prices of the day.",
    text("symbol", "Symbol, as in prices_daily", key=True),
    day("trade_date", "First trading day after the action: the ex-date", key=True),
    text(
        "kind",
        "Kind of corporate action: dividend or split",
        values=("dividend", "split"),
        key=True,
    ),
    scaled("dividend", "Dividend, US dollars x 10^6 per share; NULL: a split", optional=True),
    scaled("split_ratio", "New shares per old share x 10^6; NULL: a dividend", optional=True),
    text("source", "Source, as in prices_daily"),
    moment("known_from", "UTC time of the load of the day's prices", optional=True),
)

prices_returns = table(
    "prices_returns",
    "One row per symbol and trading day after its first: return and volatility.",
    text("symbol", "Symbol, as in prices_daily", key=True),
    day("trade_date", "Trading day in New York", key=True),
    day("previous_date", "Trading day at which the return starts"),
    count("missing_count", "Sessions without a price between the two days"),
    flag("is_after_gap", "Whether missing_count is above 0: the return spans several sessions"),
    flag("is_adjusted", "Whether the return is of adjusted_close; false: of close"),
    ratio("simple_return", "Price / previous price - 1"),
    ratio("log_return", "Natural logarithm of price / previous price"),
    ratio(
        "volatility_20d",
        "Standard deviation of daily log returns of 20 sessions; NULL: one is missing",
        optional=True,
    ),
    ratio(
        "volatility_60d",
        "Standard deviation of daily log returns of 60 sessions; NULL: one is missing",
        optional=True,
    ),
    moment(
        "known_from", "UTC time of the latest load of the 61 prices up to the day", optional=True
    ),
)

prices_symbol_months = table(
    "prices_symbol_months",
    "One row per requested symbol and month: state of its load.",
    text("symbol", "Symbol, as in prices_daily", key=True),
    day("month_start", "First day of the month", key=True),
    text(
        "state",
        "State: landed, waiting (for source or quota), refused or unmapped",
        values=("landed", "waiting", "refused", "unmapped"),
    ),
    text("reason", "Reason why it is not loaded; NULL: it is loaded", optional=True),
    day(
        "landed_through_date",
        "Last day of the month for which the source was asked; NULL: none",
        optional=True,
    ),
    count("row_count", "Rows of prices_daily in the month"),
    text("source", "Source, as in prices_daily"),
    moment("changed_at", "UTC time of the latest change of state or reason"),
    moment("resumes_at", "UTC time before which no request is sent; NULL: none", optional=True),
    text("run_id", "Dagster run of the latest evaluation"),
)

_daily = prices_daily.c


def _declare_decimals(name: str, what: str, *, optional: bool = False) -> ViewColumn:
    missing_text = "; NULL: not given" if optional else ""
    comment = f"{what} with 6 decimals, text on SQLite{missing_text}"
    return ViewColumn(name, in_decimals(_daily[name]), comment, optional=optional)


v_prices_daily = view(
    "v_prices_daily",
    "One row per row of prices_daily, with prices, dividends and ratios as decimals.",
    as_it_is(_daily.symbol),
    as_it_is(_daily.trade_date),
    *(_declare_decimals(name, "US dollars") for name in PRICES),
    _declare_decimals("adjusted_close", "US dollars", optional=True),
    _declare_decimals("volume", "Shares traded,"),
    _declare_decimals("dividend", "US dollars per share", optional=True),
    _declare_decimals("split_ratio", "New shares per old share", optional=True),
    as_it_is(_daily.later_splits),
    as_it_is(_daily.source),
    as_it_is(_daily.capture_id),
    as_it_is(_daily.known_from),
)

_PRICE = (_daily.adjusted_close, _daily.close)

MADE_OF: dict[str, dict[str, tuple[Column[Any], ...]]] = {
    "prices_symbol_spellings": {
        column.name: (symbol_master.finra_symbols.c.symbol,)
        for column in prices_symbol_spellings.columns
    },
    "prices_corporate_actions": {
        "symbol": (_daily.symbol,),
        "trade_date": (_daily.trade_date,),
        "kind": (_daily.dividend, _daily.split_ratio),
        "dividend": (_daily.dividend,),
        "split_ratio": (_daily.split_ratio,),
        "source": (_daily.source,),
        "known_from": (_daily.known_from,),
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
        "known_from": (_daily.known_from,),
    },
}
"""Source columns of each column, by derived table."""
