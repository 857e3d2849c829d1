"""Sessions of the US exchanges, by the rules of NYSE's holidays since 2022."""

from datetime import date, timedelta
from functools import cache


def sessions(first: date, last: date) -> list[date]:
    """Return the sessions of a range of days, both included."""
    days = (first + timedelta(days=count) for count in range((last - first).days + 1))
    return [day for day in days if day.weekday() < 5 and day not in holidays(day.year)]


@cache
def holidays(year: int) -> frozenset[date]:
    """Return the days of a year on which the exchanges are closed, beside weekends."""
    fixed = [observed(date(year, month, day)) for month, day in ((6, 19), (7, 4), (12, 25))]
    new_year = date(year, 1, 1)
    if new_year.weekday() != 5:  # on a Saturday it is not observed
        fixed.append(observed(new_year))
    moving = [
        nth_weekday(year, 1, 0, 3),
        nth_weekday(year, 2, 0, 3),
        easter(year) - timedelta(days=2),
        date(year, 5, 31) - timedelta(days=date(year, 5, 31).weekday()),
        nth_weekday(year, 9, 0, 1),
        nth_weekday(year, 11, 3, 4),
    ]
    return frozenset(fixed + moving)


def observed(day: date) -> date:
    """Return the weekday on which a holiday is observed."""
    return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))


def nth_weekday(year: int, month: int, weekday: int, nth: int) -> date:
    """Return the nth Monday (0) or other weekday of a month."""
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


def easter(year: int) -> date:
    """Return Easter Sunday, by Butcher's algorithm."""
    a, b, c = year % 19, year // 100, year % 100
    d, e = b // 4, b % 4
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = c // 4, c % 4
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)
