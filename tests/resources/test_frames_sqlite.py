"""Many rows leave SQLite as few do: the same values, one committed state, no file left open."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from threading import Event
from zoneinfo import ZoneInfo

import polars as pl
import psutil
import pytest
from sqlalchemy import URL, ColumnElement, Table, select, update

from orchestration_project.domains.finra.tables.symbols import finra_symbols
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly, finra_symbol_week
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse import Warehouse, frames
from orchestration_project.engine.warehouse.bulk import MANY_ROWS
from orchestration_project.engine.warehouse.frames import ROWS_PER_BATCH, insert_frame
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.catalogue import relation, tables
from orchestration_project.tables.schema import Query, key_names
from orchestration_project.tables.spine import blobs
from tests.prepared import Prepared
from tests.resources.weeks import NOON

MANY = MANY_ROWS + 1
HIDDEN = -5
"""Of many rows, so many are the only ones that have a value where NULL is allowed."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "disk 100%" / "x?y#'z'.sqlite"


@pytest.fixture
def warehouse(file: Path, clock, prepared: Prepared) -> Iterator[Warehouse]:
    file.parent.mkdir()
    prepared.sqlite(file)
    with Warehouse(URL.create("sqlite", database=str(file)), clock=clock) as warehouse:
        yield warehouse


def column(name: str, kind: pl.DataType, *, is_nullable: bool, is_key: bool) -> pl.Expr:
    """Return values of a type, of which all rows but the last ones lack what may be NULL."""
    number = pl.int_range(MANY, dtype=pl.Int64)
    if kind == pl.Date:
        value = pl.lit(date(1999, 12, 31)) + pl.duration(days=number % 9000)
    elif kind == pl.Datetime:
        value = (pl.lit(NOON) + pl.duration(microseconds=number)).dt.cast_time_unit("us")
    elif kind == pl.Boolean:
        value = number % 3 == 0
    elif kind == pl.String:
        value = pl.format("{}é\n\\t'\"🙂", number.cast(pl.String).str.zfill(6))
    else:
        value = (number - 3).cast(kind) / (8 if kind == pl.Float64 else 1)
    shown = number >= MANY + HIDDEN if is_nullable and not is_key else pl.lit(value=True)
    return pl.when(shown).then(value).cast(kind).alias(name)


def filled(table: Table) -> pl.DataFrame:
    return pl.select(
        column(
            name, kind, is_nullable=bool(table.c[name].nullable), is_key=name in key_names(table)
        )
        for name, kind in derive_schema(table).items()
    ).sort(key_names(table))


def read(warehouse: Warehouse, statement: Query, table: Table) -> pl.DataFrame:
    with warehouse.batches(statement, table) as batches:
        return pl.concat(batches)


def kinds(table: Table) -> set[pl.DataType]:
    return set(derive_schema(table).values())


def test_values_of_all_types_arrive_though_the_first_rows_are_null(warehouse):
    """The tables chosen have every type that a column of a table has."""
    chosen = (finra_symbol_week, finra_symbols)
    assert set.union(*map(kinds, chosen)) == set.union(*map(kinds, tables()))
    for table in chosen:
        rows = filled(table)
        with warehouse.writing() as connection:
            insert_frame(connection, table, rows)
        in_order = select(table).order_by(*table.primary_key.columns)
        assert read(warehouse, in_order, table).equals(rows), table.name


def count_each_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each number of rows be read as many are."""
    monkeypatch.setattr(frames, "MANY_ROWS", -1)


def test_decimals_of_a_view_are_exact_either_way(warehouse, monkeypatch):
    with warehouse.writing() as connection:
        insert_frame(connection, finra_otc_weekly, filled(finra_otc_weekly)[-10:])
    view = relation("v_finra_otc_weekly")
    wanted = view.select(view.columns([]), [])
    few = read(warehouse, wanted, view.table)
    count_each_as_many(monkeypatch)
    assert read(warehouse, wanted, view.table).equals(few)
    assert any(isinstance(kind, pl.Decimal) for kind in few.dtypes)
    assert few.height == 10


def blob_rows(count: int = MANY) -> pl.DataFrame:
    number = pl.int_range(count, dtype=pl.Int64)
    return pl.select(
        sha256=number.cast(pl.String).str.zfill(7),
        byte_count=number * 7919 % 1000,
        stored_byte_count=number % 5,
        storage_uri=pl.lit("u"),
        byte_offset=pl.lit(None, dtype=pl.Int64),
        stored_at=(pl.lit(NOON) + pl.duration(seconds=number)).dt.cast_time_unit("us"),
    ).select(*derive_schema(blobs))


def write(warehouse: Warehouse, rows: pl.DataFrame) -> None:
    with warehouse.writing() as connection:
        insert_frame(connection, blobs, rows)


@pytest.mark.parametrize("count", [MANY_ROWS, MANY, 2 * ROWS_PER_BATCH + 1])
def test_rows_are_the_same_whichever_way_they_are_read(warehouse, count):
    rows = blob_rows(count)
    write(warehouse, rows)
    assert read(warehouse, select(blobs).order_by(blobs.c.sha256), blobs).equals(rows)


CONDITIONS: dict[str, tuple[ColumnElement[bool], pl.Expr]] = {
    "moments": (
        blobs.c.stored_at >= NOON + timedelta(seconds=7),
        pl.col("stored_at") >= NOON + timedelta(seconds=7),
    ),
    "lists": (
        blobs.c.stored_byte_count.in_([1, 2, 3, 4]),
        pl.col("stored_byte_count").is_in([1, 2, 3, 4]),
    ),
    "texts": (blobs.c.sha256 > "x' OR 'y' < 'z", pl.lit(value=False)),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_an_order_and_a_limit_hold(warehouse, name, monkeypatch):
    count_each_as_many(monkeypatch)
    rows = blob_rows(1000)
    write(warehouse, rows)
    on_table, on_frame = CONDITIONS[name]
    wanted = select(blobs).where(on_table)
    wanted = wanted.order_by(blobs.c.byte_count.desc(), blobs.c.sha256).limit(300)
    expected = rows.filter(on_frame).sort("byte_count", "sha256", descending=[True, False])[:300]
    assert read(warehouse, wanted, blobs).equals(expected)


def test_a_moment_of_another_time_zone_is_compared_as_that_moment(warehouse, monkeypatch):
    count_each_as_many(monkeypatch)
    write(warehouse, blob_rows(10))
    eastern = (NOON + timedelta(seconds=8)).astimezone(ZoneInfo("America/New_York"))
    found = read(warehouse, select(blobs).where(blobs.c.stored_at > eastern), blobs)
    assert found["sha256"].to_list() == ["0000009"]


def test_one_committed_state_is_read_while_others_write(warehouse):
    rows = blob_rows(2 * ROWS_PER_BATCH)
    write(warehouse, rows)
    in_order = select(blobs).order_by(blobs.c.sha256)
    with warehouse.batches(in_order, blobs) as batches:
        begun = [next(batches), next(batches)]
        with warehouse.writing() as connection:
            connection.execute(update(blobs).values(byte_count=-1))
        assert pl.concat([*begun, *batches]).equals(rows)
    with warehouse.writing() as connection:
        connection.execute(update(blobs).values(byte_count=-2))
        assert set(read(warehouse, in_order, blobs)["byte_count"]) == {-1}


def test_a_reader_that_stops_early_leaves_no_file_open(warehouse, file):
    write(warehouse, blob_rows(3 * ROWS_PER_BATCH))
    with warehouse.batches(select(blobs), blobs) as batches:
        next(batches)
        assert next(batches).height
    warehouse.close()
    assert not [
        open_file for open_file in psutil.Process().open_files() if str(file) in open_file.path
    ]


@pytest.mark.slow
@pytest.mark.parametrize("frames_before", [1, 2])
def test_an_interrupt_while_rows_are_counted_or_read_stays_one(warehouse, frames_before):
    write(warehouse, blob_rows(6 * ROWS_PER_BATCH))
    begun = Event()

    def interrupt() -> None:
        begun.wait()
        os.kill(os.getpid(), signal.SIGINT)

    def read_for_ever() -> None:
        while True:
            with warehouse.batches(select(blobs).order_by(blobs.c.byte_count), blobs) as batches:
                for number, _ in enumerate(batches, 1):
                    if number == frames_before:
                        begun.set()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            read_for_ever()
    assert read(warehouse, select(blobs), blobs).height == 6 * ROWS_PER_BATCH


def test_a_damaged_file_is_reported(warehouse, file):
    write(warehouse, blob_rows(20_000))
    with warehouse.reading() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    warehouse.close()
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(size // 2)
        opened.write(b"\xff" * (size // 4))
    with pytest.raises(ConfigurationError, match="malformed"):
        read(warehouse, select(blobs), blobs)
