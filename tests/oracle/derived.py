"""Derives tables by gold.sql from recomputed rows; SQLite is part of the standard library."""

import json
import math
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from tests.oracle.history import Folded
from tests.oracle.inputs import RECOMPUTATION, Row, columns_of, read_table

MICROS = 10**6
RULES = RECOMPUTATION.read_text()
FREQUENT_WORDS = set(re.findall(r"\w+", RULES.partition("but frequent ones: ")[2].split(".")[0]))
CLOSED = {year: days.split(", ") for year, days in map(dict.values, read_table(RULES, "| year |"))}


class Derived:
    """Tables that are derived from the folded ones."""

    def __init__(self, folded: Mapping[str, Folded]) -> None:
        self._connection = sqlite3.connect(":memory:")
        self._connection.execute("CREATE TABLE loads (table_name, partition_key, landed_at)")
        for name, table in folded.items():
            loads = [(name, *load) for load in table.loads.items()]
            self._connection.executemany("INSERT INTO loads VALUES (?, ?, ?)", loads)
            names = columns_of(name)
            self._connection.execute(f"CREATE TABLE {name} ({', '.join(names)})")
            insert = f"INSERT INTO {name} VALUES (:{', :'.join(names)})"  # noqa: S608
            for row in table.rows:
                numbers = (pair for pair in row.items() if isinstance(pair[1], Decimal))
                micros = {name: int(number * MICROS) for name, number in numbers}
                self._connection.execute(insert, row | micros)
        traded = {(row["week_start"], row["symbol"]) for row in folded["finra_otc_weekly"].rows}
        for name, finish in AGGREGATES.items():
            aggregate: Any = type(name, (Arguments,), {"value": finish, "finalize": finish})
            self._connection.create_window_function(name, -1, aggregate)
        for name, function in FUNCTIONS.items():
            self._connection.create_function(name, -1, function, deterministic=True)
        self._connection.create_function("spell", 2, partial(finra_symbol, traded))
        self._connection.executescript(Path(__file__).with_name("gold.sql").read_text())

    def rows(self, table: str, condition: str = "1") -> list[Row]:
        """Return the documented columns of a derived table; no row is stale."""
        kinds = [column["kind"] for column in columns_of(table).values()]
        names = ", ".join(columns_of(table)).replace("is_stale", "0 AS is_stale")
        rows = self._connection.execute(f"SELECT {names} FROM {table} WHERE {condition}")  # noqa: S608
        return [dict(zip(columns_of(table), map(loaded, row, kinds), strict=True)) for row in rows]


def loaded(value: Any, kind: str) -> Any:
    """Return a value of SQLite as its documented kind."""
    if value is None or kind not in ("decimal", "boolean"):
        return value
    return bool(value) if kind == "boolean" else Decimal(value) / MICROS


class Arguments(list):
    """The arguments of all rows of a group or window."""

    def step(self, *arguments: Any) -> None:
        self.append(arguments)

    def inverse(self, *arguments: Any) -> None:
        self.remove(arguments)


def concentration(rows: list[tuple]) -> str:
    """Return of members and shares: the largest, both indexes, parts of the largest 1, 3 and 5.

    De Minimis Firms, which are not named, are many tiny members, or one.
    """
    sizes, total = Counter(), sum(shares for _, shares in rows)
    for member, shares in rows:
        sizes[member] += shares
    rest = sizes.pop(None, 0)
    named = sorted(sizes, key=lambda member: (-sizes[member], str(member)))
    squares = sum(size**2 for size in sizes.values())
    indexes = [square / total**2 if total else None for square in (squares, squares + rest**2)]
    tops = [sum(sizes[member] for member in named[:count]) for count in (1, 3, 5)]
    parts = [top / total if named and total else None for top in tops]
    return json.dumps([named[0] if named else None, *indexes, *parts])


def deviation(rows: list[tuple]) -> float | None:
    """Return the sample standard deviation of numbers but so many last ones; NULL: of too few."""
    _, min_count, last_count = rows[0]
    used = rows[: len(rows) - last_count]
    numbers = [Fraction(number) for number, *_ in used if number is not None]
    if len(numbers) < min_count:
        return None
    mean = sum(numbers) / len(numbers)
    return math.sqrt(sum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1))


def week_value(days: list[tuple]) -> str:
    """Return price, value and factor of splits of a week's closes, volumes, splits and shares.

    The mean close as traded, by volume if there is any, and its value are rounded once, in 10^-6.
    """
    if any(splits is None for _, _, splits, _ in days):
        return json.dumps([None, None, None])
    ratios = [split.split(" ")[1] for split in days[0][2].split(", ") if split != "none"]
    factor = math.prod(map(Fraction, ratios), start=Fraction(1))
    weights = [volume for _, volume, *_ in days]
    weights = weights if any(weights) else [1] * len(days)
    total = sum(day[0] * weight for day, weight in zip(days, weights, strict=True))
    price = Fraction(total, sum(weights)) * factor
    return json.dumps([round(price), round(price * days[0][3] / MICROS), float(factor)])


AGGREGATES = {
    "strict_sum": lambda rows: None if (None,) in rows else sum(row[0] for row in rows),
    "concentration": concentration,
    "deviation": deviation,
    "week_value": week_value,
}
"""Aggregates of gold.sql that SQLite lacks, by name."""


def count_sessions(first: str | None, last: str | None) -> int | None:
    """Return the number of sessions of a range of days, both included."""
    if first is None or last is None:
        return None
    numbers = range(date.fromisoformat(first).toordinal(), date.fromisoformat(last).toordinal() + 1)
    days = [date.fromordinal(number) for number in numbers]
    return sum(day.weekday() < 5 and f"{day:%m-%d}" not in CLOSED[f"{day.year}"] for day in days)


def plain(name: str | None) -> str | None:
    """Return the words of a name, without regard to case; NULL: it has none."""
    return " ".join(re.findall(r"[^\W_]+", (name or "").casefold())) or None


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "later": lambda *times: max(filter(None, times), default=None),
    "ln": lambda ratio: ratio and math.log(ratio),
    "plain": plain,
    "has_common_word": lambda *names: bool(
        set.intersection(*(set(name.split()) for name in names)) - FREQUENT_WORDS
    ),
    "session_count": count_sessions,
}
"""Functions of gold.sql that SQLite lacks, by name."""


def finra_symbol(traded: set[tuple[str, str]], symbol: str, week: str) -> str:
    """Return a symbol of the SIP, such as BRK/B, as FINRA spells it, if that traded in the week."""
    dotted = symbol.replace("/", ".")
    preferred = re.sub("p([A-Z]?)$", r"$\1", dotted)
    spellings = (symbol, dotted, preferred, dotted.removesuffix("S"))
    return next((spelling for spelling in spellings if (week, spelling) in traded), symbol)
