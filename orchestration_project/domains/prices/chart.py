"""Yahoo's chart: an array for each value beside timestamps of the sessions, and events."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import polars as pl

from orchestration_project.domains.prices.days import answer_of, json_of, refuse

EXPECTED = '{"chart": {"result": [{"meta": …, "timestamp": […], "indicators": …}], "error": null}}'
PRICES = ("open", "high", "low", "close", "volume")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_DIVIDEND, NO_SPLIT = "0", "1"


def read_chart(body: bytes) -> pl.DataFrame:
    """Return the days of an answer; one with an event and no prices is a day too.

    A timestamp is a moment of the session, mostly its opening. The offset from UTC is that of the
    exchange now, so half of the year an hour off: no session begins or ends so near to midnight.

    Raises:
        SourceError: It holds none, or arrays of unequal length.
    """
    content = json_of(body)
    try:
        if content["chart"].get("error"):
            refuse(body, EXPECTED, "an error of the vendor's")
        (result,) = content["chart"]["result"]
        meta = result["meta"]
        offset = timedelta(seconds=int(meta["gmtoffset"]))
        dates = [_date(each, offset) for each in result.get("timestamp") or []]
        values = _values(result["indicators"], len(dates))
        events = result.get("events") or {}
        dividends = _dividends(events, offset)
        splits = _splits(events, offset)
        without_prices = sorted((dividends.keys() | splits.keys()).difference(dates))
        everything = dates + without_prices
        return answer_of(
            {
                "trade_date": everything,
                **{name: [*each, *[None] * len(without_prices)] for name, each in values.items()},
                "dividend": [dividends.get(day, NO_DIVIDEND) for day in everything],
                "split_ratio": [splits.get(day, NO_SPLIT) for day in everything],
            },
            symbol=meta["symbol"],
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
        refuse(body, EXPECTED, f"{type(error).__name__}: {error}")
    except (InvalidOperation, ZeroDivisionError) as error:
        refuse(body, "events with numbers", type(error).__name__)


def _values(indicators: Any, length: int) -> Mapping[str, Sequence[str | None]]:
    """Return the arrays, each as long as there are timestamps."""
    (quote,) = indicators["quote"]
    values = {name: quote.get(name, [] if not length else None) for name in PRICES}
    adjusted = indicators.get("adjclose")
    values["adjusted_close"] = [None] * length if not adjusted else adjusted[0].get("adjclose", [])
    for name, array in values.items():
        if len(array) != length:
            raise ValueError(f"{length} timestamps, and {len(array)} values of {name}")
    return values


def _date(timestamp: str, offset: timedelta) -> str:
    return (EPOCH + timedelta(seconds=int(timestamp)) + offset).date().isoformat()


def _dividends(events: Any, offset: timedelta) -> Mapping[str, str]:
    """Return the dollars of each day; of two on a day, a usual and a special dividend, both."""
    found: dict[str, Decimal] = {}
    for each in events.get("dividends", {}).values():
        day = _date(each["date"], offset)
        found[day] = found.get(day, Decimal(0)) + Decimal(each["amount"])
    return {day: str(amount) for day, amount in found.items()}


def _splits(events: Any, offset: timedelta) -> Mapping[str, str]:
    """Return the new shares for each old one, of each day with a split."""
    splits = [
        (_date(each["date"], offset), Decimal(each["numerator"]) / Decimal(each["denominator"]))
        for each in events.get("splits", {}).values()
    ]
    found = {day: str(ratio) for day, ratio in splits}
    if len(found) != len(splits):
        raise ValueError("two splits on one day")
    return found
