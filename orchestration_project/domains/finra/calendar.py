"""FINRA's calendar: weeks, publication days, and the weeks in which a dataset has trading."""

from calendar import monthrange
from datetime import date, timedelta
from functools import cache

TIERS = ("T1", "T2", "OTCE")
PUBLICATION_DELAY = {
    "T1": timedelta(days=21),
    "T2": timedelta(days=35),
    "OTCE": timedelta(days=35),
}
WEEK = timedelta(days=7)
WEEKS_AT_FIRST = 8
"""Weeks of each tier that `run` loads by default, and that the demo offers."""

FIRST_WEEK_OF_ALL = date(2014, 5, 12)
"""The first week that FINRA ever published, on 2014-06-02."""


@cache
def _find_closed_days(year: int) -> frozenset[date]:
    import holidays  # not at the top: it has 330 modules, and most commands read no calendar

    federal = holidays.country_holidays("US", years=year)
    market = holidays.financial_holidays("NYSE", years=year)
    return frozenset(federal) | frozenset(market)


def is_closed(day: date) -> bool:
    """Whether the market or the federal government keeps a holiday on ``day``."""
    return day in _find_closed_days(day.year)


def settlement_date(first_day: date) -> date:
    """Return the settlement date of short interest in the half-month that begins on ``first_day``.

    It is the 15th or the last day of the month, or the business day before it. December 31st is
    one also where the federal government keeps it for a New Year's Day on Saturday.
    """
    last = monthrange(first_day.year, first_day.month)[1]
    day = first_day.replace(day=15 if first_day.day == 1 else last)
    while day.weekday() >= DAYS or (is_closed(day) and (day.month, day.day) != (12, 31)):
        day -= timedelta(days=1)
    return day


def monday_of(day: date) -> date:
    """Return the Monday of the week that holds ``day``."""
    return day - timedelta(days=day.weekday())


def publication_date(week_start: date, tier: str) -> date:
    """Return the day on which FINRA first publishes the week that starts on ``week_start``."""
    monday = week_start + PUBLICATION_DELAY[tier]
    return monday + timedelta(days=1) if monday in _find_closed_days(monday.year) else monday


def latest_published_week(today: date, tier: str) -> date:
    """Return the Monday of the newest week that should be out by ``today`` (in New York)."""
    week = monday_of(today - PUBLICATION_DELAY[tier])
    is_out = today > week + PUBLICATION_DELAY[tier] or publication_date(week, tier) <= today
    return week if is_out else week - WEEK  # after a Monday, no calendar of holidays is needed


def latest_week_of_all_tiers(today: date) -> date:
    """Return the Monday of the newest week that should be out for each tier by ``today``."""
    return min(latest_published_week(today, tier) for tier in TIERS)


def first_week_published_since(day: date, tier: str) -> date:
    """Return the Monday of the oldest week whose publication date is ``day`` or later."""
    return latest_published_week(day - timedelta(days=1), tier) + WEEK


def week_published_on(day: date, tier: str) -> date | None:
    """Return the week whose publication date is ``day``, or None if the calendar has none."""
    week = monday_of(day - PUBLICATION_DELAY[tier])
    return week if publication_date(week, tier) == day else None


DAYS = 5
HALF_SESSION = 0.5
"""A session that ends at 13:00 New York time."""

SLOW_LEVEL = 0.9
"""Volume of a session of Thanksgiving week, or of a week around Christmas and New Year, by an
ordinary one's. FINRA's trades fell by 38 % in a Thanksgiving week, which has 3.5 sessions: 0.62 is
0.7 x 0.89."""


@cache
def _find_short_days(year: int) -> dict[date, float]:
    """Return the partial sessions of ``year``, each as a share of a whole session."""
    import holidays

    halves = holidays.financial_holidays("NYSE", years=year, categories=("half_day",))
    closed = holidays.financial_holidays("NYSE", years=year)
    return dict.fromkeys(halves, HALF_SESSION) | dict.fromkeys(closed, 0.0)


def trading_level(week_start: date) -> float:
    """Return the trading level of the week from ``week_start``, an ordinary one being 1."""
    days = [week_start + timedelta(days=number) for number in range(DAYS)]
    sessions = sum(_find_short_days(day.year).get(day, 1.0) for day in days)
    return sessions / DAYS * (SLOW_LEVEL if any(map(_is_slow, days)) else 1.0)


def _is_slow(day: date) -> bool:
    is_thanksgiving = day.month == 11 and day.weekday() == 3 and 22 <= day.day <= 28
    return is_thanksgiving or (day.month, day.day) >= (12, 24) or (day.month, day.day) == (1, 1)


def session_days(week_start: date) -> list[date]:
    """Return the days of the week that starts on ``week_start`` on which the exchange trades."""
    days = (week_start + timedelta(days=number) for number in range(DAYS))
    return [day for day in days if _find_short_days(day.year).get(day, 1.0) > 0]
