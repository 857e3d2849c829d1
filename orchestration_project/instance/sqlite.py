"""Dagster's SQLite files, opened so that an event costs a write and not four flushes of the disk.

Dagster opens a connection for each statement. When the last one of a file closes, SQLite copies its
write-ahead log back and flushes it; and each commit flushes too. One idle connection that stays
open saves the former, `synchronous = NORMAL` the latter: what a power cut may undo are the last
lines of Dagster's history, never the file, and never our tables, which keep `FULL`.
"""

import sqlite3
from collections import OrderedDict
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import event
from sqlalchemy.pool import Pool

FILES_KEPT_OPEN = 8
"""The index, the runs, the schedules, and the runs that are looked at or written now."""


class _IdleConnections:
    """One connection for each of the files that were used last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._of_file: OrderedDict[str, sqlite3.Connection] = OrderedDict()

    def keep(self, file: str) -> None:
        """Hold ``file`` open; let go of the one that was used least recently."""
        with self._lock:
            if file not in self._of_file:
                self._of_file[file] = sqlite3.connect(file, check_same_thread=False)
            # Only who has read since Dagster made the file's log counts as a user of that log.
            self._of_file[file].execute("SELECT 1 FROM sqlite_master").fetchall()
            self._of_file.move_to_end(file)
            if len(self._of_file) > FILES_KEPT_OPEN:
                self._of_file.popitem(last=False)[1].close()


@cache
def spare_the_disk(folder: Path) -> None:
    """From now on open the SQLite files below ``folder`` that way, in this process."""
    idle = _IdleConnections()

    @event.listens_for(Pool, "connect")
    def tune(connection: Any, _record: object) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        file = connection.execute("PRAGMA database_list").fetchone()[2]
        if file and Path(file).is_relative_to(folder):
            connection.execute("PRAGMA synchronous = NORMAL")
            idle.keep(file)
