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
from tests.resources.gold_desk import land_week, read
from tests.resources.weeks import MONDAY, Desk

BEFORE = MONDAY - timedelta(weeks=1)


@pytest.mark.slow_on_postgresql
def test_a_week_that_is_tiered_again_moves_the_symbol_and_keeps_the_old_state(desk: Desk):
    land_week(desk, "T1", BEFORE, [{"symbol": "AAA"}, {"symbol": "BBB"}])
    land_week(desk, "T2", BEFORE, [{"symbol": "CCC"}])
    land_week(desk, "T2", BEFORE, [{"symbol": "BBB"}, {"symbol": "CCC"}])
    derive_symbols(desk.warehouse)
    assert newest_week_changes(desk.warehouse, "two_tiers", weeks=1)["symbol"].to_list() == ["BBB"]

    land_week(desk, "T1", BEFORE, [{"symbol": "AAA"}])
    derived = derive_symbols(desk.warehouse)
    assert derived.tables["finra_symbols"].recomputed == {"all": 3}
    assert read(desk.warehouse, "finra_symbol_changes") == []
    tiers = {row["symbol"]: row["tier"] for row in read(desk.warehouse, "finra_symbols")}
    assert tiers == {"AAA": "T1", "BBB": "T2", "CCC": "T2"}
    history = read(desk.warehouse, "finra_otc_weekly_history")
    assert [(row["symbol"], row["tier"]) for row in history] == [("BBB", "T1")]


@pytest.mark.slow_on_postgresql
def test_the_master_is_derived_again_only_where_a_week_changed(desk: Desk):
    assert derive_symbols(desk.warehouse).tables["finra_symbols"].row_count == 0
    land_week(desk, "T1", BEFORE, [{"symbol": "AAA", "issue_name": "Acme Inc."}])
    assert derive_symbols(desk.warehouse).recomputed == ["all"]
    assert derive_symbols(desk.warehouse).recomputed == []
    land_week(desk, "T1", MONDAY, [{"symbol": "AAA", "issue_name": "Zenith Inc."}])
    assert derive_symbols(desk.warehouse).recomputed == ["all"]
    [found] = desk.rows(finra_symbols, "first_week", "last_week", "issue_name", "week_count")
    assert found == (BEFORE, MONDAY, "Zenith Inc.", 2)
    assert desk.rows(finra_symbol_changes, "kind", "value") == [
        ("issue_name_change", "Zenith Inc.")
    ]
    assert len(newest_week_changes(desk.warehouse, "issue_name_change", weeks=1)) == 1


@pytest.mark.slow_on_postgresql
def test_the_master_is_stale_until_it_is_derived_again_and_dated_by_publication(desk: Desk):
    first, later = date(2025, 12, 1), date(2026, 1, 5)
    land_week(desk, "T1", BEFORE, [{"symbol": "AAA", "issue_name": "Acme Inc."}])
    land_week(desk, "T2", BEFORE, [{"symbol": "Z"}])
    land_week(desk, "T1", MONDAY, [{"symbol": "BBB", "issue_name": "Acme Inc."}])
    land_week(
        desk, "T2", MONDAY, [{"symbol": "Z", "issue_name": "Zenith", "last_update_date": later}]
    )
    derive_symbols(desk.warehouse)
    tables = (finra_symbols, finra_symbol_changes, finra_symbol_renames)
    assert {row for each in tables for row in desk.rows(each, "is_stale")} == {(False,)}
    assert all(desk.rows(each, "is_stale") for each in tables)
    days = {symbol: at.date() for symbol, at in desk.rows(finra_symbols, "symbol", "published_at")}
    assert days == {"AAA": first, "BBB": first, "Z": later}
    [(renamed,)] = desk.rows(finra_symbol_renames, "published_at")
    assert renamed.date() == first
    land_week(desk, "T1", MONDAY, [{"symbol": "BBB", "issue_name": "Acme Inc.", "trade_count": 2}])
    assert {row for each in tables for row in desk.rows(each, "is_stale")} == {(True,)}
    derive_symbols(desk.warehouse)
    assert {row for each in tables for row in desk.rows(each, "is_stale")} == {(False,)}


@pytest.mark.slow_on_postgresql
def test_each_vendor_spells_the_symbols_of_the_master(desk: Desk):
    rows = [{"symbol": symbol} for symbol in ("AAA", "BRK.B", "ABCw", "X.W")]
    land_week(desk, "T1", MONDAY, rows)
    derive_symbols(desk.warehouse)
    overrides = {"yahoo": {"ABCw": "ABC-WI", "AAA": ""}}
    first = derive_spellings(desk.warehouse, overrides)
    assert {each.recomputed[0] for each in first.values()} == {"alpha_vantage", "yahoo"}
    columns = ("vendor", "symbol", "vendor_symbol", "is_override")
    assert sorted(desk.rows(prices_symbol_spellings, *columns), key=str) == [
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
        for row in read(desk.warehouse, "prices_symbol_spellings")
        if row["vendor"] == "yahoo" and row["reason"]
    }
    assert reasons == {"AAA": "the file of symbols says not to ask for it"}
    again = derive_spellings(desk.warehouse, overrides)
    assert [each.recomputed for each in again.values()] == [[], []]
    changed = derive_spellings(desk.warehouse, {})
    assert [each.recomputed for each in changed.values()] == [[], ["yahoo"]]
