"""Prices as sources write them, and rows of `prices_daily`, as tests need them."""

from datetime import date, timedelta
from typing import Any

import polars as pl

from orchestration_project.domains.prices.contract import ONE
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.values import derive_schema

HEADER = "date,open,high,low,close,adjusted_close,volume,dividend,split_ratio"
MONDAY = date(2026, 2, 2)


def csv(*days: str) -> bytes:
    """Return a file of prices with these lines."""
    return "\n".join([HEADER, *days, ""]).encode()


def part(*days: str) -> Part:
    """Return the same as the one part of a delivery."""
    return Part(1, csv(*days))


def line(day: date, close: float | str = 10, **changed: object) -> str:
    """Return the line of a day on which the price stayed at ``close``."""
    values: dict[str, object] = {
        "date": day,
        **dict.fromkeys(("open", "high", "low", "close", "adjusted_close"), close),
        "volume": 1000,
        "dividend": 0,
        "split_ratio": 1,
    }
    return ",".join(str(value) for value in (values | changed).values())


def row(day: date, close: float = 10, **changed: Any) -> dict[str, Any]:
    """Return a row of `prices_daily` without bookkeeping."""
    scaled = round(close * ONE)
    return {
        "symbol": "AAA",
        "trade_date": day,
        **dict.fromkeys(("open", "high", "low", "close", "adjusted_close"), scaled),
        "volume": 1000,
        "dividend": 0,
        "split_ratio": ONE,
        "later_splits": "none",
        "source": "files",
        **changed,
    }


def rows(*days: dict[str, Any]) -> pl.DataFrame:
    """Return them as a frame."""
    names = [
        name for name in derive_schema(prices_daily) if name not in ("capture_id", "known_from")
    ]
    return pl.DataFrame(days, derive_schema(prices_daily, names))


def week(start: date = MONDAY, count: int = 5) -> list[date]:
    """Return days that follow each other."""
    return [start + timedelta(days=number) for number in range(count)]
