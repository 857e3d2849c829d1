"""What SQLite finds, as frames: half of the CPU time of rows that SQLAlchemy reads.

Dates, timestamps and dollars are stored as text, which polars reads a column at a time.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import polars as pl
from sqlalchemy import Connection

from orchestration_project.engine.warehouse.copied_out import read_texts
from orchestration_project.tables.kinds import Query

ROWS_PER_BATCH = 5_000
"""A batch of wide rows takes about 20 MiB, as Python objects and as a frame; larger ones are no
faster."""

STORED_AS_TEXT = (pl.Date, pl.Datetime, pl.Decimal)


@contextmanager
def sorted_on_disk(connection: Connection) -> Iterator[None]:
    """Have SQLite sort in a temporary file what exceeds its cache of 2 MB; others do so anyway.

    Loads sort in memory: they need no temporary folder.
    """
    driver: Any = connection.connection.driver_connection
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        driver.execute("PRAGMA temp_store = FILE")
    try:
        yield
    finally:
        if is_sqlite:
            driver.execute("PRAGMA temp_store = MEMORY")  # the pool gives the connection to others


def out_of_sqlite(
    connection: Connection, statement: Query, schema: Mapping[str, pl.DataType]
) -> Generator[pl.DataFrame]:
    """Yield what ``statement`` finds with the types of ``schema``, batch by batch."""
    with connection.execute(statement) as result:
        cursor: Any = result.cursor
        while rows := cursor.fetchmany(ROWS_PER_BATCH):
            columns = zip(schema.items(), zip(*rows, strict=True), strict=True)
            yield pl.DataFrame([_read(name, values, kind) for (name, kind), values in columns])


def _read(name: str, values: tuple[Any, ...], kind: pl.DataType) -> pl.Series:
    if isinstance(kind, STORED_AS_TEXT):
        return read_texts(pl.Series(name, values, pl.String), kind)
    if kind == pl.Boolean:
        return pl.Series(name, values, pl.Int64).cast(kind)
    return pl.Series(name, values, kind)
