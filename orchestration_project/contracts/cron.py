"""Cron expressions of five fields: parsed, and asked for the days and times that they name."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
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
MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

PART = re.compile(r"(\*|[0-9a-z]{1,4}(?:-[0-9a-z]{1,4})?)(?:/([0-9]{1,3}))?", re.ASCII)


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
        minutes: Minutes of an hour, 0 to 59, ascending.
        hours: Hours of a day, 0 to 23, ascending.
        days: Days of a month, 1 to 31.
        months: Months, 1 to 12.
        weekdays: Days of a week, 0 (Sunday) to 6.
    """

    text: str
    minutes: Sequence[int]
    hours: Sequence[int]
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
        """Yield the days from ``first`` on which it is due, until the calendar ends."""
        for ordinal in range(first.toordinal(), date.max.toordinal()):
            day = date.fromordinal(ordinal)
            if self.names_day(day):
                yield day

    @property
    def is_possible(self) -> bool:
        """Whether any date matches it."""
        if len(self.weekdays) < 7 and len(self.days) < 31:
            return True
        return any(min(self.days) <= MONTH_DAYS[month - 1] for month in self.months)


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
        _values(part, field) for part, field in zip(parts, FIELDS, strict=True)
    )
    found = Cron(
        written,
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        frozenset(days),
        frozenset(months),
        frozenset(each % 7 for each in weekdays),
    )
    if not found.is_possible:
        raise ValueError("expected days that a month has, e.g. 0 6 28 2 *: no date matches it")
    return found


def _values(text: str, field: _Field) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        matched = PART.fullmatch(part)
        if matched is None:
            raise _invalid(field, part)
        first, last = _range(matched[1], field, part, has_step=matched[2] is not None)
        step = int(matched[2] or 1)
        if step < 1 or first > last:
            raise _invalid(field, part)
        found.update(range(first, last + 1, step))
    return found


def _range(text: str, field: _Field, part: str, *, has_step: bool) -> tuple[int, int]:
    if text == "*":
        return field.first, 6 if field.last == 7 else field.last
    low, _, high = text.partition("-")
    first = _number(low, field, part)
    if high:
        last = _number(high, field, part)
        return first, 7 if last == 0 and field.last == 7 and first > 0 else last  # fri-sun
    return first, field.last if has_step else first


def _number(text: str, field: _Field, part: str) -> int:
    number = field.names.get(text, -1)
    if number < 0 and text.isdecimal():
        number = int(text)
    if not field.first <= number <= field.last:
        raise _invalid(field, part)
    return number


def _invalid(field: _Field, part: str) -> ValueError:
    return ValueError(
        f"expected a {field.name} from {field.first} to {field.last}, a range, list or step, "
        f"e.g. */15, found {part[:20]!r}"
    )
