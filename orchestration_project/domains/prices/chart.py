"""Yahoo's chart: an array for each value beside timestamps of the sessions, and events."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

import polars as pl

from orchestration_project.domains.prices.days import answer_of, json_of, refuse

EXPECTED = '{"chart": {"result": [{"meta": …, "timestamp": […], "indicators": …}], "error": null}}'
PRICES = ("open", "high", "low", "close", "volume")
SECONDS_A_DAY = 24 * 60 * 60
NUMBER = re.compile(r"-?[0-9]{1,12}", re.ASCII)
EPOCH = date(1970, 1, 1).toordinal()
CURRENCY = "USD"
NO_DIVIDEND, NO_SPLIT = "0", "1"


def read_chart(body: bytes, filtered: Counter[str] | None = None) -> pl.DataFrame:
    """Return the days of an answer; one after them with an event and no prices is a day too.

    Records without a day of their own are added to ``filtered``: events of a day with prices,
    events of another kind, and the earlier of two bars of the latest day.

    A timestamp is a moment of the session, mostly its opening. The offset from UTC is that of the
    exchange now, so half of the year an hour off: no session begins or ends so near to midnight.

    Raises:
        SourceError: It holds none, or arrays of unequal length, or prices in another currency.
    """
    content = json_of(body)
    try:
        if content["chart"].get("error"):
            refuse(body, EXPECTED, "an error of the vendor's")
        (result,) = content["chart"]["result"]
        meta = result["meta"]
        if meta.get("currency") not in (None, CURRENCY):
            refuse(body, f"prices in {CURRENCY}", f"prices in {meta['currency']}")
        offset = int(meta["gmtoffset"])
        dates = _read_dates(result.get("timestamp") or [], offset)
        bar_count = len(dates)
        dates, values = _keep_last_bar(dates, _read_values(result["indicators"], bar_count))
        events = result.get("events") or {}
        in_effect = _map_effective_days(dates, values)
        dividends = _read_dividends(events, offset, in_effect)
        splits = _read_splits(events, offset, in_effect)
        without_prices = sorted((dividends.keys() | splits.keys()).difference(dates))
        everything = [*dates, *without_prices]
        if filtered is not None:
            counts = {name: len(events[name]) for name in events}
            number = counts.pop("dividends", 0) + counts.pop("splits", 0)
            filtered["events_of_days"] += number - len(without_prices)
            filtered["other_events"] += sum(counts.values())
            filtered["earlier_bars"] += bar_count - len(dates)
        return answer_of(
            {
                "trade_date": everything,
                **{name: [*value, *[None] * len(without_prices)] for name, value in values.items()},
                "dividend": [dividends.get(day, NO_DIVIDEND) for day in everything],
                "split_ratio": [splits.get(day, NO_SPLIT) for day in everything],
            },
            symbol=meta["symbol"],
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
        refuse(body, EXPECTED, f"{type(error).__name__}: {error}")
    except ArithmeticError as error:
        refuse(body, "events with numbers", type(error).__name__)


def _read_values(indicators: Any, length: int) -> Mapping[str, Sequence[str | None]]:
    """Return the arrays, each as long as there are timestamps."""
    (quote,) = indicators["quote"]
    values = {name: quote.get(name, [] if not length else None) for name in PRICES}
    adjusted = indicators.get("adjclose")
    values["adjusted_close"] = [None] * length if not adjusted else adjusted[0].get("adjclose", [])
    for name, array in values.items():
        if len(array) != length:
            raise ValueError(f"{length} timestamps, and {len(array)} values of {name}")
    return values


def _keep_last_bar(
    dates: Sequence[str], values: Mapping[str, Sequence[str | None]]
) -> tuple[Sequence[str], Mapping[str, Sequence[str | None]]]:
    """Leave out the first of two bars of the latest day, of which the last is what Yahoo shows."""
    if len(dates) < 2 or dates[-1] != dates[-2]:
        return dates, values
    return [*dates[:-2], dates[-1]], {
        name: [*value[:-2], value[-1]] for name, value in values.items()
    }


def _read_dates(timestamps: Sequence[str], offset: int) -> list[str]:
    """Return the day of each timestamp, in the zone that is ``offset`` seconds ahead of UTC."""
    return [_read_date(timestamp, offset) for timestamp in timestamps]


@lru_cache(maxsize=20_000)
def _read_date(timestamp: str, offset: int) -> str:
    """Return a day; all symbols of an exchange have the same timestamps."""
    if not NUMBER.fullmatch(timestamp):
        raise ValueError("a timestamp that is not a time")
    day = EPOCH + (int(timestamp) + offset) // SECONDS_A_DAY
    return date.fromordinal(day).isoformat()


def _map_effective_days(
    dates: Sequence[str], values: Mapping[str, Sequence[str | None]]
) -> Callable[[str], str]:
    """Return a function from an event to its effective day: the next one with prices.

    Without a trade on its own day, only later prices are those after it. An event before the
    chart's first day, or after its last price, keeps its day.
    """
    every = zip(dates, *(values[name] for name in PRICES), strict=True)
    priced = sorted(day for day, *prices in every if None not in prices)

    def day_of(event: str) -> str:
        position = bisect_left(priced, event)
        return priced[position] if position < len(priced) and min(dates) <= event else event

    return day_of


def _read_dividends(events: Any, offset: int, in_effect: Callable[[str], str]) -> Mapping[str, str]:
    """Return the dollars of each day; of two on a day, a usual and a special dividend, both."""
    paid = list(events.get("dividends", {}).values())
    counts: dict[str, Decimal] = {}
    for item, day in zip(paid, _read_dates([value["date"] for value in paid], offset), strict=True):
        at = in_effect(day)
        counts[at] = counts.get(at, Decimal(0)) + Decimal(item["amount"])
    return {day: str(amount) for day, amount in counts.items()}


def _read_splits(events: Any, offset: int, in_effect: Callable[[str], str]) -> Mapping[str, str]:
    """Return the new shares for each old one to six places, of each day with a split."""
    splits = list(events.get("splits", {}).values())
    days = _read_dates([split["date"] for split in splits], offset)
    if len(set(days)) != len(days):
        raise ValueError("two splits on one day")
    counts: dict[str, Decimal] = {}
    for split, day in zip(splits, days, strict=True):
        ratio = Decimal(split["numerator"]) / Decimal(split["denominator"])
        counts[in_effect(day)] = counts.get(in_effect(day), Decimal(1)) * ratio
    return {day: str(round(ratio, 6)) for day, ratio in counts.items()}
