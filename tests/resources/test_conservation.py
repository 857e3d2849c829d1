"""Sums of derived tables: those of the rows that they are made of, or the derivation fails."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Table, func, select

from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.domains.finra.gold import symbols_of_tier
from orchestration_project.domains.finra.tables.market import (
    finra_symbol_anomalies_week,
    finra_symbol_movers_week,
)
from orchestration_project.domains.finra.tables.symbols import finra_symbols
from orchestration_project.domains.finra.tables.weekly import (
    finra_symbol_week,
    finra_symbol_week_value,
)
from orchestration_project.engine.contracts.balance import UnbalancedError
from orchestration_project.engine.derived import DerivedLoad, DerivedPart, DerivedTable
from orchestration_project.engine.equations import BalanceFilter
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ContractError
from orchestration_project.resources.finra.gold import (
    ALL_TIER_VENUES,
    CROSS_TIER,
    ROLLING,
    WINDOWS,
)
from orchestration_project.resources.finra.short import SYMBOL_WEEK_SHORT, short_load
from orchestration_project.resources.finra.symbols import TABLES as SYMBOL_TABLES
from orchestration_project.resources.finra.symbols import derive_symbols
from orchestration_project.resources.finra.value import SYMBOL_WEEK_VALUE, value_load
from orchestration_project.resources.finra.weekly import DERIVED
from orchestration_project.services.balance.latest import read_imbalances
from orchestration_project.tables.spine import balances
from tests.resources.balances import differences, plant_and_expect_rows, verify
from tests.resources.gold_loads import derive, load_week
from tests.resources.weeks import MONDAY, PartitionLoader, row

MASTERS = [table for table in SYMBOL_TABLES if table.table is finra_symbols]
ROWS = [
    {"symbol": "AAA", "share_quantity": 7},
    {"symbol": "AAA", "venue": "YATS", "share_quantity": 5},
    {"symbol": "BBB", "trade_count": 3},
]


@pytest.fixture
def gold(partition_loader: PartitionLoader) -> PartitionLoader:
    """A week of all tiers, with all that is derived of it."""
    for tier in TIERS:
        load_week(partition_loader, tier, MONDAY, ROWS)
    derive(partition_loader, [MONDAY])
    return partition_loader


@pytest.mark.slow_after_first
def test_derived_tables_keep_shares_trades_and_keys(gold):
    verdict = verify(gold.warehouse)
    assert not verdict.imbalances
    balanced = {
        place: counts.balanced
        for place, counts in verdict.counts.items()
        if place[0] != "finra_otc_weekly" and counts.balanced
    }
    assert balanced == {
        ("finra_symbol_week", "shares"): 3,
        ("finra_symbol_week", "trades"): 3,
        ("finra_symbol_week", "keys"): 3,
        ("finra_venue_week", "shares"): 3,
        ("finra_venue_week", "trades"): 3,
        ("finra_venue_week", "keys"): 3,
        ("finra_tier_week", "shares"): 3,
        ("finra_tier_week", "trades"): 3,
        ("finra_venue_week_all_tiers", "shares"): 1,
        ("finra_venue_week_all_tiers", "trades"): 1,
        ("finra_venue_week_all_tiers", "keys"): 1,
        ("finra_symbol_rolling_6w", "keys"): 3,
        ("finra_concentration_week", "keys"): 3,
        ("finra_symbol_movers_week", "keys"): 3,
        ("finra_venue_movers_week", "keys"): 3,
        ("finra_symbol_anomalies_week", "keys"): 3,
    }


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (
            "DELETE FROM finra_symbol_week WHERE symbol = 'AAA' AND tier = 'T1'",
            {
                ("finra_symbol_week", "shares"): 12_000_000,
                ("finra_symbol_week", "trades"): 2,
                ("finra_symbol_week", "keys"): 1,
                # what is derived of symbols has more keys than they now
                ("finra_symbol_rolling_6w", "keys"): -1,
                ("finra_concentration_week", "keys"): -1,
            },
        ),
        (
            "UPDATE finra_venue_week SET share_quantity_micros = share_quantity_micros - 1 "
            "WHERE venue_id = 'YATS' AND tier = 'T2'",
            {("finra_venue_week", "shares"): 1},
        ),
        (
            "DELETE FROM finra_tier_week WHERE tier = 'OTCE'",
            {("finra_tier_week", "shares"): 112_000_000, ("finra_tier_week", "trades"): 5},
        ),
        (
            "DELETE FROM finra_symbol_rolling_6w WHERE tier = 'T1' AND symbol = 'BBB'",
            {("finra_symbol_rolling_6w", "keys"): 1},
        ),
        (
            "DELETE FROM finra_otc_weekly WHERE tier = 'OTCE'",
            {
                ("finra_symbol_week", "shares"): -112_000_000,
                ("finra_symbol_week", "trades"): -5,
                ("finra_symbol_week", "keys"): -2,
                ("finra_venue_week", "shares"): -112_000_000,
                ("finra_venue_week", "trades"): -5,
                ("finra_venue_week", "keys"): -2,
                ("finra_tier_week", "shares"): -112_000_000,
                ("finra_tier_week", "trades"): -5,
                ("finra_venue_week_all_tiers", "shares"): -112_000_000,
                ("finra_venue_week_all_tiers", "trades"): -5,
            },
        ),
    ],
)
def test_a_lost_or_changed_derived_row_is_found(gold, fault, found):
    plant_and_expect_rows(gold.warehouse, fault)
    assert differences(gold.warehouse) == found


@pytest.mark.slow_after_first
def test_what_is_stale_or_not_derived_yet_is_not_counted(gold):
    load_week(gold, "T1", MONDAY, ROWS[:1])
    verdict = verify(gold.warehouse)
    assert not verdict.imbalances
    assert verdict.counts["finra_venue_week_all_tiers", "shares"].not_counted == 1
    assert verdict.counts["finra_symbol_week", "shares"].balanced == 3


def test_a_range_chooses_by_the_latest_load_of_the_source(gold):
    later = BalanceFilter("finra_symbol_week", start=datetime(2030, 1, 1, tzinfo=UTC))
    assert not verify(gold.warehouse, later).counts


@pytest.mark.slow_after_first
@pytest.mark.parametrize("ranges_of", [0, 1])
def test_a_load_whose_derivation_loses_a_row_fails_and_writes_nothing(
    partition_loader, monkeypatch, ranges_of
):
    made = DERIVED[finra_symbol_week]
    losing = replace(made, of_ranges=lambda rows: symbols_of_tier(rows).head(-1))
    target = partition_loader.target()
    spec = replace(target.spec, transforms={finra_symbol_week: losing})
    rows = [row("AAA"), row("BBB", share_quantity=5)]
    with pytest.raises(UnbalancedError) as refused:
        partition_loader.write_batch(*rows, target=replace(target, spec=spec), ranges_of=ranges_of)
    assert "shares: 105000000 != " in refused.value.found
    assert refused.value.table_name == "finra_symbol_week"
    assert partition_loader.rows(finra_symbol_week, "symbol") == []
    counts = verify(partition_loader.warehouse).counts.values()
    assert sum(count.unbalanced for count in counts) == 2 * ranges_of  # within the transaction
    assert not any(count.balanced for count in counts)


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    "derived",
    [CROSS_TIER, ALL_TIER_VENUES, ROLLING, SYMBOL_WEEK_VALUE, SYMBOL_WEEK_SHORT, *MASTERS],
)
def test_a_later_derivation_that_loses_a_row_fails_and_writes_nothing(partition_loader, derived):
    for tier in TIERS:
        load_week(partition_loader, tier, MONDAY, ROWS)

    def make(*read: object) -> DerivedPart:
        part = derived.make(*read)
        return replace(part, rows=part.rows.head(-1), excluded={})

    losing: DerivedTable = replace(derived, make=make)
    keys = {ROLLING.table: f"T1|{MONDAY}", finra_symbols: "all"}
    key = keys.get(derived.table, str(MONDAY))
    load = DerivedLoad([losing], partition_loader.warehouse, [key], run_id="lossy")
    with pytest.raises(ContractError, match="does not balance"):
        load.write_batch(load.take(key))
    with partition_loader.warehouse.reading() as connection:
        statement = select(func.count()).select_from(derived.table)
        assert connection.execute(statement).scalar_one() == 0
    shown, *others = read_imbalances(partition_loader.warehouse, 10)
    assert all(other.imbalance.subject.endswith(" (failed)") for other in others)
    assert shown.imbalance.table_name == derived.table.name
    assert shown.imbalance.subject.endswith(" (failed)")
    assert shown.run_id == "lossy"
    load = DerivedLoad([derived], partition_loader.warehouse, [key])
    load.write_batch(load.take(key))
    assert read_imbalances(partition_loader.warehouse, 10) == []


def keys_of(warehouse: Warehouse, table: Table) -> dict[str, Mapping[str, int]]:
    """Return by partition where the recorded keys of a derived table went."""
    row = balances.c
    own = (row.table_name == table.name, row.equation == "keys")
    with warehouse.reading() as connection:
        found = connection.execute(select(row.subject, row.went_to).where(*own)).all()
    return {subject: json.loads(went_to) for subject, went_to in found}


@pytest.mark.slow
def test_keys_without_a_derived_row_are_recorded_by_their_reason(partition_loader: PartitionLoader):
    several = [MONDAY - timedelta(weeks=number) for number in range(5, -1, -1)]
    for number, week in enumerate(several):
        loud = {"symbol": "LOUD", "share_quantity": 100 + number % 2 + 900 * (week == MONDAY)}
        calm = {"symbol": "CALM", "share_quantity": 50 + number % 2}
        flat = {"symbol": "FLAT", "share_quantity": 7}
        new = [{"symbol": "NEW"}] if week == MONDAY else [{"symbol": "OLD"}]
        load_week(partition_loader, "T1", week, [loud, calm, flat, *new])
    keys = [f"T1|{week}" for week in several]
    for key in keys:
        load = DerivedLoad(WINDOWS, partition_loader.warehouse, keys)
        load.write_batch(load.take(key))
    assert keys_of(partition_loader.warehouse, finra_symbol_anomalies_week)[f"{MONDAY}|T1"] == {
        "finra_symbol_anomalies_week": 1,
        "few_weeks": 1,
        "never_changed": 1,
        "usual": 1,
    }
    movers = keys_of(partition_loader.warehouse, finra_symbol_movers_week)
    assert movers[f"{several[0]}|T1"] == {
        "finra_symbol_movers_week": 0,
        "no_week_before": 4,
        "lower_rank": 0,
    }
    assert movers[f"{MONDAY}|T1"]["finra_symbol_movers_week"] == 4  # without the symbol that left
    assert not verify(partition_loader.warehouse).imbalances
    plant_and_expect_rows(partition_loader.warehouse, "DELETE FROM finra_symbol_anomalies_week")
    plant_and_expect_rows(
        partition_loader.warehouse,
        "DELETE FROM finra_symbol_movers_week WHERE movement = 'entered'",
    )
    assert differences(partition_loader.warehouse) == {
        ("finra_symbol_anomalies_week", "keys"): 1,
        ("finra_symbol_movers_week", "keys"): 1,
    }


def test_symbols_without_a_price_of_each_session_are_recorded(gold: PartitionLoader):
    load = value_load(gold.warehouse)
    load.write_batch(load.take(str(MONDAY)))
    assert keys_of(gold.warehouse, finra_symbol_week_value)[str(MONDAY)] == {
        "finra_symbol_week_value": 0,
        "no_price": 6,
        "sessions_missing": 0,
    }


@pytest.mark.slow_after_first
def test_symbols_of_short_sales_and_of_the_master_are_all_of_the_weeks(gold: PartitionLoader):
    load = short_load(gold.warehouse)
    load.write_batch(load.take(str(MONDAY)))
    derive_symbols(gold.warehouse)
    counts = verify(gold.warehouse).counts
    assert counts["finra_symbol_week_short", "keys"].balanced == 1
    assert counts["finra_symbol_week_short", "shares"].balanced == 1
    assert counts["finra_symbols", "keys"].balanced == 1
    plant_and_expect_rows(
        gold.warehouse, "DELETE FROM finra_symbol_week_short WHERE symbol = 'BBB'"
    )
    plant_and_expect_rows(gold.warehouse, "DELETE FROM finra_symbols WHERE symbol = 'BBB'")
    found = differences(gold.warehouse)
    assert found["finra_symbol_week_short", "keys"] == 1
    assert found["finra_symbols", "keys"] == 1
