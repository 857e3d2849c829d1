"""JSON and NDJSON: numbers stay what the source wrote, never floats."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestration_project.engine.contracts.balance import RecordCount
from orchestration_project.engine.own.formats.shared import (
    BYTE_ORDER_MARK,
    Digits,
    Record,
    build_read_error,
    decode_text,
    format_json,
    format_value,
)
from orchestration_project.engine.own.reading import Reading

WHITESPACE = " \t\r"
"""Characters that lines without a record have."""

KINDS = {Digits: "a number", str: "a text", list: "an array", type(None): "null", bool: "a truth"}


def read(body: bytes, reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    """Yield the records of the array at a path; another value there is one record.

    Raises:
        SourceError: It is not JSON, or has nothing at the path.
    """
    records = find_member(read_json(body), reading.records, "records")
    return _iterate_records(records if isinstance(records, list) else [records], reading, names)


def read_lines(body: bytes, reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    """Yield the record of each line that is not blank.

    Raises:
        SourceError: A line is not JSON.
    """
    lines = [line for line in decode_text(body).split("\n") if line.strip(WHITESPACE)]
    return _iterate_records([_parse_json(line) for line in lines], reading, names)


def _iterate_records(
    elements: Sequence[Any], reading: Reading, names: Sequence[str]
) -> Iterator[Record]:
    first_names = {name.split(".")[0] for name in names}
    for number, element in enumerate(elements, 1):
        if isinstance(element, dict):
            texts = {
                name: format_json(value)
                if name in reading.json_names and value is not None
                else format_value(value)
                for name in names
                for value in [_find_value(element, name)]
            }
            if reading.reads_all:
                other_items = element.keys() - first_names - texts.keys()
                texts |= {name: format_value(element[name]) for name in other_items}
            yield Record(number, texts)
        else:
            kind = KINDS.get(type(element), type(element).__name__)
            yield Record(number, None, ("not_an_object", f"the record is {kind}, not an object"))


def read_json(body: bytes) -> Any:
    """Return a JSON document; numbers are texts, as they are written.

    Raises:
        SourceError: It is none.
    """
    return _parse_json(decode_text(body))


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Digits, parse_int=Digits)
    except (ValueError, RecursionError) as error:
        raise build_read_error("JSON", f"{error}: {text[:100]!a}") from error


def find_member(document: Any, path: str, what: str, *, is_optional: bool = False) -> Any:
    """Return the member of a document at a path of names with dots.

    Raises:
        SourceError: A name of it is missing, and the path is not optional.
    """
    value = document
    for name in filter(None, path.split(".")):
        if is_optional and isinstance(value, dict) and name not in value:
            return None
        if not isinstance(value, dict) or name not in value:
            has = ", ".join(list(value)[:10]) if isinstance(value, dict) else type(value).__name__
            raise build_read_error(f"{what} at {path}", f"no {name} in {has}")
        value = value[name]
    return value


def _find_value(record: Mapping[str, Any], name: str) -> Any:
    """Return the value of a name, or at a path of names with dots; None: there is none."""
    if name in record:
        return record[name]
    value: Any = record
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


# -- counts, apart from what makes records --------------------------------------------------------


def count_lines(body: bytes, _: Reading) -> RecordCount:
    """Count the lines that are not blank."""
    return sum(bool(line.strip(WHITESPACE.encode())) for line in body.split(b"\n")), len(body)


TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"(?:\s*:)?|[\[\]{},]', re.DOTALL)
OPENED = re.compile(rb"\s*[\[{]")
CLOSED = re.compile(rb"\s*\]")


def count(body: bytes, reading: Reading) -> RecordCount:
    """Count the elements of the array at the path, by its commas; another value is one record."""
    text = body.removeprefix(BYTE_ORDER_MARK)
    path = [name for name in reading.records.split(".") if name]
    names: list[str | None] = []  # of each open bracket: the member that it is at
    records = 0 if path or OPENED.match(text) else int(bool(text.strip()))
    end = len(text) if records else 0
    for token in TOKEN.finditer(text):
        sign = token[0]
        if sign.startswith(b'"'):
            if names and sign.endswith(b":"):
                names[-1] = json.loads(sign[:-1], strict=False)
                records += names == path and not OPENED.match(text, token.end())
        elif sign == b",":
            records += names == [*path, None]
        elif sign in b"[{":
            is_filled = sign == b"{" or not CLOSED.match(text, token.end())
            records += names == path and is_filled
            names.append(None)
        elif names:
            names.pop()
            end = token.end()
            if not names:
                break
    return records, len(body) - len(text[end:].strip())
