"""When FINRA publishes which week."""

from datetime import date, timedelta
from itertools import pairwise

import pytest

from orchestration_project.domains.finra.calendar import (
    FIRST_WEEK_OF_ALL,
    TIERS,
    first_week_published_since,
    is_closed,
    latest_published_week,
    monday_of,
    publication_date,
    settlement_date,
    week_published_on,
)
from orchestration_project.domains.finra.equity_datasets import SHORT_INTEREST

A_WEEK = timedelta(days=7)
ALL_WEEKS = [FIRST_WEEK_OF_ALL + number * A_WEEK for number in range(52 * 16 + 35)]  # to 2030

HOLIDAY_MONDAYS = {
    "Martin Luther King": date(2025, 1, 20),
    "Presidents": date(2025, 2, 17),
    "Memorial": date(2025, 5, 26),
    "Juneteenth": date(2023, 6, 19),
    "Juneteenth, on a Sunday": date(2022, 6, 20),
    "Independence": date(2022, 7, 4),
    "Independence, on a Sunday": date(2021, 7, 5),
    "Labor": date(2025, 9, 1),
    "Columbus, when markets are open": date(2025, 10, 13),
    "Veterans, when markets are open": date(2024, 11, 11),
    "Veterans, on a Sunday": date(2018, 11, 12),
    "Christmas": date(2023, 12, 25),
    "Christmas, on a Sunday": date(2022, 12, 26),
    "New Year": date(2024, 1, 1),
    "New Year, on a Sunday": date(2023, 1, 2),
}


@pytest.mark.parametrize(
    ("tier", "published"),
    [("T1", date(2025, 12, 1)), ("T2", date(2025, 12, 15)), ("OTCE", date(2025, 12, 15))],
)
def test_a_week_is_published_on_a_monday_21_days_later_for_t1_and_35_for_the_others(
    tier: str, published: date
):
    assert publication_date(date(2025, 11, 10), tier) == published


@pytest.mark.parametrize("monday", HOLIDAY_MONDAYS.values(), ids=HOLIDAY_MONDAYS)
def test_after_a_monday_that_is_a_holiday_publication_is_on_tuesday(monday: date):
    tuesday = monday + timedelta(days=1)
    assert publication_date(monday - timedelta(days=21), "T1") == tuesday
    assert publication_date(monday - timedelta(days=35), "T2") == tuesday
    assert publication_date(monday - timedelta(days=35), "OTCE") == tuesday


@pytest.mark.parametrize(
    "monday",
    [
        pytest.param(date(2017, 6, 19), id="Juneteenth before it was a holiday"),
        pytest.param(date(2021, 12, 27), id="after a Christmas on a Saturday"),
        pytest.param(date(2022, 1, 3), id="after a New Year on a Saturday"),
        pytest.param(date(2020, 7, 6), id="after an Independence Day on a Saturday"),
    ],
)
def test_a_holiday_on_another_day_does_not_move_publication(monday: date):
    assert publication_date(monday - timedelta(days=21), "T1") == monday


def test_the_first_week_of_all_came_out_on_2014_06_02():
    assert publication_date(FIRST_WEEK_OF_ALL, "T1") == date(2014, 6, 2)


@pytest.mark.parametrize("tier", TIERS)
def test_each_week_to_2030_has_a_publication_date_of_its_own_that_leads_back_to_it(tier: str):
    dates = [publication_date(week, tier) for week in ALL_WEEKS]
    assert ALL_WEEKS[-1].year == 2030
    assert [week_published_on(day, tier) for day in dates] == ALL_WEEKS
    assert len(set(dates)) == len(ALL_WEEKS)
    assert {day.weekday() for day in dates} == {0, 1}


@pytest.mark.parametrize("tier", TIERS)
def test_on_any_other_day_no_week_is_published(tier: str):
    published = {publication_date(week, tier) for week in ALL_WEEKS}
    days = [date(2015, 1, 1) + timedelta(days=number) for number in range(365 * 15)]
    assert [day for day in days if week_published_on(day, tier) and day not in published] == []
    assert week_published_on(date(2025, 1, 20), tier) is None


@pytest.mark.parametrize(
    ("today", "newest"),
    [
        pytest.param(date(2025, 11, 30), date(2025, 11, 3), id="the day before"),
        pytest.param(date(2025, 12, 1), date(2025, 11, 10), id="the day"),
        pytest.param(date(2025, 12, 2), date(2025, 11, 10), id="the day after"),
        pytest.param(date(2025, 1, 20), date(2024, 12, 23), id="a holiday"),
        pytest.param(date(2025, 1, 21), date(2024, 12, 30), id="the Tuesday after it"),
    ],
)
def test_a_week_is_the_latest_from_the_day_of_its_publication(today: date, newest: date):
    assert latest_published_week(today, "T1") == newest


@pytest.mark.parametrize("tier", TIERS)
def test_on_every_day_to_2030_the_latest_week_is_out_and_the_next_is_not(tier: str):
    days = [date(2014, 7, 1) + timedelta(days=number) for number in range(365 * 16)]
    wrong = [
        day
        for day in days
        for latest in [latest_published_week(day, tier)]
        if not publication_date(latest, tier) <= day < publication_date(latest + A_WEEK, tier)
    ]
    assert wrong == []


def test_the_monday_of_a_day_is_in_the_same_week():
    week = [date(2025, 11, 10) + timedelta(days=number) for number in range(7)]
    assert {monday_of(day) for day in week} == {date(2025, 11, 10)}
    assert monday_of(date(2025, 11, 9)) == date(2025, 11, 3)


@pytest.mark.parametrize(
    ("day", "week"),
    [
        pytest.param(date(2025, 12, 1), date(2025, 11, 10), id="the day itself"),
        pytest.param(date(2025, 12, 2), date(2025, 11, 17), id="the day after"),
        pytest.param(date(2025, 1, 20), date(2024, 12, 30), id="a holiday: Tuesday's week"),
        pytest.param(date(2025, 1, 21), date(2024, 12, 30), id="the Tuesday after it"),
        pytest.param(date(2025, 1, 22), date(2025, 1, 6), id="the Wednesday after it"),
    ],
)
def test_the_first_week_published_since_a_day_is_the_one_that_was_out_then_or_next(day, week):
    assert first_week_published_since(day, "T1") == week


SETTLEMENT_DATES = {
    2024: "01-12 01-31 02-15 02-29 03-15 03-28 04-15 04-30 05-15 05-31 06-14 06-28 "
    "07-15 07-31 08-15 08-30 09-13 09-30 10-15 10-31 11-15 11-29 12-13 12-31",
    2025: "01-15 01-31 02-14 02-28 03-14 03-31 04-15 04-30 05-15 05-30 06-13 06-30 "
    "07-15 07-31 08-15 08-29 09-15 09-30 10-15 10-31 11-14 11-28 12-15 12-31",
    2026: "01-15 01-30 02-13 02-27 03-13 03-31 04-15 04-30 05-15 05-29 06-15 06-30 "
    "07-15 07-31 08-14 08-31 09-15 09-30 10-15 10-30 11-13 11-30 12-15 12-31",
}
"""Good Friday was 2024-03-29, Martin Luther King's day 2024-01-15, a Sunday 2026-02-15."""


@pytest.mark.parametrize("year", SETTLEMENT_DATES)
def test_short_interest_is_settled_on_the_15th_and_the_last_day_or_the_business_day_before(year):
    halves = [date(year, month, day) for month in range(1, 13) for day in (1, 16)]
    found = [f"{settlement_date(day):%m-%d}" for day in halves]
    assert found == SETTLEMENT_DATES[year].split()


def test_a_new_year_on_saturday_closes_the_government_alone_on_the_day_before():
    assert is_closed(date(2021, 12, 31))
    assert settlement_date(date(2021, 12, 16)) == date(2021, 12, 31)
    assert settlement_date(date(2027, 2, 1)) == date(2027, 2, 12)  # the 15th is Presidents' Day


def test_short_interest_is_due_when_nine_business_days_have_passed_and_a_week_later_at_most():
    calendar = SHORT_INTEREST.partitioning.calendar
    first_days = calendar.days_between(date(2024, 1, 2), date(2027, 1, 1))
    assert len(first_days) > 60
    for loaded, following in pairwise(first_days):
        published = settlement_date(following)
        for _ in range(9):
            published += timedelta(days=1)
            while published.weekday() > 4 or is_closed(published):
                published += timedelta(days=1)
        assert published <= calendar.next_due(loaded) <= published + A_WEEK
