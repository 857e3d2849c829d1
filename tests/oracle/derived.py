"""Derives tables by gold.sql from recomputed rows; SQLite is part of the standard library."""

import math
import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.oracle.archive import Row
from tests.oracle.documented import columns_of
from tests.oracle.history import Folded
from tests.oracle.trading_days import count_sessions

MICROS = 10**6
FREQUENT_WORDS = {"common", "company", "corp", "corporation", "fund", "holdings", "inc", "ltd"}
FREQUENT_WORDS |= {"ordinary", "plc", "shares", "stock", "the", "trust"}


class Derived:
    """Tables that are derived from the folded ones."""

    def __init__(self, folded: Mapping[str, Folded]) -> None:
        self._connection = sqlite3.connect(":memory:")
        self._connection.execute("CREATE TABLE loads (table_name, partition_key, landed_at)")
        for name, table in folded.items():
            loads = [(name, *load) for load in table.loads.items()]
            self._connection.executemany("INSERT INTO loads VALUES (?, ?, ?)", loads)
            names = [column.name for column in columns_of(name)]
            self._connection.execute(f"CREATE TABLE {name} ({', '.join(names)})")
            insert = f"INSERT INTO {name} VALUES (:{', :'.join(names)})"  # noqa: S608
            rows = ({name: stored(row[name]) for name in names} for row in table.rows)
            self._connection.executemany(insert, rows)
        define_functions(self._connection, folded["finra_otc_weekly"].rows)
        self._connection.executescript(Path(__file__).with_name("gold.sql").read_text())

    def rows(self, table: str, condition: str = "1") -> list[Row]:
        """Return the documented columns of a derived table."""
        columns = columns_of(table)
        names = ", ".join(column.name for column in columns)
        cursor = self._connection.execute(f"SELECT {names} FROM {table} WHERE {condition}")  # noqa: S608
        return [
            {
                column.name: loaded(value, column.kind)
                for column, value in zip(columns, values, strict=True)
            }
            for values in cursor
        ]


def stored(value: Any) -> Any:
    """Return a value for SQLite: decimals are whole numbers of 10^-6."""
    return int(value * MICROS) if isinstance(value, Decimal) else value


def loaded(value: Any, kind: str) -> Any:
    """Return a value of SQLite as its documented kind."""
    if value is None:
        return None
    if kind == "decimal":
        return Decimal(value) / MICROS
    return bool(value) if kind == "boolean" else value


def define_functions(connection: sqlite3.Connection, weekly: Sequence[Row]) -> None:
    """Define the functions of gold.sql that SQLite lacks."""
    traded = {(row["week_start"], row["symbol"]) for row in weekly}
    functions: dict[str, tuple[int, Callable[..., Any]]] = {
        "later": (-1, lambda *times: max(filter(None, times), default=None)),
        "ln": (1, lambda ratio: ratio and math.log(ratio)),
        "plain": (1, plain),
        "has_common_word": (2, has_common_word),
        "session_count": (2, lambda *days: count_sessions(*days) if None not in days else None),
        "spell": (2, lambda symbol, week: finra_symbol(symbol, week, traded)),
        "split_factor": (1, lambda splits: float(split_factor(splits))),
        "round_product": (2, round_product),
    }
    for name, (count, function) in functions.items():
        connection.create_function(name, count, function, deterministic=True)
    aggregates: dict[str, tuple[int, Callable[[list[tuple]], Any]]] = {
        "strict_sum": (1, lambda rows: None if (None,) in rows else sum(row[0] for row in rows)),
        "deviation": (2, deviation),
        "week_price": (3, week_price),
        "top_member": (2, lambda rows: next((member for member, _ in sizes_of(rows)), None)),
        "part_of_top": (3, part_of_top),
        "hhi": (3, concentration),
    }
    for name, (count, finish) in aggregates.items():
        aggregate: Any = type(name, (Aggregate,), {"finish": staticmethod(finish)})
        connection.create_window_function(name, count, aggregate)


class Aggregate:
    """Collects the arguments of all rows of a group or window."""

    finish: Callable[[list[tuple]], Any]

    def __init__(self) -> None:
        self._rows: list[tuple] = []

    def step(self, *arguments: Any) -> None:
        """Add a row."""
        self._rows.append(arguments)

    def inverse(self, *arguments: Any) -> None:
        """Remove the row that leaves the window."""
        self._rows.remove(arguments)

    def value(self) -> Any:
        """Return what is made of the rows."""
        return self.finish(self._rows)

    finalize = value


def sizes_of(rows: list[tuple]) -> list[tuple[str, int]]:
    """Return named venues or firms and their shares, the largest first; of equal ones by name."""
    sizes: dict[Any, int] = defaultdict(int)
    for member, shares, *_ in rows:
        if member is not None:
            sizes[member] += shares
    return sorted(sizes.items(), key=lambda pair: (-pair[1], str(pair[0])))


def part_of_top(rows: list[tuple]) -> float | None:
    """Return the part of so many largest members; NULL: none is named, or no shares."""
    sizes, total = sizes_of(rows), sum(shares for _, shares, _ in rows)
    count = rows[0][2]
    return sum(shares for _, shares in sizes[:count]) / total if sizes and total else None


def concentration(rows: list[tuple]) -> float | None:
    """Return the index of shares: De Minimis Firms are many tiny members, or one (is_upper)."""
    sizes, total = [shares for _, shares in sizes_of(rows)], sum(shares for _, shares, _ in rows)
    is_upper = rows[0][2]
    rest = total - sum(sizes) if is_upper else 0
    return (sum(size**2 for size in sizes) + rest**2) / total**2 if total else None


def deviation(rows: list[tuple]) -> float | None:
    """Return the sample standard deviation (n - 1) of numbers, without NULL; NULL: of too few."""
    numbers, min_count = [Fraction(row[0]) for row in rows if row[0] is not None], rows[0][1]
    if len(numbers) < min_count:
        return None
    mean = sum(numbers) / len(numbers)
    return math.sqrt(sum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1))


def week_price(days: list[tuple]) -> str | None:
    """Return the exact mean close x 10^6 as traded, by volume if there is any."""
    if any(splits is None for *_, splits in days):
        return None
    weights = [volume for _, volume, _ in days]
    weights = weights if any(weights) else [1] * len(days)
    total = sum(day[0] * weight for day, weight in zip(days, weights, strict=True))
    return str(Fraction(total, sum(weights)) * split_factor(days[0][2]))


def round_product(exact: str | None, shares: int) -> int | None:
    """Return an exact price times shares in 10^-6, rounded once."""
    return None if exact is None else round(Fraction(exact) * shares / MICROS)


def split_factor(splits: str) -> Fraction:
    """Return by how much all splits of `later_splits` multiplied the shares."""
    ratios = [Fraction(split.split(" ")[1]) for split in splits.split(", ") if split != "none"]
    return math.prod(ratios, start=Fraction(1))


def plain(name: str | None) -> str | None:
    """Return the words of a name, without regard to case; NULL: it has none."""
    return " ".join(re.findall(r"[^\W_]+", (name or "").casefold())) or None


def has_common_word(name: str, other: str) -> bool:
    """Return whether two names of plain words have a word in common but frequent ones."""
    return not (set(name.split()) & set(other.split())) <= FREQUENT_WORDS


def finra_symbol(symbol: str, week: str, traded: set[tuple[str, str]]) -> str:
    """Return a symbol of the SIP as FINRA spells it, if that traded in the week.

    BRK/B is BRK.B, EPpC is EP$C, PL/WS is PL.W or PL.WS.
    """
    dotted = symbol.replace("/", ".")
    preferred = re.sub("p([A-Z]?)$", r"$\1", dotted)
    spellings = (symbol, dotted, preferred, dotted.removesuffix("S"))
    return next((spelling for spelling in spellings if (week, spelling) in traded), symbol)
