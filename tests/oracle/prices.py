"""Recomputes daily prices from a vendor's chart, corporate actions, returns and values."""

import json
import math
import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from tests.oracle.archive import Delivery, Row
from tests.oracle.gold import group
from tests.oracle.lines import MICROS, show_units
from tests.oracle.trading_days import sessions

KEY = ("symbol", "trade_date")
PRICES = ("open", "high", "low", "close")


def parse_delivery(delivery: Delivery) -> dict[tuple, Row]:
    """Return the days of the delivery's scope from Yahoo's chart."""
    scope = json.loads(delivery.scope)["trade_date"]
    rows = {}
    for capture in delivery.captures:
        [chart] = json.loads(capture.content)["chart"]["result"]
        quotes, offset = chart["indicators"]["quote"][0], chart["meta"]["gmtoffset"]
        adjusted = chart["indicators"]["adjclose"][0]["adjclose"]
        events = chart.get("events", {})
        dividends = {
            day_of(event["date"], offset): price(event["amount"])
            for event in events.get("dividends", {}).values()
        }
        splits = {
            day_of(event["date"], offset): Fraction(event["numerator"])
            / Fraction(event["denominator"])
            for event in events.get("splits", {}).values()
        }
        for index, moment in enumerate(chart["timestamp"]):
            day = day_of(moment, offset)
            if not scope["first"] <= day <= scope["last"]:
                continue
            later = [
                f"{split} {show_ratio(splits[split])}" for split in sorted(splits) if split > day
            ]
            rows[delivery.partition_key, day] = {
                "symbol": delivery.partition_key,
                "trade_date": day,
                **{name: price(quotes[name][index]) for name in PRICES},
                "adjusted_close": price(adjusted[index]),
                "volume": show_units(quotes["volume"][index] * MICROS),
                "dividend": dividends.get(day, 0),
                "split_ratio": int(splits.get(day, 1) * MICROS),
                "later_splits": ", ".join(later) or "none",
                "source": delivery.source,
                "capture_id": capture.capture_id,
            }
    return rows


def day_of(moment: int, offset: int) -> str:
    """Return the day in New York of an epoch with the exchange's offset."""
    return datetime.fromtimestamp(moment + offset, UTC).date().isoformat()


def show_ratio(value: Fraction) -> str:
    """Return a ratio without needless decimals."""
    return f"{float(value):g}"


def price(value: float) -> int:
    """Return a price x 10^6: a 32-bit fraction is the shortest equal decimal, then rounded."""
    decimal = Decimal(repr(value))
    if struct.unpack("f", struct.pack("f", value))[0] == value:
        texts = (f"{value:.{digits}g}" for digits in range(1, 10))
        decimal = Decimal(next(text for text in texts if is_same_fraction(text, value)))
    return int((decimal * MICROS).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def is_same_fraction(text: str, value: float) -> bool:
    """Return whether a decimal is read as the same 32-bit fraction."""
    return struct.pack("f", float(text)) == struct.pack("f", value)


def corporate_actions(prices: Sequence[Row]) -> list[Row]:
    """Return `prices_corporate_actions`."""
    actions = []
    for row in prices:
        kinds = [
            ("dividend", "dividend", row["dividend"] or 0),
            ("split", "split_ratio", row["split_ratio"] if row["split_ratio"] != MICROS else 0),
        ]
        for kind, column, value in kinds:
            if value:
                values = {"dividend": None, "split_ratio": None} | {column: value}
                names = ("symbol", "trade_date", "source", "known_from")
                actions.append({name: row[name] for name in names} | {"kind": kind} | values)
    return actions


def returns(prices: Sequence[Row]) -> list[Row]:
    """Return `prices_returns`: of adjusted closes if both days have one, else of closes."""
    derived = []
    for symbol, unordered in group(prices, lambda row: row["symbol"]).items():
        rows = sorted(unordered, key=lambda row: row["trade_date"])
        daily: list[float | None] = [None]
        for index in range(1, len(rows)):
            row, previous = rows[index], rows[index - 1]
            is_adjusted = None not in (row["adjusted_close"], previous["adjusted_close"])
            name = "adjusted_close" if is_adjusted else "close"
            quotient = Fraction(row[name], previous[name])
            first, last = (date.fromisoformat(day["trade_date"]) for day in (previous, row))
            missing = len(sessions(first + timedelta(days=1), last - timedelta(days=1)))
            log_return = math.log(quotient)
            daily.append(None if missing else log_return)
            derived.append(
                {
                    "symbol": symbol,
                    "trade_date": row["trade_date"],
                    "previous_date": previous["trade_date"],
                    "missing_count": missing,
                    "is_after_gap": missing > 0,
                    "is_adjusted": is_adjusted,
                    "simple_return": float(quotient - 1),
                    "log_return": log_return,
                    "volatility_20d": volatility(daily, 20),
                    "volatility_60d": volatility(daily, 60),
                    "known_from": max(
                        row["known_from"] for row in rows[max(0, index - 60) : index + 1]
                    ),
                }
            )
    return derived


def volatility(daily: Sequence[float | None], count: int) -> float | None:
    """Return the sample standard deviation of the latest returns; NULL: one is missing."""
    window = [value for value in daily[-count:] if value is not None]
    if len(window) < count:
        return None
    mean = math.fsum(window) / count
    return math.sqrt(math.fsum((value - mean) ** 2 for value in window) / (count - 1))


def read_splits(text: str) -> Fraction:
    """Return by how much all splits of `later_splits` multiplied the shares."""
    factor = Fraction(1)
    for split in text.split(", "):
        if split != "none":
            factor *= Fraction(split.split(" ")[1])
    return factor
