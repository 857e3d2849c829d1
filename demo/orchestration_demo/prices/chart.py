"""A symbol's days as Yahoo's chart has them: arrays of binary fractions, adjusted for splits."""

import json
from typing import Any

import numpy as np

from orchestration_demo.prices.answer import PriceAnswer
from orchestration_demo.prices.book import UNITS
from orchestration_demo.prices.sessions import opening_seconds

_EASTERN_SECONDS = -18_000


def chart(symbol: str, answer: PriceAnswer, *, empty_day: int | None) -> bytes:
    """Return the body of an answer; ``empty_day`` is the position of a day that has only nulls."""
    days, history = answer.days, answer.history
    splits = answer.later_splits[days]
    quote = {
        name: _as_floats(getattr(history, name)[days] / splits / UNITS)
        for name in ("open", "high", "low", "close")
    }
    quote["volume"] = (history.volume[days] * splits).astype(np.int64).tolist()
    adjusted = _as_floats(history.close[days] / splits / UNITS * answer.adjustment[days])
    if empty_day is not None and answer.first <= empty_day < answer.last:
        for values in (*quote.values(), adjusted):
            values[empty_day - answer.first] = None
    result = {
        "meta": _meta(symbol, answer),
        "timestamp": opening_seconds()[days].tolist(),
        **_events(answer),
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": adjusted}]},
    }
    return json.dumps({"chart": {"result": [result], "error": None}}).encode()


def no_chart(code: str, description: str) -> bytes:
    """Return the body of an answer without days."""
    error = {"code": code, "description": description}
    return json.dumps({"chart": {"result": None, "error": error}}).encode()


def _as_floats(values: np.ndarray) -> list[Any]:
    """Return ``values`` in single precision, and then all digits of it: as Yahoo does."""
    return values.astype(np.float32).astype(float).tolist()


def _meta(symbol: str, answer: PriceAnswer) -> dict[str, object]:
    return {
        "currency": "USD",
        "symbol": symbol,
        "exchangeName": "DEMO",
        "fullExchangeName": "Made-up data",
        "instrumentType": "EQUITY",
        "regularMarketTime": int(opening_seconds()[answer.last - 1]),
        "gmtoffset": _EASTERN_SECONDS,
        "timezone": "EST",
        "exchangeTimezoneName": "America/New_York",
        "dataGranularity": "1d",
        "range": "",
    }


def _events(answer: PriceAnswer) -> dict[str, object]:
    """Return what was paid and split, under the second at which the session opened."""
    history, seconds = answer.history, opening_seconds()
    paid = np.flatnonzero(history.dividend[answer.days]) + answer.first
    split = np.flatnonzero(history.split[answer.days] > 1) + answer.first
    dividends = {
        str(seconds[day]): {
            "amount": round(float(history.dividend[day] / answer.later_splits[day] / UNITS), 6),
            "date": int(seconds[day]),
        }
        for day in paid
    }
    splits = {
        str(seconds[day]): {
            "date": int(seconds[day]),
            "numerator": float(history.split[day]),
            "denominator": 1.0,
            "splitRatio": f"{history.split[day]}:1",
        }
        for day in split
    }
    found = {"dividends": dividends, "splits": splits}
    events = {name: each for name, each in found.items() if each}
    return {"events": events} if events else {}
