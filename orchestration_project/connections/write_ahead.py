"""SQLite's write-ahead log, in which readers and a writer work side by side."""

import sqlite3
import time
from typing import Any


def use_write_ahead_log(connection: Any, *, patience_seconds: float) -> None:
    """Let the file of a connection of sqlite3 have such a log.

    Processes that make the file at the same time collide here, where SQLite itself does not wait.

    Raises:
        sqlite3.OperationalError: Another held the file for so long, or it cannot be used.
    """
    until = time.monotonic() + patience_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(0.02)
