"""CSV, whose lines have a delimiter below a header, and lines of fixed width without one."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from orchestration_project.engine.contracts.balance import RecordCount, count_quoted_lines
from orchestration_project.engine.contracts.rules import escape_bytes
from orchestration_project.engine.own.formats.shared import (
    Record,
    Row,
    build_read_error,
    decode_text,
    iterate_table_records,
)
from orchestration_project.engine.own.reading import Reading

MAX_FIELD_CHARACTERS = 1_000_000
BATCH_ROWS = 1_000
"""Rows that are read at once, as the limit of characters holds for other readers, too."""

WHITESPACE = " \t\r\x1a"
"""Characters that lines without a record have; the last one ends files of old systems."""


def read_csv(body: bytes, reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    """Yield the records of a CSV.

    Raises:
        SourceError: Its quotes do not pair, its header lacks a field, or its last line is cut.
    """
    rows = _read_rows(body, reading)
    return (
        _expand_cells(rows, reading, names)
        if reading.unpivot
        else iterate_table_records(rows, names)
    )


def _read_rows(body: bytes, reading: Reading) -> Iterator[Row]:
    text = io.StringIO(decode_text(body), newline="")
    for _ in range(reading.skip):
        text.readline()
    quoting = csv.QUOTE_MINIMAL if reading.quote else csv.QUOTE_NONE
    lines = csv.reader(
        text,
        delimiter=reading.delimiter,
        quotechar=reading.quote or None,
        quoting=quoting,
        strict=True,
    )
    width, last = len(reading.columns), Row(1, reading.columns)
    if reading.columns:
        yield Row(reading.skip, reading.columns)
    while rows := _read_batch(lines, reading.skip):
        width, last = width or len(rows[0].cells), rows[-1]
        yield from rows
    if len(last.cells) < width and not body.endswith((b"\n", b"\r")):
        cut = escape_bytes(",".join(last.cells).encode(), 200)
        raise build_read_error("a whole last line", f"a line without its end: {cut}")


def _read_batch(lines: Any, skip: int) -> list[Row]:
    """Return the next rows of a reader of `csv`; none: it is at its end."""
    rows: list[Row] = []
    begin = skip + lines.line_num + 1
    usual_limit = csv.field_size_limit(MAX_FIELD_CHARACTERS)  # of all readers in this process
    try:
        for fields in islice(lines, BATCH_ROWS):
            rows.append(Row(begin, [field.strip() for field in fields]))
            begin = skip + lines.line_num + 1
    except csv.Error as error:
        raise build_read_error("a CSV whose quotes pair", f"line {begin}: {error}") from error
    finally:
        csv.field_size_limit(usual_limit)
    return rows


def _expand_cells(rows: Iterator[Row], reading: Reading, names: Sequence[str]) -> Iterator[Record]:
    """Yield a record for each cell of the columns after the first.

    Raises:
        SourceError: The first column is another one, or a line has more or fewer fields.
    """
    table = [row.cells for row in rows] or [("",)]
    header, *lines = table
    fixed = [word for word in names if word not in reading.unpivot]
    if [header[0]] != fixed:
        text = escape_bytes(", ".join(header).encode(), 200)
        raise build_read_error(f"a header that begins with {', '.join(fixed)}", text)
    try:
        columns = list(zip(*table, strict=True))
    except ValueError as error:
        raise build_read_error("lines with as many fields as the header", str(error)) from error
    spans = [_find_span(cells, reading.null_values) for cells in columns]
    cells = (
        (first, name, cell, number in span)
        for number, (first, *other_cells) in enumerate(lines, 1)
        for name, cell, span in zip(header[1:], other_cells, spans[1:], strict=True)
        if name and cell
    )
    (column, value), [index] = reading.unpivot, fixed
    for number, (first, name, cell, is_listed) in enumerate(cells, 1):
        texts = {index: first, column: name, value: cell}
        yield Record(number, texts, left_out="" if is_listed else "not_listed")


def _find_span(cells: Sequence[str], null_values: Sequence[str]) -> range:
    """Return the lines of a column from the first value below its header to the last one."""
    blanks = {"", *null_values}
    numbers = [number for number, cell in enumerate(cells) if number and cell not in blanks]
    return range(numbers[0], numbers[-1] + 1) if numbers else range(0)


def count_csv(body: bytes, reading: Reading) -> RecordCount:
    """Count the lines below the header, but for line ends within quotes."""
    if reading.unpivot:
        return _count_cells(body, reading)
    skipped = find_line_start(body, reading.skip)
    document = _replace_quotes(body[skipped:], reading)
    below_header = b"\n" + document if reading.columns else document
    return count_quoted_lines(below_header)[0], len(body)


def _replace_quotes(body: bytes, reading: Reading) -> bytes:
    """Return a document with double quotes in place of its own, and in place of no others."""
    if reading.quote == '"':
        return body
    plain = body.replace(b'"', b"_")
    return plain.replace(reading.quote.encode(), b'"') if reading.quote else plain


QUOTED = re.compile(rb'"([^"]*)"')


def _count_cells(body: bytes, reading: Reading) -> RecordCount:
    """Count the cells that are not blank, but for the header and the first column."""
    plain = QUOTED.sub(
        lambda cell: b"x" if cell[1].strip() else b"",
        _replace_quotes(body[find_line_start(body, reading.skip) :], reading),
    )
    _, *lines = plain.split(b"\n")
    cells = (cell for line in lines for cell in line.split(reading.delimiter.encode())[1:])
    return sum(bool(cell.strip()) for cell in cells), len(body)


def find_line_start(body: bytes, line_count: int) -> int:
    """Return where the bytes below some lines begin."""
    begin = 0
    for _ in range(line_count):
        begin = body.find(b"\n", begin) + 1 or len(body)
    return begin


def read_fixed(body: bytes, reading: Reading, _: Sequence[str]) -> Iterator[Record]:
    """Yield the records; a line that ends before the last position is rejected."""
    positions = reading.positions or {}
    last = max((end for _, end in positions.values()), default=0)
    for number, line in enumerate(decode_text(body).split("\n"), 1):
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
    lines = body[find_line_start(body, reading.skip) :].split(b"\n")
    return sum(bool(line.strip(WHITESPACE.encode())) for line in lines), len(body)
