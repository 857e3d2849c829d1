"""What PostgreSQL copies out, as frames: half the time of rows of Python objects.

Its text format is read: a tab between values, `\\N` for NULL, and a backslash before what would
look like one of these or end a line.
"""

from codecs import BOM_UTF8
from collections.abc import Generator, Iterable, Mapping
from itertools import islice
from typing import Any

import polars as pl
from sqlalchemy import Connection

from orchestration_project.tables.kinds import Query

MOMENT = "%Y-%m-%d %H:%M:%S%.f"
MEANT = {r"\b": "\b", r"\f": "\f", r"\n": "\n", r"\r": "\r", r"\t": "\t", r"\v": "\v", "\\\\": "\\"}


def copied_out(
    connection: Connection, statement: Query, schema: Mapping[str, pl.DataType], rows: int
) -> Generator[pl.DataFrame]:
    """Yield what ``statement`` finds with the types of ``schema``, at most ``rows`` at a time."""
    asked = statement.compile(connection, compile_kwargs={"render_postcompile": True})
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY ({asked}) TO STDOUT", asked.params) as copy:
        blocks = iter(copy)
        while lines := _joined(islice(blocks, rows)):
            yield _typed(lines, schema)


def _joined(lines: Iterable[memoryview]) -> bytes:
    """Return the lines as one; held one by one, the garbage collector would look at each."""
    joined = bytearray()
    for line in lines:
        joined += line
    return bytes(joined)


def _typed(lines: bytes, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    if lines.startswith(BOM_UTF8):  # a value's own, of which the reader takes one for the file's
        lines = BOM_UTF8 + lines
    texts = pl.read_csv(
        lines,
        has_header=False,
        new_columns=list(schema),
        separator="\t",
        quote_char=None,
        null_values="\\N",
        infer_schema=False,
        empty_string_is_null=False,
    )
    return texts.select(read_texts(texts[name], kind) for name, kind in schema.items())


def read_texts(texts: pl.Series, kind: pl.DataType) -> pl.Series:
    """Return values of type ``kind`` from the texts that a database writes of them."""
    if kind == pl.String:
        is_plain = not texts.str.contains("\\", literal=True).any()
        return texts if is_plain else texts.str.replace_many(MEANT)
    if kind == pl.Date:
        return texts.str.to_date("%Y-%m-%d")
    if kind == pl.Boolean:
        return texts == "t"
    if kind == pl.Datetime:
        moments = texts.str.strip_suffix("+00").str.to_datetime(MOMENT, time_unit="us")
        return moments.dt.replace_time_zone("UTC")
    return texts.cast(kind)
