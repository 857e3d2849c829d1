"""State of requests in one SQLite file of STATE_DIR, for the processes that share the folder."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from orchestration_project.connections.files import use_write_ahead_log
from orchestration_project.connections.http.shared_state import (
    BUSY_SECONDS,
    CLOSED,
    COUNTS_BY_SYSTEM,
    OPEN_SYSTEMS,
    Answer,
    BreakerState,
    Count,
    HostKey,
    QuotaCount,
    Rate,
    SharedState,
    SystemState,
    Window,
    systems_of,
)
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.tables.spine import http_counts, http_hosts, http_quotas

FILE = Path("http") / "http.sqlite"
"""The SQLite file in STATE_DIR."""

_INHERITED: list[sqlite3.Connection] = []
"""Connections of a parent process: to close them here would end its locks."""


class SqliteState(SharedState):
    """State in one SQLite file; its writes exclude each other, over threads and processes.

    A process that is killed while it writes leaves the file as it was, and the lock free.
    """

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / FILE
        self._state_dir = state_dir
        self._connection: sqlite3.Connection | None = None
        super().__init__()
        with self._explained():
            self._connected()

    def _reset(self) -> None:
        self._thread_lock = threading.Lock()
        if self._connection is not None:
            _INHERITED.append(self._connection)
            self._connection = None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        with ExitStack() as unusable:
            unusable.callback(connection.close)
            use_write_ahead_log(connection, timeout_seconds=BUSY_SECONDS)
            # What a power cut may undo is younger than the minute for which it matters.
            connection.execute("PRAGMA synchronous = OFF")
            for table in (http_hosts, http_counts, http_quotas):
                made = CreateTable(table, if_not_exists=True).compile(dialect=sqlite.dialect())
                connection.execute(str(made))
            unusable.pop_all()
        self._connection = connection
        return connection

    def admit(self, key: HostKey, rate: Rate) -> int:
        """Count a request that may leave now and return 0, or return the ms until one may."""
        with self.writing() as connection:
            times, batch_count = connection.execute(
                "SELECT window_ms, batch_count FROM http_hosts WHERE host = ? AND system = ?", key
            ).fetchone() or ("{}", 0)
            known = Window(tuple(map(int, times[1:-1].split(","))) if times != "{}" else ())
            window, wait_ms = known._replace(batch_count=batch_count).admit(
                rate, time.time_ns() // 1_000_000
            )
            self._insert(connection, key)
            connection.execute(
                "UPDATE http_hosts SET interval_ms = ?, window_ms = ?, batch_count = ?, "
                "wait_ms = ? WHERE host = ? AND system = ?",
                (rate.span_ms, _written(window.times), window.batch_count, wait_ms, *key),
            )
        return wait_ms

    def breaker(self, key: HostKey) -> BreakerState:
        """Return a breaker as it is now, without waiting for writers."""
        with self._explained(), self._thread_lock:
            return _breaker(self._connected(), key)

    def change_breaker(
        self, key: HostKey, decide: Callable[[BreakerState], tuple[BreakerState, Answer]]
    ) -> Answer:
        """Change a breaker from what it is to what ``decide`` returns; return its answer."""
        with self.writing() as connection:
            before = _breaker(connection, key)
            after, answer = decide(before)
            if after != before:
                self._insert(connection, key)
                times = [each.isoformat() if each else None for each in after[2:]]
                connection.execute(
                    "UPDATE http_hosts SET failure_count = ?, last_failure = ?, opened_at = ?, "
                    "retry_at = ? WHERE host = ? AND system = ?",
                    (*after[:2], *times, *key),
                )
        return answer

    def add_counts(self, key: HostKey, counts: Iterable[Count]) -> None:
        """Add ``counts`` to those of all processes."""
        with self.writing() as connection:
            connection.executemany(
                "INSERT INTO http_counts VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "request_count = request_count + excluded.request_count, "
                "retry_count = retry_count + excluded.retry_count",
                [(*key, *each) for each in counts],
            )

    def systems(self) -> Mapping[str, SystemState]:
        """Return the state of each system that was requested, by name."""
        return read_systems(self._state_dir)

    def quota(self, system: str, day: date) -> QuotaCount:
        """Return the requests of a vendor's day."""
        with self._explained(), self._thread_lock:
            found = self._connected().execute(
                "SELECT request_count, is_over FROM http_quotas "
                "WHERE system = ? AND vendor_day = ?",
                (system, day.isoformat()),
            )
            count, is_over = found.fetchone() or (0, 0)
        return QuotaCount(count, bool(is_over))

    def take_from_quota(self, system: str, day: date, limit: int | None) -> bool:
        """Count a request of ``day`` if fewer than ``limit`` were sent; return whether it was."""
        row = (system, day.isoformat())
        with self.writing() as connection:
            connection.execute("DELETE FROM http_quotas WHERE system = ? AND vendor_day < ?", row)
            connection.execute("INSERT OR IGNORE INTO http_quotas VALUES (?, ?, 0, 0)", row)
            taken = connection.execute(
                "UPDATE http_quotas SET request_count = request_count + 1 WHERE system = ? "
                "AND vendor_day = ? AND NOT is_over AND request_count < coalesce(?, 1 << 60)",
                (*row, limit),
            )
        return bool(taken.rowcount)

    def end_quota(self, system: str, day: date) -> None:
        """Note that the vendor refuses further requests of ``day``."""
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO http_quotas VALUES (?, ?, 0, 1) ON CONFLICT DO UPDATE SET is_over = 1",
                (system, day.isoformat()),
            )

    def close(self) -> None:
        """Close the file; another process may go on using it."""
        with self._thread_lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file alone for the block; commit at its end, or undo it on any exception."""
        with self._explained(), self._thread_lock:
            connection = self._connected()
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.commit()
            finally:
                connection.rollback()  # does nothing after the commit

    @staticmethod
    def _insert(connection: sqlite3.Connection, key: HostKey) -> None:
        connection.execute(
            "INSERT OR IGNORE INTO http_hosts VALUES (?, ?, 0, '{}', 0, 0, 0, NULL, NULL, NULL)",
            key,
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:  # with its extended codes
                raise TransientError(
                    f"the state file {self.path} was in use for {BUSY_SECONDS} s",
                    remedy="look for a paused process that uses this STATE_DIR; then try again",
                ) from error
            raise self._unusable(error) from error
        except (OSError, sqlite3.DatabaseError) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(
            f"the state file {self.path} cannot be used",
            found=str(error),
            remedy="make STATE_DIR writable, with free space; a damaged file in its http folder "
            "may be removed, it holds nothing older than the last requests",
        )


def read_systems(state_dir: Path) -> Mapping[str, SystemState]:
    """Return the state of each system that was requested from this STATE_DIR, by name.

    Opens nothing that is not there, and waits for no writer.

    Raises:
        ConfigurationError: The state file cannot be read.
    """
    file = state_dir / FILE
    if not file.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            counts = connection.execute(COUNTS_BY_SYSTEM.format(counts="http_counts")).fetchall()
            opened = connection.execute(OPEN_SYSTEMS.format(hosts="http_hosts")).fetchall()
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(
            f"the state file {file} cannot be read",
            found=str(error),
            remedy="a damaged file in STATE_DIR's http folder may be removed",
        ) from error
    return systems_of(counts, [system for (system,) in opened])


def _written(times: Iterable[int]) -> str:
    """Return times as PostgreSQL writes an array: both stores have the same text."""
    return "{" + ",".join(map(str, times)) + "}"


def _breaker(connection: sqlite3.Connection, key: HostKey) -> BreakerState:
    found: tuple[Any, ...] | None = connection.execute(
        "SELECT failure_count, last_failure, opened_at, retry_at FROM http_hosts "
        "WHERE host = ? AND system = ?",
        key,
    ).fetchone()
    if found is None:
        return CLOSED
    opened_at, retry_at = (datetime.fromisoformat(each) if each else None for each in found[2:])
    return BreakerState(found[0], found[1], opened_at, retry_at)
