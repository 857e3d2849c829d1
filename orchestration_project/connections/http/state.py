"""Small SQLite files in which all processes of one STATE_DIR share a client's state."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from orchestration_project.connections.write_ahead import use_write_ahead_log
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
                use_write_ahead_log(self.connection, patience_seconds=BUSY_SECONDS)
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
