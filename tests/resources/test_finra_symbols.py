"""The symbol master of loaded weeks, and vendors' spellings of its symbols."""

from datetime import date, timedelta

import pytest

from orchestration_project.domains.finra.tables.symbols import (
    finra_symbol_changes,
    finra_symbol_renames,
    finra_symbols,
)
from orchestration_project.domains.prices.tables import prices_symbol_spellings
from orchestration_project.resources.finra.symbols import (
    derive_symbols,
    newest_week_changes,
)
from orchestration_project.resources.prices.spellings import derive_spellings
from tests.resources.gold_loads import load_week, read
from tests.resources.weeks import MONDAY, PartitionLoader

BEFORE = MONDAY - timedelta(weeks=1)


@pytest.mark.slow_on_postgresql
def test_a_week_that_is_tiered_again_moves_the_symbol_and_keeps_the_old_state(
    partition_loader: PartitionLoader,
):
    load_week(partition_loader, "T1", BEFORE, [{"symbol": "AAA"}, {"symbol": "BBB"}])
    load_week(partition_loader, "T2", BEFORE, [{"symbol": "CCC"}])
    load_week(partition_loader, "T2", BEFORE, [{"symbol": "BBB"}, {"symbol": "CCC"}])
    derive_symbols(partition_loader.warehouse)
    assert newest_week_changes(partition_loader.warehouse, "two_tiers", weeks=1)[
        "symbol"
    ].to_list() == ["BBB"]

    load_week(partition_loader, "T1", BEFORE, [{"symbol": "AAA"}])
    derived = derive_symbols(partition_loader.warehouse)
    assert derived.tables["finra_symbols"].recomputed == {"all": 3}
    assert read(partition_loader.warehouse, "finra_symbol_changes") == []
    tiers = {
        row["symbol"]: row["tier"] for row in read(partition_loader.warehouse, "finra_symbols")
    }
    assert tiers == {"AAA": "T1", "BBB": "T2", "CCC": "T2"}
    history = read(partition_loader.warehouse, "finra_otc_weekly_history")
    assert [(row["symbol"], row["tier"]) for row in history] == [("BBB", "T1")]


@pytest.mark.slow_on_postgresql
def test_the_master_is_derived_again_only_where_a_week_changed(partition_loader: PartitionLoader):
    assert derive_symbols(partition_loader.warehouse).tables["finra_symbols"].row_count == 0
    load_week(partition_loader, "T1", BEFORE, [{"symbol": "AAA", "issue_name": "Acme Inc."}])
    assert derive_symbols(partition_loader.warehouse).recomputed == ["all"]
    assert derive_symbols(partition_loader.warehouse).recomputed == []
    load_week(partition_loader, "T1", MONDAY, [{"symbol": "AAA", "issue_name": "Zenith Inc."}])
    assert derive_symbols(partition_loader.warehouse).recomputed == ["all"]
    [found] = partition_loader.rows(
        finra_symbols, "first_week", "last_week", "issue_name", "week_count"
    )
    assert found == (BEFORE, MONDAY, "Zenith Inc.", 2)
    assert partition_loader.rows(finra_symbol_changes, "kind", "value") == [
        ("issue_name_change", "Zenith Inc.")
    ]
    assert len(newest_week_changes(partition_loader.warehouse, "issue_name_change", weeks=1)) == 1


@pytest.mark.slow_on_postgresql
def test_the_master_is_stale_until_it_is_derived_again_and_dated_by_publication(
    partition_loader: PartitionLoader,
):
    first, later = date(2025, 12, 1), date(2026, 1, 5)
    load_week(partition_loader, "T1", BEFORE, [{"symbol": "AAA", "issue_name": "Acme Inc."}])
    load_week(partition_loader, "T2", BEFORE, [{"symbol": "Z"}])
    load_week(partition_loader, "T1", MONDAY, [{"symbol": "BBB", "issue_name": "Acme Inc."}])
    load_week(
        partition_loader,
        "T2",
        MONDAY,
        [{"symbol": "Z", "issue_name": "Zenith", "last_update_date": later}],
    )
    derive_symbols(partition_loader.warehouse)
    tables = (finra_symbols, finra_symbol_changes, finra_symbol_renames)
    assert {row for table in tables for row in partition_loader.rows(table, "is_stale")} == {
        (False,)
    }
    assert all(partition_loader.rows(table, "is_stale") for table in tables)
    days = {
        symbol: at.date()
        for symbol, at in partition_loader.rows(finra_symbols, "symbol", "published_at")
    }
    assert days == {"AAA": first, "BBB": first, "Z": later}
    [(renamed,)] = partition_loader.rows(finra_symbol_renames, "published_at")
    assert renamed.date() == first
    load_week(
        partition_loader,
        "T1",
        MONDAY,
        [{"symbol": "BBB", "issue_name": "Acme Inc.", "trade_count": 2}],
    )
    assert {row for table in tables for row in partition_loader.rows(table, "is_stale")} == {
        (True,)
    }
    derive_symbols(partition_loader.warehouse)
    assert {row for table in tables for row in partition_loader.rows(table, "is_stale")} == {
        (False,)
    }


@pytest.mark.slow_on_postgresql
def test_each_vendor_spells_the_symbols_of_the_master(partition_loader: PartitionLoader):
    rows = [{"symbol": symbol} for symbol in ("AAA", "BRK.B", "ABCw", "X.W")]
    load_week(partition_loader, "T1", MONDAY, rows)
    derive_symbols(partition_loader.warehouse)
    overrides = {"yahoo": {"ABCw": "ABC-WI", "AAA": ""}}
    first = derive_spellings(partition_loader.warehouse, overrides)
    assert {value.recomputed[0] for value in first.values()} == {"alpha_vantage", "yahoo"}
    columns = ("vendor", "symbol", "vendor_symbol", "is_override")
    assert sorted(partition_loader.rows(prices_symbol_spellings, *columns), key=str) == [
        ("alpha_vantage", "AAA", "AAA", False),
        ("alpha_vantage", "ABCw", None, False),
        ("alpha_vantage", "BRK.B", "BRK-B", False),
        ("alpha_vantage", "X.W", "X-WS", False),
        ("yahoo", "AAA", None, True),
        ("yahoo", "ABCw", "ABC-WI", True),
        ("yahoo", "BRK.B", "BRK-B", False),
        ("yahoo", "X.W", "X-WT", False),
    ]
    reasons = {
        row["symbol"]: row["reason"]
        for row in read(partition_loader.warehouse, "prices_symbol_spellings")
        if row["vendor"] == "yahoo" and row["reason"]
    }
    assert reasons == {"AAA": "the file of symbols says not to ask for it"}
    again = derive_spellings(partition_loader.warehouse, overrides)
    assert [value.recomputed for value in again.values()] == [[], []]
    changed = derive_spellings(partition_loader.warehouse, {})
    assert [value.recomputed for value in changed.values()] == [[], ["yahoo"]]
