"""Conditions as a person writes them, `column>=value`, into typed and bound comparisons.

`column in (value,value)` is met by any of these values. Nothing of what is written becomes SQL:
the column must be a declared one, the operator one of seven, and each value is read by the column's
type and bound. NULL meets no condition.
"""

import csv
import math
import operator
import re
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Date,
    Double,
    FromClause,
    Text,
    cast,
    func,
)
from sqlalchemy.types import TypeEngine

from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.tables.schema import HIDDEN, USD_SCALE, Dollars, UtcTimestamp

WRITTEN = re.compile(r"\s*(\w+)\s*(!=|<=|>=|=|<|>)(.*)", re.DOTALL)
WRITTEN_LIST = re.compile(r"\s*(\w+)\s+in\s*\((.*)\)\s*", re.DOTALL | re.IGNORECASE)

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
    """Return dollars as the whole number that a table would hold."""
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
    Dollars: (_scaled, "dollars with at most 6 decimals, such as 1250.5"),
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


def is_secret(column: ColumnElement[Any]) -> bool:
    """Whether a column is made of secrets."""
    return bool(getattr(column, "info", {}).get(HIDDEN))


def condition(rows: FromClause, written: str) -> ColumnElement[bool]:
    """Return the comparison that ``written`` names, its values bound.

    Raises:
        ConfigurationError: It is not a comparison, its column is unknown or holds hashes of
            secrets, or a value is not of the column's type.
    """
    name, compare, values = _read(written)
    column = public_column_of(rows, name)
    read, expected = READERS[type(column.type)]
    try:
        found = [read(value) for value in values]
    except (ValueError, KeyError):
        raise ConfigurationError(
            f"{written!r} cannot be compared with {name}",
            expected=expected,
            found=repr(values[0] if len(values) == 1 else values),
        ) from None
    if compare == "in":
        return _comparable(column).in_(found)
    return OPERATORS[compare](_comparable(column), found[0])


def values_by_column(wheres: Sequence[str]) -> dict[str, list[str]]:
    """Return the values that conditions with = or in name, as written, by column.

    Raises:
        ConfigurationError: A condition cannot be read.
    """
    read = map(_read, wheres)
    return {name: values for name, compare, values in read if compare in ("=", "in")}


def conditions_on(names: Collection[str], wheres: Sequence[str]) -> list[str]:
    """Return those of the conditions that are about one of these columns.

    Raises:
        ConfigurationError: A condition cannot be read.
    """
    return [written for written in wheres if _read(written)[0] in names]


def refuse_contradictions(wheres: Sequence[str]) -> None:
    """Make sure that no two conditions ask for different values of one column: no row has both.

    Raises:
        ConfigurationError: Two do.
    """
    wanted: dict[str, str] = {}
    for written in wheres:
        name, compare, (value, *_) = _read(written)
        if compare == "=" and wanted.setdefault(name, value) != value:
            raise ConfigurationError(
                f"invalid conditions: {name}={wanted[name]} and {name}={value} never both hold",
                expected=f"one of them, or either: '{name} in ({wanted[name]},{value})'",
            )


def _read(written: str) -> tuple[str, str, list[str]]:
    """Return column, operator and values of a condition.

    Raises:
        ConfigurationError: It is not a comparison.
    """
    if listed := WRITTEN_LIST.fullmatch(written):
        name, texts = listed.groups()
        values = next(csv.reader([texts], skipinitialspace=True), [])
        if values and "\n" not in texts:
            return name, "in", [value.strip() for value in values]
    if parts := WRITTEN.fullmatch(written):
        name, compare, value = parts.groups()
        return name, compare, [value]
    raise ConfigurationError(
        f"invalid condition {written!r}",
        expected="COLUMN OP VALUE, e.g. tier=T1 or 'tier in (T1,T2)', with OP one of = != < <= > "
        ">= in",
    )


def ordering(column: ColumnElement[Any], written: str) -> ColumnElement[Any]:
    """Return how rows are sorted by a column, descending if ``written`` begins with ``-``.

    NULL comes last.
    """
    term = _comparable(column)
    return (term.desc() if written.startswith("-") else term.asc()).nulls_last()


def _comparable(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Compare dollars as whole numbers: on SQLite they are text, in which 9.0 is above 10.0."""
    if not isinstance(column.type, Dollars):
        return column
    return cast(func.replace(cast(column, Text), ".", ""), BigInteger)
