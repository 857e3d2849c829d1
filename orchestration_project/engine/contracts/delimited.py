"""Delimited text into rows of exact strings: its header, and lines that are not rows, set aside.

Line by line, so that one bad line spoils no other, and every line ends in exactly one place.
Nothing is taken for a missing value: `NA` and `NULL` are symbols. Blanks around a text stay
here; a contract drops them (`contracts.values.trimmed`). Quotes mean something only
below a header that is quoted itself; a carriage return ends a line only below a header that ends in
one itself.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

import polars as pl

from orchestration_project.engine.contracts.balance import count_byte, count_lines
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.rules import (
    RowRule,
    apply_rules,
    escape_bytes,
)
from orchestration_project.errors import ContractError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NAMES_SHOWN, NAME_SHOWN_BYTES = 5, 60

UTF_16 = ("text in UTF-16", "save it as UTF-8")
STARTS = (
    (b"\x1f\x8b", ("compressed by gzip", "unpack it")),
    (b"PK\x03\x04", ("a zip archive or a spreadsheet", "unpack it, or save it as text")),
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
    (b"<", ("a web page", "look at it in a browser: it may say why; then download the data again")),
    (b"{", ("JSON", "request delimited text")),
    (b"[", ("JSON", "request delimited text")),
)
"""How other things begin, what each is, and what to do about it."""

DELIMITER = "|"
OTHER_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}


@dataclass(frozen=True)
class Header:
    """The names of a part's columns, and how its lines are written."""

    names: list[str]
    is_quoted: bool
    has_windows_line_ends: bool


def read_header(
    part: Part, line: bytes, columns: Sequence[str], *, of: str = "the weekly data"
) -> Header:
    r"""Read a part's first ``line``, which must name all of ``columns``, in whatever case.

    A byte order mark, as spreadsheets write it, is not part of the first name, and a carriage
    return at the end is none of the last: the lines of such a part end in ``\r\n``. ``of`` is what
    an error calls the data.

    Raises:
        ContractError: It lacks a column, or names one twice.
    """
    text = line.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "backslashreplace")
    names = _spell_names(columns, _split_names(text.removesuffix("\r")))
    missing = [name for name in columns if name not in names]
    repeated = [name for name in columns if names.count(name) > 1]
    if missing or repeated:
        seems = _infer_format(line, columns) if missing else None
        unknown = [name for name in names if name and name not in columns] if missing else []
        what, remedy = seems or (None, "compare the source's field list with the one expected here")
        raise ContractError(
            f"this is not {of}: it seems to be {what}"
            if what
            else f"the header is not that of {of}: "
            + _describe_names({"lacks": missing, "repeats": repeated, "has unknown": unknown}),
            expected=DELIMITER.join(columns),
            found=escape_bytes(line, 400),
            remedy=remedy,
            part=part.part_number,
        )
    return Header(names, text.startswith('"'), text.endswith("\r"))


def find_columns(part: Part, columns: Sequence[str]) -> tuple[str, ...]:
    """Return those of ``columns`` that the header of a part names, in whatever case."""
    line = next(BytesIO(part.body), b"").removesuffix(b"\n")
    text = line.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "backslashreplace")
    names = _spell_names(columns, _split_names(text.removesuffix("\r")))
    return tuple(name for name in columns if name in names)


def parse_quoted(line: str, delimiter: str = DELIMITER) -> list[str] | None:
    """Return the fields of a quoted line; None where quotes do not pair.

    The reader would drop a carriage return at the end, and nothing is to be dropped.
    """
    try:
        fields = next(csv.reader([line], delimiter=delimiter, strict=True), [""])
    except csv.Error:
        return None
    return None if "\r" in line else fields or [""]


def _spell_names(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return ``names`` in the spelling of ``columns`` where they differ in case alone."""
    spelling = {name.lower(): name for name in columns if name not in names}
    return [spelling.get(name.lower(), name) for name in names]


def _split_names(text: str, delimiter: str = DELIMITER) -> list[str]:
    return (parse_quoted(text, delimiter) or []) if text.startswith('"') else text.split(delimiter)


def _describe_names(names: dict[str, list[str]]) -> str:
    return "; ".join(
        f"{what} "
        + ", ".join(_escape_name(name) for name in which[:NAMES_SHOWN])
        + (f" and {len(which) - NAMES_SHOWN} more" if len(which) > NAMES_SHOWN else "")
        for what, which in names.items()
        if which
    )


def _escape_name(name: str) -> str:
    return escape_bytes(name.encode(), NAME_SHOWN_BYTES).replace("\\\\", "\\")  # escaped already


def _infer_format(line: bytes, columns: Sequence[str]) -> tuple[str, str] | None:
    """Return the likely format of bytes with a wrong header, and the remedy; None if unknown."""
    for start, seems in STARTS:
        if line.lstrip(b" \t\r").startswith(start):
            return seems
    if b"\0" in line:
        return UTF_16
    text = line.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace")
    lengths = {
        mark: len(set(columns) & set(_split_names(text, mark)))
        for mark in (DELIMITER, *OTHER_DELIMITERS)
    }
    best = max(lengths, key=lambda mark: lengths[mark])
    if lengths[best] > max(lengths[DELIMITER], 1):
        return (
            f"text separated by {OTHER_DELIMITERS[best]}, not by {DELIMITER}",
            f"save it with {DELIMITER} between the fields",
        )
    if "\r" in text.removesuffix("\r"):
        return "text whose lines end in carriage returns alone", r"save it with line ends of \n"
    return None


PLACE = {"part_number": pl.Int64(), "line_number": pl.Int64()}
REJECT = PLACE | {"reason_code": pl.String(), "reason": pl.String()}


@dataclass(frozen=True)
class Parsed:
    """Texts of a delivery, each with its place: ``part_number`` and ``line_number``.

    Attributes:
        rows: The columns that were requested, as strings.
        rejects: Lines that are not rows, with ``reason_code`` and ``reason``.
        parts: The text that lines are counted in, where that is not what was fetched (an archive).
        filtered: Numbers of records that are neither, by the name of the filter.
    """

    rows: pl.DataFrame
    rejects: pl.DataFrame
    parts: Sequence[Part] = ()
    filtered: Mapping[str, int] = field(default_factory=dict[str, int])


def count_data_rows(body: bytes) -> int:
    """Return the number of lines after the header."""
    return count_lines(body)[0]


def find_unfinished_line(body: bytes) -> bytes:
    """Return a last line that has neither its end nor all its fields; blank where there is none.

    A missing newline alone is usual. Below a header that is not text, nothing can be said.
    """
    header, _, lines = body.partition(b"\n")
    last = lines.rpartition(b"\n")[2]
    is_text = header.removeprefix(BYTE_ORDER_MARK).isascii() and b"\0" not in header
    return (
        last
        if is_text and last.count(DELIMITER.encode()) < header.count(DELIMITER.encode())
        else b""
    )


def parse_parts(
    parts: Sequence[Part],
    columns: Sequence[str],
    *,
    of: str = "the weekly data",
) -> Parsed:
    """Parse each part, whose first line is a header that must name all of ``columns``.

    ``of`` is what an error calls the data.

    Raises:
        ContractError: A header lacks a column, or names one twice.
    """
    plain, names = _find_plain_parts(parts, columns, of)
    read = _read_plain(plain, names, columns)
    is_read = {part.part_number for part, _ in plain} if read is not None else set()
    other_parsed = [_parse(part, columns, of) for part in parts if part.part_number not in is_read]
    rows_schema = PLACE | {name: pl.String() for name in columns}
    first = read if read is not None else pl.DataFrame(schema=rows_schema)
    rows = pl.concat([first, *(parsed.rows for parsed in other_parsed)])
    return Parsed(
        rows.sort(*PLACE) if is_read and other_parsed else rows,
        pl.concat([pl.DataFrame(schema=REJECT), *(parsed.rejects for parsed in other_parsed)]),
    )


def _find_plain_parts(
    parts: Sequence[Part], columns: Sequence[str], of: str
) -> tuple[list[tuple[Part, int]], Sequence[str]]:
    """Return the parts in which no line can be wrong but by its length, with their row counts.

    Their headers are equal, as the reader goes by the first; its names come with them.
    """
    headers = [next(BytesIO(part.body), b"").removesuffix(b"\n") for part in parts]
    alike = [part for part, line in zip(parts, headers, strict=True) if line == headers[0]]
    if not alike:
        return [], ()
    header = read_header(alike[0], headers[0], columns, of=of)
    counted = [(part, _count_plain_rows(part, header)) for part in alike]
    return [(part, count) for part, count in counted if count], header.names


def _read_plain(
    plain: Sequence[tuple[Part, int]], names: Sequence[str], columns: Sequence[str]
) -> pl.DataFrame | None:
    """Return the rows of all ``plain`` parts, eight times faster than line by line.

    None: no part is given; or a line has more fields and another as many less, which the reader
    reports only if it is asked for all columns; or it cannot name them all.
    """
    if not plain:
        return None
    try:
        rows = pl.read_csv(
            [part.body for part, _ in plain],
            separator=DELIMITER,
            quote_char=None,
            infer_schema=False,
            empty_string_is_null=False,
        )
        rows.columns = names
    except (pl.exceptions.ComputeError, pl.exceptions.DuplicateError):
        return None
    places = [
        pl.select(
            part_number=pl.lit(part.part_number, pl.Int64),
            line_number=pl.int_range(2, height + 2, dtype=pl.Int64),
        )
        for part, height in plain
    ]
    placed = pl.concat(places, rechunk=True)
    return placed.hstack(rows.select(columns).rechunk())  # all that follows is faster in one piece


def _count_plain_rows(part: Part, header: Header) -> int:
    """Return the number of lines below a header; 0 if the bytes are not plain text.

    Neither are they if they do not add up to as many fields as they should.
    """
    body, width = part.body, len(header.names)
    if header.is_quoted or b"\r" in body or b"\0" in body or body.startswith(BYTE_ORDER_MARK):
        return 0
    if not body.isascii() and _decode_utf8(body) is None:
        return 0
    count = count_data_rows(body)
    return count if count_byte(body, DELIMITER.encode()) == (count + 1) * (width - 1) else 0


def _parse(part: Part, columns: Sequence[str], of: str) -> Parsed:
    lines = part.body.removesuffix(b"\n").split(b"\n")
    header = read_header(part, lines[0], columns, of=of)
    width = len(header.names)
    split = _split_quoted if header.is_quoted else _split_plain
    numbered = _trim_line_ends(_decode_lines(lines), part, header)
    good, bad = apply_rules(split(numbered, width), _build_line_rules(width))
    aliases = [
        pl.col("fields").struct.field(f"field_{header.names.index(name)}").alias(name)
        for name in columns
    ]
    expressions = [pl.lit(part.part_number, pl.Int64).alias("part_number"), pl.col("line_number")]
    return Parsed(
        good.select(*expressions, *aliases), bad.select(*expressions, "reason_code", "reason")
    )


def _build_line_rules(width: int) -> list[RowRule]:
    """Return the defect of a line; ``found`` is its number of fields, null where it has none."""
    line, col = pl.col("line"), pl.col("found")
    return [
        RowRule("not_utf8", line.is_null(), pl.lit("the line is not UTF-8")),
        RowRule(
            "nul_byte",
            line.str.contains("\0", literal=True),
            pl.lit("the line holds a NUL byte, which no database text can keep"),
        ),
        RowRule(
            "wrong_line_end",
            pl.col("has_wrong_end"),
            pl.lit("the line does not end as the header does: one has a carriage return there"),
        ),
        RowRule(
            "malformed_quotes",
            col.is_null(),
            pl.lit("the line's quotes do not pair, or it holds a carriage return"),
        ),
        RowRule(
            "wrong_field_count",
            col != width,
            pl.format("the line has {} fields, the header has {}", col, pl.lit(width)),
        ),
    ]


def _decode_lines(lines: Sequence[bytes]) -> pl.DataFrame:
    """Return line_number, line and reason for all lines but the header."""
    try:
        texts: Sequence[str | None] = b"\n".join(lines[1:]).decode("utf-8").split("\n")
    except UnicodeDecodeError:
        texts = [_decode_utf8(line) for line in lines[1:]]
    frame = pl.DataFrame({"line": texts[: len(lines) - 1]}, schema={"line": pl.String()})
    return frame.with_row_index("line_number", offset=2).cast({"line_number": pl.Int64})


def _decode_utf8(line: bytes) -> str | None:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _trim_line_ends(numbered: pl.DataFrame, part: Part, header: Header) -> pl.DataFrame:
    """Take off the carriage returns that end lines; note where one is missing or too many.

    A last line without its newline has no line end, and so no carriage return either.
    """
    line = pl.col("line")
    is_ended = (pl.col("line_number") != len(numbered) + 1) | part.body.endswith(b"\n")
    is_wanted = is_ended & header.has_windows_line_ends
    return numbered.with_columns(
        has_wrong_end=line.str.ends_with("\r") != is_wanted,
        line=pl.when(is_wanted).then(line.str.strip_suffix("\r")).otherwise(line),
    )


def _split_plain(numbered: pl.DataFrame, width: int) -> pl.DataFrame:
    line = pl.col("line")
    return numbered.with_columns(
        found=line.str.count_matches(DELIMITER, literal=True) + 1,
        fields=line.str.split_exact(DELIMITER, width - 1),
    )


def _split_quoted(numbered: pl.DataFrame, width: int) -> pl.DataFrame:
    names = [f"field_{position}" for position in range(width)]
    values = [None if line is None else parse_quoted(line) for line in numbered["line"]]
    fitting = [
        dict(zip(names, value, strict=True)) if value is not None and len(value) == width else None
        for value in values
    ]
    return numbered.with_columns(
        found=pl.Series(
            [None if value is None else len(value) for value in values], dtype=pl.UInt32
        ),
        fields=pl.Series(fitting, dtype=pl.Struct(dict.fromkeys(names, pl.String()))),
    )


def add_records(rejects: pl.DataFrame, parts: Sequence[Part]) -> pl.DataFrame:
    """Add each reject's ``byte_offset`` and ``record``, the line as ASCII; in source order."""
    import numpy as np

    ordered = rejects.sort("part_number", "line_number")
    bodies = {part.part_number: part.body for part in parts}
    offsets, records = [], []
    for (part_number,), group in ordered.group_by("part_number", maintain_order=True):
        body = bodies[part_number]
        newlines = np.flatnonzero(np.frombuffer(body, np.uint8) == ord("\n")).tolist()
        ends = [-1, *newlines, len(body)]
        for number in group["line_number"]:
            offsets.append(ends[number - 1] + 1)
            records.append(escape_bytes(body[ends[number - 1] + 1 : ends[number]]))
    return ordered.with_columns(
        byte_offset=pl.Series(offsets, dtype=pl.Int64), record=pl.Series(records, dtype=pl.String)
    )
