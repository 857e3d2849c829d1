"""Queries of analysts on SQLite: what a query may read is judged column by column.

The file is opened to be read alone, and SQLite asks for each table, column and function that a
query names before it runs. A personal column reads as NULL wherever it stands, in conditions, too.
"""

import sqlite3
import time
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import polars as pl
from pydantic import SecretStr

from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.services.analyst_sql import (
    MAX_BYTES,
    MAX_ROW_BYTES,
    MAX_ROWS,
    TIMEOUT_SECONDS,
    build_frame,
    convert_value,
    postgresql,
    refuse_large_rows,
    refuse_query,
    refuse_slow_query,
    select_as_of,
)
from orchestration_project.tables.catalogue import known_tables
from orchestration_project.tables.conditions import is_secret
from orchestration_project.tables.schema import is_personal

LOCK_SECONDS = 5
ERRORS_OF_QUERIES = (
    *(0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE),
    *(sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_READONLY),
)
"""Codes of errors for which the query is to blame; 0: the driver has refused it.

Others are those of the file and its disk.
"""
JUDGED_STEPS = 10_000
"""Steps of SQLite's machine between two looks at the clock: about a millisecond."""

MAX_PATTERN_BYTES = 200
"""Size of a pattern of LIKE and GLOB: the clock is not looked at within one comparison."""

FUNCTIONS_REFUSED = ("load_extension", "fts3_tokenizer")
TABLES_OF_TEXTS = ("json_each", "json_tree")
"""Tables that SQLite makes of an argument."""


@dataclass(frozen=True)
class Readable:
    """The tables and columns that a query may read.

    Attributes:
        tables: Names of tables and views; of these, no column with hashes of secrets.
        masked_columns: Columns that read as NULL, as table and name.
    """

    tables: Collection[str]
    masked_columns: Collection[tuple[str, str]] = ()

    @classmethod
    def of_role(cls, tables: Collection[str], *, is_admin: bool) -> "Readable":
        """Return the tables that a role may read: all but admins without personal columns.

        A record that was rejected may be about a person, whatever its table.
        """
        if is_admin:
            return cls(tables)
        personal = {
            (table.name, column.name)
            for table in known_tables().values()
            for column in table.columns
            if is_personal(column)
        }
        return cls(tables, {*personal, ("rejects", "record")})


def choose_database(
    analyst_url: SecretStr | None, file: Path | None, readable: Readable
) -> Callable[..., pl.DataFrame]:
    """Return `run_query` of the database that runs queries: of PostgreSQL where a role is named.

    Args:
        analyst_url: ANALYST_DATABASE_URL.
        file: The SQLite database of the project, if it is one.
        readable: What a query may read on SQLite.

    Raises:
        ConfigurationError: The project's database is not SQLite, and no role is named for it.
    """
    if analyst_url is not None:
        return partial(postgresql.run_query, analyst_url.get_secret_value())
    if file is None:
        raise ConfigurationError(
            "SQL for analysts is off",
            expected="ANALYST_DATABASE_URL",
            remedy=postgresql.ROLE_REMEDY,
        )
    return partial(run_query, file, readable=readable)


def run_query(
    file: Path,
    query: str,
    readable: Readable,
    *,
    as_of: datetime | None = None,
    limit: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> pl.DataFrame:
    """Return the rows of a query, values as SQLite stores them: days and times are ISO texts.

    Args:
        file: The database.
        query: One SELECT, or WITH … SELECT.
        readable: What it may read.
        as_of: Moment whose rows the tables have; None: the present ones.
        limit: The most rows that it may have.
        max_bytes: Bytes that its rows may have together.
        timeout_seconds: Time after which it is ended.

    Raises:
        ConfigurationError: It does something else than to read, fails, or its rows are too many or
            too large.
        TransientError: The database is busy, or cannot be read.
    """
    uri = f"{file.absolute().as_uri()}?mode=ro"
    moment = as_of and f"'{as_of.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"
    views = select_as_of(query, as_of, str(moment), schema="main.") if as_of else {}
    guard = _Guard(readable, set(views) if as_of else None)
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=LOCK_SECONDS)) as connection:
            for name in TABLES_OF_TEXTS:  # SQLite makes them at their first use
                connection.execute(f"SELECT 1 FROM {name}('[]')")  # noqa: S608 - our own names
            for name, select in views.items():
                connection.execute(f"CREATE TEMP VIEW {name} AS {select}")
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_ROW_BYTES)
            connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, MAX_PATTERN_BYTES)
            connection.set_authorizer(guard.judge)
            end = time.monotonic() + timeout_seconds
            connection.set_progress_handler(lambda: time.monotonic() > end, JUDGED_STEPS)
            return _read_rows(connection, query, limit, max_bytes)
    except sqlite3.Error as error:
        raise _explain(error, guard, timeout_seconds) from error


def _read_rows(
    connection: sqlite3.Connection, query: str, limit: int, max_bytes: int
) -> pl.DataFrame:
    cursor = connection.execute(query)
    rows, left = list[tuple[object, ...]](), max_bytes
    for row in cursor:
        left -= sum(map(_count_bytes, row))
        if left < 0:
            raise refuse_large_rows(f"rows of at most {max_bytes:,} bytes together")
        rows.append(tuple(map(convert_value, row)))
        if len(rows) > limit:
            break
    if cursor.description is None:
        raise refuse_query("it has no columns")
    return build_frame([column[0] for column in cursor.description], rows, limit)


def _count_bytes(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode())
    return len(value) if isinstance(value, bytes) else 8


def _explain(
    error: sqlite3.Error, guard: "_Guard", timeout_seconds: float
) -> ConfigurationError | TransientError:
    """Return the error of a query that failed, with its remedy."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_INTERRUPT:
        return refuse_slow_query(timeout_seconds, str(error))
    if code == sqlite3.SQLITE_TOOBIG or isinstance(error, sqlite3.DataError):
        return refuse_large_rows(f"rows of at most {MAX_ROW_BYTES:,} bytes each")
    if code in ERRORS_OF_QUERIES:
        return refuse_query(guard.refused or str(error))
    return TransientError(
        "the database cannot be read", found=str(error), remedy="try again, or look at its disk"
    )


class _Guard:
    """Judges the actions of a query, and keeps the first that it may not do.

    Args:
        readable: What it may read.
        views: Tables of a moment, which alone may be read then; None: no moment.
    """

    def __init__(self, readable: Readable, views: Collection[str] | None) -> None:
        self._readable = readable
        self._views = views
        self._known = known_tables()
        self.refused = ""

    def judge(
        self,
        action: int,
        first: str | None,
        second: str | None,
        database: str | None,
        view: str | None,
    ) -> int:
        """Return whether an action is allowed.

        ``view`` is the view within which it is done, or the name that a query has given a part of
        itself: it opens no table.
        """
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and second not in FUNCTIONS_REFUSED:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and first is not None:
            return self._judge_read(first, second or "", database, view)
        return self._refuse("it does something else than to read")

    def _judge_read(self, name: str, column: str, database: str | None, view: str | None) -> int:
        table = self._known.get(name)
        if table is None:
            is_computed = name in TABLES_OF_TEXTS or not column
            is_own = name.startswith(("sqlite_", "pragma_"))
            allowed = is_computed and not is_own
            return sqlite3.SQLITE_OK if allowed else self._refuse(f"no table or view {name}")
        if self._views is not None and database == "main" and view not in self._views:
            return self._refuse(f"{name} as it is now, in a query as of a moment")
        if name not in self._readable.tables:
            return self._refuse(f"{name}, which may not be read")
        if any(is_secret(known) for known in table.columns if known.name == column):
            return self._refuse(f"{name}.{column}, which holds hashes of secrets")
        is_masked = (name, column) in self._readable.masked_columns
        return sqlite3.SQLITE_IGNORE if is_masked else sqlite3.SQLITE_OK

    def _refuse(self, what: str) -> int:
        self.refused = self.refused or what
        return sqlite3.SQLITE_DENY
