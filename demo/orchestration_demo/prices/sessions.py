"""When the demo's exchange is open: the sessions of the New York Stock Exchange."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache

import holidays
import numpy as np

from orchestration_demo.publication import NEW_YORK

FIRST_DAY, LAST_DAY = date(2004, 1, 2), date(2035, 12, 31)
"""Between these the demo knows prices, as far as the clock has come."""

OPENS, CLOSES, CLOSES_EARLY = time(9, 30), time(16), time(13)


@cache
def sessions() -> np.ndarray:
    """Return all days with a session, as datetime64[D], oldest first."""
    years = range(FIRST_DAY.year, LAST_DAY.year + 1)
    closed = np.array(sorted(holidays.financial_holidays("NYSE", years=years)), "datetime64[D]")
    days = np.arange(np.datetime64(FIRST_DAY), np.datetime64(LAST_DAY + timedelta(days=1)))
    return days[np.is_busday(days, holidays=closed)]


@cache
def opening_seconds() -> np.ndarray:
    """Return when each session opens, in seconds since 1970."""
    return np.array([_moment(day, OPENS).timestamp() for day in sessions().tolist()], np.int64)


def begun(now: datetime) -> int:
    """Return how many sessions have begun by ``now``."""
    return int(np.searchsorted(opening_seconds(), now.timestamp(), side="right"))


def is_under_way(now: datetime) -> bool:
    """Whether a session has begun and is not over."""
    day = sessions()[begun(now) - 1].item()
    early = holidays.financial_holidays("NYSE", years=day.year, categories=("half_day",))
    return now < _moment(day, CLOSES_EARLY if day in early else CLOSES)


def position(day: date) -> int:
    """Return the position of the first session on ``day`` or after it."""
    return int(np.searchsorted(sessions(), np.datetime64(day)))


def _moment(day: date, at: time) -> datetime:
    return datetime.combine(day, at, NEW_YORK).astimezone(UTC)
