"""Databases that earlier commits stored are opened, upgraded and loaded into by this one."""

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations import BASELINE_VERSION, NEWEST_VERSION, VERSION_TABLE
from orchestration_project.resources.operations.sqlite_dumps import SqliteFiles
from tests.migrations.stored_states import (
    STATES,
    answer_as_of,
    extract,
    list_columns,
    read_all_rows,
    read_dump,
    read_rows,
)
from tests.postgres import new_database
from tests.resources.fence_histories import InterruptedLoadError, check_fences, failing_at
from tests.resources.weeks import MONDAY, PartitionLoader, row

VERSIONS = sorted(file.name.partition(".")[0] for file in STATES.glob("*.sqlite.xz"))

OWN = ("database_labels", "orchestration_project_version")
"""Tables that an upgrade may write."""

NEVER_STORED = {"declared_tables", "table_renames"}
"""Tables whose rows mean tables of the database."""


def open_file(file: Path) -> Warehouse:
    return Warehouse(f"sqlite:///{file}", clock=Clock())


@pytest.fixture(params=VERSIONS)
def version(request) -> str:
    return request.param


@pytest.fixture
def stored(version: str, tmp_path: Path) -> Path:
    """The file of a stored database."""
    return extract(version, tmp_path / "stored.sqlite")


def test_the_baseline_has_a_stored_database():
    assert BASELINE_VERSION in VERSIONS


def test_an_upgrade_keeps_every_row_and_each_answer_as_of_a_time(version, stored):
    columns = {name: names for name, names in list_columns(stored).items() if name not in OWN}
    before = read_rows(stored, columns)
    empty = {name for name, found in before.items() if not found}
    assert empty == NEVER_STORED
    answers = json.loads((STATES / f"{version}.json").read_text())
    with open_file(stored) as warehouse:
        assert warehouse.version() == version
        warehouse.upgrade(holds="real")
        assert (warehouse.version(), warehouse.compare_tables()) == (NEWEST_VERSION, [])
        assert {at: answer_as_of(warehouse, datetime.fromisoformat(at)) for at in answers} == (
            answers
        )
        check_fences(warehouse)
    assert read_rows(stored, columns) == before
    assert len(set(map(str, answers.values()))) > 3


def test_a_changed_column_of_a_stored_database_is_named_before_it_is_used(stored):
    with closing(sqlite3.connect(stored)) as connection:
        connection.execute("ALTER TABLE prices_returns RENAME known_from TO landed_at")
    columns = list_columns(stored)
    before = read_rows(stored, columns)
    with open_file(stored) as warehouse:
        for attempt in (warehouse.prepare, warehouse.upgrade):
            with pytest.raises(ConfigurationError, match="invalid tables") as error:
                attempt(holds="real")
            assert "column prices_returns.known_from is missing" in error.value.found
    assert read_rows(stored, columns) == before


@pytest.mark.slow_after_first
def test_a_stored_dump_of_postgresql_keeps_its_rows_and_goes_on_loading(
    version, postgres_server, tmp_path
):
    url = new_database(postgres_server, f"stored_{uuid4().hex}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(read_dump(version))
    answers = json.loads((STATES / f"{version}.json").read_text())
    with Warehouse(url, clock=Clock()) as warehouse:
        before = read_all_rows(warehouse, OWN)
        assert {name for name, found in before.items() if not found} == NEVER_STORED
        warehouse.upgrade(holds="real")
        assert (warehouse.version(), warehouse.compare_tables()) == (NEWEST_VERSION, [])
        assert {at: answer_as_of(warehouse, datetime.fromisoformat(at)) for at in answers} == (
            answers
        )
        assert read_all_rows(warehouse, OWN) == before
        loader = PartitionLoader(warehouse, tmp_path / "store", week_start=MONDAY)
        loader.write_batch(row("NEW", share_quantity=7), version="a later one")
        shown = answer_as_of(warehouse, warehouse._clock.now())
        check_fences(warehouse)
    assert ["T1", "NEW", "XATS", "7.000000", "2025-12-01"] in shown


@pytest.mark.slow
def test_an_upgrade_that_is_killed_keeps_all_rows_and_is_repeated(stored):
    columns = {name: names for name, names in list_columns(stored).items() if name not in OWN}
    before = read_rows(stored, columns)
    with closing(sqlite3.connect(stored)) as connection:
        connection.execute("DELETE FROM database_labels WHERE name = 'schema'")
        connection.commit()
    numbers = [2**power for power in range(12)]
    statuses = [
        subprocess.run([sys.executable, "-c", UPGRADE, str(stored), str(number)]).returncode  # noqa: S603
        for number in numbers
        if read_rows(stored, columns) == before
    ]
    killed = statuses.count(-signal.SIGKILL)
    assert killed > 3
    assert statuses == [-signal.SIGKILL] * killed + [0] * (len(numbers) - killed)
    with open_file(stored) as warehouse:
        warehouse.upgrade(holds="real")
        assert (warehouse.version(), warehouse.compare_tables()) == (NEWEST_VERSION, [])
        check_fences(warehouse)
    assert read_rows(stored, columns) == before


UPGRADE = """
import sys
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables import catalogue
from tests.migrations.stored_states import kill_at_statement

kill_at_statement(int(sys.argv[2]))
with Warehouse(f"sqlite:///{sys.argv[1]}", clock=Clock()) as warehouse:
    warehouse.upgrade(holds="real")
"""
"""A program that upgrades a file, and is killed at a statement."""


def test_a_backup_of_before_the_upgrade_brings_the_stored_rows_back(stored, tmp_path):
    columns = list_columns(stored)
    before, parts = read_rows(stored, columns), dict[str, bytes]()

    def write(name: str, chunks: Iterable[bytes]) -> tuple[str, int]:
        parts[name] = b"".join(chunks)
        return hashlib.sha256(parts[name]).hexdigest(), len(parts[name])

    files = SqliteFiles(
        "project/", stored.parent, [stored.name], VERSION_TABLE, stored_as="tables.sqlite"
    )
    backup = files.dump(write, tmp_path)
    with open_file(stored) as warehouse:
        warehouse.upgrade(holds="real")
        PartitionLoader(warehouse, tmp_path / "store", week_start=MONDAY).write_batch(row("NEW"))
    assert read_rows(stored, columns) != before
    stored.unlink()
    files.restore(backup, lambda part: iter([parts[part.name]]))
    assert read_rows(stored, columns) == before


@pytest.mark.slow
def test_an_upgrade_that_ends_at_a_statement_changes_no_row_and_is_repeated(stored):
    columns = list_columns(stored)
    before = read_rows(stored, columns)
    ended = 0
    with open_file(stored) as warehouse:
        while is_interrupted(warehouse, ended + 1):
            ended += 1
            assert read_rows(stored, columns) == before
        assert (warehouse.version(), warehouse.compare_tables()) == (NEWEST_VERSION, [])
    assert ended > 10


def is_interrupted(warehouse: Warehouse, number: int) -> bool:
    """Upgrade, and return whether the statement of a number ended it."""
    try:
        with failing_at(number):
            warehouse.upgrade(holds="real")
    except InterruptedLoadError:
        return True
    return False


def test_a_stored_database_goes_on_loading(stored, tmp_path):
    with open_file(stored) as warehouse:
        warehouse.upgrade(holds="real")
        loader = PartitionLoader(warehouse, tmp_path / "store", week_start=MONDAY)
        loader.write_batch(row("NEW", share_quantity=7), version="a later one")
        shown = answer_as_of(warehouse, warehouse._clock.now())
        check_fences(warehouse)
    assert ["T1", "NEW", "XATS", "7.000000", "2025-12-01"] in shown


def test_a_stored_database_is_copied_to_postgresql(stored, prepared):
    with open_file(stored) as warehouse:
        warehouse.upgrade(holds="real")
        with Warehouse(prepared.postgresql(), clock=Clock()) as copy:
            copy.fill_from(warehouse)
            copy.prepare(holds="real")
            check_fences(copy)
            now = warehouse._clock.now()
            assert answer_as_of(copy, now) == answer_as_of(warehouse, now) != []
