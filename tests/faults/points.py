"""Points of a load: those that it passes, shared with other processes, and its faults there.

The product has no hooks for this. Points are the calls of what is handed in (source, store), what
Python says of files it opens and renames, and the statements that its database connections get.
"""

import errno
import mmap
import os
import re
import signal
import sqlite3
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url

from tests.faults.matrix import STAGES

Act = Literal["die", "fail", "stop", "linger"]
"""Die by SIGKILL, fail as disk or database do, stop by SIGSTOP, or report it and wait."""

BOARD = struct.Struct("<II")
"""How many points were passed, and the number of the last stage that began."""

WORDS = slice(BOARD.size, BOARD.size + 200)

OF_TABLE = {
    "fences": "fence",
    "finra_otc_weekly": "rows",
    "events_webhooks": "rows",
    "prices_daily": "rows",
    "finra_otc_weekly_history": "history",
    "prices_daily_history": "history",
    "events_webhooks_history": "history",
    "documents_pages": "rows",
    "documents_pages_history": "history",
    "documents_chunks": "derived",
    "finra_symbol_week": "derived",
    "finra_venue_week": "derived",
    "finra_symbol_rolling_6w": "derived",
    "finra_concentration_week": "derived",
    "finra_tier_week": "derived",
    "deliveries": "evidence",
    "blobs": "evidence",
    "captures": "evidence",
    "rejects": "evidence",
    "audits": "evidence",
    "landings": "load record",
    "work_items": "settling",
}
"""The stage that begins when a transaction writes a table."""

AUDITED_WITH = {"prices_daily", *(name for name, stage in OF_TABLE.items() if stage == "derived")}
"""Tables whose earlier rows a delivery is compared with: to read them begins the audits."""


@dataclass(frozen=True)
class Plan:
    """Fault of a load: at the point of a number (from 1), or the first of a stage."""

    where: int | str
    act: Act
    linger_seconds: float = 60


@dataclass(frozen=True)
class Seen:
    """Last point that a load reached."""

    number: int
    stage: str
    words: str

    def __str__(self) -> str:
        return f"{self.stage}, point {self.number}: {self.words}"


class Board:
    """A page of memory that a load writes and others read, also once it is dead."""

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            file.truncate(mmap.PAGESIZE)
            self._memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def write(self, number: int, stage: int, words: str) -> None:
        text = words.encode()[:199]
        self._memory[WORDS] = text.ljust(200, b"\0")
        self._memory[: BOARD.size] = BOARD.pack(number, stage)

    def read(self) -> Seen:
        number, stage = BOARD.unpack(self._memory[: BOARD.size])
        words = self._memory[WORDS].rstrip(b"\0").decode(errors="replace")
        return Seen(number, ("", *STAGES)[stage], words)


class Points:
    """Counts the points of this process, writes them on a board, and carries out a plan."""

    def __init__(self, board: Board, plan: Plan | None) -> None:
        self._board = board
        self._plan = plan
        self._lock = threading.Lock()
        self._number = 0
        self._stage = 0
        self._has_stages = True

    @property
    def stage(self) -> str:
        return ("", *STAGES)[self._stage]

    def passed(
        self, words: str, stage: str | None = None, *, failure: Callable[[], Exception] | None
    ) -> None:
        """Pass a point; a ``stage`` that lies before the present one does not begin again."""
        with self._lock:
            self._number += 1
            begins = stage in STAGES[self._stage :] and self._has_stages
            if stage is not None and begins:
                self._stage = STAGES.index(stage) + 1
            self._board.write(self._number, self._stage, words)
            plan = self._plan
            is_there = plan is not None and (
                plan.where == self._number or (begins and plan.where == stage)
            )
        if plan is not None and is_there:
            _act(plan, failure)

    def begin_again(self) -> None:
        """Begin the stages again, with what is loaded next."""
        with self._lock:
            self._stage = 0

    @contextmanager
    def without_stages(self) -> Iterator[None]:
        """Begin no stage meanwhile: what is written belongs to none."""
        self._has_stages = False
        try:
            yield
        finally:
            self._has_stages = True


def _act(plan: Plan, failure: Callable[[], Exception] | None) -> None:
    if plan.act == "linger":
        time.sleep(plan.linger_seconds)
    elif plan.act == "fail" and failure is not None:
        raise failure()
    elif plan.act != "fail":
        os.kill(os.getpid(), signal.SIGKILL if plan.act == "die" else signal.SIGSTOP)


def disk_failure() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))


FILE_EVENTS = {"open", "os.rename", "os.mkdir", "os.remove"}


def watch_files(points: Points, folder: Path) -> None:
    """Pass a point for each file below ``folder`` that this process is about to touch."""
    below = f"{folder}/"

    def pass_point(name: str, arguments: tuple[Any, ...]) -> None:
        if name not in FILE_EVENTS or not str(arguments[0]).startswith(below):
            return
        path = str(arguments[1] if name == "os.rename" else arguments[0]).removeprefix(below)
        stage = None
        if name == "os.rename" and path.startswith("blobs/"):
            stage = "blob written"
        elif name == "open" and points.stage == "captured":
            stage = "checked"
        points.passed(f"{name} {path}", stage, failure=disk_failure)

    sys.addaudithook(pass_point)


class Statements:
    """Statements of one connection: each statement is a point, and may begin a stage."""

    def __init__(self, points: Points, failure: Callable[[], Exception]) -> None:
        self._points = points
        self._failure = failure
        self._writes = False

    def passed(self, statement: str, suffix: str = "") -> None:
        words = " ".join(statement.split()).removeprefix("COPY (")  # of what it selects
        stage = self._stage_of(words)
        self._points.passed(words[:120] + suffix, stage, failure=self._failure)

    def committing(self) -> None:
        stage = "before COMMIT" if self._writes else None
        self._points.passed("COMMIT", stage, failure=self._failure)

    def committed(self) -> None:
        stage, self._writes = ("after COMMIT" if self._writes else None), False
        self._points.passed("COMMIT done", stage, failure=None)

    def _stage_of(self, words: str) -> str | None:
        if "BEGIN IMMEDIATE" in words or "READ COMMITTED" in words:
            self._writes = self._points.stage != ""  # what is written before are claims
            return "fence" if self._writes else None
        if not self._writes:
            return None
        table = re.search(r'(?:INTO|FROM|UPDATE|COPY) "?(\w+)', words)
        if words.startswith("SELECT"):
            return "audits" if table is not None and table[1] in AUDITED_WITH else None
        return OF_TABLE.get(table[1]) if table else None


def watch_database(points: Points, url: str) -> None:
    """Pass a point for each statement that this process gives the database at ``url``."""
    name = str(make_url(url).database)

    @event.listens_for(Engine, "do_connect")
    def connect(dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        if name not in (*arguments, options.get("dbname")):
            return None
        if dialect.name == "sqlite":
            connection = sqlite3.connect(*arguments, factory=_Sqlite, **options)
            connection.statements = Statements(points, _sqlite_failure)
        else:
            connection = _Postgres.connect(*arguments, cursor_factory=_PostgresCursor, **options)
            connection.server_cursor_factory = _PostgresServerCursor
            connection.statements = Statements(points, _postgres_failure)
        return connection


def watch_dagster(points: Points) -> None:
    """Pass a point before the materialization of a loaded partition is reported to Dagster."""

    @event.listens_for(Engine, "before_cursor_execute")
    def execute(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        is_event = statement.startswith("INSERT INTO event_logs")
        if is_event and points.stage in AFTER_LOAD and "ASSET_MATERIALIZATION'" in str(parameters):
            points.passed("a materialization", "recording", failure=None)


AFTER_LOAD = ("after COMMIT", "recording")


def _sqlite_failure() -> Exception:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error


def _postgres_failure() -> Exception:
    return psycopg.errors.AdminShutdown("terminating connection due to administrator command")


class _Sqlite(sqlite3.Connection):
    statements: Statements | None = None

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(factory or _SqliteCursor)

    def executemany(self, *arguments: Any) -> Any:
        return self.cursor().executemany(*arguments)

    def execute(self, *arguments: Any) -> Any:
        return self.cursor().execute(*arguments)

    def commit(self) -> None:
        if self.statements is None or not self.in_transaction:
            return super().commit()
        self.statements.committing()
        super().commit()
        return self.statements.committed()


class _SqliteCursor(sqlite3.Cursor):
    def execute(self, sql: str, *parameters: Any) -> Any:
        self._passed(sql)
        return super().execute(sql, *parameters)

    def executemany(self, sql: str, parameters: Any, /) -> Any:
        rows = list(parameters)
        self._passed(sql)
        super().executemany(sql, rows[: len(rows) // 2])
        self._passed(sql, f" after {len(rows) // 2} of {len(rows)} rows")
        return super().executemany(sql, rows[len(rows) // 2 :])

    def _passed(self, sql: str, suffix: str = "") -> None:
        connection: Any = self.connection
        if connection.statements is not None:
            connection.statements.passed(sql, suffix)


class _Postgres(psycopg.Connection[Any]):
    statements: Statements | None = None

    def commit(self) -> None:
        if self.statements is None:
            return super().commit()
        self.statements.committing()
        super().commit()
        return self.statements.committed()


def _pass_statement(cursor: Any, query: str, suffix: str = "") -> None:
    if cursor.connection.statements is not None:
        cursor.connection.statements.passed(query, suffix)


class _PostgresServerCursor(psycopg.ServerCursor[Any]):
    def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        _pass_statement(self, str(query))
        return super().execute(query, *arguments, **options)


class _PostgresCursor(psycopg.Cursor[Any]):
    def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        _pass_statement(self, str(query))
        return super().execute(query, *arguments, **options)

    def executemany(self, query: Any, *arguments: Any, **options: Any) -> Any:
        _pass_statement(self, str(query))
        return super().executemany(query, *arguments, **options)

    @contextmanager
    def copy(self, statement: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        _pass_statement(self, str(statement))
        with super().copy(statement, *arguments, **options) as copy:
            yield _Copy(copy, lambda: _pass_statement(self, str(statement), ", on the way"))


@dataclass(frozen=True)
class _Copy:
    """A COPY that passes a point after each piece of it."""

    copy: psycopg.Copy
    passed: Callable[[], None]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.copy)

    def write(self, piece: bytes) -> None:
        self.copy.write(piece)
        self.passed()
