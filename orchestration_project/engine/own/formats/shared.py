"""Records of a document as texts, whatever its format."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from orchestration_project.engine.contracts.rules import escape_bytes
from orchestration_project.errors import ConfigurationError, SourceError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_CELLS = 20_000_000
"""Cells of a table, empty ones included."""


class Record(NamedTuple):
    """A record of a document.

    Attributes:
        line_number: Its line in a CSV; of other formats its number or that of its row, from 1.
        texts: Its values by the source's names; None: it cannot be read.
        problem: Reason code and reason of a record that cannot be read.
        left_out: Why it is left out; empty: it is not.
        first: Name and text of the first field, of a record with too few or too many fields.
    """

    line_number: int
    texts: Mapping[str, str] | None
    problem: tuple[str, str] = ("", "")
    left_out: str = ""
    first: tuple[str, str] = ("", "")


class Row(NamedTuple):
    """A row of a table: its number from 1, its cells, and why it cannot be a record, if so."""

    number: int
    cells: Sequence[str]
    problem: tuple[str, str] = ("", "")


def iterate_table_records(rows: Iterable[Row], names: Sequence[str]) -> Iterator[Record]:
    """Yield the records of a table whose first row names the fields.

    Raises:
        SourceError: The first row does not have each name once.
    """
    lines = iter(rows)
    header = list(next(lines, Row(1, ())).cells)
    if any(header.count(name) != 1 for name in names):
        missing = [name for name in names if header.count(name) != 1]
        text = escape_bytes(", ".join(header).encode(), 200)
        raise build_read_error(f"a header with {', '.join(missing)} once", text)
    for row in lines:
        if row.problem[0]:
            yield Record(row.number, None, row.problem)
        elif len(row.cells) == len(header):
            yield Record(row.number, dict(zip(header, row.cells, strict=True)))
        else:
            reason = f"the line has {len(row.cells)} fields, the header has {len(header)}"
            first = (header[0], "".join(row.cells[:1]))
            yield Record(row.number, None, ("wrong_field_count", reason), first=first)


def build_read_error(expected: str, found: object) -> SourceError:
    """Return the error of a document that is not what the declaration says."""
    return SourceError(
        "the document cannot be read",
        expected=expected,
        found=str(found),
        remedy="see the document among the captures; if the source changed, change the declaration",
    )


def build_library_error(library: str) -> ConfigurationError:
    """Return the error of a format whose library is not installed."""
    return ConfigurationError(
        "the format cannot be read: a library is missing",
        expected="the extra documents of this package",
        found=f"not installed: {library}",
        remedy="pip install 'orchestration_project[documents]', or in a checkout: "
        "pip install '.[documents]'",
    )


def decode_text(body: bytes, encoding: str = "utf-8") -> str:
    """Return the text of a document.

    Raises:
        SourceError: It is in another encoding.
    """
    try:
        return body.removeprefix(BYTE_ORDER_MARK).decode(encoding)
    except UnicodeError as error:
        name = "UTF-8" if encoding == "utf-8" else encoding
        raise build_read_error(f"text in {name}", str(error)) from error


class Digits(str):
    """A number of JSON as it is written."""

    __slots__ = ()


def format_value(value: Any) -> str:
    """Return a value as the text that a source would write; blank where there is none."""
    if value is None:
        return ""
    if isinstance(value, Digits):
        return expand_exponent(value)
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, int | float | Decimal):
        return expand_exponent(str(value))
    return format_json(value)


def format_json(value: Any) -> str:
    """Return a value as JSON, its numbers as they are written."""
    if isinstance(value, Digits):
        return str(value)
    if isinstance(value, Mapping):
        members = (f"{json.dumps(name)}: {format_json(value[name])}" for name in sorted(value))
        return f"{{{', '.join(members)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(format_json, value))}]"
    return json.dumps(value, ensure_ascii=False, default=str)


def is_json(text: str) -> bool:
    """Whether a text is a JSON value."""
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity, which Python alone reads


def expand_exponent(text: str) -> str:
    """Return a number without an exponent."""
    try:
        return f"{Decimal(text):f}" if "e" in text.lower() else str(text)
    except InvalidOperation:
        return str(text)


DECIMAL_COMMA = re.compile(r"-?[0-9]{1,3}(?:\.?[0-9]{3})*(?:,[0-9]+)?")


def replace_commas(record: Record) -> Record:
    """Return a record in which numbers with a decimal comma have a point."""
    if record.texts is None:
        return record
    texts = {
        name: text.replace(".", "").replace(",", ".") if DECIMAL_COMMA.fullmatch(text) else text
        for name, text in record.texts.items()
    }
    return record._replace(texts=texts)
