"""Rows, rejects, history and derived tables of FINRA's weeks, recomputed from captured bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest

from tests.oracle import finra_weekly, gold, gold_across_weeks, history
from tests.oracle.archive import Row, read_deliveries
from tests.oracle.compare import compare
from tests.oracle_state import DemoState, demo_state

WEEKLY = "finra_otc_weekly"
MAX_REJECT_RATIO = "0.05"
SETTINGS = {"DEMO_ROWS_PER_WEEK": "300", "FINRA_MAX_REJECT_RATIO": MAX_REJECT_RATIO}
KEY = ("week_start", "tier", "market", "symbol", "venue_id")


@dataclass
class Recomputed:
    """All that the oracle recomputed of the weekly table."""

    table: history.Table
    rejects: list[Row]
    loads: gold.Loads
    publications: dict[object, tuple]
    quarantined: set[str]
    counts: dict[str, tuple]


def recompute(archives: list[Path]) -> Recomputed:
    """Fold the deliveries of archives."""
    table = history.Table(finra_weekly.KEY, finra_weekly.METADATA, is_dated=True)
    result = Recomputed(table, [], {}, table.published, set(), {})
    for delivery in read_deliveries(archives):
        if delivery.table_name != WEEKLY:
            continue
        parsed = finra_weekly.parse_delivery(delivery)
        result.rejects += parsed.rejects
        if parsed.is_quarantined(Fraction(MAX_REJECT_RATIO)):
            result.quarantined.add(delivery.group_id)
        if delivery.landed_at is None:
            continue
        tier, week = delivery.partition_key.split("|")
        result.counts[delivery.group_id] = table.load(
            parsed.rows,
            delivery.landed_at,
            delivery.rule_version,
            lambda row, tier=tier, week=week: (row["tier"], row["week_start"]) == (tier, week),
            delivery.group_id,
        )
        result.loads[tier, week] = delivery.landed_at
    return result


def derive(rows: list[Row], loads: gold.Loads) -> dict[str, list[Row]]:
    """Derive the tables of the weeks and tiers."""
    symbols, venues = gold.symbol_weeks(rows, loads), gold.venue_weeks(rows, loads)
    movers = gold_across_weeks.movers
    first = gold_across_weeks.FIRST_MOVERS
    return {
        "finra_symbol_week": symbols,
        "finra_venue_week": venues,
        "finra_tier_week": gold.tier_weeks(rows, loads),
        "finra_venue_week_all_tiers": gold.venue_weeks_all_tiers(rows, loads),
        "finra_symbol_rolling_6w": gold_across_weeks.rolling(symbols, loads),
        "finra_concentration_week": gold_across_weeks.concentration_weeks(symbols, loads),
        "finra_symbol_movers_week": movers(
            symbols, loads, "total_share_quantity", ("symbol",), first
        ),
        "finra_venue_movers_week": movers(venues, loads, "share_quantity", ("market", "venue_id")),
        "finra_symbol_anomalies_week": gold_across_weeks.anomalies(symbols, loads),
    }


def load(state: DemoState, first: str, last: str) -> None:
    """Load a range of weeks of a tier and derive its tables."""
    state.run(WEEKLY, first, last)
    state.run("finra_gold", first, last)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoState]:
    """Weeks of two days: one with rejects, one quarantined, and two that are restated between."""
    with demo_state(tmp_path_factory.mktemp("oracle"), SETTINGS) as state:
        state.set_clock("2026-03-02T15:00")
        load(state, "OTCE|2025-12-01", "OTCE|2026-01-12")
        load(state, "T1|2026-01-05", "T1|2026-01-12")
        state.run(WEEKLY, "T2|2025-12-01")
        load(state, "T2|2026-01-05", "T2|2026-01-12")
        state.run("finra_tier_week", "2026-01-05", "2026-01-12")
        state.set_clock("2026-03-11T15:00")
        load(state, "OTCE|2025-12-22", "OTCE|2025-12-29")
        load(state, "T1|2026-01-12", "T1|2026-01-12")
        state.run("finra_tier_week", "2026-01-12")
        yield state


@pytest.fixture(scope="module")
def recomputed(state: DemoState) -> Recomputed:
    """What the oracle recomputed of the archive of the state."""
    return recompute([state.archive()])


def assert_equal(table: str, expected: list[Row], exported: list[Row], *more: str) -> None:
    """Fail with the first differences."""
    key = tuple(name for name in (*KEY, *more) if name in (expected or exported)[0])
    result = compare(table, expected, exported, key)
    assert not result.differences, (len(result.differences), result.differences[:20])
    assert result.value_count


def test_rows_rejects_and_history_are_those_of_the_captured_lines(state, recomputed):
    table = recomputed.table
    assert_equal(WEEKLY, list(table.rows.values()), state.export(WEEKLY))
    past = state.export(f"{WEEKLY}_history")
    assert {row["change_cause"] for row in past} == {"source", "metadata"}
    assert_equal("history", table.history, past, "known_from")
    rejects = compare(
        "rejects", recomputed.rejects, state.export("rejects"), ("capture_id", "line_number")
    )
    assert rejects.value_count
    assert not rejects.differences


def test_loads_have_the_counts_publications_and_outcomes_of_their_lines(state, recomputed):
    names = ("rows_added", "rows_changed", "rows_removed", "rows_unchanged")
    landings = state.export("landings", "--where", f"table_name={WEEKLY}")
    assert recomputed.counts == {
        row["group_id"]: tuple(row[name] for name in names) for row in landings
    }
    deliveries = state.export("deliveries", "--where", f"table_name={WEEKLY}")
    assert recomputed.publications == {
        row["group_id"]: (row["published_on"], row["is_load_day"])
        for row in deliveries
        if row["outcome"] == "landed"
    }
    assert recomputed.quarantined == {
        row["group_id"] for row in deliveries if row["outcome"] == "held_back"
    }


def test_states_of_the_past_and_their_differences_are_those_of_the_captured_lines(
    state, recomputed
):
    table, keys = recomputed.table, finra_weekly.KEY
    before, after = "2026-03-05T00:00:00.000000Z", "2026-03-12T00:00:00.000000Z"
    assert_equal("as of", table.as_of(before), state.export(WEEKLY, "--as-of", before))
    assert_equal(
        "difference",
        history.difference(table.as_of(before), table.as_of(after), keys),
        state.diff(WEEKLY, "--from", before, "--to", after),
    )
    for day in ("2026-02-02", "2026-03-09", "2026-03-11"):
        exported = state.export(WEEKLY, "--published-by", day)
        assert_equal(f"published by {day}", table.published_by(day), exported)
    published = history.difference(
        table.published_by("2026-03-09"), table.published_by("2026-03-11"), keys
    )
    days = ("--published-from", "2026-03-09", "--published-by", "2026-03-11")
    assert_equal("difference", published, state.diff(WEEKLY, *days))


@pytest.mark.parametrize("table", derive([], {}))
def test_derived_tables_are_those_of_the_rows(state, recomputed, table):
    derived = derive(list(recomputed.table.rows.values()), recomputed.loads)
    assert_equal(table, derived[table], state.export(table))
