"""When FINRA publishes which week.

A tier's week comes out on the Monday 21 (T1) or 35 days (T2, OTCE) after the week's own Monday,
or on the Tuesday when that Monday is a federal or market holiday; measured on 165 answers.
"""

from datetime import date, timedelta
from functools import cache

import holidays

TIERS = ("T1", "T2", "OTCE")
PUBLICATION_DELAY = {
    "T1": timedelta(days=21),
    "T2": timedelta(days=35),
    "OTCE": timedelta(days=35),
}
WEEK = timedelta(days=7)
FIRST_WEEK_OF_ALL = date(2014, 5, 12)
"""The first week that FINRA ever published, on 2014-06-02."""


@cache
def _closed_days(year: int) -> frozenset[date]:
    federal = holidays.country_holidays("US", years=year)
    market = holidays.financial_holidays("NYSE", years=year)
    return frozenset(federal) | frozenset(market)


def is_closed(day: date) -> bool:
    """Whether the market or the federal government keeps a holiday on ``day``."""
    return day in _closed_days(day.year)


def monday_of(day: date) -> date:
    """Return the Monday of the week that holds ``day``."""
    return day - timedelta(days=day.weekday())


def publication_date(week_start: date, tier: str) -> date:
    """Return the day on which FINRA first publishes the week that starts on ``week_start``."""
    monday = week_start + PUBLICATION_DELAY[tier]
    return monday + timedelta(days=1) if monday in _closed_days(monday.year) else monday


def latest_published_week(today: date, tier: str) -> date:
    """Return the Monday of the newest week that should be out by ``today`` (in New York)."""
    week = monday_of(today - PUBLICATION_DELAY[tier])
    return week if publication_date(week, tier) <= today else week - WEEK


def first_week_published_since(day: date, tier: str) -> date:
    """Return the Monday of the oldest week whose publication date is ``day`` or later."""
    return latest_published_week(day - timedelta(days=1), tier) + WEEK


def week_published_on(day: date, tier: str) -> date | None:
    """Return the week whose publication date is ``day``, or None if the calendar has none."""
    week = monday_of(day - PUBLICATION_DELAY[tier])
    return week if publication_date(week, tier) == day else None
