"""The exchange's sessions: which days, and when they are over."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.prices.calendar import (
    closes_at,
    is_session,
    last_complete_session,
    last_of_month,
    months,
    sessions,
    sessions_from,
)
from tests.properties import bounded

DAYS = st.dates(date(1990, 1, 1), date(2040, 12, 31))


def test_a_year_has_as_many_sessions_as_the_exchange_says():
    assert [len(sessions(date(year, 1, 1), date(year, 12, 31))) for year in (2001, 2024, 2025)] == [
        248,
        252,
        250,
    ]


@pytest.mark.parametrize(
    "day",
    [
        date(2001, 9, 11),  # and the three days that followed
        date(2012, 10, 29),  # a storm
        date(2025, 1, 9),  # a day of mourning
        date(2025, 4, 18),  # Good Friday
        date(2025, 6, 19),
        date(2025, 7, 4),
        date(2025, 11, 27),
        date(2025, 3, 8),  # a Saturday
    ],
)
def test_there_is_no_session_on(day: date):
    assert not is_session(day)


@pytest.mark.parametrize(
    "day", [date(2025, 11, 28), date(2025, 10, 13), date(2021, 12, 31), date(2025, 12, 24)]
)
def test_there_is_a_session_on(day: date):
    assert is_session(day)


@pytest.mark.parametrize(
    ("session", "close"),
    [
        (date(2025, 7, 2), datetime(2025, 7, 2, 20, tzinfo=UTC)),  # summer time
        (date(2025, 7, 3), datetime(2025, 7, 3, 17, tzinfo=UTC)),  # a half day
        (date(2025, 11, 28), datetime(2025, 11, 28, 18, tzinfo=UTC)),  # the same in winter
        (date(2025, 3, 7), datetime(2025, 3, 7, 21, tzinfo=UTC)),
        (date(2025, 3, 10), datetime(2025, 3, 10, 20, tzinfo=UTC)),  # clocks went forward
        (date(2025, 11, 3), datetime(2025, 11, 3, 21, tzinfo=UTC)),  # and back
    ],
)
def test_a_session_is_over_at_its_close_and_not_a_second_earlier(session: date, close: datetime):
    assert closes_at(session) == close
    assert last_complete_session(close) == session
    assert last_complete_session(close - timedelta(seconds=1)) < session


@bounded
@given(DAYS, st.integers(-70, 70))
def test_counting_sessions_there_and_back_leads_back_to_a_session(day: date, count: int):
    session = sessions_from(day, 0)
    there = sessions_from(session, count)
    assert is_session(there)
    assert sessions_from(there, -count) == session
    first, last = sorted((session, there))
    assert len(sessions(first, last)) == abs(count) + 1


def test_months_are_named_by_their_first_days_and_end_with_their_last():
    found = months(date(2023, 12, 15), date(2024, 2, 1))
    assert list(found) == [date(2023, 12, 1), date(2024, 1, 1), date(2024, 2, 1)]
    assert [last_of_month(month).day for month in found] == [31, 31, 29]
