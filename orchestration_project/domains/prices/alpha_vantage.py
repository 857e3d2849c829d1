"""Alpha Vantage's TIME_SERIES_DAILY and …_ADJUSTED: a member for each day, newest first."""

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
        names = _names(series)
        values = {
            name: [day.get(member) for day in series.values()] for name, member in names.items()
        }
        days = answer_of({"trade_date": list(series), **values}, symbol=symbol)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        refuse(body, EXPECTED, f"{type(error).__name__} at {error}")
    if body.count(b'"1. open"') != len(days):  # of two members of one name JSON keeps the last
        refuse(body, "each day once", "a day that stands there twice, or without prices")
    return days


def _names(series: dict[str, Any]) -> dict[str, str]:
    newest = next(iter(series.values()), {})
    return ADJUSTED if ADJUSTED["adjusted_close"] in newest else PLAIN
