"""Value of loaded weeks, and the data of its picture."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from orchestration_project.domains.finra.calendar import TIERS, session_days
from orchestration_project.domains.finra.tables.weekly import (
    finra_symbol_week,
    finra_symbol_week_value,
)
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.resources.finra.value import (
    coverage_by_week,
    read_valued_weeks,
    value_load,
)
from tests.domains.prices import row as price
from tests.domains.prices import rows as prices
from tests.resources.weeks import MONDAY, NOON, PartitionLoader, StoppedClock, row

FIRST, SECOND = date(2026, 2, 2), date(2026, 2, 9)


def rows(table, *given: dict[str, Any]) -> pl.DataFrame:
    """Return these rows, with zeros and blanks where nothing is said."""
    blank = {pl.Int64: 0, pl.Decimal: 0, pl.Float64: 0.0, pl.String: "", pl.Date: FIRST}
    usual = {name: blank.get(type(kind)) for name, kind in derive_schema(table).items()}
    return pl.DataFrame([usual | row for row in given], derive_schema(table))


def write_batch(partition_loader: PartitionLoader) -> None:
    """Load 100 shares of AAA in each tier."""
    for tier in TIERS:
        PartitionLoader(
            partition_loader.warehouse, partition_loader.folder, tier, MONDAY
        ).write_batch(row("AAA"))


def value(partition_loader: PartitionLoader) -> None:
    """Value the week as a run does."""
    load = value_load(partition_loader.warehouse)
    load.write_batch(load.take(MONDAY.isoformat()))


@pytest.mark.slow_on_postgresql
def test_splits_in_prices_are_undone_whether_or_not_their_days_are_loaded(partition_loader):
    write_batch(partition_loader)
    later = "2025-11-19 4, 2025-11-21 2"
    days = [price(day, 10, later_splits=later) for day in session_days(MONDAY)]
    kept = prices(*days).with_columns(
        capture_id=pl.lit(1, pl.Int64), known_from=pl.lit(NOON).cast(pl.Datetime("us", "UTC"))
    )
    with partition_loader.warehouse.writing() as connection:
        insert_frame(connection, prices_daily, kept)
    value(partition_loader)
    found = partition_loader.rows(
        finra_symbol_week_value, "tier", "price", "estimated_notional_usd"
    )
    assert found == [(tier, 80 * 10**6, 8000 * 10**6) for tier in sorted(TIERS)]


@pytest.mark.slow_on_postgresql
def test_a_week_of_which_no_symbol_has_prices_is_covered_by_nothing(partition_loader):
    write_batch(partition_loader)
    assert coverage_by_week(partition_loader.warehouse) == {}  # its value was not requested
    value(partition_loader)
    assert coverage_by_week(partition_loader.warehouse) == {MONDAY.isoformat(): 0.0}


def test_weeks_are_summed_by_tier_and_one_without_a_value_keeps_its_trading(
    prepared, tmp_path: Path
):
    clock = StoppedClock(datetime(2026, 3, 2, tzinfo=UTC))
    with Warehouse(prepared.sqlite(tmp_path / "w.sqlite"), clock=clock) as warehouse:
        assert read_valued_weeks(warehouse) is None
        traded = [
            {"week_start": week, "tier": tier, "symbol": symbol} | of_week
            for week, tier, symbol, of_week in (
                (FIRST, "T1", "A", {"total_share_quantity": 10, "total_trade_count": 2}),
                (FIRST, "T1", "B", {"total_share_quantity": 30, "total_trade_count": 3}),
                (SECOND, "T1", "A", {"total_share_quantity": 7, "total_trade_count": 1}),
                (SECOND, "T2", "C", {"total_share_quantity": 5, "total_trade_count": 4}),
            )
        ]
        valued = [
            {
                "tier": "T1",
                "symbol": "A",
                "share_quantity": 10,
                "estimated_notional_usd": 2_500_000,
            },
            {"tier": "T1", "symbol": "B", "share_quantity": 30, "estimated_notional_usd": 500_000},
            {"week_start": SECOND, "tier": "T2", "symbol": "C", "share_quantity": 5}
            | {"estimated_notional_usd": 4_000_000},
        ]
        with warehouse.writing() as connection:
            insert_frame(connection, finra_symbol_week, rows(finra_symbol_week, *traded))
            of_value = rows(finra_symbol_week_value, *valued)
            insert_frame(connection, finra_symbol_week_value, of_value)
        found = read_valued_weeks(warehouse)
    assert found is not None
    assert found.rows() == [
        (FIRST, "T1", 40, 5, 40, 3.0),
        (SECOND, "T1", 7, 1, None, None),
        (SECOND, "T2", 5, 4, 5, 4.0),
    ]
