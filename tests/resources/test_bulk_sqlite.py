"""Many rows reach SQLite by way of a file, which is removed afterwards."""

import gc
import os
import signal
import sqlite3
from _thread import interrupt_main
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

import polars as pl
import pytest
from sqlalchemy import Connection, delete, func, select

from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.bulk import MANY_ROWS, MAX_ATTACHED_FILES
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.spine import blobs
from tests.expecting import expect_type
from tests.faults.disks import tiny_disk
from tests.resources.weeks import NOON


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "disk" / "x 'y'.sqlite"


@pytest.fixture
def warehouse(file: Path, clock) -> Iterator[Warehouse]:
    warehouse = Warehouse(f"sqlite:///{file}", clock=clock)
    warehouse.prepare(holds="real")
    yield warehouse
    warehouse.close()


def many(start: int = 0, count: int = MANY_ROWS) -> pl.DataFrame:
    values = {"byte_count": 1, "stored_byte_count": 1, "storage_uri": "u", "stored_at": NOON}
    rows = [{"sha256": f"{number:07}", **values} for number in range(start, start + count)]
    return pl.DataFrame(rows, derive_schema(blobs))


def write(warehouse: Warehouse, *frames: pl.DataFrame) -> None:
    with warehouse.writing() as connection:
        for frame in frames:
            insert_frame(connection, blobs, frame)


def write_until_interrupted(warehouse: Warehouse) -> None:
    with warehouse.writing() as connection:
        insert_frame(connection, blobs, many())
        driver = expect_type(connection.connection.driver_connection, sqlite3.Connection)
        driver.create_function("interrupted", 0, interrupt_main)  # a signal, in C: no line of ours
        connection.execute(select(func.interrupted()))


def count_in(warehouse: Warehouse) -> int:
    with warehouse.reading() as connection:
        return connection.execute(select(func.count()).select_from(blobs)).scalar_one()


def others(file: Path) -> list[str]:
    """Return what lies beside a database."""
    return [path.name for path in file.parent.iterdir() if path != file]


def attached(connection: Connection) -> int:
    listed = connection.exec_driver_sql("PRAGMA database_list").all()
    return sum(name.startswith("incoming") for _, name, _ in listed)


@pytest.mark.slow
def test_more_frames_than_sqlite_attaches_files_arrive_whole_and_again(file, warehouse):
    frames = [many(number * MANY_ROWS) for number in range(MAX_ATTACHED_FILES + 2)]
    for again in range(1, 3):
        with warehouse.writing() as connection:
            connection.execute(delete(blobs))
            for frame in frames:
                insert_frame(connection, blobs, frame)
            assert attached(connection) == MAX_ATTACHED_FILES, again
        with warehouse.writing() as connection:
            assert attached(connection) == 0, again
    assert warehouse.frame(select(blobs).order_by(blobs.c.sha256), blobs).equals(pl.concat(frames))
    warehouse.close()
    assert others(file) == []


@pytest.mark.slow
def test_rows_of_which_no_column_says_the_same_throughout_arrive(warehouse):
    count = pl.int_range(1, MANY_ROWS + 1)
    frame = many().with_columns(
        byte_count=count,
        stored_byte_count=count,
        storage_uri=pl.col("sha256"),
        stored_at=pl.col("stored_at") + pl.duration(seconds=count),
    )
    write(warehouse, frame)
    assert warehouse.frame(select(blobs).order_by(blobs.c.sha256), blobs).equals(frame)


@pytest.mark.slow
def test_a_transaction_that_fails_leaves_neither_rows_nor_file(file, warehouse):
    for _ in range(MAX_ATTACHED_FILES + 2):
        with pytest.raises(sqlite3.IntegrityError):
            write(warehouse, many(), many(MANY_ROWS - 1))
    assert count_in(warehouse) == 0
    warehouse.close()
    assert others(file) == []


def test_an_interrupt_in_the_midst_of_a_statement_stays_one(warehouse):
    with pytest.raises(KeyboardInterrupt):
        write_until_interrupted(warehouse)
    gc.collect()  # the interrupted connection holds the lock as long as its frames refer to it
    assert count_in(warehouse) == 0
    write(warehouse, many())
    assert count_in(warehouse) == MANY_ROWS


@pytest.mark.slow
def test_an_interrupt_while_rows_are_on_their_way_stays_one(file, warehouse):
    rows = many(count=100 * MANY_ROWS)
    ended = Event()

    def interrupt() -> None:
        while not (ended.is_set() or file.with_name(f"{file.name}-incoming").exists()):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            write(warehouse, rows)
        ended.set()
    assert count_in(warehouse) == 0
    warehouse.close()
    assert others(file) == []


@pytest.mark.slow
def test_an_interrupt_while_the_thread_that_writes_starts_leaves_no_file(
    file, warehouse, monkeypatch
):
    start = Thread.start

    def interrupted(thread: Thread) -> None:
        start(thread)
        threads.append(thread)
        raise KeyboardInterrupt

    threads: list[Thread] = []
    monkeypatch.setattr(Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(warehouse, many())
    monkeypatch.undo()
    for thread in threads:
        thread.join()
    warehouse.close()
    assert others(file) == []


def test_one_row_many_times_is_refused_for_its_key(warehouse):
    with pytest.raises(sqlite3.IntegrityError, match=r"blobs\.sha256"):
        write(warehouse, pl.concat([many(count=1)] * MANY_ROWS))


def test_what_a_killed_process_left_is_removed_by_the_next_that_writes(file, warehouse):
    left = file.with_name(f"{file.name}-incoming")
    left.write_bytes(b"half of its rows")
    count_in(warehouse)  # who reads does not know whether somebody writes
    assert left.exists()
    write(warehouse, many(count=1))
    assert not left.exists()


@pytest.mark.slow
def test_a_full_disk_is_reported_and_nothing_is_loaded(file, clock):
    with tiny_disk(file.parent, mebibytes=4) as disk:
        warehouse = Warehouse(f"sqlite:///{file}", clock=clock)
        warehouse.prepare(holds="real")
        disk.fill(leaving_pages=8)
        with pytest.raises(ConfigurationError) as refusal:
            write(warehouse, many())
        disk.free()
        assert count_in(warehouse) == 0
        write(warehouse, many())
        assert count_in(warehouse) == MANY_ROWS
        warehouse.close()
        assert others(file) == []
    for said in (f"{file}-incoming", "disk is full", "make space on its disk"):
        assert said in str(refusal.value)
