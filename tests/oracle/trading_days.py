"""Sessions of the US exchanges: weekdays without NYSE's holidays."""

from datetime import date, timedelta
from functools import cache

CLOSED_ONCE = {
    *(date(2007, 1, 2), date(2012, 10, 29), date(2012, 10, 30)),
    *(date(2018, 12, 5), date(2025, 1, 9)),
}
"""Weekdays on which NYSE stayed closed once: a hurricane, and days of mourning."""

JUNETEENTH_SINCE = 2022


def count_sessions(first: str, last: str) -> int:
    """Return the number of sessions of a range of days, both included."""
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    days = [start + timedelta(days=count) for count in range((end - start).days + 1)]
    return sum(day.weekday() < 5 and day not in holidays(day.year) for day in days)


@cache
def holidays(year: int) -> set[date]:
    """Return the weekdays of a year on which NYSE is closed."""
    fixed = [(1, 1), (7, 4), (12, 25)] + [(6, 19)] * (year >= JUNETEENTH_SINCE)
    observed = {observe(date(year, *day)) for day in fixed}
    mondays = {nth_weekday(year, month, 0, nth) for month, nth in ((1, 3), (2, 3), (9, 1))}
    last_monday_of_may = nth_weekday(year, 6, 0, 1) - timedelta(days=7)
    good_friday = easter(year) - timedelta(days=2)
    once = {last_monday_of_may, good_friday, nth_weekday(year, 11, 3, 4)}
    return observed | mondays | once | CLOSED_ONCE


def observe(holiday: date) -> date:
    """Return the weekday of a holiday: Monday for a Sunday, Friday for a Saturday.

    New Year on a Saturday is not observed: its Friday ends the accounting year.
    """
    if holiday.weekday() == 6:
        return holiday + timedelta(days=1)
    is_moved = holiday.weekday() == 5 and (holiday.month, holiday.day) != (1, 1)
    return holiday - timedelta(days=1) if is_moved else holiday


def nth_weekday(year: int, month: int, weekday: int, nth: int) -> date:
    """Return the nth Monday (0), ... of a month."""
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


def easter(year: int) -> date:
    """Return Easter Sunday of the Gregorian calendar, by Gauss's rule with Lichtenberg's change."""
    century = year // 100
    moon = 15 + (3 * century + 3) // 4 - (8 * century + 13) // 25
    epact = (19 * (year % 19) + moon) % 30
    full_moon = 21 + epact - (epact + year % 19 // 11) // 29
    sunday = 7 - (year + year // 4 + 2 - (3 * century + 3) // 4) % 7
    return date(year, 3, 1) + timedelta(days=full_moon + 7 - (full_moon - sunday) % 7 - 1)
