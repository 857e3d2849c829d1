"""Answers of vendors of prices: read by source, and recognised as refusals."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

import polars as pl

from orchestration_project.domains.prices.chart import read_chart
from orchestration_project.domains.prices.days import VALUES, answer_of, json_of, refuse
from orchestration_project.domains.prices.tabular import PARQUET, read_csv, read_parquet
from orchestration_project.engine.contracts.parts import Part

SERIES = "Time Series (Daily)"

Kind = Literal["rate", "quota", "key", "premium", "unknown_symbol", "empty", "no_json", "other"]
"""Meaning of a refusal: rate limit, daily quota, invalid key, other plan, unknown symbol, empty
response, not JSON such as a web page, or unknown."""


@dataclass(frozen=True)
class VendorRefusal:
    """Reason for missing prices, and the vendor's text, which may quote the key."""

    kind: Kind
    said: str


_MARKS: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile("sparingly|per second|per minute|call frequency", re.IGNORECASE), "rate"),
    (re.compile("requests per day|daily rate limit", re.IGNORECASE), "quota"),
    (re.compile("apikey is invalid or missing|demo.{0,6} API key", re.IGNORECASE), "key"),
    (re.compile("premium (?:endpoint|feature)", re.IGNORECASE), "premium"),
    (re.compile("invalid API call", re.IGNORECASE), "unknown_symbol"),
)

_MEMBERS = ("Note", "Information", "Error Message")


def refusal_of(body: bytes) -> VendorRefusal | None:
    """Return why ``body`` holds no prices; None where it seems to hold some."""
    if f'"{SERIES}"'.encode() in body:
        return None
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return VendorRefusal("no_json", _decode_body(body))
    if not document:
        return VendorRefusal("empty", _decode_body(body))
    for member in _MEMBERS:
        if isinstance(document, dict) and isinstance(text := document.get(member), str):
            return VendorRefusal(_classify_text(text), text)
    return VendorRefusal("other", _decode_body(body))


def _classify_text(text: str) -> Kind:
    for mark, kind in _MARKS:
        if mark.search(text):
            return kind
    return "other"


def _decode_body(body: bytes) -> str:
    return body.decode("utf-8", "backslashreplace")


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
        days = answer_of({"trade_date": list(series), **_read_values(series)}, symbol=symbol)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        refuse(body, EXPECTED, f"{type(error).__name__} at {error}")
    if body.count(b'"1. open"') != len(days):  # of two members of one name JSON keeps the last
        refuse(body, "each day once", "a day that stands there twice, or without prices")
    return days


def _read_values(series: Mapping[str, Any]) -> Mapping[str, Sequence[Any]]:
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


CHART = b'"chart"'


def read_answer(source: str, part: Part, filtered: Counter[str] | None = None) -> pl.DataFrame:
    """Return one row for each day that the answer speaks of, by `ANSWER_SCHEMA`, in its order.

    A ``split_ratio`` is new shares for each old one, "1" without a split; a ``dividend`` is dollars
    a share, "0" without one. Of a chart, whose numbers are binary fractions (189.83999633789062),
    the digits are those that stand there; what digits beyond a price's scale mean, `exact` knows.
    Records of a chart without a row of their own are added to ``filtered``, by the filter's name.

    Raises:
        SourceError: It is another answer: a refusal, a web page, broken or contradictory.
    """
    body = part.body
    is_adjusted: bool | None = None
    if source == "files":
        days = read_parquet(body) if body.startswith(PARQUET) else read_csv(body)
    else:  # the demo speaks as either vendor
        is_adjusted = CHART in body[:200]
        days = read_chart(body, filtered) if is_adjusted else read_series(body)
    part_numbers = pl.Series("part_number", [part.part_number] * len(days), pl.Int64)
    adjusted = pl.Series("is_split_adjusted", [is_adjusted] * len(days), pl.Boolean)
    return days.insert_column(0, part_numbers).with_columns(adjusted)


def with_records(rejects: pl.DataFrame) -> pl.DataFrame:
    """Add ``byte_offset`` (0: days are not lines) and ``record``, the day as JSON, to some rows."""
    record = pl.struct("symbol", *VALUES).struct.json_encode()
    return rejects.with_columns(byte_offset=pl.lit(0, pl.Int64), record=record)
