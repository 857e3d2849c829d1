"""The sessions of the New York Stock Exchange: which days there are any, and when each is over.

Holidays and half days are those of the `holidays` package, with the days of mourning and of storms
on which the exchange stayed closed.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

import polars as pl

from orchestration_project.errors import ConfigurationError

NEW_YORK = ZoneInfo("America/New_York")
DAY = timedelta(days=1)
CLOSE, EARLY_CLOSE = time(16), time(13)
SATURDAY = 5

FIRST_YEAR, LAST_YEAR = 1970, 2100
"""Bounds of the calendar."""


@cache
def _list_sessions(year: int) -> Sequence[date]:
    import holidays  # not at the top: most commands read no calendar

    closed = holidays.financial_holidays("NYSE", years=year)
    days = (date(year, 1, 1) + number * DAY for number in range(366))
    return [
        day for day in days if day.year == year and day.weekday() < SATURDAY and day not in closed
    ]


@cache
def _find_half_days(year: int) -> frozenset[date]:
    import holidays

    return frozenset(holidays.financial_holidays("NYSE", years=year, categories=("half_day",)))


def sessions(first: date, last: date) -> Sequence[date]:
    """Return the days from ``first`` to ``last``, both counted, on which the exchange trades."""
    session_days: list[date] = []
    for year in range(max(first.year, FIRST_YEAR), min(last.year, LAST_YEAR) + 1):
        days = _list_sessions(year)
        session_days += days[bisect_left(days, first) : bisect_right(days, last)]
    return session_days


@cache
def _build_days(year: int) -> pl.Series:
    return pl.Series(_list_sessions(year), dtype=pl.Date)


def session_days(first: date, last: date) -> pl.Series:
    """Return the same days as `sessions` does, as a column."""
    years = range(max(first.year, FIRST_YEAR), min(last.year, LAST_YEAR) + 1)
    days = pl.concat([pl.Series(dtype=pl.Date), *map(_build_days, years)])
    return days.filter(days.is_between(first, last))


def is_session(day: date) -> bool:
    """Say whether the exchange trades on ``day``."""
    return bool(sessions(day, day))


def closes_at(session: date) -> datetime:
    """Return when a session ends, in New York's time: at 16:00, on half days at 13:00."""
    at = EARLY_CLOSE if session in _find_half_days(session.year) else CLOSE
    return datetime.combine(session, at, NEW_YORK)


def last_complete_session(now: datetime) -> date:
    """Return the latest session that is over at ``now``, an aware moment."""
    today = now.astimezone(NEW_YORK).date()
    days = sessions(today - 14 * DAY, today)
    return next(day for day in reversed(days) if closes_at(day) <= now)


def sessions_from(day: date, count: int) -> date:
    """Return the day ``count`` sessions after ``day``, before it where ``count`` is negative.

    A day without a session counts as the one before it.
    """
    span = timedelta(days=2 * abs(count) + 14)  # weekends and holidays leave over two days in three
    if count > 0:
        return sessions(day + DAY, day + span)[count - 1]
    return sessions(day - span, day)[count - 1]


@lru_cache(maxsize=10_000)
def month_of(day: date) -> date:
    """Return the first day of the month of ``day``."""
    return day.replace(day=1)


def month_after(month: date) -> date:
    """Return the first day of the month after that of ``month``."""
    return month_of(month_of(month) + 31 * DAY)


@lru_cache(maxsize=1000)
def last_of_month(month: date) -> date:
    """Return the last day of the month of ``month``."""
    return month_after(month) - DAY


@lru_cache(maxsize=1000)
def last_session_of(month: date) -> date:
    """Return the last session of the month of ``month``; the last day where no calendar is made."""
    return max(sessions(month_of(month), last_of_month(month)), default=last_of_month(month))


@lru_cache(maxsize=100)
def months(first: date, last: date) -> Sequence[date]:
    """Return the first days of the months from that of ``first`` to that of ``last``."""
    days = [month_of(first)]
    while month_after(days[-1]) <= last:
        days.append(month_after(days[-1]))
    return tuple(days)


def month_named(written: str) -> str:
    """Return the first day of the month that is written as 2025-01.

    Raises:
        ConfigurationError: It is not a month.
    """
    try:
        return date.fromisoformat(f"{written}-01").isoformat()
    except ValueError:
        raise ConfigurationError(
            "month is none", expected="year and month, such as 2025-01"
        ) from None
