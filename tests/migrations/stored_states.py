"""Databases that releases made: `python -m tests.migrations.stored_states URL` stores this one's.

Each has loads of FINRA's weeks with restatements, and a row of every other table of all domains: a
file of SQLite, and a dump of its copy in PostgreSQL. URL is that of an empty database of the oldest
supported PostgreSQL, of which `pg_dump` is on PATH.
"""

import itertools
import json
import lzma
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine, event, select

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.migrations import NEWEST_VERSION
from orchestration_project.migrations.declared import declared_schema
from orchestration_project.migrations.frozen import Table
from orchestration_project.tables.catalogue import METADATA, relation_as_of
from tests.resources.fence_histories import Histories, drawn
from tests.resources.weeks import MONDAY, PartitionLoader, StoppedClock

STATES = Path(__file__).parent / "states"

FIRST = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""Time of the first load; each of the next is a day later."""

READ_AT_OPENING = ("declared_tables", "table_renames", "database_labels")
"""Tables whose rows mean tables of the database."""

VALUES = {
    "text": "Änne",
    "date": "2026-01-05",
    "bigint": 2**53 + 1,
    "boolean": 1,
    "double": 0.1,
    "timestamp": "2026-01-05 12:00:00.000001",
}
"""Value of a column by its type, as SQLite stores it."""

SHOWN = ("tier", "symbol", "venue_id", "share_quantity", "last_update_date")


def answer_as_of(warehouse: Warehouse, at: datetime) -> list[list[str]]:
    """Return the weekly rows that were known at a time, as texts."""
    rows = list[list[str]]()
    with warehouse.reading() as connection:
        for part in relation_as_of(finra_otc_weekly.name, at).parts:
            answer = connection.execute(part.select(SHOWN, ()))
            rows += [[str(value) for value in row] for row in answer]
    return sorted(rows)


def read_rows(file: Path, columns: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the rows of these columns of tables in a SQLite file, as texts."""
    with closing(sqlite3.connect(file)) as connection:
        return {
            table: sorted(
                map(repr, connection.execute(f'SELECT {", ".join(names)} FROM "{table}"'))  # noqa: S608
            )
            for table, names in columns.items()
        }


def list_columns(file: Path) -> dict[str, list[str]]:
    """Return the columns of each table in a SQLite file."""
    with closing(sqlite3.connect(file)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {
            name: [f'"{row[1]}"' for row in connection.execute(f'PRAGMA table_info("{name}")')]
            for (name,) in tables.fetchall()
        }


def read_all_rows(warehouse: Warehouse, without: Collection[str]) -> dict[str, list[str]]:
    """Return the rows of the tables of the package, as texts."""
    with warehouse.reading() as connection:
        return {
            name: sorted(map(repr, connection.execute(select(table)).all()))
            for name, table in METADATA.tables.items()
            if name not in without
        }


def fill(warehouse: Warehouse, folder: Path) -> list[datetime]:
    """Load weeks and restatements, add a row to other tables; return the times of loads."""
    clock = StoppedClock(FIRST)
    warehouse._clock = clock
    histories = Histories(PartitionLoader(warehouse, folder, week_start=MONDAY), clock)
    for step in drawn(3, 30):
        histories.play(*step)
        clock.at += timedelta(days=1)
    with warehouse.writing() as connection:
        tables = declared_schema(METADATA, {}).values()
        for table in (item for item in tables if isinstance(item, Table)):
            rows = connection.exec_driver_sql(f'SELECT 1 FROM "{table.name}"')  # noqa: S608
            if rows.first() is None and table.name not in READ_AT_OPENING:
                values = [VALUES[column.type] for column in table.columns]
                marks = ", ".join("?" * len(values))
                statement = f'INSERT INTO "{table.name}" VALUES ({marks})'  # noqa: S608
                connection.exec_driver_sql(statement, tuple(values))
    return [FIRST + timedelta(days=day, hours=1) for day in range(0, 30, 5)]


def kill_at_statement(number: int) -> None:
    """Let this process be killed in place of a statement of a number, counted from 1."""
    counted = itertools.count(1)

    def kill(*_: object) -> None:
        if next(counted) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", kill)


def extract(version: str, file: Path) -> Path:
    """Write the stored database of a version, and return its file."""
    file.write_bytes(lzma.decompress((STATES / f"{version}.sqlite.xz").read_bytes()))
    return file


def read_dump(version: str) -> bytes:
    """Return the SQL that makes the stored database of a version in PostgreSQL."""
    return lzma.decompress((STATES / f"{version}.postgresql.sql.xz").read_bytes())


def dump(file: Path, url: str) -> bytes:
    """Copy a SQLite file to an empty database of PostgreSQL, and return the SQL that makes it."""
    with (
        Warehouse(f"sqlite:///{file}", clock=Clock()) as warehouse,
        Warehouse(url, clock=Clock()) as copy,
    ):
        copy.prepare(holds="real")
        copy.fill_from(warehouse)
    options = ("--inserts", "--rows-per-insert=100", "--no-owner", "--no-privileges", "--dbname")
    ended = subprocess.run(["pg_dump", *options, url], capture_output=True, check=True)  # noqa: S603, S607
    lines = ended.stdout.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(b"\\"))  # those of psql alone


def write(url: str) -> None:
    """Store a database of the newest version, and its answers; one that is there stays."""
    STATES.mkdir(exist_ok=True)
    stored = STATES / f"{NEWEST_VERSION}.sqlite.xz"
    if stored.exists():
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "state.sqlite"
        with Warehouse(f"sqlite:///{file}", clock=Clock()) as warehouse:
            warehouse.prepare(holds="real")
            times = fill(warehouse, Path(folder))
            answers = {at.isoformat(): answer_as_of(warehouse, at) for at in times}
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("VACUUM")
        preset = 9 | lzma.PRESET_EXTREME
        stored.write_bytes(lzma.compress(file.read_bytes(), preset=preset))
        sql = STATES / f"{NEWEST_VERSION}.postgresql.sql.xz"
        sql.write_bytes(lzma.compress(dump(file, url), preset=preset))
    text = json.dumps(answers, indent=1)
    (STATES / f"{NEWEST_VERSION}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    write(sys.argv[1])
