"""Rows, rejects, history and derived tables of FINRA's weeks, recomputed from captured bytes."""

from collections.abc import Iterator
from fractions import Fraction

import pytest

from tests.oracle import finra_weekly, gold, gold_across_weeks, history, symbols
from tests.oracle.archive import Delivery, Row, read_deliveries
from tests.oracle.compare import compare
from tests.oracle.fold import WEEKLY, Folded, fold, weekly_loads
from tests.oracle_state import DemoState, demo_state
from tests.prepared import Prepared

MAX_REJECT_RATIO = "0.05"
SETTINGS = {"DEMO_ROWS_PER_WEEK": "300", "FINRA_MAX_REJECT_RATIO": MAX_REJECT_RATIO}
KEYS = (
    *("week_start", "tier", "market", "symbol", "venue_id", "trade_date", "tape", "kind"),
    *("rate_date", "currency_code", "participant_code", "capture_id", "line_number"),
)
"""Columns by which tables are compared, where a table has no other key."""


def derive(rows: list[Row], loads: gold.Loads) -> dict[str, list[Row]]:
    """Derive the tables of the weeks and tiers."""
    weeks, venues = gold.symbol_weeks(rows, loads), gold.venue_weeks(rows, loads)
    movers = gold_across_weeks.movers
    first = gold_across_weeks.FIRST_MOVERS
    return {
        "finra_symbol_week": weeks,
        "finra_venue_week": venues,
        "finra_tier_week": gold.tier_weeks(rows, loads),
        "finra_venue_week_all_tiers": gold.venue_weeks_all_tiers(rows, loads),
        "finra_symbol_rolling_6w": gold_across_weeks.rolling(weeks, loads),
        "finra_concentration_week": gold_across_weeks.concentration_weeks(weeks, loads),
        "finra_symbol_movers_week": movers(
            weeks, loads, "total_share_quantity", ("symbol",), first
        ),
        "finra_venue_movers_week": movers(venues, loads, "share_quantity", ("market", "venue_id")),
        "finra_symbol_anomalies_week": gold_across_weeks.anomalies(weeks, loads),
        "finra_symbols": symbols.symbols(rows, loads),
    }


def load(state: DemoState, first: str, last: str) -> None:
    """Load a range of weeks of a tier and derive its tables."""
    state.run(WEEKLY, first, last)
    state.run("finra_gold", first, last)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> Iterator[DemoState]:
    """Weeks of two days: one with rejects, one quarantined, and two that are restated between."""
    with demo_state(tmp_path_factory.mktemp("oracle"), SETTINGS, prepared) as state:
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
        state.run("finra_symbols")
        yield state


@pytest.fixture(scope="module")
def deliveries(state: DemoState) -> list[Delivery]:
    """The deliveries of the state's archive."""
    return read_deliveries([state.archive()])


@pytest.fixture(scope="module")
def weekly(deliveries: list[Delivery]) -> Folded:
    """The weekly table, recomputed."""
    return fold(deliveries, WEEKLY)


def assert_equal(table: str, expected: list[Row], exported: list[Row], *more: str) -> int:
    """Fail with the first differences; return how many values were compared."""
    assert bool(expected) == bool(exported), table
    names = (*KEYS, *more) if exported else ()
    result = compare(table, expected, exported, [name for name in names if name in exported[0]])
    assert not result.differences, (table, len(result.differences), result.differences[:20])
    return result.value_count


def assert_table(state: DemoState, folded: Folded, name: str) -> int:
    """Compare current rows and history of a table."""
    key = [column for column in folded.table.key if column not in KEYS]
    count = assert_equal(name, folded.rows, state.export(name), *key)
    past = state.export(f"{name}_history")
    return count + assert_equal(name, folded.table.history, past, "known_from", *key)


def test_rows_rejects_and_history_are_those_of_the_captured_lines(state, weekly):
    assert_table(state, weekly, WEEKLY)
    assert {row["change_cause"] for row in weekly.table.history} == {"source", "metadata"}
    assert_equal("rejects", weekly.rejects, state.export("rejects"))


def test_loads_have_the_counts_publications_and_outcomes_of_their_lines(state, weekly, deliveries):
    names = ("rows_added", "rows_changed", "rows_removed", "rows_unchanged")
    assert weekly.counts == {
        row["group_id"]: tuple(row[name] for name in names)
        for row in state.export("landings", "--where", f"table_name={WEEKLY}")
    }
    exported = state.export("deliveries", "--where", f"table_name={WEEKLY}")
    assert weekly.table.published == {
        row["group_id"]: (row["published_on"], row["is_load_day"])
        for row in exported
        if row["outcome"] == "landed"
    }
    limit = Fraction(MAX_REJECT_RATIO)
    quarantined = {
        delivery.group_id
        for delivery in deliveries
        if finra_weekly.parse_delivery(delivery).is_quarantined(limit)
    }
    held_back = {row["group_id"] for row in exported if row["outcome"] == "held_back"}
    assert quarantined == held_back != set()


def test_states_of_the_past_and_their_differences_are_those_of_the_captured_lines(state, weekly):
    table, keys = weekly.table, finra_weekly.KEY
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
def test_derived_tables_are_those_of_the_rows(state, weekly, table):
    assert_equal(table, derive(weekly.rows, weekly_loads(weekly))[table], state.export(table))


def test_an_evidence_archive_of_a_partition_has_all_that_its_rows_are_recomputed_from(
    state, weekly
):
    partition = "T1|2026-01-12"
    archive = state.evidence(partition, weekly.loads[partition])
    folded = fold(read_deliveries([archive]), WEEKLY)
    where = ("--where", "tier=T1", "--where", "week_start=2026-01-12")
    assert_equal(partition, folded.rows, state.export(WEEKLY, *where))
