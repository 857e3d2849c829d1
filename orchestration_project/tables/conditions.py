"""Conditions as a person writes them, `column>=value`, into typed and bound comparisons.

`column in (value,value)` is met by any of these values, `column between value and value` by these
and those between them, and `(condition) or (condition)` by rows that meet either. Without its
parentheses an `or` is part of a text, so that no value can become a condition.

Nothing of what is written becomes SQL: the column must be a declared one, the operator one of
eight, and each value is read by the column's type and bound. NULL meets no condition.
"""

import csv
import math
import operator
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Date,
    Double,
    FromClause,
    Text,
    and_,
    cast,
    func,
    literal_column,
    or_,
    type_coerce,
)
from sqlalchemy.types import TypeEngine

from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.tables.schema import (
    HIDDEN,
    USD_SCALE,
    Dollars,
    Quantity,
    UtcTimestamp,
)

WRITTEN = re.compile(r"\s*(\w+)\s*(!=|<=|>=|=|<|>)(.*)", re.DOTALL)
WRITTEN_LIST = re.compile(r"\s*(\w+)\s+in\s*\((.*)\)\s*", re.DOTALL | re.IGNORECASE)
WRITTEN_RANGE = re.compile(r"\s*(\w+)\s+between\s+(.*)", re.DOTALL | re.IGNORECASE)
AND = re.compile(r"\s+and\s+", re.IGNORECASE)
OR = re.compile(r"\s+or\s+(?=\()", re.IGNORECASE)
BARE = re.compile(
    r"(.+?)\s+(or|and)\s+(\(?\s*\w+\s*(?:[=<>]|!=|in\s*\(|between\s).*)",
    re.DOTALL | re.IGNORECASE,
)
"""A text with what may be meant as another condition."""

FORMS = "tier=T1, 'tier in (T1,T2)', 'week_start between 2025-01-06 and 2025-03-31'"
EXPECTED = (
    f"COLUMN OP VALUE, e.g. {FORMS} or '(tier=T1) or (symbol=AAPL)', with OP one of = != < <= > >= "
    "in between"
)

OPERATORS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _day(written: str) -> date:
    return datetime.strptime(_matching(r"\d{4}-\d\d-\d\d", written), "%Y-%m-%d").date()  # noqa: DTZ007 - a day has no zone


def _whole(written: str) -> int:
    return _in_64_bits(int(_matching(r"[+-]?\d{1,19}", written)))


def _number(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):
        raise ValueError(written)
    return number


def _scaled(written: str) -> int:
    """Return a decimal as the whole number that a table would hold."""
    sign, whole, fraction = _groups(rf"([+-]?)(\d{{1,13}})(?:\.(\d{{1,{USD_SCALE}}}))?", written)
    return _in_64_bits(int(sign + whole + (fraction or "").ljust(USD_SCALE, "0")))


def _text(written: str) -> str:
    written.encode()  # the bytes of another charset could not be bound
    if "\0" in written:  # nor could this, in PostgreSQL
        raise ValueError(written)
    return written


def read_moment(written: str) -> datetime:
    """Read an ISO time with its zone.

    Raises:
        ValueError: It is none, or has no zone.
    """
    moment = datetime.fromisoformat(written.strip())
    if moment.tzinfo is None:
        raise ValueError(written)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(written) from error


def _groups(pattern: str, written: str) -> tuple[str, ...]:
    found = re.fullmatch(pattern, written.strip(), re.ASCII)
    if found is None:
        raise ValueError(written)
    return found.groups()


def _matching(pattern: str, written: str) -> str:
    _groups(pattern, written)
    return written.strip()


def _in_64_bits(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise ValueError(number)
    return number


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text]


MOMENT = "an ISO time with its zone, such as 2026-01-05T12:00:00Z"

READERS: dict[type[TypeEngine[Any]], tuple[Callable[[str], object], str]] = {
    Date: (_day, "a date such as 2025-11-10"),
    BigInteger: (_whole, "a whole number of 64 bits"),
    Boolean: (_flag, "true or false"),
    Double: (_number, "a number"),
    UtcTimestamp: (read_moment, MOMENT),
    Text: (_text, "text in UTF-8"),
    Dollars: (_scaled, "a number with at most 6 decimals, such as 1250.5"),
    Quantity: (_scaled, "a number with at most 6 decimals, such as 1250.5"),
}
"""By a column's type: what reads a value of it, and how such a value is written."""


def column_of(rows: FromClause, name: str) -> ColumnElement[Any]:
    """Return the column called ``name``.

    Raises:
        ConfigurationError: There is none.
    """
    found = rows.c.get(name)
    if found is None:
        raise ConfigurationError(
            f"{rows.description} has no column {name!r}",
            expected=f"one of {', '.join(rows.c.keys())}",
            remedy=did_you_mean(name, rows.c.keys()),
        )
    return found


def public_column_of(rows: FromClause, name: str) -> ColumnElement[Any]:
    """Return the column called ``name``, which may leave this machine.

    Raises:
        ConfigurationError: There is none, or it holds hashes of secrets.
    """
    found = column_of(rows, name)
    if is_secret(found):
        raise ConfigurationError(
            f"invalid column {name!r}: it holds hashes of secrets, which are never written",
            expected="another column",
        )
    return found


def public_names(rows: FromClause, names: Iterable[str]) -> list[str]:
    """Return the names of columns, each of which may leave this machine.

    Raises:
        ConfigurationError: A column is unknown, or holds hashes of secrets.
    """
    return [name for name in names if public_column_of(rows, name) is not None]


def is_secret(column: ColumnElement[Any]) -> bool:
    """Whether a column is made of secrets."""
    return bool(getattr(column, "info", {}).get(HIDDEN))


class _Comparison(NamedTuple):
    """A comparison of one column with values."""

    name: str
    operator: str
    values: list[str]


def condition(rows: FromClause, written: str) -> ColumnElement[bool]:
    """Return the comparison that ``written`` names, its values bound.

    Raises:
        ConfigurationError: It is not a comparison, its column is unknown or holds hashes of
            secrets, or a value is not of the column's type.
    """
    return or_(*(_compared(rows, each, written) for each in _read(written)))


def _compared(rows: FromClause, wanted: _Comparison, written: str) -> ColumnElement[bool]:
    column = public_column_of(rows, wanted.name)
    read, expected = READERS[type(column.type)]
    values = wanted.values
    try:
        found = [read(value) for value in values]
    except (ValueError, KeyError):
        raise ConfigurationError(
            f"{written!r} cannot be compared with {wanted.name}",
            expected=expected,
            found=repr(values[0] if len(values) == 1 else values),
        ) from None
    term = comparable(column)
    if wanted.operator == "in":
        return term.in_(found)
    if wanted.operator == "between":
        return _within(term, wanted, found)
    return OPERATORS[wanted.operator](term, found[0])


def _within(
    term: ColumnElement[Any], wanted: _Comparison, found: Sequence[Any]
) -> ColumnElement[bool]:
    low, high = found
    if low > high:
        raise ConfigurationError(
            f"invalid condition: no {wanted.name} is between {' and '.join(wanted.values)}",
            expected="the lower value first, e.g. "
            f"'{wanted.name} between {' and '.join(reversed(wanted.values))}'",
        )
    return and_(term >= low, term <= high)  # PostgreSQL refuses BETWEEN with a collation


def values_by_column(wheres: Sequence[str]) -> dict[str, list[str]]:
    """Return the values that conditions with = or in name, as written, by column.

    Conditions that `or` joins count where all of them name values of one column.

    Raises:
        ConfigurationError: A condition cannot be read.
    """
    found: dict[str, list[str]] = {}
    for written in wheres:
        read = _read(written)
        names = {each.name for each in read if each.operator in ("=", "in")}
        if len(names) == 1 and all(each.operator in ("=", "in") for each in read):
            found[names.pop()] = [value for each in read for value in each.values]
    return found


def conditions_on(names: Collection[str], wheres: Sequence[str]) -> list[str]:
    """Return those of the conditions that are about these columns alone.

    Raises:
        ConfigurationError: A condition cannot be read.
    """
    return [written for written in wheres if all(each.name in names for each in _read(written))]


def refuse_contradictions(wheres: Sequence[str]) -> None:
    """Make sure that no two conditions ask for different values of one column: no row has both.

    A text that may be meant as two conditions is refused, too.

    Raises:
        ConfigurationError: Two do, or one may be two.
    """
    wanted: dict[str, str] = {}
    for written in wheres:
        _refuse_hidden(written)
        (name, compare, (value, *_)), *others = _read(written)
        if others:
            continue
        if compare == "=" and wanted.setdefault(name, value) != value:
            raise ConfigurationError(
                f"invalid conditions: {name}={wanted[name]} and {name}={value} never both hold",
                expected=f"one of them, or either: '{name} in ({wanted[name]},{value})'",
            )


def _refuse_hidden(written: str) -> None:
    read = _comparison(written)
    if written.lstrip().startswith("(") or (read and read.operator == "in"):
        return
    text = read.values[-1] if read and read.operator == "between" else written
    parts = BARE.fullmatch(text.strip())
    if parts is None:
        return
    first, joint, second = parts.groups()
    first = f"{written.strip().removesuffix(text.strip())}{first}"
    joint, second = joint.lower(), second.strip()
    remedy = f"write '({first}) or ({second})'" if joint == "or" else "give each as its own filter"
    raise ConfigurationError(
        f"invalid condition {written!r}: its text has another condition after {joint!r}",
        expected="one condition, or some in parentheses that or joins; a text with such words "
        'stands in a list, COLUMN in ("TEXT")',
        remedy=remedy,
    )


def _read(written: str) -> list[_Comparison]:
    """Return the comparisons of which a row meets one: several if `or` joins conditions.

    Raises:
        ConfigurationError: One is not a comparison.
    """
    parts = _joined(written.strip()) if written.lstrip().startswith("(") else [written]
    found = [_comparison(each) for each in parts]
    if not found or None in found:
        raise ConfigurationError(f"invalid condition {written!r}", expected=EXPECTED)
    return [each for each in found if each is not None]


def _joined(written: str) -> list[str]:
    """Return the conditions in parentheses that `or` joins; none: it is something else."""
    found: list[str] = []
    start = 0
    while (end := _closing(written, start)) is not None:
        found.append(written[start + 1 : end])
        if end + 1 == len(written):
            return found
        if (joint := OR.match(written, end + 1)) is None:
            return []
        start = joint.end()
    return []


def _closing(written: str, start: int) -> int | None:
    """Return where the parenthesis closes that opens at ``start``; those in quotes do not count."""
    depth, is_quoted = 0, False
    for place in range(start, len(written)):
        if written[place] == '"':
            is_quoted = not is_quoted
        elif not is_quoted:
            depth += {"(": 1, ")": -1}.get(written[place], 0)
            if depth == 0:
                return place
    return None


def _comparison(written: str) -> _Comparison | None:
    if listed := WRITTEN_LIST.fullmatch(written):
        name, texts = listed.groups()
        values = next(csv.reader([texts], skipinitialspace=True), [])
        if values and "\n" not in texts and _closing(f"({texts})", 0) in (None, len(texts) + 1):
            return _Comparison(name, "in", [value.strip() for value in values])
    if limited := WRITTEN_RANGE.fullmatch(written):
        name, texts = limited.groups()
        values = [value.strip() for value in AND.split(texts)]
        return _Comparison(name, "between", values) if len(values) == 2 else None
    if parts := WRITTEN.fullmatch(written):
        name, compare, value = parts.groups()
        return _Comparison(name, compare, [value])
    return None


def ordering(column: ColumnElement[Any], written: str) -> ColumnElement[Any]:
    """Return how rows are sorted by a column, descending if ``written`` begins with ``-``.

    NULL comes last.
    """
    term = comparable(column)
    return (term.desc() if written.startswith("-") else term.asc()).nulls_last()


def comparable(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Compare decimals as whole millionths: on SQLite dollars are text, in which 9.0 is above 10.0.

    Drivers that copy rows take the values as they are.
    """
    if isinstance(column.type, Quantity):
        return type_coerce(column, BigInteger())
    if not isinstance(column.type, Dollars):
        return column
    return cast(
        func.replace(cast(column, Text), literal_column("'.'"), literal_column("''")), BigInteger
    )
