"""Corrections after publication, seen by moving the clock over one folder."""

from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from orchestration_demo.faults import week_at
from orchestration_demo.market import Market
from orchestration_demo.publication import TIERS
from orchestration_demo.restatements import restatement

from tests.demo.program import DEFAULTS, Demo, StartDemo, partition

RESTATED = partition("2026-01-26", "T1")  # fifth back from the anchor
RELABELLED = partition("2026-01-05", "OTCE")  # sixth back
IDENTITY = ("summaryTypeCode", "issueSymbolIdentifier", "MPID", "firmCRDNumber")
QUANTITIES = ("totalWeeklyShareQuantity", "totalWeeklyTradeCount", "totalNotionalSum")
Rows = dict[tuple, dict]


def expect_distinct_rows(demo: Demo, requested: list[dict[str, object]]) -> Rows:
    """Return the records of a partition by what they speak of."""
    records = demo.records(requested)
    found = {tuple(record[name] for name in IDENTITY): record for record in records}
    assert len(found) == len(records)
    return found


def symbols(found: Rows) -> set[str]:
    return {key[1] for key in found if key[1] is not None}


@pytest.fixture(scope="module")
def demo_days_later(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Rows], Demo]]:
    """Return both restated weeks as the anchor's server had them, and a server nine days later."""
    folder = tmp_path_factory.mktemp("restated")
    options = DEFAULTS | {"rows_per_week": 3_000}
    first = Demo(folder, options)
    before = [expect_distinct_rows(first, RESTATED), expect_distinct_rows(first, RELABELLED)]
    first.stop()
    later = Demo(folder, options | {"clock_now": "2026-03-25T15:00:00+00:00"})
    yield before, later
    later.stop()


@pytest.mark.slow
def test_a_restatement_removes_a_symbol_adds_one_and_changes_a_hundredth(demo_days_later):
    (before, _), later = demo_days_later
    after = expect_distinct_rows(later, RESTATED)
    (gone,), (new,) = symbols(before) - symbols(after), symbols(after) - symbols(before)
    kept = [key for key in before if key[0].endswith("_W_SMBL_FIRM") and key[1] != gone]
    changed = [key for key in kept if _facts(before[key]) != _facts(after[key])]
    assert len(changed) == round(len(kept) / 100)
    assert [key for key in after if key[1] == new]


@pytest.mark.slow
def test_exactly_what_a_restatement_changes_carries_its_date(demo_days_later):
    (before, _), later = demo_days_later
    after = expect_distinct_rows(later, RESTATED)
    touched = {key for key, row in after.items() if _facts(row) != _facts(before.get(key))}
    dates = {key: row["lastUpdateDate"] for key, row in after.items()}
    assert {key for key, day in dates.items() if day == "2026-03-24"} == touched
    assert set(dates.values()) == {"2026-02-17", "2026-03-24"}  # published after Presidents' Day
    assert {key[0] for key in touched} >= {
        *("ATS_W_SMBL", "OTC_W_SMBL", "ATS_W_FIRM", "OTC_W_FIRM"),
        *("ATS_W_VOL_STATS", "OTC_W_VOL_STATS"),
    }
    assert {row["initialPublishedDate"] for row in after.values()} == {"2026-02-17"}


@pytest.mark.slow
def test_totals_follow_a_restatement(demo_days_later):
    _, later = demo_days_later
    after = expect_distinct_rows(later, RESTATED)
    for market in ("ATS", "OTC"):
        firm_rows = [row for key, row in after.items() if key[0] == f"{market}_W_SMBL_FIRM"]
        totals = [row for key, row in after.items() if key[0] == f"{market}_W_SMBL"]
        assert _shares_by_symbol(firm_rows) == _shares_by_symbol(totals)


def test_a_metadata_restatement_moves_the_date_of_one_symbol_and_nothing_else(demo_days_later):
    (_, before), later = demo_days_later
    after = expect_distinct_rows(later, RELABELLED)
    assert after.keys() == before.keys()
    moved = {key[1] for key, row in after.items() if row != before[key]}
    assert len(moved) == 1
    for key, row in after.items():
        assert row == before[key] | ({"lastUpdateDate": "2026-03-25"} if key[1] in moved else {})


def test_a_sweep_by_update_date_finds_the_restated_rows(demo_days_later):
    _, later = demo_days_later
    dates = {"fieldName": "lastUpdateDate", "startDate": "2026-03-24", "endDate": "2026-03-25"}
    swept = later.data(json=True, dateRangeFilters=[dates], limit=5000).json()
    found = {(row["weekStartDate"], row["tierIdentifier"], row["lastUpdateDate"]) for row in swept}
    assert found >= {
        ("2026-01-26", "T1", "2026-03-24"),
        ("2026-01-05", "OTCE", "2026-03-25"),
    }
    assert {day for _, _, day in found} <= {"2026-03-24", "2026-03-25"}


@pytest.mark.slow
def test_a_clock_moved_by_months_meets_more_restatements_within_their_bounds(
    start_demo: StartDemo,
):
    start_demo().stop()
    demo = start_demo(clock_now="2026-10-20T15:00:00+00:00")
    published = [(week, tier) for week, tier in demo.partitions()]
    found = _restated(demo, published)
    assert found[("2026-01-26", "T1")] == date(2026, 3, 24)  # the anchor has stayed
    ages = {
        key: (day - date.fromisoformat(key[0])).days
        for key, day in found.items()
        if key not in {("2026-01-26", "T1"), ("2026-01-05", "OTCE")}
    }
    assert len(ages) >= 3
    assert len(ages) < len(published) / 5
    assert all(100 <= days <= 169 for days in ages.values())


@pytest.mark.slow
def test_what_a_first_run_loads_holds_still_for_eight_days_whatever_the_seed():
    anchor = date(2026, 3, 16)
    days = []
    for seed in range(60):
        market = Market(seed, rows_per_week=300)
        weeks = [(tier, week_at(anchor, (tier, n))) for tier in TIERS for n in range(1, 10)]
        found = [restatement(market, anchor, tier, week) for tier, week in weeks]
        days += [response.day for response in found if response]
    assert len(days) > 3 * 60  # two are certain, and about one in twelve of the others
    assert min(days) == anchor + timedelta(days=8)


def _restated(demo: Demo, partitions: list[tuple[str, str]]) -> dict[tuple[str, str], date]:
    """Return the last update of those ``partitions`` that have one after their publication."""
    found = {}
    for week, tier in partitions:
        query = {"compareFilters": partition(week, tier), "limit": 1, "json": True}
        (row,) = demo.data(sortFields=["-lastUpdateDate"], **query).json()
        if row["lastUpdateDate"] != row["initialPublishedDate"]:
            found[(week, tier)] = date.fromisoformat(row["lastUpdateDate"])
    return found


def _facts(row: dict | None) -> list | None:
    return [row[name] for name in QUANTITIES] if row else None


def _shares_by_symbol(records: list[dict]) -> dict[str, int]:
    found: dict[str, int] = {}
    for record in records:
        symbol = record["issueSymbolIdentifier"]
        found[symbol] = found.get(symbol, 0) + record["totalWeeklyShareQuantity"]
    return found
