"""Short sales of a week as a run derives them: of loaded tables, and again when one changes."""

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import delete

from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.domains.finra.tables.datasets import finra_short_interest
from orchestration_project.domains.finra.tables.equity_datasets import finra_reg_sho_daily
from orchestration_project.domains.finra.tables.short import finra_symbol_week_short
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.engine.warehouse.target import mark_stale
from orchestration_project.resources.finra.datasets import engine_dataset
from orchestration_project.resources.finra.short import figures_of, short_load
from orchestration_project.resources.finra.value import restated_weeks
from tests.resources.weeks import MONDAY, NOON, PartitionLoader, row

COLUMNS = ("symbol", "otc_share_quantity", "short_quantity", "settlement_date")


def insert(partition_loader: PartitionLoader, table: Any, *given: dict[str, Any]) -> None:
    """Insert rows, with zeros and blanks where nothing is said."""
    blank = {pl.Int64: 0, pl.Decimal: 0, pl.String: "", pl.Datetime: NOON}
    usual = {name: blank.get(type(kind)) for name, kind in derive_schema(table).items()}
    rows = pl.DataFrame([usual | share for share in given], derive_schema(table))
    with partition_loader.warehouse.writing() as connection:
        insert_frame(connection, table, rows)


def derive(partition_loader: PartitionLoader) -> str:
    """Derive the week as a run does, and return what it reports."""
    load = short_load(partition_loader.warehouse)
    done = load.write_batch(load.take(MONDAY.isoformat()))
    return f"{'derived' if done.recomputed else 'unchanged'}: {figures_of(done)}"


def sale(day: int, symbol: str, short: int, total: int) -> dict[str, Any]:
    return {
        "trade_date": date(2025, 11, day),
        "symbol": symbol,
        "facility_code": "NQTRF",
        "market_code": "Q",
        "short_quantity": short,
        "total_quantity": total,
    }


@pytest.mark.slow_on_postgresql
def test_a_week_is_joined_with_its_days_and_the_latest_settlement_date_before_its_end(
    partition_loader,
):
    for tier in TIERS:
        PartitionLoader(
            partition_loader.warehouse, partition_loader.folder, tier, MONDAY
        ).write_batch(row("AAA"))
    assert (
        derive(partition_loader) == "derived: 1 symbols, 0 with short sales, 0 with short interest"
    )
    # Days of the week are added up; the latest settlement date within it counts.
    insert(
        partition_loader,
        finra_reg_sho_daily,
        sale(7, "AAA", 9, 9),  # the Friday before
        sale(10, "AAA", 1, 4),
        sale(14, "AAA", 2, 4),
        sale(14, "BBB", 5, 5),
        sale(17, "AAA", 9, 9),  # the Monday after
    )
    insert(
        partition_loader,
        finra_short_interest,
        {"settlement_date": date(2025, 10, 31), "symbol": "AAA", "short_quantity": 70},
        {"settlement_date": date(2025, 11, 14), "symbol": "AAA", "short_quantity": 80},
        {"settlement_date": date(2025, 11, 28), "symbol": "AAA", "short_quantity": 90},
    )
    assert (
        derive(partition_loader) == "derived: 2 symbols, 2 with short sales, 1 with short interest"
    )
    assert partition_loader.rows(finra_symbol_week_short, *COLUMNS, "short_interest_quantity") == [
        ("AAA", 300, 3, date(2025, 11, 14), 80),
        ("BBB", None, 5, None, None),
    ]
    assert partition_loader.rows(finra_symbol_week_short, "short_volume_ratio") == [
        (0.375,),
        (1.0,),
    ]
    # Derived again, nothing changes; without interest, the symbols stay.
    assert (
        derive(partition_loader)
        == "unchanged: 2 symbols, 2 with short sales, 1 with short interest"
    )
    with partition_loader.warehouse.writing() as connection:
        connection.execute(
            delete(finra_short_interest).where(
                finra_short_interest.c.settlement_date > date(2025, 10, 1)
            )
        )
    assert (
        derive(partition_loader) == "derived: 2 symbols, 2 with short sales, 0 with short interest"
    )


@pytest.mark.slow_on_postgresql
def test_a_week_that_is_restated_is_stale_until_it_is_derived_again(partition_loader):
    for tier in TIERS:
        PartitionLoader(
            partition_loader.warehouse, partition_loader.folder, tier, MONDAY
        ).write_batch(row("AAA"))
    derive(partition_loader)
    assert partition_loader.rows(finra_symbol_week_short, "is_stale") == [(False,)]
    PartitionLoader(partition_loader.warehouse, partition_loader.folder, "T1", MONDAY).write_batch(
        row("AAA", share_quantity=50)
    )
    assert partition_loader.rows(finra_symbol_week_short, "is_stale") == [(True,)]
    derive(partition_loader)
    found = partition_loader.rows(finra_symbol_week_short, "is_stale", "otc_share_quantity")
    assert found == [(False, 250)]


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("dataset", "partition"),
    [
        ("regShoDaily", {"trade_date": MONDAY + timedelta(days=2)}),
        ("consolidatedShortInterest", {"settlement_date": MONDAY - timedelta(days=27)}),
    ],
)
def test_a_week_whose_other_inputs_are_revised_is_stale_until_it_is_derived(
    partition_loader, dataset, partition
):
    """It is written again though its rows are equal: the mark goes."""
    [declared] = [each for each in DATASETS if each.name == dataset]
    spec = engine_dataset(declared).table_spec
    for week in (MONDAY, MONDAY + timedelta(weeks=1)):
        for tier in TIERS:
            PartitionLoader(
                partition_loader.warehouse, partition_loader.folder, tier, week
            ).write_batch(row("AAA", week_start=week))
        load = short_load(partition_loader.warehouse)
        load.write_batch(load.take(str(week)))
    with partition_loader.warehouse.writing() as connection:
        mark_stale(connection, spec.dependents, [partition])
    marks = [(MONDAY, True), (MONDAY + timedelta(weeks=1), False)]
    assert sorted(partition_loader.rows(finra_symbol_week_short, "week_start", "is_stale")) == marks
    assert restated_weeks(partition_loader.warehouse, finra_symbol_week_short) == [str(MONDAY)]
    derive(partition_loader)
    assert set(partition_loader.rows(finra_symbol_week_short, "is_stale")) == {(False,)}
    assert restated_weeks(partition_loader.warehouse, finra_symbol_week_short) == []
