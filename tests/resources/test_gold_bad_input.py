"""Gold of odd weeks: without shares, tiered again, revised out of order, symbols used again."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Double, insert

from orchestration_project.catalog import REGISTRY
from orchestration_project.domains.finra.calendar import TIERS, session_days
from orchestration_project.domains.finra.tables.equity_datasets import finra_reg_sho_daily
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.warehouse.as_of import derive_as_of
from orchestration_project.resources.finra.short import short_load
from orchestration_project.resources.finra.symbols import derive_symbols
from orchestration_project.resources.finra.value import value_load
from orchestration_project.tables.schema import METADATA
from tests.domains.prices import row as price
from tests.resources.gold_loads import WEEKS, derive, load_week, read
from tests.resources.weeks import NOON, PartitionLoader

LAST = WEEKS[-1]
NOTHING = {"share_quantity": 0, "trade_count": 0, "notional_usd": 0}
OF_WEEK = (
    *("finra_symbol_week", "finra_venue_week", "finra_tier_week", "finra_venue_week_all_tiers"),
    *("finra_concentration_week", "finra_symbol_rolling_6w", "finra_symbol_movers_week"),
    *("finra_venue_movers_week", "finra_symbol_week_value", "finra_symbol_week_short"),
)
MAY_BE_ZERO = {"hhi_lower", "hhi_upper", "average_shares_per_week", "average_trades_per_week"}
"""Of a window without shares the mean is zero: its weeks are counted, and they are not zero."""


def traded_nothing(partition_loader: PartitionLoader) -> None:
    """Load weeks of symbols without shares, trades and value, with prices and short sales of 0."""
    for week in WEEKS:
        for tier in TIERS:
            load_week(partition_loader, tier, week, [{"symbol": "NIL", **NOTHING}])
    derive(partition_loader, WEEKS)
    sale = {"trade_date": LAST, "facility_code": "NQTRF", "market_code": "Q", "symbol": "NIL"}
    sold = dict.fromkeys(("short_quantity", "short_exempt_quantity", "total_quantity"), 0)
    dated: dict[str, Any] = {"capture_id": 1, "known_from": NOON}
    priced = [price(day, 40, symbol="NIL", volume=0) for day in session_days(LAST)]
    names = prices_daily.columns.keys()
    with partition_loader.warehouse.writing() as connection:
        connection.execute(insert(finra_reg_sho_daily).values({**sale, **sold, **dated}))
        for each in priced:
            given = {name: value for name, value in each.items() if name in names}
            connection.execute(insert(prices_daily).values({**given, **dated}))
    for load in (value_load(partition_loader.warehouse), short_load(partition_loader.warehouse)):
        load.write_batch(load.take(str(LAST)))


@pytest.mark.slow
def test_a_ratio_to_zero_is_null_in_every_column_of_gold(partition_loader: PartitionLoader):
    traded_nothing(partition_loader)
    for name in OF_WEEK:
        ratios = [
            column.name
            for column in METADATA.tables[name].columns
            if isinstance(column.type, Double)
        ]
        rows = [
            week
            for week in read(partition_loader.warehouse, name)
            if str(week["week_start"]) == str(LAST)
        ]
        assert rows, name
        found = {column for row in rows for column in ratios if row[column] is not None}
        assert found <= MAY_BE_ZERO, name
        assert {row[column] for row in rows for column in found} <= {0.0}, name


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_revisions_loaded_out_of_order_differ_by_both_clocks(
    partition_loader: PartitionLoader, clock
):
    """A revision of the third day is loaded before one of the second."""
    days = [date(2025, 12, 1), date(2025, 12, 8), date(2025, 12, 15)]
    key, times = f"T1|{LAST}", []
    for number, shares in ((0, 10), (2, 30), (1, 20)):
        clock.at += timedelta(days=1)
        revised = {"symbol": "AAA", "share_quantity": shares, "last_update_date": days[number]}
        load_week(partition_loader, "T1", LAST, [{**revised, "initial_published_date": days[0]}])
        times.append(clock.at + timedelta(hours=1))

    def shares_of(**when: Any) -> list[int]:
        tables = REGISTRY.tables_as_of
        found = derive_as_of(partition_loader.warehouse, tables, "finra_symbol_week", key, **when)
        return found.rows["total_share_quantity"].to_list()

    assert [shares_of(day=day) for day in days] == [[10], [20], [30]]
    assert [shares_of(at=time) for time in times] == [[10], [30], [20]]
    assert shares_of(at=times[1], day=days[1]) == [10]
    assert shares_of() == [20]


@pytest.mark.slow
def test_a_week_that_is_tiered_again_is_in_one_tier_of_gold(
    partition_loader: PartitionLoader, clock
):
    for tier in TIERS:
        load_week(partition_loader, tier, LAST, [{"symbol": f"{tier}A"}])
    load_week(
        partition_loader, "T2", LAST, [{"symbol": "T2A"}, {"symbol": "MOVED", "share_quantity": 7}]
    )
    derive(partition_loader, [LAST])
    before = clock.at
    clock.at += timedelta(days=1)
    load_week(partition_loader, "T2", LAST, [{"symbol": "T2A"}])
    load_week(
        partition_loader, "T1", LAST, [{"symbol": "T1A"}, {"symbol": "MOVED", "share_quantity": 7}]
    )
    derive(partition_loader, [LAST])
    found = {
        each["tier"]: each["share_quantity"]
        for each in read(partition_loader.warehouse, "finra_tier_week")
    }
    assert found == {"T1": 107, "T2": 100, "OTCE": 100}
    then = derive_as_of(
        partition_loader.warehouse,
        REGISTRY.tables_as_of,
        "finra_tier_week",
        str(LAST),
        at=before + timedelta(hours=1),
    )
    assert dict(then.rows.select("tier", "share_quantity").iter_rows()) == {
        "T1": 100,
        "T2": 107,
        "OTCE": 100,
    }


@pytest.mark.slow_on_postgresql
def test_a_symbol_that_another_company_uses_keeps_its_weeks_apart(
    partition_loader: PartitionLoader,
):
    """Nothing is merged or split: the week from which on it may be another one is named."""
    names = {WEEKS[0]: "Acme Mining Inc.", WEEKS[-1]: "Zenith Robotics Ltd."}
    for week in WEEKS:
        reused = [{"symbol": "ACM", "issue_name": names[week]}] if week in names else []
        load_week(partition_loader, "T1", week, [*reused, {"symbol": "ELSE"}])
    derive_symbols(partition_loader.warehouse)
    [found] = [
        change
        for change in read(partition_loader.warehouse, "finra_symbol_changes")
        if change["kind"] == "reuse_candidate"
    ]
    assert (found["symbol"], str(found["week_start"]), found["gap_weeks"]) == ("ACM", str(LAST), 5)
    assert (found["previous_value"], found["value"]) == tuple(names.values())
    symbols = {
        symbol["symbol"]: symbol for symbol in read(partition_loader.warehouse, "finra_symbols")
    }
    assert symbols["ACM"]["is_reuse_candidate"]
    assert not symbols["ELSE"]["is_reuse_candidate"]
