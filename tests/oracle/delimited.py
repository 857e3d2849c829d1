"""Reads delimited text: lines with their place, and fields as exact values or with a reject."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation

from tests.oracle.archive import Row
from tests.oracle.documented import Column

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

    rows: dict[tuple, Row] = field(default_factory=dict)
    rejects: list[Row] = field(default_factory=list)
    line_count: int = 0
    has_unique_keys: bool = True


def parse_lines(
    parsed: Parsed,
    delivery: Row,
    key: Sequence[str],
    read: Callable[[dict[str, str]], Row | None],
) -> None:
    """Add the rows that ``read`` makes of the lines of a delivery; it returns None for others."""
    for capture in delivery["captures"]:
        header, *lines = split_lines(capture["content"])
        for line in lines:
            parsed.line_count += 1
            try:
                row = read(read_line(line[2], header[2]))
            except RejectError as reject:
                parsed.rejects.append(reject_row(delivery, capture, line, reject))
                continue
            if row is not None:
                place = tuple(row[name] for name in key)
                parsed.has_unique_keys &= place not in parsed.rows
                parsed.rows[place] = row | {"capture_id": capture["capture_id"]}


def split_lines(content: bytes) -> Iterator[Line]:
    """Yield the lines that are not empty, the header first."""
    offset = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    for number, raw in enumerate(content[offset:].split(b"\n"), start=1):
        if text := raw.removesuffix(b"\r"):
            yield number, offset, text
        offset += len(raw) + 1


def read_line(content: bytes, header: bytes) -> dict[str, str]:
    """Return the texts of a line by the names of the header, in lower case."""
    is_quoted = header.startswith(b'"')
    names = split_fields(header.decode().lower(), is_quoted)
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
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or "e" in text.lower() or "_" in text:
        return None
    units = number * MICROS
    return number if units == int(units) and abs(units) <= MAX_UNITS else None


def read_units(text: str) -> int | None:
    """Return a number times 10^6; None: another text."""
    number = read_decimal(text)
    return None if number is None else int(number * MICROS)


def read_count(text: str) -> int | None:
    """Return a whole number of 64 bits; None: another text."""
    digits = text.removeprefix("-")
    is_whole = digits.isascii() and digits.isdigit()
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


READERS: dict[str, Callable[[str], object]] = {
    "text": str,
    "cusip": read_cusip,
    "date": read_day,
    "integer": read_count,
    "units": read_units,
    "decimal": read_decimal,
}
"""Readers of a text as a kind; they return None for one that is not of the kind."""

AMOUNT = "no number with up to 6 decimals that 64 bits keep exactly"


def read_columns(columns: Iterable[Column], fields: dict[str, str], amount: str = AMOUNT) -> Row:
    """Return the row of a line; `amount` is what a number that may be blank is expected to be."""
    row: Row = {}
    for column in columns:
        source = next((name for name in column.fields if name.lower() in fields), "")
        text = fields.get(source.lower(), "")
        is_null = not text and column.is_nullable
        row[column.name] = None if is_null else READERS[column.kind](text)
        if row[column.name] is None and not is_null:
            code, expected = expectation(column, amount)
            raise RejectError(code, f"{source} is {expected}: {text}")
    return row


def expectation(column: Column, amount: str) -> tuple[str, str]:
    """Return the code of the reject of another text, and what a column expects."""
    if column.kind == "cusip":
        return "not_a_cusip", "not a CUSIP of nine characters"
    if column.kind == "date":
        return "impossible_date", "no date"
    if column.is_nullable or column.kind == "units":
        return "not_an_amount", amount
    return "not_a_number", "not a number"
