"""Many rows leave PostgreSQL: read ahead by a thread, which ends with who wanted them."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Text, cast, func, literal, select, text, union_all

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import ROWS_PER_BATCH
from orchestration_project.tables.schema import Query
from orchestration_project.tables.spine import database_labels
from tests import databases
from tests.prepared import Prepared

MANY = 2 * ROWS_PER_BATCH + 1


@pytest.fixture
def url(prepared: Prepared) -> str:
    return prepared.postgresql()


@pytest.fixture
def warehouse(url: str, clock):
    with Warehouse(url, clock=clock) as warehouse:
        yield warehouse


def numbers(count: int) -> Any:
    number = func.generate_series(1, count).column_valued("number")
    return select(cast(number, Text).label("name"), literal("x\ty\\").label("value"))


def many_and(last: str) -> Query:
    """Return a query of many rows, after which the server evaluates an expression."""
    return union_all(numbers(MANY), select(cast(func.pg_sleep(600), Text), literal(last)))


def is_requested(url: str) -> bool:
    """Whether another session of the server runs a query."""
    active = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    others = f"{active} AND state = 'active' AND pid <> pg_backend_pid()"
    return databases.rows(url, text(others)) != [(0,)]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("count", [0, 1, ROWS_PER_BATCH, ROWS_PER_BATCH + 1, MANY])
def test_all_rows_arrive_in_batches(warehouse, count):
    with warehouse.batches(numbers(count), database_labels) as found:
        batches = list(found)
    assert all(batch.height <= ROWS_PER_BATCH for batch in batches)
    rows = pl.concat(batches)
    assert rows["name"].to_list() == [str(number) for number in range(1, count + 1)]
    assert set(rows["value"]) <= {"x\ty\\"}


def test_a_reader_that_stops_early_ends_the_query(warehouse, url):
    with warehouse.batches(many_and("end"), database_labels) as batches:
        assert next(batches).height == 0
        assert next(batches).height == ROWS_PER_BATCH
    assert not is_requested(url)
    with warehouse.batches(numbers(1), database_labels) as batches:
        assert sum(batch.height for batch in batches) == 1


def test_an_interrupt_while_the_server_works_ends_both(warehouse, url):
    begun = Event()

    def interrupt() -> None:
        begun.wait()
        os.kill(os.getpid(), signal.SIGINT)

    def read() -> None:
        with warehouse.batches(many_and("end"), database_labels) as batches:
            for number, _ in enumerate(batches):
                if number == 1:
                    begun.set()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                read()
        finally:
            begun.set()
    assert not is_requested(url)


def test_an_error_after_many_rows_is_raised(warehouse):
    broken = union_all(numbers(MANY), select(cast(1 / (func.length("") * 1), Text), literal("x")))
    with (
        pytest.raises(Exception, match="division by zero"),
        warehouse.batches(broken, database_labels) as batches,
    ):
        list(batches)
