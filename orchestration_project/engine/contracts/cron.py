"""Cron expressions of five fields: parsed, and asked for the days and times that they name."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

MAX_CHARACTERS = 200

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

PART = re.compile(r"(?:\*|([0-9a-z]{1,4})(?:-([0-9a-z]{1,4}))?)(?:/([0-9]{1,3}))?", re.ASCII)


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    names: Mapping[str, int] = {}


FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, {name: number for number, name in enumerate(MONTHS, 1)}),
    _Field("day of the week", 0, 7, {name: number for number, name in enumerate(WEEKDAYS)}),
)


@dataclass(frozen=True)
class Cron:
    """A cron expression.

    Attributes:
        text: As it was written, with single spaces.
        minutes: Minutes of an hour, 0 to 59.
        hours: Hours of a day, 0 to 23.
        days: Days of a month, 1 to 31.
        months: Months, 1 to 12.
        weekdays: Days of a week, 0 (Sunday) to 6.
    """

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @property
    def is_hourly(self) -> bool:
        """Whether it names every hour, so that it counts elapsed time rather than names hours."""
        return len(self.hours) == 24

    def names_day(self, day: date) -> bool:
        """Whether it is due on a day: by month and both kinds of days, or by one of two limits."""
        if day.month not in self.months:
            return False
        is_weekday = day.isoweekday() % 7 in self.weekdays
        if len(self.days) < 31 and len(self.weekdays) < 7:
            return day.day in self.days or is_weekday
        return day.day in self.days and is_weekday

    def days_from(self, first: date) -> Iterator[date]:
        """Return the days from ``first`` on which it is due, until the calendar ends."""
        days = map(date.fromordinal, range(first.toordinal(), date.max.toordinal()))
        return filter(self.names_day, days)

    @property
    def is_possible(self) -> bool:
        """Whether any date matches it."""
        leap_year = (date(2000, 1, 1) + timedelta(number) for number in range(366))
        return any(map(self.names_day, leap_year))


def read_cron(text: str) -> Cron:
    """Return a cron expression: minute, hour, day of the month, month, day of the week.

    A field is a list of ``*``, numbers and ranges, each with a step, such as ``0,30`` or
    ``8-18/2``; months and days of the week may be names, and 7 is Sunday, too. ``@daily`` and the
    like stand for their expressions.

    Raises:
        ValueError: It cannot be read, or no date matches it.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"expected at most {MAX_CHARACTERS} characters, e.g. 0 6 * * 1-5")
    words = text.lower().split()
    written = " ".join(words)
    parts = ALIASES.get(written, written).split()
    if len(parts) != len(FIELDS):
        raise ValueError(
            "expected five fields (minute, hour, day of the month, month, day of the week), "
            "e.g. 0 6 * * 1-5"
        )
    minutes, hours, days, months, weekdays = (
        _parse_values(part, field) for part, field in zip(parts, FIELDS, strict=True)
    )
    cron = Cron(written, minutes, hours, days, months, frozenset(day % 7 for day in weekdays))
    if not cron.is_possible:
        raise ValueError("expected days that a month has, e.g. 0 6 28 2 *: no date matches it")
    return cron


def _parse_values(text: str, field: _Field) -> frozenset[int]:
    numbers: set[int] = set()
    for part in text.split(","):
        values = _parse_part(part, field)
        if not values:
            raise ValueError(
                f"expected a {field.name} from {field.first} to {field.last}, a range, list or "
                f"step, e.g. */15, found {part[:20]!r}"
            )
        numbers.update(values)
    return frozenset(numbers)


def _parse_part(part: str, field: _Field) -> range:
    """Return the values of one part of a list; empty: it is invalid."""
    matched = PART.fullmatch(part)
    if matched is None:
        return range(0)
    low, high, every = matched.groups()
    first, last, step = field.first, field.last, int(every or 1)
    if low:
        first = _parse_number(low, field)
        last = _parse_number(high or low, field) if high or not every else last
    if last == 0 < first and field.last == 7:
        last = 7  # fri-sun
    is_valid = field.first <= first <= last <= field.last and step > 0
    return range(first, last + 1, step) if is_valid else range(0)


def _parse_number(text: str, field: _Field) -> int:
    return int(text) if text.isdecimal() else field.names.get(text, -1)
