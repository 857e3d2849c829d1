"""The schedule that values weeks, ticked by the test, and what a run of it makes of them."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from orchestration_project.domains.finra.calendar import TIERS, WEEK, session_days
from orchestration_project.domains.finra.tables.weekly import finra_symbol_week_value
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.finra.value import value_load
from orchestration_project.sensors.finra import finra_symbol_week_value_daily
from tests.prepared import Prepared
from tests.resources.weeks import NOON, PartitionLoader, StoppedClock, row

FIRST, LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
MONDAY = date(2025, 11, 3)
WEEKS = [MONDAY + number * WEEK for number in range(10)]


@pytest.fixture
def warehouse(prepared: Prepared, tmp_path: Path) -> Iterator[Warehouse]:
    url = prepared.sqlite(tmp_path / "w.sqlite")
    with Warehouse(url, clock=StoppedClock()) as warehouse:
        yield warehouse


@pytest.fixture
def partition_loader(warehouse: Warehouse, tmp_path: Path) -> PartitionLoader:
    return PartitionLoader(warehouse, tmp_path / "artifacts")


def write_batch(
    partition_loader: PartitionLoader,
    week: date,
    *tiers: str,
    shares: int = 100,
    version: str = "v1",
) -> None:
    for tier in tiers or TIERS:
        at = PartitionLoader(partition_loader.warehouse, partition_loader.folder, tier, week)
        at.write_batch(row(share_quantity=shares), version=version)


def price(warehouse: Warehouse, *weeks: date) -> None:
    """Have AAA close at 2 dollars in each session of these weeks."""
    schema = derive_schema(prices_daily)
    usual = dict.fromkeys(schema, 2_000_000) | dict.fromkeys(
        ("adjusted_close", "dividend", "split_ratio")
    )
    given = {"symbol": "AAA", "source": "demo", "known_from": NOON, "capture_id": 1}
    rows = [
        {**usual, **given, "trade_date": day, "volume": 1000, "later_splits": "none"}
        for week in weeks
        for day in session_days(week)
    ]
    with warehouse.writing() as connection:
        insert_frame(connection, prices_daily, pl.DataFrame(rows, schema))


def value(warehouse: Warehouse, *weeks: date) -> list[bool]:
    """Value weeks as a run does, and return which were written."""
    load = value_load(warehouse)
    return [bool(load.write_batch(load.take(week.isoformat())).recomputed) for week in weeks]


def expect_distinct_requests(warehouse: Warehouse) -> list[tuple[str, str]]:
    """Return the first and last week of each run that a tick requests."""
    context = dg.build_schedule_context(resources={"warehouse": warehouse})
    requests = finra_symbol_week_value_daily.evaluate_tick(context).run_requests or []
    assert len({request.run_key for request in requests}) == len(requests)
    return [(request.tags[FIRST], request.tags[LAST]) for request in requests]


def between(first: date, last: date) -> tuple[str, str]:
    return first.isoformat(), last.isoformat()


def test_without_a_complete_week_there_is_nothing_to_value(partition_loader):
    write_batch(partition_loader, MONDAY, "T1", "T2")
    assert expect_distinct_requests(partition_loader.warehouse) == []


@pytest.mark.slow
def test_the_latest_complete_weeks_are_asked_for_and_none_between_that_is_not(partition_loader):
    for week in WEEKS:
        write_batch(partition_loader, week, *(("T1", "T2") if week == WEEKS[5] else TIERS))
    runs = expect_distinct_requests(partition_loader.warehouse)
    assert runs == [between(WEEKS[1], WEEKS[4]), between(WEEKS[6], WEEKS[9])]
    with pytest.raises(ConfigurationError, match=r"not loaded: OTCE\|2025-12-08"):
        value(partition_loader.warehouse, WEEKS[5])


@pytest.mark.slow
def test_an_older_week_whose_shares_were_restated_is_valued_again(partition_loader):
    for week in WEEKS:
        write_batch(partition_loader, week)
    price(partition_loader.warehouse, *WEEKS)
    assert value(partition_loader.warehouse, *WEEKS) == [True] * len(WEEKS)
    latest = between(WEEKS[2], WEEKS[9])
    assert expect_distinct_requests(partition_loader.warehouse) == [latest]
    write_batch(partition_loader, WEEKS[0], "OTCE", shares=700, version="v2")
    assert expect_distinct_requests(partition_loader.warehouse) == [
        between(WEEKS[0], WEEKS[0]),
        latest,
    ]
    assert value(partition_loader.warehouse, *WEEKS[:2]) == [True, False]
    found = partition_loader.rows(finra_symbol_week_value, "week_start", "tier", "share_quantity")
    assert found[:3] == [(WEEKS[0], "OTCE", 700), (WEEKS[0], "T1", 100), (WEEKS[0], "T2", 100)]
    assert expect_distinct_requests(partition_loader.warehouse) == [latest]
    write_batch(partition_loader, WEEKS[1], "T1", version="v2")
    assert expect_distinct_requests(partition_loader.warehouse) == [latest]
