"""Files of SQLite: texts in them replaced, and freed pages overwritten."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from orchestration_project.errors import TransientError

HEADER = b"SQLite format 3\x00"

BUSY_SECONDS = 30

Value = str | bytes


def is_sqlite(file: Path) -> bool:
    """Whether a file is a database of SQLite."""
    with file.open("rb") as opened:
        return opened.read(len(HEADER)) == HEADER


def replace_values(file: Path, replace: Callable[[Value], Value]) -> int:
    """Replace texts and bytes in all tables of a database; return how many were.

    A value that another row of its table must not have twice is deleted with its row.

    Args:
        file: The database; others may write to it meanwhile.
        replace: Returns the new value, or the same one.

    Raises:
        TransientError: Another process locks the database for long.
    """
    with closing(_open_file(file)) as driver:
        try:
            driver.execute("PRAGMA secure_delete = ON")
            driver.create_function("is_replaced", 1, lambda value: _is_replaced(value, replace))
            rows = driver.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            ).fetchall()
            return sum(_replace_in(driver, name, replace) for (name,) in rows)
        except sqlite3.OperationalError as error:
            raise _build_lock_error(file, error) from error


def _open_file(file: Path) -> sqlite3.Connection:
    driver = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None)
    driver.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    return driver


def _is_replaced(value: Any, replace: Callable[[Value], Value]) -> bool:
    return isinstance(value, str | bytes) and replace(value) != value


def _replace_in(driver: sqlite3.Connection, table: str, replace: Callable[[Value], Value]) -> int:
    columns = driver.execute(f"PRAGMA table_info({_quote_name(table)})").fetchall()
    keys = [name for _, name, _, _, _, place in columns if place] or ["rowid"]
    key = " AND ".join(f"{_quote_name(name)} IS ?" for name in keys)
    selected = ", ".join(map(_quote_name, keys))
    count = 0
    for _, column, *_ in columns:
        rows = driver.execute(
            f"SELECT {_quote_name(column)}, {selected} FROM {_quote_name(table)} "  # noqa: S608 - names of SQLite itself, quoted
            f"WHERE is_replaced({_quote_name(column)})"
        ).fetchall()
        for value, *place in rows:
            try:
                driver.execute(
                    f"UPDATE {_quote_name(table)} SET {_quote_name(column)} = ? WHERE {key}",  # noqa: S608 - the same
                    (replace(value), *place),
                )
            except sqlite3.IntegrityError:
                driver.execute(f"DELETE FROM {_quote_name(table)} WHERE {key}", place)  # noqa: S608 - the same
        count += len(rows)
    return count


def _quote_name(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def rewrite_file(file: Path) -> None:
    """Write a database again, so that freed pages and its log hold nothing of deleted rows.

    Raises:
        TransientError: Another process reads or locks the database for long.
    """
    with closing(_open_file(file)) as driver:
        rewrite(driver)


def rewrite(driver: Any) -> None:
    """Do the same with an open connection of `sqlite3`, which is in no transaction.

    Raises:
        TransientError: Another process reads or locks the database for long.
    """
    file = next(path for _, name, path in driver.execute("PRAGMA database_list") if name == "main")
    try:
        driver.execute("VACUUM")
        is_busy, *_ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as error:
        raise _build_lock_error(Path(file), error) from error
    if is_busy:
        raise _build_lock_error(Path(file), "its write-ahead log is being read")


def _build_lock_error(file: Path, found: object) -> TransientError:
    return TransientError(
        f"cannot rewrite {file}",
        expected=f"a database that no other process locks or reads for {BUSY_SECONDS} seconds",
        found=str(found),
        remedy="stop what reads it, and start the job again",
    )
