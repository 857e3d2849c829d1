"""Partitions of a dataset: each key has a day and, in some datasets, another value.

A load of partitions has an outcome, by which the commands that load choose their exit status.
No table, source or clock is known here: days and settings come in as arguments.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from orchestration_project.errors import (
    ConfigurationError,
    SourceError,
    UnknownNameError,
)

A_DAY = timedelta(days=1)
WEEK = timedelta(days=7)
SATURDAY = 5
MAX_PERIOD_DAYS = 31
"""Days from one that names a partition to the next, at most."""

NEAREST_FIRST = (0, -1, 1, -2, 2, -3, 3)
"""Days from a day to those around it, the nearest first."""

EXAMPLE_DAY = date(2026, 1, 5)
"""Day of an example where neither the key nor today has one."""

NEW_YORK = "America/New_York"


LoadOutcome = Literal["loaded", "not_published", "failed"]

OUTCOME_TEXT = (
    "loaded: all is loaded or unchanged; not_published: something is not published yet; "
    "failed: something failed or is quarantined"
)


def load_outcome(*, has_failed: bool, unpublished: Collection[object]) -> LoadOutcome:
    """Return the outcome of a load; a failure outweighs what is not published yet."""
    if has_failed:
        return "failed"
    return "not_published" if unpublished else "loaded"


def is_never_holiday(day: date) -> bool:
    """Return False: a calendar without holidays."""
    return False


def find_period_day(
    day: date, names: Callable[[date], bool], *, is_monthly: bool = False
) -> date | None:
    """Return the day that names the period which contains ``day``, else the nearest such day.

    Args:
        day: Any day.
        names: Whether a day names a partition.
        is_monthly: Whether such a day names the month, or half of it, that it begins.

    Returns:
        Of a week, which is from Monday to Sunday, its one day; of single days the nearest; None
        where the calendar of Python ends before.
    """
    if is_monthly:
        return next(filter(names, _iterate_days(day, range(0, -MAX_PERIOD_DAYS, -1))), None)
    of_week = [*filter(names, _iterate_days(day, range(-day.weekday(), 7 - day.weekday())))]
    if len(of_week) == 1:
        return of_week[0]
    return next(filter(names, _iterate_days(day, NEAREST_FIRST)), None)


def _iterate_days(day: date, steps: Iterable[int]) -> Iterator[date]:
    numbers = (day.toordinal() + step for step in steps)
    last = date.max.toordinal()
    return (date.fromordinal(number) for number in numbers if 1 <= number <= last)


@dataclass(frozen=True)
class Calendar:
    """Days that name partitions, and their publication dates.

    Attributes:
        weekday: The one day of each week (0: Monday), or None: all days from Monday to Friday.
        is_every_day: Whether Saturdays and Sundays name partitions, too, where weekday is None.
        delay_days: Days after the day of its name until a partition should be published.
        month_days: The days of each month that name partitions; they take the place of weekdays.
        is_holiday: Whether the source publishes nothing for a day.
        skips_holidays: Whether a partition of a holiday is empty by rule: it is not an error.
        zone: The time zone of the source's days.
        last_day: The last day that names a partition: the source ended the dataset. None: it goes
            on.
    """

    weekday: int | None
    delay_days: int
    month_days: tuple[int, ...] = ()
    is_holiday: Callable[[date], bool] = is_never_holiday
    skips_holidays: bool = False
    zone: str = NEW_YORK
    last_day: date | None = None
    is_every_day: bool = False

    def is_over(self, day: date) -> bool:
        """Whether no partition after ``day`` will be published: the dataset was discontinued."""
        return self.last_day is not None and day >= self.last_day

    def names(self, day: date) -> bool:
        """Whether a partition may be named by ``day``."""
        if self.last_day is not None and day > self.last_day:
            return False
        if self.month_days:
            return day.day in self.month_days
        if self.weekday is None:
            return self.is_every_day or day.weekday() < SATURDAY
        return day.weekday() == self.weekday

    @property
    def begins_periods(self) -> bool:
        """Whether a day names the period that it begins, which is whole once that is over."""
        return self.weekday == 0 or bool(self.month_days)

    @property
    def cron(self) -> str:
        """The days that name partitions, as a cron schedule."""
        if self.month_days:
            return f"0 0 {','.join(map(str, self.month_days))} * *"
        every = "*" if self.is_every_day else "1-5"
        return f"0 0 * * {every if self.weekday is None else (self.weekday + 1) % 7}"

    @property
    def day_name(self) -> str:
        """Name of a partition's day in messages."""
        if self.month_days:
            return f"day {' or '.join(map(str, self.month_days))} of a month"
        if self.weekday is None:
            return "day" if self.is_every_day else "weekday"
        return f"{date(2026, 1, 5 + self.weekday):%A}"

    def next_due(self, loaded: date) -> date:
        """Return the day from which on something newer than ``loaded`` should be published."""
        day = loaded + A_DAY
        while not self.names(day) or (self.weekday is None and self.is_holiday(day)):
            day += A_DAY
        return day + self.delay_days * A_DAY

    def is_late(self, due: date, *, now: datetime, grace: timedelta) -> bool:
        """Whether ``grace``, in real hours, has passed since midnight of ``due`` in its zone."""
        midnight = datetime.combine(due, time(), tzinfo=ZoneInfo(self.zone))
        return now >= midnight.astimezone(UTC) + grace

    def late_days(self, loaded: date, *, now: datetime, grace: timedelta) -> list[date]:
        """Return the days after ``loaded`` that name partitions which are late, oldest first."""
        days: list[date] = []
        while not self.is_over(loaded):
            due = self.next_due(loaded)
            if not self.is_late(due, now=now, grace=grace):
                break
            loaded = due - self.delay_days * A_DAY
            days.append(loaded)
        return days

    def first_from(self, day: date) -> date:
        """Return the first day from ``day`` on that may name a partition, at most the last one."""
        day = day if self.last_day is None else min(day, self.last_day)
        while not self.names(day):
            day += A_DAY
        return day

    def last_until(self, day: date) -> date:
        """Return the last day up to ``day`` that may name a partition."""
        while not self.names(day):
            day -= A_DAY
        return day

    def days_between(self, first: date, last: date) -> list[date]:
        """Return the days from ``first`` to ``last``, both included, that may name partitions."""
        if self.weekday is None or self.month_days:
            count = ((last - first).days + 1) if last >= first else 0
            every = (first + position * A_DAY for position in range(count))
            return [day for day in every if self.names(day)]
        last = last if self.last_day is None else min(last, self.last_day)
        start = first + (self.weekday - first.weekday()) % 7 * A_DAY
        return [start + position * WEEK for position in range((last - start).days // 7 + 1)]


@dataclass(frozen=True, order=True)
class Partition:
    """One partition: the day that names it, and what else does (blank: nothing)."""

    day: date
    value: str = ""

    @property
    def label(self) -> str:
        """It in messages, as in ``2026-01-09 T1``."""
        return f"{self.day} {self.value}".rstrip()


@dataclass(frozen=True)
class Newest:
    """The newest loaded day of one value, and from when on a newer one should be published."""

    value: str
    day: date
    next_due: date


def keep_day(day: date) -> date:
    """Return ``day``: rows of a partition have the day of its name."""
    return day


@dataclass(frozen=True)
class Partitioning:
    """The partitions of a dataset.

    Attributes:
        table_name: The table, for messages and file names.
        calendar: Which days name partitions.
        day_column: The column that has a partition's day.
        value_column: The column of the other value that names it; blank: none.
        values: What that value may be.
        row_day: Returns the day that the rows of a partition have in ``day_column``, by the day
            of its name: that day, or a later one before the next that names a partition.
    """

    table_name: str
    calendar: Calendar
    day_column: str
    value_column: str = ""
    values: Sequence[str] = ()
    row_day: Callable[[date], date] = keep_day

    @property
    def columns(self) -> list[str]:
        """The columns that name a partition: the day's first."""
        return [name for name in (self.day_column, self.value_column) if name]

    def nearest(self, partition: Partition, keys: Iterable[str], count: int) -> list[str]:
        """Return the ``count`` keys of its value whose days are nearest, the nearest first."""
        partitions = [(self.partition_of(key, today=date.max), key) for key in keys]
        around = sorted(
            (abs((other.day - partition.day).days), key)
            for other, key in partitions
            if other.value == partition.value and other.day != partition.day
        )
        return [key for _, key in around[:count]]

    def texts_of(self, partition: Partition) -> list[str]:
        """Return the values that rows of a partition have in `columns`, as texts."""
        texts = (self.row_day(partition.day).isoformat(), partition.value)
        return list(texts[: len(self.columns)])

    def day_of_rows(self, row_day: date) -> date | None:
        """Return the day that names the partition whose rows have ``row_day``; None: none has."""
        back = min(MAX_PERIOD_DAYS, row_day.toordinal() - 1)  # before the first day is nothing
        days = (row_day - position * A_DAY for position in range(back + 1))
        day = next((each for each in days if self.calendar.names(each)), None)
        return day if day is not None and self.row_day(day) == row_day else None

    def published_on(self, partition: Partition) -> date:
        """Return the day from which on the source should have a partition."""
        return partition.day + self.calendar.delay_days * A_DAY

    def key_of(self, partition: Partition) -> str:
        """Return Dagster's key; its parts stand in the order of their columns' names."""
        named = {self.day_column: partition.day.isoformat(), self.value_column: partition.value}
        return "|".join(named[name] for name in sorted(self.columns))

    def scope_of(self, partition: Partition) -> Mapping[str, object]:
        """Return the condition on the table's columns that the partition's rows meet."""
        values = (self.row_day(partition.day), partition.value)
        return dict(zip(self.columns, values, strict=False))

    def partition_of(self, key: str, *, today: date, first_day: date | None = None) -> Partition:
        """Read a partition key such as ``2026-01-05`` or ``T1|2026-01-09``.

        With ``first_day``, it is one of those that can be loaded: the calendar's end counts, too.

        Raises:
            ConfigurationError: The key has another shape, or a day that no partition has yet or
                ever, or one before ``first_day``.
        """
        named = dict(zip(sorted(self.columns), key.split("|"), strict=False))
        day = try_parse_day(named.get(self.day_column, ""))
        value = named.get(self.value_column, "") if self.value_column else ""
        partition = Partition(day, value) if day else None
        reason = self._why_wrong(key, partition, today, first_day)
        if partition is None or reason:
            raise self._wrong_key(key, reason, self._likely(key, today, first_day))
        return partition

    def _why_wrong(
        self, key: str, found: Partition | None, today: date, first_day: date | None
    ) -> str:
        """Return why a key names no partition; empty: it names one."""
        last = self.calendar.last_day
        if found is None or self.key_of(found) != key:
            return "another shape"
        if found.value and found.value not in self.values:
            return found.value
        if first_day is not None and last is not None and found.day > last:
            return f"a day after {last}, the last partition"
        if not replace(self.calendar, last_day=None).names(found.day):
            return f"{found.day} is a {found.day:%A}"
        if found.day > today:
            return f"a day after {today}"
        if first_day is not None and found.day < first_day:
            return f"a day before {first_day}, the first partition"
        return ""

    def _likely(self, key: str, today: date, first_day: date | None) -> Partition:
        """Return the partition whose period contains the day of a key, else the nearest one."""
        calendar, parts = self.calendar, key.split("|")
        days = [day for day in map(try_parse_day, parts) if day is not None]
        newest = calendar.last_until(min(today, calendar.last_day or today))
        if days:
            is_monthly = bool(calendar.month_days)
            likely = find_period_day(days[0], calendar.names, is_monthly=is_monthly) or newest
        else:
            likely = calendar.last_until(EXAMPLE_DAY) if today == date.max else newest
        if first_day is not None:
            likely = max(likely, calendar.first_from(first_day))
        values = [value for value in parts if value in self.values] or list(self.values)
        return Partition(min(likely, newest), *values[:1])

    def _wrong_key(self, key: str, found: str, likely: Partition) -> ConfigurationError:
        texts = (f"a past {self.calendar.day_name}, yyyy-mm-dd", "|".join(self.values))
        values = dict(zip(self.columns, texts, strict=False))
        return UnknownNameError(
            f"{self.table_name} has no partition {key}",
            expected="|".join(f"<{values[name]}>" for name in sorted(values)),
            found=found,
            remedy=f"request another partition, e.g. {self.key_of(likely)}",
        )

    def missing_and_recent(
        self, known: Sequence[Partition], *, loaded: Collection[str], since: date, most_recent: int
    ) -> tuple[list[Partition], list[Partition]]:
        """Return partitions never loaded, and the newest loaded ones, whose rows may have changed.

        Nothing is older than ``since``. Where a source does not say when its rows changed, only
        reading them shows it: ``most_recent`` partitions of each value are worth that.
        """
        expected_partitions = [partition for partition in known if partition.day >= since]
        missing = [
            partition for partition in expected_partitions if self.key_of(partition) not in loaded
        ]
        held_partitions = [
            partition for partition in expected_partitions if self.key_of(partition) in loaded
        ]
        recent = [
            partition
            for value in sorted({held_partition.value for held_partition in held_partitions})
            for partition in [
                held_partition
                for held_partition in held_partitions
                if held_partition.value == value
            ][-most_recent:]
        ]
        return missing, sorted(recent)

    def known_in(
        self, listed: Iterable[Sequence[str]], *, dataset: str, day_field: str
    ) -> tuple[list[Partition], list[str]]:
        """Return the partitions that a source lists, oldest first, and values that are not known.

        Args:
            listed: The day of the rows of each partition, and its other value.
            dataset: What the source calls the dataset.
            day_field: What it calls the day of a row.

        Raises:
            SourceError: A partition of a known value has no day that could name it.
        """
        every = [tuple(group) for group in listed]
        ours = [group for group in every if len(group) == 1 or group[1] in self.values]
        known_partitions = [
            Partition(self._day_named(our, dataset, day_field), *our[1:]) for our in ours
        ]
        return sorted(known_partitions), sorted({group[1] for group in every if group not in ours})

    def _day_named(self, listed: tuple[str, ...], dataset: str, day_field: str) -> date:
        day = try_parse_day(listed[0])
        named_by = self.day_of_rows(day) if day is not None else None
        if day is None or named_by is None or day.isoformat() != listed[0]:
            example = self.row_day(self.calendar.first_from(EXAMPLE_DAY.replace(day=1)))
            raise SourceError(
                f"the source lists a partition of {dataset} whose day names none",
                expected=f"{day_field} as yyyy-mm-dd, of a partition that a "
                f"{self.calendar.day_name} names, e.g. {example}",
                found=", ".join(listed)[:100],
                remedy="report it to the source; if its calendar changed, correct the declaration",
            )
        return named_by

    def newest_loaded(self, keys: Iterable[str]) -> list[Newest]:
        """Return how new each value's partitions are, by their keys.

        What never came is not due, and neither is what follows the last partition of all.
        """
        days: dict[str, date] = {}
        for key in keys:
            each = self.partition_of(key, today=date.max)
            days[each.value] = max(each.day, days.get(each.value, each.day))
        return [
            Newest(value, day, self.calendar.next_due(day))
            for value, day in sorted(days.items())
            if not self.calendar.is_over(day)
        ]

    def file_name(self, partition: Partition) -> str:
        """Return how the file of a partition is called: ``<table>_T1_20260109.csv``."""
        parts = (self.table_name, partition.value, f"{partition.day:%Y%m%d}")
        return "_".join(part for part in parts if part) + ".csv"

    def partitions_in(self, names: Iterable[str]) -> list[Partition]:
        """Return the partition of each file whose name ends in .csv, in the order of ``names``.

        Raises:
            ConfigurationError: The name of such a file names no partition.
        """
        return [self._named_by(name) for name in names if name.lower().endswith(".csv")]

    def _named_by(self, name: str) -> Partition:
        *value, day = name.removeprefix(f"{self.table_name}_").removesuffix(".csv").split("_")
        named_day = try_parse_day(f"{day[:4]}-{day[4:6]}-{day[6:]}")
        partition = Partition(named_day, "_".join(value)) if named_day else None
        is_known = partition is not None and partition.value in (self.values or ("",))
        if partition is None or not is_known or self.file_name(partition) != name:
            values = f"_<{'|'.join(self.values)}>" if self.values else ""
            raise ConfigurationError(
                f"cannot read the partition of the file {name}",
                expected=f"{self.table_name}{values}_<yyyymmdd, a {self.calendar.day_name}>.csv",
                remedy="rename the file, or take it out of the folder",
            )
        return partition


PLACE_OF_PARTITION = re.compile(r"(\{(?:partition(?::(?P<form>[^{}]+))?|value)\})")


def fill_template(template: str, day: date, value: str = "") -> str:
    """Return a template with the day and the other value of a partition in their places."""

    def text_of(place: re.Match[str]) -> str:
        is_value = place[0] == "{value}"
        return value if is_value else f"{day:{place['form'] or '%Y-%m-%d'}}"

    return PLACE_OF_PARTITION.sub(text_of, template)


def fill_json(content: Any, day: date | None, value: str = "") -> Any:
    """Return a copy of JSON with a partition in the places of its texts; None: as they are."""
    if isinstance(content, Mapping):
        return {name: fill_json(member, day, value) for name, member in content.items()}
    if isinstance(content, list | tuple):
        return [fill_json(member, day, value) for member in content]
    if isinstance(content, str) and day is not None:
        return fill_template(content, day, value)
    return deepcopy(content)


def has_day_placeholder(content: Any) -> bool:
    """Whether a template, or a text in JSON, has a place for the day of a partition."""
    if isinstance(content, Mapping):
        return any(map(has_day_placeholder, content.values()))
    if isinstance(content, list | tuple):
        return any(map(has_day_placeholder, content))
    places = PLACE_OF_PARTITION.findall(content) if isinstance(content, str) else ()
    return any(place != "{value}" for place in places)


def try_parse_day(text: str) -> date | None:
    """Return the day that a text is, yyyy-mm-dd or another ISO form; None: it is none."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
