"""Frames into a file of one of six formats, batch by batch, the file whole or not at all.

CSV is that of RFC 4180: CRLF, a header, quotes where they are needed. NULL is nothing between two
commas, an empty text is `""`. Dates are ISO, timestamps ISO in UTC with microseconds. A text that a
spreadsheet would calculate can be escaped in CSV, HTML and Markdown; the other formats have each
value as it is. HTML and Markdown show the values of a CSV in a table, in which NULL is an empty
text; Markdown drops blanks around a text, and has its line breaks as `<br>`.

An Excel workbook has numbers, dates and flags as cells of their type. A cell holds 15 digits, and
no time zone: a whole number or decimal with more digits is text, and so is a timestamp. A double is
rounded to 16 digits, and an empty text is an empty cell, as NULL is.
"""

import html
import math
import os
from codecs import BOM_UTF8
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

import polars as pl

from orchestration_project.engine.connections.files import find_default_mode, open_partial_file
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.queries.relations import Relation
from orchestration_project.tables.schema import Query

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.ipc import RecordBatchFileWriter
    from pyarrow.parquet import ParquetWriter
    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

CSV_TIMESTAMP = "%Y-%m-%dT%H:%M:%S%.6fZ"
PARTIAL_PREFIX, PARTIAL_SUFFIX = ".orchestration_project-export-", ".partial"
"""How a file is named until it is whole: unlike anything else that a user's folder may have."""

FORMULA = r"^[=+\-@\t\r]"
"""How a text begins that a spreadsheet may take for a formula."""

XLSX_ROWS, XLSX_DIGITS, XLSX_CHARACTERS = 1_048_576, 15, 32_767
"""Limits of an Excel sheet: rows with the header, digits of a number, characters of a cell."""

XLSX_FIRST_DAY = date(1900, 3, 1)
"""Excel counts days from 1900 on, and a 29th of February that this year did not have."""

MARKDOWN_ESCAPES = {
    **{character: f"\\{character}" for character in "\\|`*_[]~$#"},
    **{character: html.escape(character) for character in "&<>"},
    **dict.fromkeys(("\r\n", "\n", "\r"), "<br>"),
}
HTML_ESCAPES = {character: html.escape(character) for character in '&<>"'} | {"\r": "&#13;"}
HTML_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Exported rows</title>
<style>
table {{ border-collapse: collapse; font-family: sans-serif; font-size: 13px }}
th, td {{ border: 1px solid #ccc; padding: 2px 6px; text-align: left; white-space: pre-wrap }}
th {{ position: sticky; top: 0; background: #eee }}
{numbers} {{ text-align: right; font-variant-numeric: tabular-nums }}
</style>
</head>
<body>
<table>
<thead><tr>{names}</tr></thead>
<tbody>
"""
HTML_FOOT = "</tbody>\n</table>\n</body>\n</html>\n"

PLAIN_ARROW = pl.CompatLevel.oldest()
"""Arrow's types that every reader of Parquet knows."""


@dataclass(frozen=True)
class ExportSummary:
    """Result of an export."""

    row_count: int
    byte_count: int


Batches = Iterable[pl.DataFrame]
"""Frames with the same columns; the first may have no row, and one there must be."""


def escape_formulas(batch: pl.DataFrame, names: Collection[str]) -> pl.DataFrame:
    """Return ``batch`` with `'` before each text of the columns ``names`` that may be a formula."""
    texts = [name for name, kind in batch.schema.items() if name in names and kind == pl.String()]
    return batch.with_columns(
        pl.when(pl.col(name).str.contains(FORMULA))
        .then(pl.concat_str(pl.lit("'"), name))
        .otherwise(name)
        .alias(name)
        for name in texts
    )


@contextmanager
def open_batches(
    warehouse: Warehouse,
    chosen: Relation,
    names: Sequence[str],
    statement: Query,
    *,
    form: str,
    escape: bool | None,
) -> Iterator[Batches]:
    """Give the rows of a query in batches, ready to be written, of one state of the database.

    Args:
        warehouse: The database.
        chosen: Has the columns of the query.
        names: The columns to write, in order.
        statement: The query.
        form: One of `WRITERS`.
        escape: Whether texts that may be formulas are escaped in all columns, in none, or (None)
            in those that senders write; only in one of `SPREADSHEET_FORMATS`.
    """
    can_escape = form in SPREADSHEET_FORMATS
    escaped = chosen.escaped_columns(names, escape=escape if can_escape else False)
    with warehouse.batches(statement, chosen.table) as batches:
        yield (escape_formulas(batch.select(names), escaped) for batch in batches)


def write_csv(batches: Batches, sink: IO[bytes]) -> ExportSummary:
    """Write ``batches`` as CSV, none of them kept."""
    row_count = byte_count = 0
    for index, batch in enumerate(batches):
        lines = batch.write_csv(
            include_header=index == 0, line_terminator="\r\n", datetime_format=CSV_TIMESTAMP
        ).encode()
        sink.write(lines)
        row_count += batch.height
        byte_count += len(lines)
    sink.flush()
    return ExportSummary(row_count, byte_count)


def write_csv_for_excel(batches: Batches, sink: IO[bytes]) -> ExportSummary:
    """Write ``batches`` as CSV after a byte order mark, by which Excel reads UTF-8."""
    sink.write(BOM_UTF8)
    summary = write_csv(batches, sink)
    return ExportSummary(summary.row_count, summary.byte_count + len(BOM_UTF8))


def write_ndjson(batches: Batches, sink: IO[bytes]) -> ExportSummary:
    """Write ``batches`` as a JSON object a line, none of them kept.

    Timestamps are the text that a CSV has, and decimals are text, as JSON's numbers are inexact.
    Infinite numbers and NaN, which JSON has not, are null.
    """
    row_count = byte_count = 0
    for batch in batches:
        lines = _format_timestamps(batch).with_columns(pl.col(pl.Decimal).cast(pl.String))
        byte_count += sink.write(lines.write_ndjson().encode())
        row_count += batch.height
    sink.flush()
    return ExportSummary(row_count, byte_count)


def write_parquet(
    batches: Batches, sink: IO[bytes], *, footer: Callable[[], Mapping[str, str]] = dict
) -> ExportSummary:
    """Write ``batches`` as Parquet, a row group for each, none of them kept.

    Args:
        batches: The rows.
        sink: The file.
        footer: Gives the metadata of the file, after the last row.
    """
    from pyarrow.parquet import ParquetWriter

    tables = _convert_to_arrow(batches)
    first = next(tables)
    with ParquetWriter(sink, first.schema, compression="zstd") as writer:
        row_count = _write_tables(writer, first, tables)
        if metadata := footer():
            writer.add_key_value_metadata(dict(metadata))
    return ExportSummary(row_count, sink.tell())


def write_arrow(batches: Batches, sink: IO[bytes]) -> ExportSummary:
    """Write ``batches`` as a file of Arrow (Feather 2), a record batch for each, none of them kept.

    Tables of Arrow are the rows as they lie in memory: DataFrames, DuckDB and R map the file.
    """
    from pyarrow.ipc import new_file

    tables = _convert_to_arrow(batches)
    first = next(tables)
    with new_file(sink, first.schema) as writer:
        row_count = _write_tables(writer, first, tables)
    return ExportSummary(row_count, sink.tell())


def _convert_to_arrow(batches: Batches) -> Iterator["pa.Table"]:
    return (batch.to_arrow(compat_level=PLAIN_ARROW) for batch in batches)


def _write_tables(
    writer: "ParquetWriter | RecordBatchFileWriter", first: "pa.Table", others: Iterable["pa.Table"]
) -> int:
    """Write tables of which the first one may be empty; return the number of rows."""
    row_count = first.num_rows
    if row_count:
        writer.write_table(first)
    for table in others:
        writer.write_table(table)
        row_count += table.num_rows
    return row_count


def write_markdown(batches: Batches, sink: IO[bytes]) -> ExportSummary:
    """Write ``batches`` as a table of GitHub-flavoured Markdown, none of them kept."""

    def head(schema: pl.Schema) -> str:
        lines = ["---:" if kind.is_numeric() else "---" for kind in schema.values()]
        return f"| {' | '.join(schema)} |\n| {' | '.join(lines)} |\n"

    return _write_table(batches, sink, head, MARKDOWN_ESCAPES, ("| ", " | ", " |\n"))


def write_html(batches: Batches, sink: IO[bytes]) -> ExportSummary:
    """Write ``batches`` as an HTML page with one table, none of them kept."""

    def head(schema: pl.Schema) -> str:
        places = [index for index, kind in enumerate(schema.values(), 1) if kind.is_numeric()]
        numbers = ", ".join(f"td:nth-child({index})" for index in places)
        names = "".join(f"<th>{html.escape(name)}</th>" for name in schema)
        return HTML_HEAD.format(numbers=numbers or ".number", names=names)

    cells = ("<tr><td>", "</td><td>", "</td></tr>\n")
    return _write_table(batches, sink, head, HTML_ESCAPES, cells, HTML_FOOT)


def _write_table(
    batches: Batches,
    sink: IO[bytes],
    head: Callable[[pl.Schema], str],
    escapes: Mapping[str, str],
    cells: tuple[str, str, str],
    foot: str = "",
) -> ExportSummary:
    """Write rows as lines of text; ``cells`` is what begins a row, parts its cells and ends it."""
    begin, between, end = cells
    row_count = byte_count = 0
    for index, batch in enumerate(batches):
        texts = _format_timestamps(batch).cast(pl.String).fill_null("")
        escaped = pl.all().str.replace_many(dict(escapes), leftmost=True)
        rows = texts.select(pl.concat_str(escaped, separator=between)).to_series()
        lines = [head(batch.schema)] if index == 0 else []
        lines += [f"{begin}{row}{end}" for row in rows]
        byte_count += sink.write("".join(lines).encode())
        row_count += batch.height
    byte_count += sink.write(foot.encode())
    sink.flush()
    return ExportSummary(row_count, byte_count)


def _format_timestamps(batch: pl.DataFrame) -> pl.DataFrame:
    """Return ``batch`` with timestamps as the text that a CSV has."""
    return batch.with_columns(pl.col(pl.Datetime).dt.strftime(CSV_TIMESTAMP))


def write_xlsx(batches: Batches, sink: IO[bytes]) -> ExportSummary:
    """Write ``batches`` as a workbook of Excel with one sheet, none of them kept.

    Rows wait in a temporary file, as a workbook is a ZIP archive of sheets that are whole.

    Raises:
        ConfigurationError: There are more rows than a sheet holds, or a text longer than a cell.
        OSError: The workbook or the temporary file cannot be written.
    """
    from xlsxwriter import Workbook
    from xlsxwriter.exceptions import FileCreateError

    try:
        with TemporaryDirectory(prefix=PARTIAL_PREFIX) as folder:
            options = {"constant_memory": True, "tmpdir": folder}
            with Workbook(sink, options) as workbook:
                row_count = _fill(workbook.add_worksheet(), workbook.add_format, batches)
    except FileCreateError as error:
        raise OSError(*error.args[0].args) from error
    return ExportSummary(row_count, sink.seek(0, os.SEEK_END))


def _fill(
    sheet: "Worksheet", new_format: Callable[[dict[str, Any]], "Format"], batches: Batches
) -> int:
    """Write a header and rows; return how many rows there are."""
    sheet.freeze_panes(1, 0)
    row_count, writers = 0, list[_Cells]()
    for batch in batches:
        if not writers:
            sheet.write_row(0, 0, list(batch.columns), new_format({"bold": True}))
            writers = [_Cells(sheet, new_format, kind) for kind in batch.dtypes]
        if row_count + batch.height >= XLSX_ROWS:
            raise ConfigurationError(
                f"a sheet of Excel has at most {XLSX_ROWS - 1:,} rows below its header",
                remedy="narrow the rows by --where, or use --format parquet or csv",
            )
        for number, row in enumerate(_format_timestamps(batch).iter_rows(), row_count + 1):
            for column, value in enumerate(row):
                if value is not None:
                    writers[column].write(number, column, value)
        row_count += batch.height
    return row_count


class _Cells:
    """Writes the cells of a column, whose values are of one polars type."""

    def __init__(
        self,
        sheet: "Worksheet",
        new_format: Callable[[dict[str, Any]], "Format"],
        kind: pl.DataType,
    ) -> None:
        self._sheet = sheet
        self._formula_like = new_format({"quote_prefix": True})
        scale = kind.scale if isinstance(kind, pl.Decimal) else 0
        form = "yyyy-mm-dd" if kind == pl.Date() else f"0.{'0' * scale}" if scale else "General"
        self._format = new_format({"num_format": form})
        self._limit = 10**XLSX_DIGITS / Decimal(10**scale)

    def write(self, row: int, column: int, value: object) -> None:
        """Write a value that is not NULL, as text where a cell of its type would change it."""
        match value:
            case bool():
                self._sheet.write_boolean(row, column, value)
            case int() | Decimal() if abs(value) < self._limit:
                self._sheet.write_number(row, column, float(value), self._format)
            case float() if math.isfinite(value):
                self._sheet.write_number(row, column, value, self._format)
            case date() if value >= XLSX_FIRST_DAY:
                moment = datetime.combine(value, time())
                self._sheet.write_datetime(row, column, moment, self._format)
            case _:
                self._write_text(row, column, str(value))

    def _write_text(self, row: int, column: int, text: str) -> None:
        if len(text) > XLSX_CHARACTERS:
            raise ConfigurationError(
                f"row {row} has a text of {len(text):,} characters; a cell of Excel has at most "
                f"{XLSX_CHARACTERS:,}",
                remedy="leave out the column by --columns, or use --format parquet or csv",
            )
        is_formula_like = text.startswith(("=", "+", "-", "@"))
        self._sheet.write_string(row, column, text, self._formula_like if is_formula_like else None)


Writer = Callable[[Batches, IO[bytes]], ExportSummary]
WRITERS: Mapping[str, Writer] = {
    "csv": write_csv,
    "parquet": write_parquet,
    "arrow": write_arrow,
    "xlsx": write_xlsx,
    "html": write_html,
    "md": write_markdown,
    "ndjson": write_ndjson,
}
TEXT_FORMATS = ("csv", "html", "md", "ndjson")
"""Formats that a pipe takes."""

SPREADSHEET_FORMATS = ("csv", "html", "md")
"""Formats that a spreadsheet reads as text, in which one that may be a formula can be escaped."""


@contextmanager
def open_atomic_file(path: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """Give a file that takes its place at ``path`` once everything is written, or never.

    What a killed export left in the folder is removed.

    Raises:
        ConfigurationError: There is a file already and ``replace`` is not requested, there is
            something else than a file, or it cannot be written.
    """
    try:
        place = path.resolve()  # of a link, the file that it points to
        _refuse_taken(place, path, replace=replace)
        beside = open_partial_file(place.parent, prefix=PARTIAL_PREFIX, suffix=PARTIAL_SUFFIX)
        with beside as (file, partial):
            yield file
            file.flush()
            os.fchmod(file.fileno(), find_default_mode())
            os.fsync(file.fileno())
            _refuse_taken(place, path, replace=replace)  # another process may have written it
            partial.replace(place)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written",
            expected="a folder that is there and ours to write, with free space",
            found=str(error.strerror),
            remedy="name another file",
        ) from error


def _refuse_taken(place: Path, shown: Path, *, replace: bool) -> None:
    if place.exists() and not (replace and place.is_file()):
        raise ConfigurationError(
            f"{shown} is there already" if place.is_file() else f"{shown} is not a file",
            remedy="name another file" + (", or add --force" if place.is_file() else ""),
        )
