"""How much a week can trade against an ordinary one: its sessions, and the slow time of year."""

from datetime import date, timedelta
from functools import cache

import holidays

DAYS = 5
HALF_SESSION = 0.5
"""A session that ends at 13:00 New York time."""

SLOW_LEVEL = 0.9
"""What a session of Thanksgiving week, or of a week around Christmas and New Year, trades of an
ordinary one. FINRA's trades fell by 38 % in a Thanksgiving week, which has 3.5 sessions: 0.62 is
0.7 x 0.89."""


@cache
def _short_days(year: int) -> dict[date, float]:
    """Return how much of a session the days of ``year`` are that are no whole one."""
    halves = holidays.financial_holidays("NYSE", years=year, categories=("half_day",))
    closed = holidays.financial_holidays("NYSE", years=year)
    return dict.fromkeys(halves, HALF_SESSION) | dict.fromkeys(closed, 0.0)


def trading_level(week_start: date) -> float:
    """Return what the week that starts on ``week_start`` should trade, an ordinary one being 1."""
    days = [week_start + timedelta(days=number) for number in range(DAYS)]
    sessions = sum(_short_days(day.year).get(day, 1.0) for day in days)
    return sessions / DAYS * (SLOW_LEVEL if any(map(_is_slow, days)) else 1.0)


def _is_slow(day: date) -> bool:
    is_thanksgiving = day.month == 11 and day.weekday() == 3 and 22 <= day.day <= 28
    return is_thanksgiving or (day.month, day.day) >= (12, 24) or (day.month, day.day) == (1, 1)


def session_days(week_start: date) -> list[date]:
    """Return the days of the week that starts on ``week_start`` on which the exchange trades."""
    days = (week_start + timedelta(days=number) for number in range(DAYS))
    return [day for day in days if _short_days(day.year).get(day, 1.0) > 0]
