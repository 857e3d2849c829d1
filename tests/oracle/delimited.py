"""Reads delimited text: lines with their place, and fields as exact values or with a reject."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from tests.oracle.archive import Row, place_of
from tests.oracle.documented import Column, key_of

MICROS = 10**6
MAX_UNITS = 2**63 - 1
Line = tuple[int, int, bytes]
"""The number of a line from 1, its first byte from 0, and its bytes."""

CUSIP_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*@#"


class RejectError(ValueError):
    """A line breaks the contract: a code of one word, and a sentence."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclass
class Parsed:
    """What a delivery contains: rows by key, rejects, and the number of lines."""

    delivery: Row
    rows: dict[tuple, Row] = field(default_factory=dict)
    rejects: list[Row] = field(default_factory=list)
    line_count: int = 0
    has_unique_keys: bool = True

    def add(self, row: Row, capture: Row) -> None:
        """Add a row of a capture."""
        place = place_of(row, key_of(self.delivery["table_name"]))
        self.has_unique_keys &= place not in self.rows
        self.rows[place] = row | {"capture_id": capture["capture_id"]}

    def add_lines(self, read: Callable[[dict[str, str]], Row | None]) -> None:
        """Add the rows that ``read`` makes of the lines; it returns None for others."""
        for capture in self.delivery["captures"]:
            (_, _, header), *lines = split_lines(capture["content"])
            is_quoted = header.startswith(b'"')
            names = split_fields(header.decode().lower(), is_quoted)
            for line in lines:
                self.line_count += 1
                try:
                    row = read(read_line(line[2], names, is_quoted))
                except RejectError as reject:
                    self.rejects.append(reject_row(self.delivery, capture, line, reject))
                    continue
                if row is not None:
                    self.add(row, capture)


def split_lines(content: bytes) -> Iterator[Line]:
    """Yield the lines that are not empty, the header first."""
    offset = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    for number, raw in enumerate(content[offset:].split(b"\n"), start=1):
        if text := raw.removesuffix(b"\r"):
            yield number, offset, text
        offset += len(raw) + 1


def read_line(content: bytes, names: list[str], is_quoted: bool) -> dict[str, str]:
    """Return the texts of a line by the names of the header."""
    try:
        texts = split_fields(content.decode(), is_quoted)
    except UnicodeDecodeError:
        raise RejectError("not_utf8", "the line is not UTF-8") from None
    if len(texts) != len(names):
        reason = f"the line has {len(texts)} fields, the header has {len(names)}"
        raise RejectError("field_count", reason)
    return dict(zip(names, texts, strict=True))


def split_fields(text: str, is_quoted: bool) -> list[str]:
    """Return the fields of a line, trimmed of all whitespace, including no-break spaces."""
    texts = next(csv.reader([text], delimiter="|")) if is_quoted else text.split("|")
    return [text.strip() for text in texts]


def reject_row(delivery: Row, capture: Row, line: Line, reject: RejectError) -> Row:
    """Return the row of `rejects` of a line."""
    number, offset, content = line
    return {
        "capture_id": capture["capture_id"],
        "table_name": delivery["table_name"],
        "line_number": number,
        "byte_offset": offset,
        "record": "".join(map(escape, content)),
        "reason_code": reject.code,
        "reason": reject.reason,
        "run_id": delivery["run_id"],
        "rejected_at": delivery["recorded_at"],
    }


def escape(byte: int) -> str:
    """Return a byte as text, outside printable ASCII as a backslash escape."""
    if byte == ord("\\"):
        return "\\\\"
    return chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}"


def read_decimal(text: str) -> Decimal | None:
    """Return a number that is whole in units of 10^-6, and has 64 bits in them; None: another."""
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text, re.ASCII):
        return None
    number = Decimal(text)
    units = number * MICROS
    return number if units == int(units) and abs(units) <= MAX_UNITS else None


def read_units(text: str) -> int | None:
    """Return a number times 10^6; None: another text."""
    number = read_decimal(text)
    return None if number is None else int(number * MICROS)


def read_count(text: str) -> int | None:
    """Return a whole number of 64 bits; None: another text."""
    is_whole = re.fullmatch(r"-?\d+", text, re.ASCII)
    return int(text) if is_whole and abs(int(text)) <= MAX_UNITS else None


def read_day(text: str) -> str | None:
    """Return an ISO day; None: another text."""
    try:
        return date.fromisoformat(text).isoformat() if len(text) == 10 else None
    except ValueError:
        return None


def read_cusip(text: str) -> str | None:
    """Return a CUSIP of nine characters, the last of them a check digit; None: another text."""
    if len(text) != 9 or any(letter not in CUSIP_LETTERS for letter in text):
        return None
    weights = (CUSIP_LETTERS.index(text[place]) * (1 + place % 2) for place in range(8))
    total = sum(weight // 10 + weight % 10 for weight in weights)
    return text if text[8] == str(-total % 10) else None


KINDS: dict[str, tuple[Callable[[str], object], str, str]] = {
    "text": (str, "", ""),
    "cusip": (read_cusip, "not_a_cusip", "not a CUSIP of nine characters"),
    "date": (read_day, "impossible_date", "no date"),
    "integer": (read_count, "not_a_number", "not a number"),
    "decimal": (read_decimal, "not_a_number", "not a number"),
    "units": (read_units, "", ""),
}
"""By kind: a reader of texts, which returns None for others, and the code and text of a reject."""

AMOUNT = "no number with up to 6 decimals that 64 bits keep exactly"


def read_columns(columns: Iterable[Column], fields: dict[str, str], amount: str = AMOUNT) -> Row:
    """Return the row of a line; `amount` is what a number that may be blank is expected to be."""
    row: Row = {}
    for column in columns:
        source = next((name for name in column.fields if name.lower() in fields), "")
        text = fields.get(source.lower(), "")
        read, code, expected = KINDS[column.kind]
        if column.kind == "units" or (column.is_nullable and code == "not_a_number"):
            code, expected = "not_an_amount", amount
        is_null = not text and column.is_nullable
        row[column.name] = None if is_null else read(text)
        if row[column.name] is None and not is_null:
            raise RejectError(code, f"{source} is {expected}: {text}")
    return row
