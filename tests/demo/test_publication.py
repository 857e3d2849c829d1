"""The calendar: which week is out when."""

from datetime import UTC, date, datetime, timedelta

import pytest
from orchestration_demo.publication import (
    latest_published_week,
    new_york_day,
    publication_date,
    trading_level,
)

from tests.demo.program import StartDemo


@pytest.mark.parametrize(
    ("week", "tier", "published"),
    [
        ("2025-11-10", "OTCE", "2025-12-15"),  # as the real file of that week
        ("2026-02-23", "T1", "2026-03-16"),
        ("2025-12-29", "T1", "2026-01-20"),  # Martin Luther King Day: both holidays
        ("2026-01-12", "T2", "2026-02-17"),  # Presidents' Day
        ("2025-09-22", "T1", "2025-10-14"),  # Columbus Day: federal, the market is open
        ("2022-11-21", "T2", "2022-12-27"),  # Christmas on a Sunday, kept on Monday
    ],
)
def test_a_week_is_published_on_its_monday_or_after_a_holiday(week, tier, published):
    assert publication_date(date.fromisoformat(week), tier) == date.fromisoformat(published)


@pytest.mark.slow
def test_a_week_is_out_from_midnight_in_new_york(start_demo: StartDemo):
    before = start_demo("before", clock_now="2026-01-20T04:30:00+00:00")
    after = start_demo("after", clock_now="2026-01-20T00:00:00-05:00")
    assert before.weeks("T1")[0] == "2025-12-22"
    assert after.weeks("T1")[0] == "2025-12-29"


@pytest.mark.parametrize(
    "midnight",
    [datetime(2026, 3, 16, 4, tzinfo=UTC), datetime(2026, 1, 20, 5, tzinfo=UTC)],
    ids=["summer", "winter"],
)
def test_a_day_begins_at_midnight_in_new_york_in_summer_and_winter(midnight):
    assert new_york_day(midnight) == midnight.date()
    assert new_york_day(midnight - timedelta(minutes=1)) == midnight.date() - timedelta(days=1)


def test_the_latest_week_waits_out_a_holiday():
    assert latest_published_week(date(2026, 1, 19), "T1") == date(2025, 12, 22)
    assert latest_published_week(date(2026, 1, 20), "T1") == date(2025, 12, 29)


def test_weeks_with_holidays_trade_less():
    assert trading_level(date(2025, 11, 10)) == 1
    assert trading_level(date(2025, 11, 24)) == pytest.approx(0.64)  # Thanksgiving
    assert trading_level(date(2026, 1, 19)) == pytest.approx(0.8)
