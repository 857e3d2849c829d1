"""State of requests that processes share: rates, circuit breakers, counts and daily quotas.

`SharedState` has two stores: `SqliteState`, one SQLite file of STATE_DIR for the processes that
share the folder, and the tables of a PostgreSQL database (`engine/http_state.py`). Tables and
statements are the same, written for both databases. They go to the drivers themselves: each
request makes several decisions, and SQLAlchemy would double what they cost.
"""

import os
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from orchestration_project.engine.connections.files import use_write_ahead_log
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.tables.spine import http_counts, http_hosts, http_quotas

BUSY_SECONDS = 30  # a write lasts well under 1 ms; only a paused or dying disk or holder takes long

MARGIN_MS = 100
"""Added to each interval. The source counts when a request arrives, we when it leaves. A request
that is late by less cannot fall into an interval with those that were let through after it."""

MAX_BATCHES = 50
"""Times that a window has at most; of a greater limit, requests are counted together."""

Answer = TypeVar("Answer")


class HostKey(NamedTuple):
    """Key of what is shared: a host, as the system that requests it sees it."""

    host: str
    system: str


@dataclass(frozen=True)
class Rate:
    """Limit of ``request_count`` requests in any ``interval_seconds``; 1 in 10 s is a delay.

    Raises:
        ValueError: One of them is not positive.
    """

    request_count: int
    interval_seconds: float = 1

    def __post_init__(self) -> None:
        if self.request_count < 1 or not self.interval_seconds > 0:
            raise ValueError(f"invalid rate: expected positive numbers, e.g. Rate(1, 10): {self}")

    @property
    def span_ms(self) -> int:
        """The interval with its margin, ms."""
        return ceil(self.interval_seconds * 1000) + MARGIN_MS

    @property
    def batch_size(self) -> int:
        """Requests that are counted together."""
        return ceil(self.request_count / MAX_BATCHES)

    @property
    def batches(self) -> int:
        """Batches of which an interval has at most so many."""
        return self.request_count // self.batch_size


class Window(NamedTuple):
    """Latest requests to a host.

    Attributes:
        times: When the latest request of each batch was admitted, ms since 1970, oldest first.
        batch_count: Requests in the last batch.
    """

    times: tuple[int, ...] = ()
    batch_count: int = 0

    def admit(self, rate: Rate, now_ms: int) -> tuple["Window", int]:
        """Return the window after a request at ``now_ms``, and 0; or itself, and the wait in ms.

        A batch is begun when the one so many before it has left the interval, so that no interval
        ever has more. Further requests join it, and it counts as being as late as they are.
        """
        span, window = rate.span_ms, self
        if window.times and window.times[-1] > now_ms + span:  # a clock was set back
            window = Window()
        if window.times and window.batch_count < rate.batch_size:
            return Window((*window.times[:-1], now_ms), window.batch_count + 1), 0
        if len(window.times) >= rate.batches:
            wait_ms = window.times[-rate.batches] + span + 1 - now_ms
            if wait_ms > 0:
                return self, wait_ms
        return Window((*window.times, now_ms)[-rate.batches :], 1), 0


class BreakerState(NamedTuple):
    """State of a host's circuit breaker.

    Attributes:
        failure_count: Failed requests in a row.
        last_failure: Without secrets.
        opened_at: In UTC; None: too few failures to open.
        retry_at: In UTC; the next request that may try; None: it is closed.
    """

    failure_count: int = 0
    last_failure: str | None = None
    opened_at: datetime | None = None
    retry_at: datetime | None = None


CLOSED = BreakerState()


class Count(NamedTuple):
    """Attempts that ended with ``outcome``, and those of them that were not a request's first."""

    outcome: str
    request_count: int
    retry_count: int


class QuotaCount(NamedTuple):
    """Requests of a vendor's day.

    Attributes:
        request_count: Sent requests.
        is_over: Whether the vendor refuses further ones.
    """

    request_count: int = 0
    is_over: bool = False


@dataclass(frozen=True)
class SystemState:
    """State of an outside system that processes share.

    Attributes:
        requests: Attempts by how they ended.
        retries: Those of them that were not a request's first.
        is_open: Whether a circuit breaker of it refuses requests.
    """

    requests: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    is_open: bool = False


NEW_HOST = """
INSERT INTO {hosts} (
  host, system, interval_ms, window_ms, batch_count, wait_ms, failure_count
) VALUES (:host, :system, 0, '{{}}', 0, 0, 0) ON CONFLICT DO NOTHING
"""

BREAKER = """
SELECT failure_count, last_failure, opened_at, retry_at FROM {hosts}
WHERE host = :host AND system = :system
"""

CHANGE_BREAKER = """
UPDATE {hosts} SET failure_count = :failure_count, last_failure = :last_failure,
  opened_at = :opened_at, retry_at = :retry_at
WHERE host = :host AND system = :system
  AND failure_count = :before_failure_count AND last_failure {is_same} :before_last_failure
  AND opened_at {is_same} :before_opened_at AND retry_at {is_same} :before_retry_at
"""

ADD_COUNTS = """
INSERT INTO {{counts}} AS counted (host, system, outcome, request_count, retry_count)
VALUES {rows}
ON CONFLICT (host, system, outcome) DO UPDATE SET
  request_count = counted.request_count + excluded.request_count,
  retry_count = counted.retry_count + excluded.retry_count
"""

COUNT_ROW = "(:host, :system, :outcome_{0}, :request_count_{0}, :retry_count_{0})"

COUNTS_BY_SYSTEM = """
SELECT system, outcome, sum(request_count), sum(retry_count) FROM {counts}
GROUP BY system, outcome ORDER BY system, outcome
"""

OPEN_SYSTEMS = "SELECT DISTINCT system FROM {hosts} WHERE retry_at IS NOT NULL"

QUOTA = "SELECT request_count, is_over FROM {quotas} WHERE system = :system AND vendor_day = :day"

FORGET_QUOTAS = "DELETE FROM {quotas} WHERE system = :system AND vendor_day < :day"

TAKE_FROM_QUOTA = """
INSERT INTO {quotas} AS known (system, vendor_day, request_count, is_over)
VALUES (:system, :day, 1, false)
ON CONFLICT (system, vendor_day) DO UPDATE SET request_count = known.request_count + 1
WHERE NOT known.is_over AND known.request_count < coalesce(:limit, known.request_count + 1)
"""

END_QUOTA = """
INSERT INTO {quotas} (system, vendor_day, request_count, is_over)
VALUES (:system, :day, 0, true)
ON CONFLICT (system, vendor_day) DO UPDATE SET is_over = true
"""


class SharedState(ABC):
    """State of requests that processes share; safe to use from many threads and after a fork.

    Each method is one decision: no lock is held after it, and none by a process that is killed.

    Raises:
        ConfigurationError: The store cannot be used.
        TransientError: The store was in use for longer than `BUSY_SECONDS`, or is away for now.
    """

    def __init__(self) -> None:
        self._reset()
        _OPEN.add(self)

    @abstractmethod
    def _reset(self) -> None:
        """Forget the connection and the locks, without closing: they are another process's."""

    @abstractmethod
    def _read(self, statement: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a query, without waiting for writers; none before the first write."""

    @abstractmethod
    def _write(self, statement: str, values: Mapping[str, object]) -> int:
        """Execute a statement as a transaction of its own; return how many rows it wrote."""

    @abstractmethod
    def admit(self, key: HostKey, rate: Rate) -> int:
        """Count a request that may leave now and return 0, or return the ms until one may."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; the state stays."""

    def breaker(self, key: HostKey) -> BreakerState:
        """Return a breaker as it is now, without waiting for others."""
        rows = self._read(BREAKER, key._asdict())
        if not rows:
            return CLOSED
        failure_count, last_failure, opened_at, retry_at = rows[0]
        return BreakerState(
            failure_count, last_failure, _parse_utc(opened_at), _parse_utc(retry_at)
        )

    def change_breaker(
        self, key: HostKey, decide: Callable[[BreakerState], tuple[BreakerState, Answer]]
    ) -> Answer:
        """Change a breaker from what it is to what ``decide`` returns; return its answer.

        ``decide`` is called again if another process was faster.
        """
        while True:
            before = self.breaker(key)
            after, answer = decide(before)
            if after == before:
                return answer
            earlier = {f"before_{name}": value for name, value in _encode_breaker(before).items()}
            if self._write(CHANGE_BREAKER, {**key._asdict(), **_encode_breaker(after), **earlier}):
                return answer
            self._write(NEW_HOST, key._asdict())

    def add_counts(self, key: HostKey, counts: Iterable[Count]) -> None:
        """Add ``counts``, each of another outcome, to those of all processes: all, or none.

        They are sorted, so that two processes lock their rows in the same order.
        """
        rows: list[str] = []
        values: dict[str, object] = dict(key._asdict())
        for number, count in enumerate(sorted(counts)):
            rows.append(COUNT_ROW.format(number))
            values |= {f"{name}_{number}": value for name, value in count._asdict().items()}
        if rows:
            self._write(ADD_COUNTS.format(rows=", ".join(rows)), values)

    def systems(self) -> Mapping[str, SystemState]:
        """Return the state of each system that was requested, by name."""
        return _collect_systems(lambda statement: self._read(statement, {}))

    def quota(self, system: str, day: date) -> QuotaCount:
        """Return the requests of a vendor's day."""
        rows = self._read(QUOTA, {"system": system, "day": day.isoformat()})
        return QuotaCount(rows[0][0], bool(rows[0][1])) if rows else QuotaCount()

    def take_from_quota(self, system: str, day: date, limit: int | None) -> bool:
        """Count a request of ``day`` if fewer than ``limit`` were sent and the vendor takes more.

        None: no limit. Return whether it was counted. Earlier days are forgotten.
        """
        if limit is not None and limit < 1:
            return False
        key = {"system": system, "day": day.isoformat()}
        self._write(FORGET_QUOTAS, key)
        return bool(self._write(TAKE_FROM_QUOTA, {**key, "limit": limit}))

    def end_quota(self, system: str, day: date) -> None:
        """Note that the vendor refuses further requests of ``day``."""
        self._write(END_QUOTA, {"system": system, "day": day.isoformat()})


_OPEN: WeakSet[SharedState] = WeakSet()


def _reset_all() -> None:
    for shared_state in list(_OPEN):
        shared_state._reset()


os.register_at_fork(after_in_child=_reset_all)


def _collect_systems(read: Callable[[str], Iterable[tuple[Any, ...]]]) -> Mapping[str, SystemState]:
    """Return the state of each system by a function that returns the rows of a query."""
    states = {system: SystemState(is_open=True) for (system,) in read(OPEN_SYSTEMS)}
    for system, outcome, requests, retries in read(COUNTS_BY_SYSTEM):
        known_system_state = states.get(system, SystemState())
        states[system] = SystemState(
            {**known_system_state.requests, outcome: int(requests)},
            known_system_state.retries + int(retries),
            known_system_state.is_open,
        )
    return dict(sorted(states.items()))


def _encode_breaker(state: BreakerState) -> Mapping[str, object]:
    """Return a breaker as values of both databases: times as text in UTC."""
    return {
        name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
        for name, value in state._asdict().items()
    }


def _parse_utc(value: str | datetime | None) -> datetime | None:
    """Return a time as PostgreSQL gives it, or as text as SQLite does."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment and moment.astimezone(UTC)


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
                made_compiled = CreateTable(table, if_not_exists=True).compile(
                    dialect=sqlite.dialect()
                )
                connection.execute(str(made_compiled))
            unusable.pop_all()
        self._connection = connection
        return connection

    def admit(self, key: HostKey, rate: Rate) -> int:
        """Count a request that may leave now and return 0, or return the ms until one may."""
        with self._writing() as connection:
            row = connection.execute(
                "SELECT window_ms, batch_count FROM http_hosts WHERE host = ? AND system = ?", key
            ).fetchone()
            times, batch_count = row or ("{}", 0)
            known_window = Window(tuple(map(int, times[1:-1].split(","))) if times != "{}" else ())
            window, wait_ms = known_window._replace(batch_count=batch_count).admit(
                rate, time.time_ns() // 1_000_000
            )
            if row is None:
                connection.execute(_format_sqlite(NEW_HOST), key._asdict())
            connection.execute(
                "UPDATE http_hosts SET interval_ms = ?, window_ms = ?, batch_count = ?, "
                "wait_ms = ? WHERE host = ? AND system = ?",
                (rate.span_ms, _format_times(window.times), window.batch_count, wait_ms, *key),
            )
        return wait_ms

    def _read(self, statement: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        with self._explained(), self._thread_lock:
            return self._connected().execute(_format_sqlite(statement), values).fetchall()

    def _write(self, statement: str, values: Mapping[str, object]) -> int:
        with self._explained(), self._thread_lock:
            return self._connected().execute(_format_sqlite(statement), values).rowcount

    def close(self) -> None:
        """Close the file; another process may go on using it."""
        with self._thread_lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file alone for the block; commit at its end, or undo it on any exception."""
        with self._explained(), self._thread_lock:
            connection = self._connected()
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.commit()
            finally:
                connection.rollback()  # does nothing after the commit

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
            return _collect_systems(
                lambda statement: connection.execute(_format_sqlite(statement)).fetchall()
            )
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(
            f"the state file {file} cannot be read",
            found=str(error),
            remedy="a damaged file in STATE_DIR's http folder may be removed",
        ) from error


@cache
def _format_sqlite(statement: str) -> str:
    return statement.format(
        hosts="http_hosts", counts="http_counts", quotas="http_quotas", is_same="IS"
    )


def _format_times(times: Iterable[int]) -> str:
    """Return times as PostgreSQL writes an array: both stores have the same text."""
    return "{" + ",".join(map(str, times)) + "}"
