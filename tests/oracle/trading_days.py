"""Sessions of the US exchanges."""

from datetime import date, timedelta

CLOSED = {
    2025: "01-01 01-09 01-20 02-17 04-18 05-26 06-19 07-04 09-01 11-27 12-25",
    2026: "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25",
}
"""Weekdays on which NYSE is closed, by its calendar, of the years that are compared."""


def count_sessions(first: str, last: str) -> int:
    """Return the number of sessions of a range of days, both included."""
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    days = [start + timedelta(days=count) for count in range((end - start).days + 1)]
    return sum(day.weekday() < 5 and f"{day:%m-%d}" not in CLOSED[day.year] for day in days)
