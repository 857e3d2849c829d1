"""The symbol master: tiers, names and renames of symbols, by known answers."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from orchestration_project.domains.finra.symbols import symbol_master
from orchestration_project.domains.finra.tables.symbols import (
    finra_symbol_changes,
    finra_symbol_renames,
    finra_symbols,
)

FIRST = date(2025, 1, 6)
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
PUBLISHED = datetime(2026, 1, 5, tzinfo=UTC)
SCHEMA = {
    "week_start": pl.Date(),
    "tier": pl.String(),
    "symbol": pl.String(),
    "issue_name": pl.String(),
    "total_share_quantity": pl.Int64(),
    "top_venue_id": pl.String(),
    "published_at": pl.Datetime("us", "UTC"),
    "known_from": pl.Datetime("us", "UTC"),
}


def week(number: int) -> date:
    return FIRST + timedelta(weeks=number)


def traded(symbol: str, *numbers: int, **changes: Any) -> list[dict[str, Any]]:
    """Return weeks of a symbol by their numbers from 0."""
    usual = {
        "tier": "T1",
        "symbol": symbol,
        "issue_name": f"{symbol} Inc. Common Stock",
        "total_share_quantity": 100,
        "top_venue_id": "UBSA",
        "published_at": PUBLISHED,
        "known_from": NOON,
    }
    return [{"week_start": week(number), **usual, **changes} for number in numbers]


def derived(*weeks: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], ...]:
    """Return the rows of symbols, changes and renames; Z and Z2 trade in all ten weeks."""
    always = (traded("Z", *range(10)), traded("Z2", *range(10), tier="T2"))
    rows = [row for week_rows in (*weeks, *always) for row in week_rows]
    made = symbol_master(pl.DataFrame(rows, SCHEMA))
    tables = (finra_symbols, finra_symbol_changes, finra_symbol_renames)
    return tuple(made[table].to_dicts() for table in tables)


def change(kind: str, number: int, before: int, previous: str, value: str) -> dict[str, Any]:
    return {
        "symbol": "ABC",
        "week_start": week(number),
        "kind": kind,
        "previous_week": week(before),
        "previous_value": previous,
        "value": value,
        "gap_weeks": max(number - before - 1, 0),
        "known_from": NOON,
        "published_at": PUBLISHED,
        "is_stale": False,
    }


def test_a_symbol_has_its_weeks_and_its_latest_tier_and_name():
    later = NOON + timedelta(days=1)
    symbols, changes, renames = derived(
        traded("ABC", 0, 1), traded("ABC", 3, tier="T2", known_from=later, published_at=later)
    )
    assert symbols[0] == {
        "symbol": "ABC",
        "tier": "T2",
        "issue_name": "ABC Inc. Common Stock",
        "first_week": week(0),
        "last_week": week(3),
        "week_count": 3,
        "tier_move_count": 1,
        "issue_name_count": 1,
        "is_reuse_candidate": False,
        "known_from": later,
        "published_at": later,
        "is_stale": False,
    }
    dates = {"known_from": later, "published_at": later}
    assert changes == [{**change("tier_move", 3, 1, "T1", "T2"), **dates}]
    assert renames == []


def test_an_issue_name_changes_by_letters_and_digits_not_by_blanks_and_case():
    _, changes, _ = derived(
        traded("ABC", 0, issue_name="Square, Inc. Class A"),
        traded("ABC", 1, issue_name="SQUARE  INC CLASS A"),
        traded("ABC", 2, issue_name=None),
        traded("ABC", 3, issue_name="Block, Inc. Class A"),
    )
    before = "SQUARE  INC CLASS A"
    assert changes == [change("issue_name_change", 3, 1, before, "Block, Inc. Class A")]


def test_a_symbol_with_another_name_after_a_gap_may_be_of_another_company():
    """Known cases: a company keeps its symbol without a gap, and its words over a gap."""
    old, new = "Acme Rockets Corp. Common Stock", "Blue Whale Holdings Inc. Common Stock"
    symbols, changes, _ = derived(
        traded("ABC", 0, 1, issue_name=old), traded("ABC", 6, issue_name=new)
    )
    assert changes == [
        change("issue_name_change", 6, 1, old, new),
        change("reuse_candidate", 6, 1, old, new),
    ]
    assert [row["symbol"] for row in symbols if row["is_reuse_candidate"]] == ["ABC"]
    for gap_end, name in ((2, new), (6, "Acme Foods Inc.")):
        _, changes, _ = derived(
            traded("ABC", 0, 1, issue_name=old), traded("ABC", gap_end, issue_name=name)
        )
        assert [row["kind"] for row in changes] == ["issue_name_change"]


def test_a_week_in_two_tiers_is_named_and_counts_as_the_tier_with_more_shares():
    symbols, changes, _ = derived(
        traded("ABC", 0, 1),
        traded("ABC", 1, tier="T2", total_share_quantity=900),
        traded("ABC", 2, tier="T2"),
    )
    assert changes == [
        change("tier_move", 1, 0, "T1", "T2"),
        change("two_tiers", 1, 1, "T1", "T2"),
    ]
    assert (symbols[0]["week_count"], symbols[0]["tier_move_count"]) == (3, 1)


def test_a_rename_has_its_evidence_and_merges_nothing():
    big = {"total_share_quantity": 2_000_000}
    symbols, _, renames = derived(
        traded("FB", 0, 1, 2, issue_name="Facebook, Inc.", **big),
        traded("META", 3, 4, issue_name="Meta Platforms, Inc.", total_share_quantity=3_000_000),
        traded("OLD", 0, 1, issue_name="Same Name plc"),
        traded("NEW", 4, 5, issue_name="SAME NAME PLC", tier="T2", total_share_quantity=50),
    )
    shown = ("symbol", "new_symbol", "gap_weeks", "share_ratio")
    evidence = ("has_same_issue_name", "has_similar_trading")
    assert [tuple(row[name] for name in (*shown, *evidence)) for row in renames] == [
        ("FB", "META", 0, 1.5, False, True),
        ("OLD", "NEW", 2, 0.5, True, False),
    ]
    assert (renames[1]["last_week"], renames[1]["first_week"]) == (week(1), week(4))
    assert [row["symbol"] for row in symbols] == ["FB", "META", "NEW", "OLD", "Z", "Z2"]


def test_what_is_no_evidence_makes_no_candidate():
    big = {"total_share_quantity": 2_000_000}
    for ended, began in (
        (traded("OLD", 0, 1, **big), traded("NEW", 2, total_share_quantity=9_000_000)),
        (traded("OLD", 0, 1, **big), traded("NEW", 2, **big, top_venue_id="IATS")),
        (traded("OLD", 0, 1, **big), traded("NEW", 2, **big, tier="T2")),
        (traded("OLD", 0, 1, **big), traded("NEW", 3, **big)),
        (traded("OLD", 0, 1), traded("NEW", 2)),
        (traded("OLD", 0, issue_name="X"), traded("NEW", 6, issue_name="X")),
        (traded("OLD", 0, 2, issue_name="X"), traded("NEW", 1, 3, issue_name="X")),
        (traded("OLD", 0, 9, issue_name="X"), traded("NEW", 9, issue_name="X")),
    ):
        assert derived(ended, began)[2] == []


def test_without_a_loaded_week_the_tables_are_empty():
    made = symbol_master(pl.DataFrame(schema=SCHEMA))
    assert [len(rows) for rows in made.values()] == [0, 0, 0]
