"""Alpha Vantage's TIME_SERIES_DAILY and …_ADJUSTED: a member for each day, newest first."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import polars as pl

from orchestration_project.domains.prices.days import answer_of, json_of, refuse
from orchestration_project.domains.prices.refusals import SERIES, refusal_of

PLAIN = {
    "open": "1. open",
    "high": "2. high",
    "low": "3. low",
    "close": "4. close",
    "volume": "5. volume",
}
ADJUSTED = PLAIN | {
    "adjusted_close": "5. adjusted close",
    "volume": "6. volume",
    "dividend": "7. dividend amount",
    "split_ratio": "8. split coefficient",
}

EXPECTED = f'{{"Meta Data": …, "{SERIES}": {{"YYYY-MM-DD": {{"1. open": "…", …}}}}}}'


def read_series(body: bytes) -> pl.DataFrame:
    """Return the days of an answer.

    Raises:
        SourceError: It holds none, or says two things of a day.
    """
    if refused := refusal_of(body):
        refuse(body, EXPECTED, refused.kind.replace("_", " "))
    content = json_of(body)
    try:
        symbol, series = content["Meta Data"]["2. Symbol"], content[SERIES]
        days = answer_of({"trade_date": list(series), **_values(series)}, symbol=symbol)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        refuse(body, EXPECTED, f"{type(error).__name__} at {error}")
    if body.count(b'"1. open"') != len(days):  # of two members of one name JSON keeps the last
        refuse(body, "each day once", "a day that stands there twice, or without prices")
    return days


def _values(series: Mapping[str, Any]) -> Mapping[str, Sequence[Any]]:
    """Return the values of all days, by our names."""
    newest = next(iter(series.values()), {})
    names = ADJUSTED if ADJUSTED["adjusted_close"] in newest else PLAIN
    try:  # three times as fast as one by one
        columns = list(zip(*map(itemgetter(*names.values()), series.values()), strict=True))
    except KeyError:  # a day lacks a value
        return {
            name: [day.get(member) for day in series.values()] for name, member in names.items()
        }
    return dict(zip(names, columns or [()] * len(names), strict=True))
