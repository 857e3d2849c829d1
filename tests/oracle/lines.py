"""Splits delimited text into lines with their place, and fields into exact values."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation

from tests.oracle.archive import Capture, Delivery, Row

MICROS = 10**6
MAX_UNITS = 2**63 - 1


class RejectError(ValueError):
    """A line breaks the contract: a code of one word, and a sentence."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclass(frozen=True)
class Line:
    """A line below the header: its number from 1, its first byte from 0, and its fields."""

    number: int
    offset: int
    content: bytes
    fields: dict[str, str]
    reject: RejectError | None = None


def split_lines(content: bytes, delimiter: str) -> Iterator[Line]:
    """Yield the lines below the header; names are in lower case, blanks around values dropped."""
    mark = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    names: list[str] = []
    quoted, offset = False, mark
    for number, raw in enumerate(content[mark:].split(b"\n"), start=1):
        text = raw.removesuffix(b"\r")
        if number == 1:
            quoted = text.startswith(b'"')
            names = [name.lower() for name in split_fields(text.decode(), delimiter, quoted)]
        elif text:
            yield read_line(number, offset, text, names, delimiter, quoted)
        offset += len(raw) + 1


def read_line(
    number: int, offset: int, text: bytes, names: list[str], delimiter: str, quoted: bool
) -> Line:
    """Return a line with its fields by name, or with the rule that its form breaks."""
    try:
        values = split_fields(text.decode(), delimiter, quoted)
    except UnicodeDecodeError:
        return Line(number, offset, text, {}, RejectError("not_utf8", "the line is not UTF-8"))
    if len(values) != len(names):
        reason = f"the line has {len(values)} fields, the header has {len(names)}"
        return Line(number, offset, text, {}, RejectError("field_count", reason))
    return Line(number, offset, text, dict(zip(names, values, strict=True)))


def split_fields(text: str, delimiter: str, quoted: bool) -> list[str]:
    """Return the fields of a line without blanks around them, no-break ones too."""
    if quoted:
        return [value.strip() for value in next(csv.reader([text], delimiter=delimiter))]
    return [value.strip() for value in text.split(delimiter)]


def reject_row(delivery: Delivery, capture: Capture, line: Line, reject: RejectError) -> Row:
    """Return the row of `rejects` of a line."""
    return {
        "capture_id": capture.capture_id,
        "table_name": delivery.table_name,
        "line_number": line.number,
        "byte_offset": line.offset,
        "record": escape(line.content),
        "reason_code": reject.code,
        "reason": reject.reason,
        "run_id": delivery.run_id,
        "rejected_at": delivery.recorded_at,
    }


def escape(content: bytes) -> str:
    """Return bytes as text, those outside printable ASCII as backslash escapes."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte != 92 else "\\\\" if byte == 92 else f"\\x{byte:02x}"
        for byte in content
    )


def read_units(text: str) -> int | None:
    """Return a number times 10^6 as an integer of 64 bits; None: another text."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or "e" in text.lower() or "_" in text:
        return None
    units = number * MICROS
    return int(units) if units == int(units) and abs(units) <= MAX_UNITS else None


def read_count(text: str) -> int | None:
    """Return a whole number of 64 bits; None: another text."""
    is_whole = text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()
    return int(text) if is_whole and abs(int(text)) <= MAX_UNITS else None


def read_day(text: str) -> date | None:
    """Return an ISO day; None: it is none."""
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None


def show_units(units: int | None) -> str | None:
    """Return units of 10^-6 as the exports write a decimal: with six decimals."""
    if units is None:
        return None
    sign, size = "-" if units < 0 else "", abs(units)
    return f"{sign}{size // MICROS}.{size % MICROS:06d}"
