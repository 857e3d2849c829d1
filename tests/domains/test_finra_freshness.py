"""Weeks that are late by FINRA's calendar, and their place."""

from datetime import UTC, date, datetime, timedelta

import pytest

from orchestration_project.domains.finra.calendar import publication_date
from orchestration_project.domains.finra.freshness import State, counts, due_weeks, is_due
from orchestration_project.domains.finra.selection import TierWeek

GRACE = timedelta(hours=36)
NO_GRACE = timedelta(0)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def due_at(now: str, *, weeks: int = 1, grace: timedelta = GRACE, tier: str = "T1"):
    """Return the due weeks of a tier when nothing is loaded or listed."""
    due = due_weeks(at(now), weeks=weeks, grace=grace, loaded=(), quarantined=(), listed=())
    return [due_week.partition.week_start for due_week in due if due_week.partition.tier == tier]


def test_a_due_week_is_loaded_quarantined_missing_or_not_published():
    states = due_weeks(
        at("2025-12-18T12:00:00-05:00"),
        weeks=2,
        grace=GRACE,
        loaded=["T2|2025-11-03", "T1|2025-11-24"],
        quarantined=["OTCE|2025-11-03"],
        listed=[TierWeek("T1", date(2025, 11, 17)), TierWeek("OTCE", date(2025, 11, 3))],
    )
    assert [
        (state.partition.key, str(state.due), state.days_late, state.state) for state in states
    ] == [
        ("OTCE|2025-11-03", "2025-12-08", 10, State.QUARANTINED),
        ("T1|2025-11-17", "2025-12-08", 10, State.NOT_LOADED),
        ("T2|2025-11-03", "2025-12-08", 10, State.LOADED),
        ("OTCE|2025-11-10", "2025-12-15", 3, State.NOT_OUT),
        ("T1|2025-11-24", "2025-12-15", 3, State.LOADED),
        ("T2|2025-11-10", "2025-12-15", 3, State.NOT_OUT),
    ]
    assert counts(states) == {
        State.LOADED: 2,
        State.QUARANTINED: 1,
        State.NOT_LOADED: 1,
        State.NOT_OUT: 2,
    }
    assert [str(states[index]) for index in (0, 2, 3)] == [
        "OTCE, week 2025-11-03, was due on 2025-12-08 and is quarantined: an audit failed, or the "
        "file cannot be read; the page Quarantined has the reason, and it is requested again once "
        "FINRA changes it.",
        "T2, week 2025-11-03, was due on 2025-12-08 and is loaded.",
        "OTCE, week 2025-11-10, was due on 2025-12-15 and is not out: FINRA does not list it yet; "
        "nothing can be done but wait, or ask FINRA.",
    ]


def test_a_loaded_week_with_a_quarantined_restatement_is_loaded():
    key = "T1|2025-11-24"
    (week,) = [
        week
        for week in due_weeks(
            at("2025-12-18T12:00:00-05:00"),
            weeks=1,
            grace=GRACE,
            loaded=[key],
            quarantined=[key],
            listed=[],
        )
        if week.partition.key == key
    ]
    assert week.state is State.LOADED


def test_a_week_not_due_is_ignored_even_if_it_is_loaded():
    now = at("2025-12-15T12:00:00-05:00")  # the Monday of its publication, within the grace
    due = due_weeks(
        now,
        weeks=1,
        grace=GRACE,
        loaded=["T1|2025-11-24"],
        quarantined=["T1|2025-11-24"],
        listed=(),
    )
    assert due == []


PUBLISHED = {
    "an ordinary Monday": (date(2025, 11, 10), date(2025, 12, 1)),
    "Martin Luther King": (date(2025, 12, 29), date(2026, 1, 20)),
    "Presidents": (date(2026, 1, 26), date(2026, 2, 17)),
    "Memorial": (date(2026, 5, 4), date(2026, 5, 26)),
    "Thanksgiving is a Thursday": (date(2025, 11, 3), date(2025, 11, 24)),
    "Christmas on a Monday": (date(2023, 12, 4), date(2023, 12, 26)),
}


@pytest.mark.parametrize(("week", "published"), PUBLISHED.values(), ids=PUBLISHED)
def test_a_week_is_due_the_grace_after_midnight_of_its_publication_day(week, published):
    assert publication_date(week, "T1") == published
    noon_after = datetime.combine(published + timedelta(days=1), datetime.min.time()) + timedelta(
        hours=12
    )
    offset = "-04:00" if 3 < published.month < 11 else "-05:00"
    minute_before = noon_after - timedelta(minutes=1)
    assert week in due_at(f"{noon_after.isoformat()}{offset}", weeks=2)
    assert week not in due_at(f"{minute_before.isoformat()}{offset}", weeks=2)


@pytest.mark.parametrize(
    ("week", "midnight"),
    [
        pytest.param(date(2026, 2, 9), "2026-03-02T05:00:00+00:00", id="winter"),
        pytest.param(date(2026, 2, 16), "2026-03-09T04:00:00+00:00", id="clocks went forward"),
        pytest.param(date(2025, 10, 6), "2025-10-27T04:00:00+00:00", id="summer"),
        pytest.param(date(2025, 10, 13), "2025-11-03T05:00:00+00:00", id="clocks went back"),
    ],
)
def test_midnight_is_new_yorks_whatever_the_season(week, midnight):
    just_before = (datetime.fromisoformat(midnight) - timedelta(seconds=1)).isoformat()
    assert due_at(midnight, grace=NO_GRACE) == [week]
    assert week not in due_at(just_before, grace=NO_GRACE)


def test_the_grace_is_in_real_hours_also_on_a_day_of_23():
    day = date(2026, 3, 8)  # begins at 05:00 UTC and has 23 hours
    grace = timedelta(hours=24)
    assert not is_due(day, now=at("2026-03-09T04:59:59+00:00"), grace=grace)
    assert is_due(day, now=at("2026-03-09T05:00:00+00:00"), grace=grace)


def test_only_the_last_weeks_are_looked_at():
    assert due_at("2025-12-03T12:00:00-05:00", weeks=3) == [
        date(2025, 10, 27),
        date(2025, 11, 3),
        date(2025, 11, 10),
    ]
