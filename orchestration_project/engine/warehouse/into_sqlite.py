"""Frames into SQLite: few rows value by value, many by way of a file that SQLite itself reads.

Python needs 6 to 7 µs for a row whose values it hands over one by one. ADBC writes the rows to a
database of their own, without Python, and one INSERT … SELECT brings them over: 3 to 4 µs in all.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection, Table

from orchestration_project.engine.warehouse.remedies import MAKE_SPACE
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.kinds import SQLITE_TIMESTAMP

MANY_ROWS = 5_000
"""So many take less than half of the time by way of the file; 1,000 take as long either way."""

MOST_FILES = 8
"""In a transaction: SQLite attaches ten databases at most, and lets go of none before its end."""

FILE, ATTACHED = "incoming file", "incoming files attached"
"""What a connection's record keeps: where rows on their way are written, and how many files of them
it has attached."""


def insert_into_sqlite(
    connection: Connection, table: Table, frame: pl.DataFrame, rows_at_once: int
) -> None:
    """Insert ``frame``, whose columns are those of ``table``, within the transaction that writes.

    Of at most ``rows_at_once`` there are copies, in Arrow or as Python objects.

    Raises:
        ConfigurationError: The rows' file cannot be written; its disk may be full.
    """
    if len(frame) < MANY_ROWS or connection.info[ATTACHED] == MOST_FILES:
        _insert_values(connection, table, frame, rows_at_once)
        return
    file: Path = connection.info[FILE]
    same = [each.name for each in frame if each.eq_missing(each[0]).all()][: frame.width - 1]
    try:
        with ThreadPoolExecutor(1) as pool:  # from a main thread ADBC takes Ctrl-C for itself
            pool.submit(_write, frame.drop(same), file, rows_at_once).result()
        _insert_file(connection, table, file, frame.columns, _as_stored(frame[:1].select(same)))
    finally:
        file.unlink(missing_ok=True)  # SQLite has it open; nobody else looks for it


def know_file(driver: Any, info: dict[str, Any]) -> None:
    """Have a new connection know the file beside its database for rows on their way."""
    files = {name: file for _, name, file in driver.execute("PRAGMA database_list")}
    info |= {FILE: Path(f"{files['main']}-incoming"), ATTACHED: 0}


def remove_left_file(connection: Connection) -> None:
    """Remove the file of a process that was killed: who has the database's one lock may."""
    connection.info[FILE].unlink(missing_ok=True)


def let_go_of_files(driver: Any, record: Any) -> None:
    """Detach what a connection had attached, as it goes back to its pool.

    There is no ``driver`` any more where an interrupt broke a statement off.
    """
    if driver is None:
        return
    for number in range(record.info.get(ATTACHED, 0)):
        driver.execute(f"DETACH incoming_{number}")
    record.info[ATTACHED] = 0


def _write(frame: pl.DataFrame, file: Path, rows_at_once: int) -> None:
    from adbc_driver_manager import Error  # half a second, which no small load need wait for
    from adbc_driver_sqlite import dbapi
    from pyarrow import RecordBatchReader

    compat = pl.CompatLevel.oldest()
    schema = _as_stored(frame.clear()).to_arrow(compat_level=compat).schema
    batches = (
        piece
        for batch in frame.iter_slices(rows_at_once)
        for piece in _as_stored(batch).to_arrow(compat_level=compat).to_batches()
    )
    try:
        with dbapi.connect(str(file), autocommit=True) as rows, rows.cursor() as cursor:
            for pragma in ("journal_mode = MEMORY", "synchronous = OFF"):
                cursor.execute(f"PRAGMA {pragma}")
                cursor.fetchall()
            cursor.adbc_ingest(
                "incoming", RecordBatchReader.from_batches(schema, batches), mode="create"
            )
    except Error as error:
        raise ConfigurationError(
            "the rows could not be brought to the database",
            expected=f"{len(frame)} rows in a file at {file}, which is removed again",
            found=str(error),
            remedy=MAKE_SPACE,
        ) from error


def _insert_file(
    connection: Connection, table: Table, file: Path, columns: list[str], same: pl.DataFrame
) -> None:
    """Insert the rows in ``file``, with the values of ``same`` in each of them."""
    quote = connection.dialect.identifier_preparer.quote
    driver: Any = connection.connection.driver_connection
    attached = f"incoming_{connection.info[ATTACHED]}"
    driver.execute(f"ATTACH ? AS {attached}", (str(file),))
    connection.info[ATTACHED] += 1
    values = ", ".join("?" if name in same.columns else quote(name) for name in columns)
    driver.execute(
        f"INSERT INTO {quote(table.name)} ({', '.join(map(quote, columns))}) "  # noqa: S608 - quoted names only
        f"SELECT {values} FROM {attached}.incoming ORDER BY rowid",
        same.row(0) if same.width else (),  # a frame without columns has no rows either
    )


def _insert_values(
    connection: Connection, table: Table, frame: pl.DataFrame, rows_at_once: int
) -> None:
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(name) for name in frame.columns)
    places = ", ".join("?" * frame.width)
    statement = f"INSERT INTO {quote(table.name)} ({columns}) VALUES ({places})"  # noqa: S608 - quoted names only
    driver: Any = connection.connection.driver_connection
    for batch in frame.iter_slices(rows_at_once):
        driver.executemany(statement, _as_stored(batch).rows())


def _as_stored(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.col(pl.Datetime).dt.strftime(SQLITE_TIMESTAMP),
        pl.col(pl.Date).dt.to_string("iso"),
        pl.col(pl.Boolean).cast(pl.Int8),
    )
