"""Weeks that exist, weeks that are due, and their ranges."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.finra import selection
from orchestration_project.domains.finra.calendar import TIERS, WEEK
from orchestration_project.domains.finra.selection import (
    TierWeek,
    by_publication,
    horizon_start,
    latest_weeks,
    of_known_tiers,
    outdated,
    ranges,
    run_key,
    summary,
    sweep_start,
    tier_week,
    within_horizon,
)
from orchestration_project.errors import ConfigurationError, SourceError
from tests.properties import bounded

FIRST = date(2025, 1, 6)
PARTITIONS = st.sets(
    st.builds(
        lambda tier, number: TierWeek(tier, FIRST + number * WEEK),
        st.sampled_from(TIERS),
        st.integers(0, 12),
    )
)


def weeks(tier: str, *numbers: int) -> list[TierWeek]:
    """Return the weeks with these numbers, counted from 2025-01-06."""
    return [TierWeek(tier, FIRST + number * WEEK) for number in numbers]


def test_a_key_is_read_back_as_its_partition():
    today = date(2025, 11, 17)
    partition = TierWeek("T1", date(2025, 11, 10))
    assert partition.key == "T1|2025-11-10"
    assert tier_week("T1|2025-11-10", today=today) == partition


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("T1", "no week"),
        ("", "no week"),
        ("T1|soon", "no week"),
        ("T1|2025-02-30", "no week"),
        ("2025-11-10|T1", "no week"),
        ("T1|20251110", "another spelling of 2025-11-10"),
        ("T1|2025-W46-1", "another spelling of 2025-11-10"),
        ("NMS|2025-11-10", "tier NMS"),
        ("t1|2025-11-10", "tier t1"),
        ("T1|2025-11-11", "2025-11-11 is a Tuesday"),
        ("T1|2025-11-17", "a week that has not ended by 2025-11-23"),
        ("T1|2031-01-06", "a week that has not ended by 2025-11-23"),
    ],
)
def test_a_key_that_is_no_past_monday_of_a_tier_is_refused(key: str, found: str):
    with pytest.raises(ConfigurationError) as refused:
        tier_week(key, today=date(2025, 11, 23))
    assert str(refused.value).split("\n") == [
        f"invalid partition {key}",
        "  expected: <T1|T2|OTCE>|<a past Monday, yyyy-mm-dd>, as in T1|2025-11-10",
        f"  found: {found}",
        "  what to do: request another partition",
    ]


def test_a_week_has_ended_on_the_next_monday():
    assert tier_week("OTCE|2025-11-17", today=date(2025, 11, 24)).week_start == date(2025, 11, 17)


def test_the_latest_weeks_are_the_newest_of_each_tier_whatever_lies_between():
    published = [*weeks("T1", 5, 1, 3, 3), *weeks("OTCE", 0), *weeks("NMS", 7, 8)]
    assert latest_weeks(published, 2) == [*weeks("OTCE", 0), *weeks("T1", 3, 5)]
    assert latest_weeks([], 2) == []


def test_ranges_end_where_a_week_is_missing_or_the_tier_changes():
    wanted = [*weeks("T1", 2, 0, 1, 4), *weeks("T2", 5, 6, 5)]
    (t1_first, _, t1_third, t1_fifth), (t2_first, t2_last) = (
        weeks("T1", 0, 1, 2, 4),
        weeks("T2", 5, 6),
    )
    assert ranges(wanted) == [(t1_first, t1_third), (t1_fifth, t1_fifth), (t2_first, t2_last)]


@bounded
@given(PARTITIONS)
def test_ranges_hold_exactly_the_wanted_weeks_and_no_two_could_be_one(wanted: set[TierWeek]):
    found = ranges(wanted)
    held = [
        TierWeek(first.tier, first.week_start + number * WEEK)
        for first, last in found
        for number in range((last.week_start - first.week_start) // WEEK + 1)
    ]
    assert held == sorted(wanted)
    assert {first.tier == last.tier for first, last in found} <= {True}
    ends = {(last.tier, last.week_start + WEEK) for _, last in found}
    assert ends.isdisjoint((first.tier, first.week_start) for first, _ in found)


def test_outdated_are_the_weeks_never_seen_and_those_with_another_version():
    new, same, taken_back, restated = wanted = weeks("T1", 0, 1, 2, 3)
    seen = {
        same.key: {"a"},
        taken_back.key: {"landed", "quarantined"},
        restated.key: {"a"},
        "T2|2025-01-06": {"gone"},
    }
    now = {same.key: "a", taken_back.key: "landed", restated.key: "b"}
    assert outdated(reversed(wanted), seen=seen, now=now) == [new, restated]
    assert outdated([same], seen=seen, now=now) == []


@pytest.mark.parametrize(("tier", "delay"), [("T1", 21), ("T2", 35), ("OTCE", 35)])
def test_the_horizon_counts_from_the_day_on_which_a_week_was_due(tier: str, delay: int):
    week = TierWeek(tier, FIRST)
    last_day = FIRST + timedelta(days=delay) + 2 * WEEK - timedelta(days=1)
    assert within_horizon([week], today=last_day, weeks=2) == [week]
    assert within_horizon([week], today=last_day + timedelta(days=1), weeks=2) == []


def test_what_is_within_the_horizon_comes_in_order():
    published = [*weeks("T2", 3, 1), *weeks("OTCE", 2)]
    found = within_horizon(published, today=date(2025, 3, 1), weeks=30)
    assert found == [*weeks("OTCE", 2), *weeks("T2", 1, 3)]


def test_a_summary_names_ranges_and_counts_weeks():
    assert summary([*weeks("T2", 3), *weeks("T1", 0, 1, 2, 5)]) == (
        "T1 2025-01-06 to 2025-01-20 (3 weeks), T1 2025-02-10 (1 week), T2 2025-01-27 (1 week)"
    )
    assert summary([]) == ""


def test_unknown_tiers_are_distinguished_and_named():
    published = [("2025-01-13", "T1"), ("2025-01-06", "NMS"), ("2025-01-06", "T1"), ("?", "NA")]
    assert of_known_tiers(published) == (weeks("T1", 0, 1), ["NA", "NMS"])


def test_a_published_week_that_is_no_date_is_the_sources_fault():
    with pytest.raises(SourceError) as refused:
        of_known_tiers([("2025-01-06", "T1"), ("06/01/2025", "T2")])
    assert str(refused.value).split("\n") == [
        "the source lists a week of T2 that is not a date",
        "  expected: weekStartDate as yyyy-mm-dd",
        "  found: 06/01/2025",
        "  what to do: report it to the source",
    ]


def test_by_publication_goes_by_the_day_on_which_a_week_was_due_and_not_by_the_week():
    late_tiers = [*weeks("T2", 1), *weeks("OTCE", 1)]  # due on 2025-02-17, a holiday: so the 18th
    before, same_day, after = weeks("T1", 2, 3, 4)  # due on 2025-02-10, the 18th and the 24th
    assert by_publication([after, same_day, *late_tiers, before]) == [
        before,
        *weeks("OTCE", 1),
        same_day,
        *weeks("T2", 1),
        after,
    ]


def test_a_run_key_differs_with_partition_state_and_day_and_with_nothing_else():
    week, other = weeks("T1", 0, 1)
    day, later = date(2025, 3, 3), date(2025, 3, 4)
    assert run_key(week, "a", day) == "T1|2025-01-06 a (2025-03-03)"
    keys = [run_key(*parts) for parts in ((week, "a", day), (week, "b", day), (week, "a", later))]
    assert len({*keys, run_key(other, "a", day)}) == 4


@bounded
@given(PARTITIONS, st.dates(date(2025, 1, 1), date(2025, 12, 31)), st.integers(1, 40))
def test_no_week_within_the_horizon_begins_before_its_start(published, today, number):
    start = horizon_start(today, number)
    found = within_horizon(published, today=today, weeks=number)
    assert set(found) <= set(published)
    assert all(partition.week_start >= start for partition in found)
    assert [week for week in published if week.week_start > today and week not in found] == []


def test_a_sweep_starts_at_its_watermark_or_at_the_oldest_publication_and_never_after_today():
    today, taken = date(2025, 3, 3), [*weeks("T1", 3, 1), *weeks("T2", 0)]
    assert sweep_start("2025-03-01", taken, today=today) == date(2025, 3, 1)
    assert sweep_start(None, taken, today=today) == date(2025, 2, 3)
    assert sweep_start("", taken, today=date(2025, 1, 1)) == date(2025, 1, 1)
    assert sweep_start("2025-03-09", taken, today=today) == today
    with pytest.raises(ConfigurationError) as refused:
        sweep_start("yesterday", taken, today=today)
    assert str(refused.value).split("\n") == [
        "invalid cursor of finra_on_restatement",
        "  expected: the day up to which it has polled, yyyy-mm-dd, or nothing",
        "  found: yesterday",
        "  what to do: reset the cursor: the sensor then looks at every week that was taken",
    ]


KEYS = ["T2|2025-11-03", "T1|2025-11-10", "T1|2025-11-03"]


@pytest.mark.parametrize(
    ("requested", "found"),
    [
        ({}, ["T1|2025-11-03", "T1|2025-11-10", "T2|2025-11-03"]),
        ({"tier": "T1"}, ["T1|2025-11-03", "T1|2025-11-10"]),
        ({"first": date(2025, 11, 4)}, ["T1|2025-11-10"]),
        ({"last": date(2025, 11, 9), "tier": "T2"}, ["T2|2025-11-03"]),
        ({"tier": "OTCE"}, []),
    ],
)
def test_a_choice_of_partitions_is_by_tier_and_weeks(requested, found):
    chosen = selection.chosen(KEYS, **{"tier": None, "first": None, "last": None} | requested)
    assert [partition.key for partition in chosen] == found
