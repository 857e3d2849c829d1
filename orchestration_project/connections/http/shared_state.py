"""State of a source that processes share in a file: rate, counts and circuit breaker.

pybreaker was tried and left: it holds its lock for the whole call, so that threads queue up behind
one request; it takes an interrupted call for a failed or a successful one; and when the time is up
it lets every process try at once. One row and three statements do without these.
"""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from pyrate_limiter import Decision, Rate, RateItem, SQLiteBucket, SQLiteQueries

from orchestration_project.connections.files import use_write_ahead_log
from orchestration_project.errors import ConfigurationError, TransientError

BUSY_SECONDS = 30  # a write lasts well under 1 ms; only a paused or dying disk or holder takes long


class SharedState:
    """One SQLite file; its writes exclude each other, over threads and processes.

    A process that is killed while it writes leaves the file as it was, and the lock free.

    Raises:
        ConfigurationError: The file cannot be made, read or written.
        TransientError: Another process held the file for longer than `BUSY_SECONDS`.
    """

    def __init__(self, path: Path, *, schema: str) -> None:
        self.path = path
        self._thread_lock = threading.Lock()
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            with ExitStack() as unusable:
                unusable.callback(self.connection.close)
                use_write_ahead_log(self.connection, timeout_seconds=BUSY_SECONDS)
                # What a power cut may undo is younger than the minute for which it matters.
                self.connection.execute("PRAGMA synchronous = OFF")
                self.connection.execute(schema)
                unusable.pop_all()

    def row(self, query: str, *values: str) -> tuple[Any, ...] | None:
        """Return the first row of ``query``, without waiting for writers."""
        with self._explained(), self._thread_lock:
            return self.connection.execute(query, values).fetchone()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file alone for the block; commit at its end, or undo it on any exception."""
        with self._explained(), self._thread_lock:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                yield self.connection
                self.connection.commit()
            finally:
                self.connection.rollback()  # does nothing after the commit

    def close(self) -> None:
        """Close the file; another process may go on using it."""
        with self._thread_lock:
            self.connection.close()

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


# The source counts when a request arrives, we when it leaves. A request that is late by less than
# the margin cannot fall into a second together with those that were let through after it.
MARGIN_MS = 100
WINDOW_MS = 1000 + MARGIN_MS

TABLE = "requests"


class RateLimiter:
    """Let ``requests_per_second`` requests through in any second, and have the rest wait.

    pyrate-limiter's bucket counts and then inserts, so two processes could both take the last
    place. Its own file lock polls every 50 ms, and its `Limiter` gives a request that waited the
    time at which it should have woken up. Here each decision is one transaction that holds the
    file, at the time when it is made.
    """

    def __init__(self, path: Path, *, requests_per_second: int) -> None:
        schema = SQLiteQueries.CREATE_BUCKET_TABLE.format(table=TABLE)
        self._state = SharedState(path, schema=schema)
        rate = Rate(requests_per_second, WINDOW_MS)
        self._bucket = SQLiteBucket([rate], self._state.connection, TABLE)
        self._turnstile = threading.Lock()

    def wait(self) -> None:
        """Return when a request may leave."""
        # One thread of each process asks and sleeps; the others stand behind it, off the file.
        with self._turnstile:
            while wait_ms := self._ask():
                time.sleep(wait_ms / 1000)

    def close(self) -> None:
        """Close the file."""
        self._state.close()

    def _ask(self) -> int:
        """Take a place and return 0, or return the milliseconds until one may be free."""
        with self._state.writing():
            self._forget()
        with self._state.writing():
            # Only pyrate-limiter's asynchronous buckets answer with an awaitable.
            item = RateItem(TABLE, self._bucket.now())
            decision = cast(Decision, self._bucket.put_decision(item))
        return decision.retry_after_ms or 0

    def _forget(self) -> None:
        """Remove requests of the past, and all of them where a clock was set back.

        A request of the future would block us until its time comes. Both ways to remove end the
        transaction.
        """
        now, newest = self._bucket.now(), cast(RateItem | None, self._bucket.peek(0))
        if newest and newest.timestamp > now + WINDOW_MS:
            self._bucket.flush()
        else:
            self._bucket.leak(now)


SCHEMA = """
CREATE TABLE IF NOT EXISTS tally (
  outcome TEXT PRIMARY KEY,       -- a status, or no_answer
  request_count INTEGER NOT NULL, -- attempts that ended so
  retry_count INTEGER NOT NULL    -- those of them that were not a request's first
)"""

SUFFIX = "_tally.sqlite"

NO_ANSWER = "no_answer"

SECONDS_APART = 1
"""To write after each attempt would take a seventh of its time."""


class Tally:
    """Counts the attempts of one client, and writes the counts once in `SECONDS_APART` at most.

    What is not written yet comes with the next attempt, or at the end.
    """

    def __init__(self, path: Path) -> None:
        self._state = SharedState(path, schema=SCHEMA)
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._retries: Counter[str] = Counter()
        self._next_at = 0.0  # by time.monotonic()

    def add(self, outcome: str, *, is_retry: bool) -> None:
        """Count an attempt that ended with ``outcome``, a status or `NO_ANSWER`."""
        with self._lock:
            self._requests[outcome] += 1
            self._retries[outcome] += is_retry
            if time.monotonic() >= self._next_at:
                self._write()

    def close(self) -> None:
        """Close the file; the counts stay."""
        with self._lock:
            self._write()
        self._state.close()

    def _write(self) -> None:
        self._next_at = time.monotonic() + SECONDS_APART
        counts = [(each, count, self._retries[each]) for each, count in self._requests.items()]
        if not counts:
            return
        with self._state.writing() as connection:
            connection.executemany(
                "INSERT INTO tally VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
                "request_count = request_count + excluded.request_count, "
                "retry_count = retry_count + excluded.retry_count",
                counts,
            )
        self._requests.clear()
        self._retries.clear()


@dataclass(frozen=True)
class SystemState:
    """State of an outside system that all processes of a STATE_DIR share.

    Attributes:
        requests: Attempts by how they ended.
        retries: Those of them that were not a request's first.
        is_open: Whether its breaker refuses requests.
    """

    requests: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    is_open: bool = False


def read_systems(state_dir: Path) -> Mapping[str, SystemState]:
    """Return the state of each system that was asked from this STATE_DIR, by name.

    Raises:
        ConfigurationError: A state file cannot be read.
    """
    files = sorted((state_dir / "http").glob(f"*{SUFFIX}"))
    return {file.name.removesuffix(SUFFIX): _system(file) for file in files}


def _system(file: Path) -> SystemState:
    breaker = file.with_name(file.name.replace(SUFFIX, "_breaker.sqlite"))
    counts = _rows(file, "SELECT outcome, request_count, retry_count FROM tally")
    is_open = breaker.exists() and _rows(breaker, "SELECT 1 FROM breaker WHERE retry_at NOT NULL")
    return SystemState(
        {outcome: count for outcome, count, _ in counts},
        sum(retries for _, _, retries in counts),
        bool(is_open),
    )


def _rows(file: Path, query: str) -> list[tuple[str, int, int]]:
    """Return rows of a file that other processes may write to, without waiting."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(
            f"the state file {file} cannot be read",
            found=str(error),
            remedy="a damaged file in STATE_DIR's http folder may be removed",
        ) from error


BREAKER_SCHEMA = """
CREATE TABLE IF NOT EXISTS breaker (      -- no row: the last request succeeded
  id INTEGER PRIMARY KEY CHECK (id = 1),
  failure_count INTEGER NOT NULL,         -- in a row
  last_failure TEXT NOT NULL,             -- without secrets
  opened_at TEXT,                         -- UTC; NULL: too few failures to open
  retry_at TEXT                           -- UTC; the next request that may try
)"""


@dataclass(frozen=True)
class Admission:
    """That a request may be made.

    Attributes:
        is_news: Whether its success is news: others failed.
        probe_until: Of the one request that tries an open breaker: until when no other one may.
    """

    is_news: bool
    probe_until: str | None = None


class Breaker:
    """Opens after ``failures`` failed requests in a row, for ``open_seconds`` at a time.

    When that time is up, one request of one process may try. If it succeeds, the breaker closes;
    if it fails, or its process dies, the breaker stays open for as long again. A probe that ends
    without a result (interrupted, refused by a quota, certificate not trusted) lets the next try.
    """

    def __init__(
        self, path: Path, *, failures: int, open_seconds: float, now: Callable[[], datetime]
    ) -> None:
        self._state = SharedState(path, schema=BREAKER_SCHEMA)
        self._failures = failures
        self._open_for = timedelta(seconds=open_seconds)
        self._now = now

    def admit(self, *, system: str, url: str) -> Admission:
        """Return if a request may be made.

        Raises:
            TransientError: The breaker is open; says since when, why, and until when.
        """
        failed = self._state.row("SELECT retry_at FROM breaker")
        if failed is None or failed[0] is None:  # at the price of a read, without the lock
            return Admission(is_news=failed is not None)
        with self._state.writing() as connection:
            now = self._now()
            (count, failure, opened_at, retry_at) = connection.execute(
                "SELECT failure_count, last_failure, opened_at, retry_at FROM breaker"
            ).fetchone() or (0, "", None, None)
            # A time further away than we ever set comes from a clock that was set back.
            if retry_at and now < datetime.fromisoformat(retry_at) <= now + self._open_for:
                raise TransientError(
                    f"{system} is not asked, because it failed {count} requests in a row",
                    found=f"open since {opened_at}; the last failure: {failure}",
                    remedy=f"requests are retried from {retry_at}; check whether the system is up",
                    retry_in_seconds=(datetime.fromisoformat(retry_at) - now).total_seconds(),
                    system=system,
                    url=url,
                )
            probe_until = self._retry_at(now)
            connection.execute("UPDATE breaker SET retry_at = ?", (probe_until,))
        return Admission(is_news=True, probe_until=probe_until)

    def give_up(self, admission: Admission) -> None:
        """Let the next request try: the one admitted ended, and nothing is known of the system."""
        if admission.probe_until is None:
            return
        with self._state.writing() as connection:
            connection.execute(
                "UPDATE breaker SET retry_at = ? WHERE retry_at = ?",
                (self._now().isoformat(), admission.probe_until),
            )

    def succeeded(self) -> None:
        """Close the breaker: the system answered."""
        with self._state.writing() as connection:
            connection.execute("DELETE FROM breaker")

    def failed(self, failure: str) -> float:
        """Count a request whose attempts all failed; return for how many seconds none is made.

        ``failure`` holds no secrets.
        """
        with self._state.writing() as connection:
            now = self._now()
            connection.execute(
                "INSERT INTO breaker (id, failure_count, last_failure) VALUES (1, 1, :failure) "
                "ON CONFLICT DO UPDATE SET failure_count = failure_count + 1, "
                "last_failure = :failure",
                {"failure": failure},
            )
            connection.execute(
                "UPDATE breaker SET opened_at = coalesce(opened_at, ?), retry_at = ? "
                "WHERE failure_count >= ?",
                (now.isoformat(), self._retry_at(now), self._failures),
            )
            found = connection.execute("SELECT 1 FROM breaker WHERE retry_at IS NOT NULL")
            is_open = found.fetchone() is not None
        return self._open_for.total_seconds() if is_open else 0

    def close(self) -> None:
        """Close the file; the state stays."""
        self._state.close()

    def _retry_at(self, now: datetime) -> str:
        return (now + self._open_for).isoformat()
