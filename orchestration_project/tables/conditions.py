"""Conditions as a person writes them, `column >= value`, into typed and bound comparisons.

One grammar holds for all types. Blanks around names, operators and values mean nothing, and a value
may stand in single or double quotes, of which one within the value is written twice.
`column in (value,value)` is met by any of these values, `column between value and value` by these
and those between them, and `(condition) or (condition)` by rows that meet either. What is not
understood is refused with its place: no value can become a condition, and no condition a value.

Nothing of what is written becomes SQL: the column must be a declared one, the operator one of
eight, and each value is read by the column's type and bound. NULL meets no condition.
"""

import math
import operator
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple, NoReturn

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

from orchestration_project.errors import ConfigurationError, UnknownNameError, did_you_mean
from orchestration_project.tables.schema import (
    HIDDEN,
    USD_SCALE,
    VALUES,
    Dollars,
    Quantity,
    UtcTimestamp,
)

COMPARED = re.compile(r"(\w+)(?:\s*(==|=|!=|<>|<=|>=|<|>)|\s+(in|between)\b)\s*", re.IGNORECASE)
QUOTED = re.compile(r"""(['"])((?:(?!\1).|\1\1)*)\1""", re.DOTALL)
BARE = re.compile(r"(?:[^,()]|\([^()]*\))*")
"""A value without quotes, which a comma or a closing parenthesis ends."""

AND, OR = re.compile(r"\s+and\s", re.IGNORECASE), re.compile(r"or\b", re.IGNORECASE)
ANOTHER = re.compile(r"[\s;&|](?=\w+(?:\s*[=<>]|\s*!=|\s+in\s*\(|\s+between\s))", re.IGNORECASE)
"""Blank or sign within a value, before another condition."""

JOINED = re.compile(
    r"(.+?)\s*(?:\b(or|and)\b|[,;]|&&?|\|\|?)\s*"
    r"(\(?\s*\w+\s*(?:[=<>]|!=|in\s*\(|between\s).*)",
    re.DOTALL | re.IGNORECASE,
)
"""Two conditions in one."""

PLAIN = re.compile(r"[\w.:/|#@+-]+", re.ASCII)
"""A value that needs no quotes."""

SYNONYMS = {"==": "=", "<>": "!="}
MAX_SHOWN_CHARACTERS = 40

FORMS = "tier=T1, symbol = 'A', 'tier in (T1,T2)', 'week_start between 2025-01-06 and 2025-03-31'"
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


def _parse_day(written: str) -> date:
    return datetime.strptime(_match_text(r"\d{4}-\d\d-\d\d", written), "%Y-%m-%d").date()  # noqa: DTZ007 - a day has no zone


def _parse_whole(written: str) -> int:
    return _require_64_bits(int(_match_text(r"[+-]?\d{1,19}", written)))


def _parse_number(written: str) -> float:
    number = float(_match_text(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", written))
    if not math.isfinite(number):
        raise ValueError(written)
    return number


def _parse_scaled(written: str) -> int:
    """Return a decimal as the whole number that a table would hold."""
    sign, whole, fraction = _match_groups(
        rf"([+-]?)(\d{{1,13}})(?:\.(\d{{1,{USD_SCALE}}}))?", written
    )
    return _require_64_bits(int(sign + whole + (fraction or "").ljust(USD_SCALE, "0")))


def _parse_text(written: str) -> str:
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


def _match_groups(pattern: str, written: str) -> tuple[str, ...]:
    match = re.fullmatch(pattern, written.strip(), re.ASCII)
    if match is None:
        raise ValueError(written)
    return match.groups()


def _match_text(pattern: str, written: str) -> str:
    _match_groups(pattern, written)
    return written.strip()


def _require_64_bits(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise ValueError(number)
    return number


def _parse_flag(text: str) -> bool:
    return {"true": True, "false": False}[text]


MOMENT = "an ISO time with its zone, such as 2026-01-05T12:00:00Z"

READERS: dict[type[TypeEngine[Any]], tuple[Callable[[str], object], str]] = {
    Date: (_parse_day, "a date such as 2025-11-10"),
    BigInteger: (_parse_whole, "a whole number of 64 bits"),
    Boolean: (_parse_flag, "true or false"),
    Double: (_parse_number, "a number"),
    UtcTimestamp: (read_moment, MOMENT),
    Text: (_parse_text, "text in UTF-8"),
    Dollars: (_parse_scaled, "a number with at most 6 decimals, such as 1250.5"),
    Quantity: (_parse_scaled, "a number with at most 6 decimals, such as 1250.5"),
}
"""By a column's type: what reads a value of it, and how such a value is written."""


def column_of(rows: FromClause, name: str) -> ColumnElement[Any]:
    """Return the column called ``name``.

    Raises:
        ConfigurationError: There is none.
    """
    column = rows.c.get(name)
    if column is None:
        raise UnknownNameError(
            f"{rows.description} has no column {name!r}",
            expected=f"one of {', '.join(rows.c.keys())}",
            remedy=did_you_mean(name, rows.c.keys()),
        )
    return column


def public_column_of(rows: FromClause, name: str) -> ColumnElement[Any]:
    """Return the column called ``name``, which may leave this machine.

    Raises:
        ConfigurationError: There is none, or it holds hashes of secrets.
    """
    column = column_of(rows, name)
    if is_secret(column):
        raise ConfigurationError(
            f"invalid column {name!r}: it holds hashes of secrets, which are never written",
            expected="another column",
        )
    return column


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


def write_condition(name: str, *values: object) -> str:
    """Return the condition that a column has one of these values, quoted where needed."""
    texts = [_quote_if_needed(str(value)) for value in values]
    return f"{name}={texts[0]}" if len(texts) == 1 else f"{name} in ({','.join(texts)})"


def _quote_if_needed(value: str) -> str:
    is_plain = PLAIN.fullmatch(value) and value.lower() != "null"
    return value if is_plain else '"' + value.replace('"', '""') + '"'


def condition(rows: FromClause, written: str) -> ColumnElement[bool]:
    """Return the comparison that ``written`` names, its values bound.

    Raises:
        ConfigurationError: It is not a comparison, its column is unknown or holds hashes of
            secrets, or a value is not of the column's type or not one of its known values.
    """
    return or_(*(_compare_column(rows, comparison, written) for comparison in _read(written)))


def _compare_column(rows: FromClause, comparison: _Comparison, written: str) -> ColumnElement[bool]:
    column = public_column_of(rows, comparison.name)
    read, expected = READERS[type(column.type)]
    texts = comparison.values
    try:
        values = [read(text) for text in texts]
    except (ValueError, KeyError):
        raise ConfigurationError(
            f"{written!r} cannot be compared with {comparison.name}",
            expected=expected,
            found=repr(texts[0] if len(texts) == 1 else texts),
        ) from None
    if comparison.operator in ("=", "!=", "in"):
        _require_known(column, comparison, written)
    term = comparable(column)
    if comparison.operator == "in":
        return term.in_(values)
    if comparison.operator == "between":
        return _compare_range(term, comparison, values)
    return OPERATORS[comparison.operator](term, values[0])


def _require_known(column: ColumnElement[Any], comparison: _Comparison, written: str) -> None:
    """Make sure that a column with known values is compared with these alone.

    Raises:
        ConfigurationError: It cannot have one of the values.
    """
    known = getattr(column, "info", {}).get(VALUES, ())
    unknown = [value for value in comparison.values if value not in known]
    if known and unknown:
        raise ConfigurationError(
            f"invalid condition {written!r}: {comparison.name} is never {unknown[0]!r}",
            expected=f"one of {', '.join(known)}",
            remedy=did_you_mean(unknown[0], known),
        )


def _compare_range(
    term: ColumnElement[Any], comparison: _Comparison, values: Sequence[Any]
) -> ColumnElement[bool]:
    low, high = values
    if low > high:
        raise ConfigurationError(
            f"invalid condition: no {comparison.name} is between {' and '.join(comparison.values)}",
            expected="the lower value first, e.g. "
            f"'{comparison.name} between {' and '.join(reversed(comparison.values))}'",
        )
    return and_(term >= low, term <= high)  # PostgreSQL refuses BETWEEN with a collation


def values_by_column(wheres: Sequence[str]) -> dict[str, list[str]]:
    """Return the values that conditions with = or in name, as written, by column.

    Conditions that `or` joins count where all of them name values of one column.

    Raises:
        ConfigurationError: A condition cannot be read.
    """
    values: dict[str, list[str]] = {}
    for written in wheres:
        read = _read(written)
        names = {comparison.name for comparison in read}
        if len(names) == 1 and all(comparison.operator in ("=", "in") for comparison in read):
            values[names.pop()] = [value for comparison in read for value in comparison.values]
    return values


def conditions_on(names: Collection[str], wheres: Sequence[str]) -> list[str]:
    """Return those of the conditions that are about these columns alone.

    Raises:
        ConfigurationError: A condition cannot be read.
    """
    return [
        written
        for written in wheres
        if all(comparison.name in names for comparison in _read(written))
    ]


def refuse_contradictions(wheres: Sequence[str]) -> None:
    """Make sure that no two conditions ask for different values of one column: no row has both.

    Raises:
        ConfigurationError: Two do, or a condition cannot be read.
    """
    values: dict[str, str] = {}
    for written in wheres:
        (name, compare, (value, *_)), *remaining = _read(written)
        if remaining:
            continue
        if compare == "=" and values.setdefault(name, value) != value:
            raise ConfigurationError(
                f"invalid conditions: {name}={values[name]} and {name}={value} never both hold",
                expected=f"one of them, or either: '{write_condition(name, values[name], value)}'",
            )


def _read(written: str) -> list[_Comparison]:
    """Return the comparisons of which a row meets one: several if `or` joins conditions.

    Raises:
        ConfigurationError: Something in it is not understood.
    """
    return _Reader(written).read()


@dataclass
class _Reader:
    """Reader of a condition; ``position`` is the place up to which it is read."""

    written: str
    position: int = 0

    def read(self) -> list[_Comparison]:
        """Return the comparisons of which a row meets one."""
        comparisons = []
        if self._skip_blanks() == "(":
            comparisons.append(self._alternative())
            while self._take(OR):
                comparisons.append(self._alternative())
        else:
            comparisons.append(self._comparison())
        if self._skip_blanks():
            self._refuse()
        return comparisons

    def _alternative(self) -> _Comparison:
        self._expect("(")
        comparison = self._comparison()
        self._expect(")")
        return comparison

    def _comparison(self) -> _Comparison:
        head = self._take(COMPARED)
        if head is None:
            self._refuse()
        name, compare = head[1], (head[2] or head[3]).lower()
        if compare == "in":
            self._expect("(")
            values = [self._value()]
            while self._skip_blanks() == ",":
                self.position += 1
                values.append(self._value())
            self._expect(")")
        elif compare == "between":
            low = self._value(end=AND)
            if self._take(AND) is None:
                self._refuse()
            values = [low, self._value(end=AND)]
        else:
            values = [self._value(may_be_empty=True)]
        return _Comparison(name, SYNONYMS.get(compare, compare), values)

    def _value(self, *, end: re.Pattern[str] | None = None, may_be_empty: bool = False) -> str:
        """Return the next value; without quotes it ends where ``end`` matches, too."""
        first = self._skip_blanks()
        if first in ("'", '"'):
            if (quoted := self._take(QUOTED)) is None:
                self._refuse("closing quote not found")
            return quoted[2].replace(first * 2, first)
        text = self._take_bare(end)
        begin = self.position - len(text)
        if another := ANOTHER.search(text):
            self._refuse(position=begin + another.end())
        value = text.rstrip()
        if value[:1] in ("=", "<", ">", "!", "(") or not (value or may_be_empty):
            self._refuse(position=begin)
        if value.lower() == "null":
            self._refuse("NULL meets no condition; the text stands in quotes", position=begin)
        return value

    def _take_bare(self, end: re.Pattern[str] | None) -> str:
        matched = BARE.match(self.written, self.position)
        text = matched[0] if matched else ""
        if end is not None and (limit := end.search(text)):
            text = text[: limit.start()]
        self.position += len(text)
        return text

    def _skip_blanks(self) -> str:
        """Skip blanks, and return the next character; empty: the end."""
        while self.written[self.position : self.position + 1].isspace():
            self.position += 1
        return self.written[self.position : self.position + 1]

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        if pattern is not AND:
            self._skip_blanks()
        matched = pattern.match(self.written, self.position)
        if matched:
            self.position = matched.end()
        return matched

    def _expect(self, character: str) -> None:
        if self._skip_blanks() != character:
            self._refuse()
        self.position += 1

    def _refuse(self, reason: str = "", *, position: int | None = None) -> NoReturn:
        index = self.position if position is None else position
        remaining_text = self.written[index:]
        text = repr(remaining_text[:MAX_SHOWN_CHARACTERS]) if remaining_text else "the end"
        raise ConfigurationError(
            f"invalid condition {self.written!r}" + (f": {reason}" if reason else ""),
            expected=EXPECTED,
            found=f"{text} at character {index + 1}",
            remedy=self._remedy(),
        )

    def _remedy(self) -> str:
        parts = JOINED.fullmatch(self.written.strip())
        if parts is None:
            return "put a text with commas, parentheses or operators in quotes"
        first, joint, second = parts.groups()
        if (joint or "").lower() == "or":
            return f"write '({first}) or ({second})'"
        return f"give each as its own filter: '{first}' and '{second}'"


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
