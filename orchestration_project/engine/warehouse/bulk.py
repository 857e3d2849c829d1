"""Many rows in and out of a database: COPY of PostgreSQL, files of SQLite."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Table

from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.warehouse.connecting import ATTACHED, FILE, MAIN
from orchestration_project.engine.warehouse.remedies import MAKE_SPACE
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.tables.schema import SQLITE_TIMESTAMP, Query

MOMENT = "%Y-%m-%d %H:%M:%S%.f"
INTERRUPTIBLE_SECONDS = 0.1

T = TypeVar("T")

ESCAPES = {
    r"\b": "\b",
    r"\f": "\f",
    r"\n": "\n",
    r"\r": "\r",
    r"\t": "\t",
    r"\v": "\v",
    "\\\\": "\\",
}


def iterate_copied(
    connection: Connection, statement: Query, schema: Mapping[str, pl.DataType], rows: int
) -> Generator[pl.DataFrame]:
    """Yield the rows of ``statement`` with the types of ``schema``, at most ``rows`` at a time.

    More rows are read by a thread, while those before are parsed and used.
    """
    compiler = statement.compile(connection, compile_kwargs={"render_postcompile": True})
    driver: Any = connection.connection.driver_connection
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY ({compiler}) TO STDOUT", compiler.params),
    ):
        lines, is_end = driver.wait(_receive_lines(driver.pgconn, rows))
        if not is_end:
            with ThreadPoolExecutor(1) as pool:
                try:
                    while not is_end:
                        following = pool.submit(driver.wait, _receive_lines(driver.pgconn, rows))
                        yield _parse_lines(lines, schema)
                        lines, is_end = _await_result(following)
                except BaseException:
                    driver.cancel_safe()  # or the thread would wait for the server
                    raise
        if lines:
            yield _parse_lines(lines, schema)


def _await_result(future: Future[T]) -> T:
    """Return the result of a future, and let an interrupt end the wait for it.

    Once polars ran, which restarts what a signal breaks off, one waiting for a lock sees none.
    """
    while not wait([future], timeout=INTERRUPTIBLE_SECONDS).done:
        pass
    return future.result()


def _receive_lines(connection: Any, count: int) -> Generator[Any, Any, tuple[bytes, bool]]:
    """Return so many lines of a COPY, and whether it ended; psycopg's `wait` runs it.

    One `wait` for each line, as psycopg's own has it, takes as long as the rest.
    """
    from psycopg.generators import copy_from

    joined = bytearray()
    for _ in range(count):
        line = yield from copy_from(connection)
        if not isinstance(line, memoryview):  # the result of the whole
            return bytes(joined), True
        joined += line
    return bytes(joined), False


def _parse_lines(lines: bytes, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
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
        return texts if is_plain else texts.str.replace_many(ESCAPES)
    if kind == pl.Date:
        return texts.str.to_date("%Y-%m-%d")
    if kind == pl.Boolean:
        return texts == "t"
    if kind == pl.Datetime:
        moments = texts.str.strip_suffix("+00").str.to_datetime(MOMENT, time_unit="us")
        return moments.dt.replace_time_zone("UTC")
    return texts.cast(kind)


MANY_ROWS = 5_000
"""So many take less than half of the time by way of the file; 1,000 take as long either way."""

MAX_ATTACHED_FILES = 8
"""In a transaction: SQLite attaches ten databases at most, and lets go of none before its end."""


def insert_into_sqlite(
    connection: Connection, table: Table, frame: pl.DataFrame, rows_at_once: int
) -> None:
    """Insert ``frame``, whose columns are those of ``table``, within the transaction that writes.

    Of at most ``rows_at_once`` there are copies, in Arrow or as Python objects.

    Raises:
        ConfigurationError: The rows' file cannot be written; its disk may be full.
    """
    if len(frame) < MANY_ROWS or connection.info[ATTACHED] == MAX_ATTACHED_FILES:
        _insert_values(connection, table, frame, rows_at_once)
        return
    file: Path = connection.info[FILE]
    same = [series.name for series in frame if series.eq_missing(series[0]).all()][
        : frame.width - 1
    ]
    try:
        with ThreadPoolExecutor(1) as pool:  # from a main thread ADBC takes Ctrl-C for itself
            # A thread whose start is interrupted is not joined, so it starts before the file does.
            pool.submit(len, "").result()
            pool.submit(_write, frame.drop(same), file, rows_at_once).result()
        _insert_file(connection, table, file, frame.columns, encode_sqlite(frame[:1].select(same)))
    finally:
        file.unlink(missing_ok=True)  # SQLite has it open; no other process reads it


def _write(frame: pl.DataFrame, file: Path, rows_at_once: int) -> None:
    from adbc_driver_manager import Error  # half a second, which no small load need wait for
    from adbc_driver_sqlite import dbapi
    from pyarrow import RecordBatchReader

    compat = pl.CompatLevel.oldest()
    schema = encode_sqlite(frame.clear()).to_arrow(compat_level=compat).schema
    batches = (
        piece
        for batch in frame.iter_slices(rows_at_once)
        for piece in encode_sqlite(batch).to_arrow(compat_level=compat).to_batches()
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
        driver.executemany(statement, encode_sqlite(batch).rows())


def encode_sqlite(frame: pl.DataFrame) -> pl.DataFrame:
    """Return values as SQLite stores them: days, timestamps and flags as texts and numbers."""
    return frame.with_columns(
        pl.col(pl.Datetime).dt.strftime(SQLITE_TIMESTAMP),
        pl.col(pl.Date).dt.to_string("iso"),
        pl.col(pl.Boolean).cast(pl.Int8),
    )


ROWS_PER_BATCH = 5_000
"""A batch of wide rows takes about 20 MiB, as Python objects and as a frame. Larger ones gain
nothing."""

ROWS_PER_ARROW_BATCH = 10_000
"""Two such batches take about as much, as none of their values is a Python object."""


@contextmanager
def use_disk_sort(connection: Connection) -> Iterator[None]:
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
        if is_sqlite and not connection.invalidated:  # by an interrupt, which closes the driver's
            driver.execute("PRAGMA temp_store = MEMORY")  # the pool gives the connection to others


def iterate_sqlite(
    connection: Connection, statement: Query, schema: Mapping[str, pl.DataType]
) -> Generator[pl.DataFrame]:
    """Yield the rows of ``statement`` with the types of ``schema``, batch by batch."""
    with connection.execute(statement) as result:
        cursor: Any = result.cursor
        while rows := cursor.fetchmany(ROWS_PER_BATCH):
            columns = zip(schema.items(), zip(*rows, strict=True), strict=True)
            yield pl.DataFrame(
                _read(pl.Series(name, values, _find_stored_type(kind)), kind)
                for (name, kind), values in columns
            )


def iterate_sqlite_adbc(
    connection: Connection, statement: Query, schema: Mapping[str, pl.DataType]
) -> Generator[pl.DataFrame]:
    """Do the same for what is committed, without an object of Python for each value.

    It takes a third of the time. ADBC reads by a connection of its own, which no time limit ends.

    Raises:
        TransientError: Another process keeps the file locked.
        ConfigurationError: SQLite cannot read it.
    """
    from adbc_driver_manager import Error  # half a second, which no few rows need wait for
    from adbc_driver_sqlite import dbapi

    text, values = _compile_for_adbc(connection, statement, schema)
    file = f"{Path(connection.info[MAIN]).as_uri()}?mode=ro"
    try:
        with (
            dbapi.connect(file, autocommit=True) as reader,
            reader.cursor() as cursor,
            ThreadPoolExecutor(1) as pool,  # from a main thread ADBC takes Ctrl-C for itself
        ):
            cursor.adbc_statement.set_options(
                **{"adbc.sqlite.query.batch_rows": str(ROWS_PER_ARROW_BATCH)}
            )
            _await_result(pool.submit(cursor.execute, text, values))
            record_batch = iter(cursor.fetch_record_batch())
            following = pool.submit(next, record_batch, None)
            skipped = 1
            while (batch := _await_result(following)) is not None:
                following = pool.submit(next, record_batch, None)
                stored = pl.DataFrame(pl.from_arrow(batch))[skipped:]
                skipped = 0
                yield stored.select(_read(stored[name], kind) for name, kind in schema.items())
    except Error as error:
        kind = TransientError if "locked" in str(error) else ConfigurationError
        raise kind(
            "SQLite could not read the rows",
            expected=f"a database file at {connection.info[MAIN]} that can be read",
            found=str(error),
            remedy="see whether its disk is damaged or full, and run it again",
        ) from error


def _compile_for_adbc(
    connection: Connection, statement: Query, schema: Mapping[str, pl.DataType]
) -> tuple[str, list[Any]]:
    """Return the SQL of ``statement`` and its parameters, with a row before all others.

    The driver gives a column the type of its first values, and SQLite's NULL has none. A LIMIT, be
    it of all rows, has SQLite keep the order of what it limits.
    """
    limited = statement.offset(0)
    compiler = limited.compile(connection, compile_kwargs={"render_postcompile": True})
    values = [_convert_parameter(compiler.params[name]) for name in compiler.positiontup or ()]
    quote = connection.dialect.identifier_preparer.quote
    first_values = {
        pl.String(): "''",
        pl.Int64(): "0",
        pl.Float64(): "0.0",
    }  # as SQLite writes them
    first = ", ".join(
        f"{first_values[_find_stored_type(kind)]} AS {quote(name)}" for name, kind in schema.items()
    )
    return f"SELECT {first} UNION ALL SELECT * FROM ({compiler})", values  # noqa: S608 - our own statement


def _convert_parameter(value: object) -> object:
    """Return a value of Python as SQLite stores it."""
    match value:
        case datetime():
            return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
        case date():
            return value.isoformat()
        case bool():
            return int(value)
        case _:
            return value


def _find_stored_type(kind: pl.DataType) -> pl.DataType:
    """Return the type of what SQLite stores for a column of type ``kind``."""
    if _is_stored_as_text(kind):
        return pl.String()
    return pl.Int64() if kind == pl.Boolean else kind


def _is_stored_as_text(kind: pl.DataType) -> bool:
    return isinstance(kind, (pl.Date, pl.Datetime, pl.Decimal))


def _read(stored: pl.Series, kind: pl.DataType) -> pl.Series:
    return read_texts(stored, kind) if _is_stored_as_text(kind) else stored.cast(kind)
