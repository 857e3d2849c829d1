"""Records of a document: a CSV, JSON or NDJSON as texts, and the count of records apart from that.

Values stay what the source wrote: a number of JSON is its digits, never a float.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from orchestration_project.contracts.balance import (
    NOT_COUNTED,
    CountRecords,
    RecordCount,
    count_quoted_lines,
)
from orchestration_project.contracts.rules import in_ascii
from orchestration_project.errors import SourceError
from orchestration_project.own.declarations import Reading

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_FIELD_CHARACTERS = 1_000_000


class Record(NamedTuple):
    """A record of a document.

    Attributes:
        line_number: Its line in a CSV; of other formats its number, from 1.
        texts: Its values by the source's names; None: it cannot be read.
        problem: Reason code and reason of a record that cannot be read.
    """

    line_number: int
    texts: Mapping[str, str] | None
    problem: tuple[str, str] = ("", "")


def read_records(body: bytes, reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    """Yield the records of a document.

    Args:
        body: The document.
        reading: How it is read.
        names: What the source calls the fields.

    Raises:
        SourceError: It is not in the format, or lacks a field.
    """
    if reading.parse is not None:
        return _own_records(body, reading)
    if reading.format == "csv":
        return _csv_records(body, reading, names)
    return _json_records(body, reading, names)


def _own_records(body: bytes, reading: Reading) -> Iterator[Record]:
    assert reading.parse is not None  # noqa: S101 - the caller has looked
    try:
        found = list(reading.parse(body))
    except Exception as error:
        raise SourceError(
            "parse= failed",
            expected="records of the document, as mappings",
            found=f"{type(error).__name__}: {error}",
            remedy="see the document among the captures, and correct parse=",
        ) from error
    for number, record in enumerate(found, 1):
        if not isinstance(record, Mapping):
            raise _unreadable("parse= that yields mappings", f"{type(record).__name__}")
        texts = {str(name): text_of(value) for name, value in record.items()}
        yield Record(number, _with_points(texts, reading))


def _csv_records(body: bytes, reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    text = _decoded(body)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=reading.delimiter, strict=True)
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    try:
        header = [name.strip() for name in next(lines, [])]
        _require_names(header, names, body)
        begin = lines.line_num + 1
        for fields in lines:
            found = [field.strip() for field in fields]
            if len(found) == len(header):
                texts = dict(zip(header, found, strict=True))
                yield Record(begin, _with_points(texts, reading))
            else:
                reason = f"the line has {len(found)} fields, the header has {len(header)}"
                yield Record(begin, None, ("wrong_field_count", reason))
            begin = lines.line_num + 1
    except csv.Error as error:
        raise _unreadable("a CSV whose quotes pair", f"line {lines.line_num}: {error}") from error


def _require_names(header: Sequence[str], names: Sequence[str], body: bytes) -> None:
    missing = [name for name in names if header.count(name) != 1]
    if missing:
        raise _unreadable(
            f"a header with {', '.join(missing)} once", in_ascii(body.partition(b"\n")[0], 200)
        )


def _json_records(body: bytes, reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    if reading.format == "ndjson":
        lines = [line for line in _decoded(body).split("\n") if line.strip()]
        elements: Sequence[Any] = [_loaded(line) for line in lines]
    else:
        found = at_path(_loaded(_decoded(body)), reading.records, "records")
        elements = found if isinstance(found, list) else [found]
    for number, element in enumerate(elements, 1):
        if isinstance(element, dict):
            texts = {name: text_of(_at(element, name)) for name in names}
            yield Record(number, _with_points(texts, reading))
        else:
            kind = KINDS.get(type(element), type(element).__name__)
            yield Record(number, None, ("not_an_object", f"the record is {kind}, not an object"))


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, parse_float=_Digits, parse_int=_Digits)
    except (ValueError, RecursionError) as error:
        raise _unreadable("JSON", f"{error}: {text[:100]!a}") from error


class _Digits(str):
    """A number of JSON as it is written."""

    __slots__ = ()


KINDS = {_Digits: "a number", str: "a text", list: "an array", type(None): "null", bool: "a truth"}


def loaded_json(body: bytes) -> Any:
    """Return a JSON document; numbers are texts, as they are written.

    Raises:
        SourceError: It is none.
    """
    return _loaded(_decoded(body))


def at_path(document: Any, path: str, what: str) -> Any:
    """Return the member of a document at a path of names with dots.

    Raises:
        SourceError: A name of it is missing.
    """
    found = document
    for name in filter(None, path.split(".")):
        if not isinstance(found, dict) or name not in found:
            has = ", ".join(list(found)[:10]) if isinstance(found, dict) else type(found).__name__
            raise _unreadable(f"{what} at {path}", f"no {name} in {has}")
        found = found[name]
    return found


def _at(record: Mapping[str, Any], name: str) -> Any:
    """Return the value of a name, or at a path of names with dots; None: there is none."""
    if name in record:
        return record[name]
    found: Any = record
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def text_of(value: Any) -> str:
    """Return a value as the text that a source would write; blank where there is none."""
    if value is None:
        return ""
    if isinstance(value, _Digits):
        return _plain_number(value)
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, int | float | Decimal):
        return _plain_number(str(value))
    return _json_text(value)


def _json_text(value: Any) -> str:
    """Return a value as JSON, its numbers as they are written."""
    if isinstance(value, _Digits):
        return str(value)
    if isinstance(value, Mapping):
        members = (f"{json.dumps(name)}: {_json_text(value[name])}" for name in sorted(value))
        return f"{{{', '.join(members)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_json_text, value))}]"
    return json.dumps(value, ensure_ascii=False, default=str)


def _plain_number(text: str) -> str:
    """Return a number without an exponent."""
    try:
        return f"{Decimal(text):f}" if "e" in text.lower() else str(text)
    except InvalidOperation:
        return str(text)


DECIMAL_COMMA = re.compile(r"-?[0-9]{1,3}(?:\.?[0-9]{3})*(?:,[0-9]+)?")


def _with_points(texts: Mapping[str, str], reading: Reading) -> Mapping[str, str]:
    """Return texts in which numbers with a decimal comma have a point."""
    if not reading.decimal_comma:
        return texts
    return {
        name: text.replace(".", "").replace(",", ".") if DECIMAL_COMMA.fullmatch(text) else text
        for name, text in texts.items()
    }


def _decoded(body: bytes) -> str:
    try:
        return body.removeprefix(BYTE_ORDER_MARK).decode()
    except UnicodeDecodeError as error:
        raise _unreadable("text in UTF-8", str(error)) from error


def _unreadable(expected: str, found: str) -> SourceError:
    return SourceError(
        "the document cannot be read",
        expected=expected,
        found=found,
        remedy="see the document among the captures; if the source changed, change the declaration",
    )


# -- counts, apart from what makes records --------------------------------------------------------


def counter_of(reading: Reading) -> CountRecords | None:
    """Return the counter of records in raw bytes; None: they cannot be counted apart."""
    if reading.parse is not None:
        return NOT_COUNTED
    if reading.format == "csv":
        return count_quoted_lines
    if reading.format == "ndjson":
        return _count_filled_lines
    return None if reading.records else _count_elements


def _count_filled_lines(body: bytes) -> RecordCount:
    return sum(bool(line.strip()) for line in body.split(b"\n")), len(body)


TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)


def _count_elements(body: bytes) -> RecordCount:
    """Count the elements of an array, by its commas; another document is one record."""
    text = body.removeprefix(BYTE_ORDER_MARK).lstrip()
    if not text.startswith(b"["):
        return int(bool(text)), len(body)
    depth = commas = end = 0
    for token in TOKEN.finditer(text):
        sign = token[0]
        depth += (sign in b"[{") - (sign in b"]}")
        commas += sign == b"," and depth == 1
        if depth == 0:
            end = token.end()
            break
    inside = text[1 : end - 1].strip()
    rest = text[end:].strip()
    return (commas + 1 if inside else 0), len(body) - len(rest)
