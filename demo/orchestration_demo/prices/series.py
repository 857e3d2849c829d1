"""A symbol's days as Alpha Vantage writes them: a member for each, newest first, as text."""

import json

import numpy as np
import polars as pl

from orchestration_demo.prices.answer import PriceAnswer
from orchestration_demo.prices.sessions import sessions

_PRICES = '"{}": {{"1. open": "{}", "2. high": "{}", "3. low": "{}", "4. close": "{}", '
_PLAIN = _PRICES + '"5. volume": "{}"}}'
_ADJUSTED = (
    _PRICES + '"5. adjusted close": "{}", "6. volume": "{}", "7. dividend amount": "{}", '
    '"8. split coefficient": "{}.0"}}'
)
_PLACES, _ADJUSTED_PLACES = 4, 12


def series(
    symbol: str, answer: PriceAnswer, *, is_adjusted: bool, size: str, without: int | None
) -> bytes:
    """Return the body of an answer; ``without`` is the position of a day that is left out."""
    days, history = answer.days, answer.history
    day = pl.Series(sessions()[days]).cast(pl.String)
    prices = [
        _decimal(each[days], _PLACES)
        for each in (history.open, history.high, history.low, history.close)
    ]
    volume = pl.Series(history.volume[days])
    if is_adjusted:
        more = 10 ** (_ADJUSTED_PLACES - _PLACES)
        exact = history.close[days] / answer.later_splits[days] * answer.adjustment[days] * more
        adjusted = _decimal(np.rint(exact).astype(np.int64), _ADJUSTED_PLACES)
        adjusted = adjusted.str.replace(f"0{{1,{_ADJUSTED_PLACES - _PLACES}}}$", "")
        dividend = _decimal(history.dividend[days], _PLACES)
        columns = [day, *prices, adjusted, volume, dividend, pl.Series(history.split[days])]
    else:
        columns = [day, *prices, volume]
    lines = pl.select(pl.format(_ADJUSTED if is_adjusted else _PLAIN, *columns)).to_series()
    if without is not None and answer.first <= without < answer.last:
        lines = pl.concat([lines[: without - answer.first], lines[without - answer.first + 1 :]])
    meta = {
        "1. Information": "Daily Prices and Volumes (synthetic data)",
        "2. Symbol": symbol,
        "3. Last Refreshed": day[-1],
        "4. Output Size": size,
        "5. Time Zone": "US/Eastern",
    }
    body = ", ".join(lines.reverse())
    return f'{{"Meta Data": {json.dumps(meta)}, "Time Series (Daily)": {{{body}}}}}'.encode()


def _decimal(units: np.ndarray, places: int) -> pl.Series:
    """Return whole ``units`` of which 10 to ``places`` are a dollar, as decimals."""
    number = pl.Series(units)
    whole = (number // 10**places).cast(pl.String)
    return whole + "." + (number % 10**places).cast(pl.String).str.zfill(places)
