"""Tables written again, so that the database's files hold nothing of deleted rows."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, Table

from orchestration_project.connections.sqlite_files import rewrite

REWRITTEN = ("sqlite", "postgresql")
"""Databases whose files are written again."""


def rewrite_tables(engine: Engine, tables: Sequence[Table], schema: str | None) -> bool:
    """Rewrite the file of SQLite, or tables of PostgreSQL; return False for another database.

    SQLite: VACUUM writes the whole file again, and the write-ahead log is emptied. PostgreSQL:
    VACUUM FULL writes a table and its indexes into new files, which locks it; ANALYZE replaces its
    statistics, which hold frequent values.

    Raises:
        TransientError: Another process reads the file of SQLite for long.
    """
    if engine.dialect.name not in REWRITTEN:
        return False
    raw = engine.raw_connection()
    try:
        driver = raw.driver_connection
        if engine.dialect.name == "sqlite":
            rewrite(driver)
        else:
            _vacuum_full(driver, [_name(each, schema) for each in tables])
    finally:
        raw.close()
    return True


def _name(table: Table, schema: str | None) -> str:
    return f'"{table.name}"' if schema is None else f'"{schema}"."{table.name}"'


def _vacuum_full(driver: Any, names: Sequence[str]) -> None:
    driver.rollback()
    driver.autocommit = True
    try:
        driver.execute("SET lock_timeout = '120s'")
        for name in names:
            driver.execute(f"VACUUM (FULL, ANALYZE) {name}")
        driver.execute("RESET lock_timeout")
    finally:
        driver.autocommit = False
