"""Statements of a load or replay of one partition do not become slower as history grows."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, event, text

from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.engine.warehouse.recorded import read_parts
from orchestration_project.resources.finra.weekly import read_earlier
from orchestration_project.services.inventory import read_captures
from orchestration_project.tables.spine import captures, deliveries, landings
from tests.resources.weeks import MONDAY, PartitionLoader, rejected, row

GROWING = {table.name: table for table in (captures, deliveries, landings)}
DELIVERIES = 4000
"""Enough for a database to prefer an index where it has a good one."""


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Collect what is asked of any database, with its values."""
    found: list[tuple[str, Any]] = []

    def collect(_connection, _cursor, statement, values, _context, _many):
        found.append((statement, values))

    event.listen(Engine, "before_cursor_execute", collect)
    yield found
    event.remove(Engine, "before_cursor_execute", collect)


def grow(warehouse: Warehouse) -> None:
    """Repeat what is recorded of the one delivery, as if many others had been loaded."""
    numbers = pl.DataFrame({"number": range(1, DELIVERIES)})
    with warehouse.writing() as connection:
        for name, table in GROWING.items():
            have = warehouse.frame(table.select(), table)
            many = have.join(numbers, how="cross").with_columns(
                pl.format("{}-{}", "group_id", "number").alias("group_id"),
                pl.format("{}-{}", "partition_key", pl.col("number") % 800).alias("partition_key"),
                *([pl.col("number").alias("capture_id")] if name == "captures" else ()),
            )
            insert_frame(connection, table, many.select(have.columns))
        connection.execute(text("ANALYZE"))


def plan_of(warehouse: Warehouse, statement: str, values: Any) -> tuple[list[str], str]:
    """Return the lines of a database's plan, and how it says that it reads all of a table."""
    with warehouse.reading() as connection:
        if connection.dialect.name == "sqlite":
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            return [line[3] for line in plan], "SCAN {}"
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", values)
        return [line[0] for line in plan], "Seq Scan on {}"


def scanned(warehouse: Warehouse, statement: str, values: Any) -> set[str]:
    """Return the growing tables that the database would read as a whole for a statement."""
    lines, word = plan_of(warehouse, statement, values)
    return {name for name in GROWING if any(word.format(name) in line for line in lines)}


@pytest.fixture
def requested(partition_loader: PartitionLoader) -> list[tuple[str, Any]]:
    """Statements of a load, restatement and replay of a partition, in a database with a past."""
    partition_loader.write_batch(row("AAA"), rejects=rejected(7))
    grow(partition_loader.warehouse)
    with statements() as found:
        partition_loader.write_batch(row("AAA", share_quantity=7), row("BBB"), version="v2")
        _, recorded = partition_loader.warehouse.recorded(
            finra_otc_weekly, partition_loader.partition_key
        )
        with partition_loader.warehouse.reading() as connection:
            read_parts(connection, recorded[0])
            read_earlier(connection, TierWeek("T1", MONDAY + timedelta(days=7)), {}, weeks=12)
    return [reading for reading in found if reading[0].startswith("SELECT")]


@pytest.mark.slow_on_postgresql
def test_no_question_about_a_partition_reads_all_that_was_ever_delivered(
    partition_loader, requested
):
    about = [
        request for request in requested if any(f"FROM {name}" in request[0] for name in GROWING)
    ]
    assert len(about) >= 2
    assert {
        statement: scanned(partition_loader.warehouse, statement, values)
        for statement, values in about
    } == {statement: set() for statement, _ in about}


@pytest.mark.slow_after_first
def test_the_newest_captures_are_read_in_the_order_of_an_index(partition_loader):
    partition_loader.write_batch(row("AAA"))
    grow(partition_loader.warehouse)
    with statements() as found:
        read_captures(partition_loader.warehouse, [], limit=50)
    [(statement, values)] = [reading for reading in found if "FROM captures" in reading[0]]
    lines, _ = plan_of(partition_loader.warehouse, statement, values)
    plan = "\n".join(lines)
    assert "captures_by_time" in plan
    assert "Sort" not in plan  # PostgreSQL
    assert "TEMP B-TREE" not in plan  # SQLite
