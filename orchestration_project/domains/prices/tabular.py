"""Files of prices, CSV or Parquet, of one or many symbols; the header names the columns."""

import csv
import re
from collections.abc import Mapping, Sequence
from datetime import date
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

import polars as pl

from orchestration_project.domains.prices.days import VALUES, answer_of, refuse

if TYPE_CHECKING:
    import pyarrow as pa  # where a Parquet file is read: it takes a tenth of a second

SYMBOL = "symbol"

PARQUET = b"PAR1"
"""How a Parquet file begins."""

ALSO_CALLED = {
    "date": "trade_date",
    "timestamp": "trade_date",
    "ticker": SYMBOL,
    "adj_close": "adjusted_close",
    "dividends": "dividend",
    "dividend_amount": "dividend",
    "split_coefficient": "split_ratio",
    "stock_splits": "split_ratio",
}
"""Names that other programs give their columns, in lower case and with _ for a blank."""

PARQUET_TYPES = (
    *("null", "integer", "floating", "decimal32", "decimal64", "decimal128", "string"),
    *("large_string", "string_view", "binary", "large_binary", "date", "timestamp"),
)
"""Allowed types of a Parquet column, as in `pyarrow.types`."""

CONVERSION_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError)
"""Errors of polars for values out of bounds, such as a time in an unknown zone."""

REQUIRED_COLUMNS = ("trade_date", "close")

EXPECTED = (
    f"columns such as {', '.join((SYMBOL, *VALUES))}, "
    f"of these at least {', '.join(REQUIRED_COLUMNS)}"
)

NO_SPLIT = re.compile(r"0+(?:\.0*)?", re.ASCII)
"""How `stock_splits`, which pandas' users get from Yahoo, says that a day has none."""

BYTE_ORDER_MARK = "\ufeff"


def read_csv(body: bytes) -> pl.DataFrame:
    """Return the days of a CSV file, a line each; an empty field is null.

    Raises:
        SourceError: It is none, lacks a column, or a line has more or fewer fields than the header.
    """
    lines = csv_lines(body)
    places = places_of(body, lines[0] if lines else [])
    for number, line in enumerate(lines, start=1):
        if len(line) != len(lines[0]):
            refuse(body, f"{len(lines[0])} fields in each line", f"{len(line)} in line {number}")
    values = {name: [line[place] or None for line in lines[1:]] for name, place in places.items()}
    return _read_days(values, lines[0], first_line=2)


def csv_lines(body: bytes) -> list[list[str]]:
    """Return the fields of each line, the header first.

    Raises:
        SourceError: It is not a text in UTF-8, or its quotes do not pair.
    """
    try:
        text = body.decode("utf-8").removeprefix(BYTE_ORDER_MARK)
        return list(csv.reader(StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        refuse(body, "CSV in UTF-8", str(error))


def read_parquet(body: bytes) -> pl.DataFrame:
    """Return the days of a Parquet file; numbers as the shortest text that is that number.

    Raises:
        SourceError: It is none, or lacks a column.
    """
    table = parquet_table(body)
    places = places_of(body, table.column_names)
    try:
        columns: Any = pl.from_arrow(table)
        texts = columns.select(_read_text(name, kind) for name, kind in columns.schema.items())
    except CONVERSION_ERRORS as error:
        refuse(body, "columns of plain values", str(error))
    values = {name: texts.to_series(index).to_list() for index, name in enumerate(places)}
    return _read_days(values, table.column_names, first_line=1)


def _read_text(name: str, kind: pl.DataType) -> pl.Expr:
    """Return the texts of a column; a day that Python does not have is none."""
    if not kind.is_temporal():
        return pl.col(name).cast(pl.String)
    day = pl.col(name).dt.date()
    is_day = day.is_between(date.min, date.max)  # polars panics at days that it cannot write
    return pl.when(is_day).then(day).cast(pl.String).alias(name)


def parquet_table(body: bytes) -> "pa.Table":
    """Return our columns of a Parquet file.

    Raises:
        SourceError: It is none, lacks a column, or one of ours has other than plain values.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        table = ParquetFile(BytesIO(body)).read()
    except (pa.ArrowException, OSError, ValueError) as error:
        refuse(body, "a whole Parquet file", str(error))
    ours = table.select(list(places_of(body, table.column_names).values()))
    for field in ours.schema:
        if not _is_plain(field.type):
            refuse(body, "columns of plain values", f"{field.name} of {field.type}")
    return ours


def _is_plain(kind: "pa.DataType") -> bool:
    """Say whether polars takes values of this type, and does not panic."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    return any(getattr(types, f"is_{name}")(kind) for name in PARQUET_TYPES)


def places_of(body: bytes, header: Sequence[str]) -> Mapping[str, int]:
    """Return where each of our columns stands.

    Raises:
        SourceError: One that is needed is missing, or one stands there twice.
    """
    names = [ALSO_CALLED.get(name, name) for name in map(_normalise_name, header)]
    ours = [name for name in names if name in (SYMBOL, *VALUES)]
    if missing := [name for name in REQUIRED_COLUMNS if name not in ours]:
        refuse(body, EXPECTED, f"no {' and no '.join(missing)}")
    if twice := sorted({name for name in ours if ours.count(name) > 1}):
        refuse(body, "each column once", f"{', '.join(twice)} more than once")
    return {name: names.index(name) for name in ours}


def _normalise_name(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def _read_days(
    values: Mapping[str, Sequence[str | None]], header: Sequence[str], *, first_line: int
) -> pl.DataFrame:
    if "stock_splits" in map(_normalise_name, header):
        splits = [
            "1" if NO_SPLIT.fullmatch(value or "") else value for value in values["split_ratio"]
        ]
        values = {**values, "split_ratio": splits}
    symbols = values.get(SYMBOL)
    days = answer_of(
        {name: column for name, column in values.items() if name != SYMBOL},
        symbol=None,
        first_line=first_line,
    )
    return (
        days
        if symbols is None
        else days.with_columns(symbol=pl.Series(symbols, dtype=pl.String).str.strip_chars())
    )
