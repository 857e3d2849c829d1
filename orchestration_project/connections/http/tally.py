"""How the requests to a system ended, counted over all processes, for whoever watches them."""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from orchestration_project.connections.http.state import SharedState
from orchestration_project.errors import ConfigurationError

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
    """What all processes of a STATE_DIR know of a system that they ask.

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
    """Return what a file that others may be writing holds; waits for nobody."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(
            f"the state file {file} cannot be read",
            found=str(error),
            remedy="a damaged file in STATE_DIR's http folder may be removed",
        ) from error
