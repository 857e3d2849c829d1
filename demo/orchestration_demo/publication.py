"""When FINRA publishes which week: the calendar the demo keeps.

A week is named by its Monday. Tier 1 is out 21 days after that Monday and the other tiers 35 days
after it; a day later when that day is a United States federal or market holiday; always from
midnight in New York on. Dates are days in New York.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays

NEW_YORK = ZoneInfo("America/New_York")
WEEK = timedelta(days=7)
TIERS = ("T1", "T2", "OTCE")
NMS = "NMS"  # a tier that FINRA's documents do not know; it comes with tier 1
DELAY = {
    "T1": timedelta(days=21),
    "T2": timedelta(days=35),
    "OTCE": timedelta(days=35),
    NMS: timedelta(days=21),
}
RECENT = timedelta(days=364)  # how far back weeklySummary reaches
RETAINED = timedelta(days=4 * 365 + 1)  # how far back weeklySummaryHistoric reaches

_FEDERAL = holidays.country_holidays("US")
_MARKET = holidays.financial_holidays("NYSE")


def new_york_day(now: datetime) -> date:
    """Return the day in New York at ``now``, the only part of the time that publication sees."""
    return now.astimezone(NEW_YORK).date()


def is_holiday(day: date) -> bool:
    """Return whether the market keeps a holiday on ``day``."""
    return day in _MARKET


@lru_cache(maxsize=4096)
def publication_date(week: date, tier: str) -> date:
    """Return the day on which the ``week`` that starts on a Monday is first published."""
    due = week + DELAY[tier]
    return due + timedelta(days=1) if due in _FEDERAL or due in _MARKET else due


def latest_published_week(today: date, tier: str) -> date:
    """Return the Monday of the newest week of ``tier`` that is out on ``today``."""
    due = today - DELAY[tier]
    week = due - timedelta(days=due.weekday())
    return week if publication_date(week, tier) <= today else week - WEEK


def published_weeks(today: date, tier: str) -> Iterator[date]:
    """Yield every week of ``tier`` that either dataset holds on ``today``, newest first."""
    week = latest_published_week(today, tier)
    while week >= today - RETAINED:
        yield week
        week -= WEEK


@lru_cache(maxsize=4096)
def trading_level(week: date) -> float:
    """Return how much a ``week`` trades against an ordinary one (1.0), from its market holidays."""
    days = [week + timedelta(days=n) for n in range(5)]
    level = sum(day not in _MARKET for day in days) / len(days)
    slow = any(
        (day.month == 11 and day.weekday() == 3 and 22 <= day.day <= 28)
        or (day.month, day.day) == (12, 25)
        for day in days
    )
    return level * 0.8 if slow else level
