"""Derived partitions that a change affects, and weeks with all tiers."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.finra.calendar import TIERS, publication_date
from orchestration_project.domains.finra.recomputation import (
    CONCENTRATION,
    CROSS_TIER,
    ROLLING,
    tier_ranges,
    week_ranges,
)
from orchestration_project.engine.contracts.derivations import build_requests
from orchestration_project.engine.derived import find_outdated_keys
from tests.properties import bounded

FIRST = date(2025, 11, 3)


ASKED: Any = {"database": None, "day": date(2026, 3, 2)}


def key(week: int, tier: str = "T1") -> str:
    """Return the partition of the ``week``-th week, 0 being the first."""
    return f"{tier}|{FIRST + timedelta(weeks=week)}"


def weeks_of(keys) -> list[int]:
    return [(date.fromisoformat(run_key[-10:]) - FIRST).days // 7 for run_key in keys]


def loaded(*weeks: int, tier: str = "T1") -> dict[str, int]:
    return {key(week, tier): 1 for week in weeks}


def derived(rule, state) -> dict[str, str]:
    return {candidate: rule.version(candidate, state) for candidate in rule.candidates(state)}


@pytest.mark.parametrize(
    ("rule", "reached"), [(ROLLING, [2, 3, 4, 5, 6, 7]), (CONCENTRATION, [2, 3])]
)
def test_a_changed_week_reaches_itself_and_those_that_look_back_at_it(rule, reached):
    state = loaded(*range(12))
    before = derived(rule, state)
    assert find_outdated_keys(rule, state, before) == []
    state[key(2)] = 2
    assert weeks_of(find_outdated_keys(rule, state, before)) == reached
    assert weeks_of(rule.reached(key(2), requested={key(2)}, loaded=state)) == reached


def test_weeks_not_loaded_are_not_reached_nor_replaced():
    state = loaded(0, 1, 4, 9)
    assert weeks_of(ROLLING.reached(key(0), requested={key(0)}, loaded=state)) == [0, 1, 4]
    assert weeks_of(CONCENTRATION.reached(key(1), requested={key(1)}, loaded=state)) == [1]


def test_an_old_week_loaded_late_makes_its_followers_stale():
    before = derived(ROLLING, loaded(0, 2, 3, 8))
    assert weeks_of(find_outdated_keys(ROLLING, loaded(0, 1, 2, 3, 8), before)) == [1, 2, 3]


def test_another_tiers_change_reaches_no_week_of_a_tier():
    state = loaded(*range(3)) | loaded(*range(3), tier="T2")
    before = derived(ROLLING, state)
    assert find_outdated_keys(ROLLING, state | {key(0, "T2"): 5}, before) == [
        key(0, "T2"),
        key(1, "T2"),
        key(2, "T2"),
    ]


def test_of_several_that_are_asked_for_each_dependent_belongs_to_one():
    state, requested = loaded(*range(10)), {key(1), key(3)}
    assert weeks_of(ROLLING.reached(key(1), requested=requested, loaded=state)) == [1, 2]
    assert weeks_of(ROLLING.reached(key(3), requested=requested, loaded=state)) == [
        3,
        4,
        5,
        6,
        7,
        8,
    ]


@bounded
@given(
    st.sets(st.integers(0, 20), min_size=1),
    st.sets(st.integers(0, 20)),
    st.sampled_from([ROLLING, CONCENTRATION]),
)
def test_asking_for_what_changed_derives_exactly_what_is_out_of_date(weeks, changed, rule):
    state = loaded(*weeks)
    before = derived(rule, state)
    requested = {key(week) for week in changed}  # a run is asked for ranges, which may have holes
    state |= dict.fromkeys(requested & state.keys(), 2)
    reached = [
        reached_key
        for one in sorted(requested & state.keys())
        for reached_key in rule.reached(one, requested=requested, loaded=state)
    ]
    assert len(reached) == len(set(reached))
    assert set(reached) == set(find_outdated_keys(rule, state, before))


def test_a_week_is_made_of_all_tiers_or_of_none():
    state = loaded(0, 1) | loaded(0, tier="T2") | loaded(0, 1, tier="OTCE")
    assert CROSS_TIER.candidates(state) == ["2025-11-03"]
    assert find_outdated_keys(CROSS_TIER, state, {}) == ["2025-11-03"]
    before = derived(CROSS_TIER, state)
    assert find_outdated_keys(CROSS_TIER, state, before) == []
    assert find_outdated_keys(CROSS_TIER, state | {key(0, "T2"): 2}, before) == ["2025-11-03"]
    assert find_outdated_keys(CROSS_TIER, state | loaded(1, tier="T2"), before) == ["2025-11-10"]


def test_a_week_is_out_when_its_last_tier_is_after_a_holiday_on_the_tuesday():
    week = date(2025, 12, 15)  # 35 days later is the birthday of Martin Luther King

    def on(day: date) -> list[str]:
        published = {f"{tier}|{week}": 1 for tier in TIERS if publication_date(week, tier) <= day}
        return find_outdated_keys(CROSS_TIER, published, {})

    assert on(date(2026, 1, 5)) == []
    assert on(date(2026, 1, 19)) == []
    assert on(date(2026, 1, 20)) == ["2025-12-15"]


def test_what_a_partition_is_made_of_is_named_and_holes_are_left_out():
    state = loaded(0, 5) | {key(4): 3}
    assert ROLLING.version(key(5), state) == (
        "gold 3: T1|2025-11-03#1 T1|2025-12-01#3 T1|2025-12-08#1"
    )


def test_runs_cover_consecutive_weeks_and_are_known_by_what_they_derive_from_what():
    state = loaded(0, 1, 2, 5) | loaded(1, tier="T2")
    due = tier_ranges(state)
    assert due == [(key(0), key(2)), (key(5), key(5)), (key(1, "T2"), key(1, "T2"))]
    first = build_requests((ROLLING,), due, state, **ASKED)
    assert [(request.first, request.last) for request in first] == due
    assert build_requests((ROLLING,), due, state, **ASKED) == first
    again = build_requests((ROLLING,), due, state | {key(1): 2}, **ASKED)
    assert [one.run_key == other.run_key for one, other in zip(first, again, strict=True)] == [
        False,
        False,
        True,
    ]
    database, day = datetime(2026, 1, 5, tzinfo=UTC), date(2026, 3, 3)
    elsewhere = build_requests((ROLLING,), due, state, database=database, day=ASKED["day"])
    later = build_requests((ROLLING,), due, state, database=None, day=day)
    keys = {request.run_key for some in (first, elsewhere, later) for request in some}
    assert len(keys) == 9


def test_the_run_key_of_what_is_derived_stays_the_same_across_releases():
    """Another one would request each run again after an upgrade."""
    state = loaded(0, 1)
    (run,) = build_requests((ROLLING,), tier_ranges(state), state, **ASKED)
    assert run.run_key == "T1|2025-11-03...T1|2025-11-10@4e7956877717d2c6 (2026-03-02)"


def test_weeks_of_all_tiers_are_run_as_ranges_too():
    state = {key(week, tier): 1 for week in (0, 1, 3) for tier in TIERS}
    due = week_ranges(CROSS_TIER.candidates(state))
    assert due == [("2025-11-03", "2025-11-10"), ("2025-11-24", "2025-11-24")]
    assert (
        len({request.run_key for request in build_requests((CROSS_TIER,), due, state, **ASKED)})
        == 2
    )
