"""CSV, whose lines have a delimiter below a header, and lines of fixed width without one."""

import csv
import io
from collections.abc import Iterator, Sequence

from orchestration_project.contracts.balance import RecordCount, count_quoted_lines
from orchestration_project.own.formats.shared import (
    Record,
    Row,
    decoded,
    records_below_header,
    unreadable,
)
from orchestration_project.own.reading import Reading

MAX_FIELD_CHARACTERS = 1_000_000

WHITESPACE = " \t\r\x1a"
"""Characters that lines without a record have; the last one ends files of old systems."""


def read_csv(body: bytes, reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    """Yield the records of a CSV.

    Raises:
        SourceError: Its quotes do not pair, or its header lacks a field.
    """
    return records_below_header(_rows(body, reading), names)


def _rows(body: bytes, reading: Reading) -> Iterator[Row]:
    text = io.StringIO(decoded(body), newline="")
    for _ in range(reading.skip):
        text.readline()
    lines = csv.reader(text, delimiter=reading.delimiter, strict=True)
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    begin = reading.skip + 1
    try:
        for fields in lines:
            yield Row(begin, [field.strip() for field in fields])
            begin = reading.skip + lines.line_num + 1
    except csv.Error as error:
        raise unreadable("a CSV whose quotes pair", f"line {begin}: {error}") from error


def count_csv(body: bytes, reading: Reading) -> RecordCount:
    """Count the lines below the header, but for line ends within quotes."""
    skipped = below(body, reading.skip)
    return count_quoted_lines(body[skipped:])[0], len(body)


def below(body: bytes, line_count: int) -> int:
    """Return where the bytes below some lines begin."""
    begin = 0
    for _ in range(line_count):
        begin = body.find(b"\n", begin) + 1 or len(body)
    return begin


def read_fixed(body: bytes, reading: Reading, _: Sequence[str]) -> Iterator[Record]:
    """Yield the records; a line that ends before the last position is rejected."""
    positions = reading.positions or {}
    last = max((end for _, end in positions.values()), default=0)
    for number, line in enumerate(decoded(body).split("\n"), 1):
        content = line.rstrip("\r")
        if number <= reading.skip or not content.strip(WHITESPACE):
            continue
        if len(content) < last:
            reason = f"the line has {len(content)} characters, the positions end at {last}"
            yield Record(number, None, ("short_line", reason))
        else:
            texts = {name: content[a - 1 : b].strip() for name, (a, b) in positions.items()}
            yield Record(number, texts)


def count_fixed(body: bytes, reading: Reading) -> RecordCount:
    """Count the lines that are not blank."""
    lines = body[below(body, reading.skip) :].split(b"\n")
    return sum(bool(line.strip(WHITESPACE.encode())) for line in lines), len(body)
