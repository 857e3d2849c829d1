"""Pipelines of the API, and the partitions that parameters, ranges of dates or a date name."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches

from orchestration_project.engine.contracts.cron import Cron, read_cron
from orchestration_project.engine.contracts.partitioning import (
    A_DAY,
    find_period_day,
    try_parse_day,
)
from orchestration_project.errors import (
    ConfigurationError,
    UnknownNameError,
)

EVERY_DAY = "0 0 * * *"
"""Cron expression of partitions whose calendar is not known: each day may name one."""

REQUESTED_RANGE, LOADED_RANGE = "requested_range", "loaded_range"
"""Tags of a backfill's runs: the dates that were requested, and those of its partitions."""

LATER = "wait until the calendar adds later ones; in a demo, DEMO_CLOCK_NOW sets the clock"

WRITTEN_DAY = re.compile(r"(\d{4})-(\d{1,2})(?:-(\d{1,2}))?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter by which callers name a part of a partition's key.

    Attributes:
        to_key: Returns the part of the key that a value means.
    """

    name: str
    to_key: Callable[[str], str] = str


@dataclass(frozen=True)
class Pipeline:
    """A job under the name by which callers run it; its partition is named by ``parameters``."""

    job: str
    parameters: tuple[Parameter, ...] = ()


def build_partition_key(pipeline: Pipeline, given: Mapping[str, str]) -> str | None:
    """Return the key of the partition that parameters name; None: it has no parameters.

    Raises:
        ConfigurationError: One is missing, not known, or means nothing.
    """
    names = [parameter.name for parameter in pipeline.parameters]
    unknown = sorted(set(given).difference(names))
    missing = [name for name in names if name not in given]
    if unknown or missing:
        raise ConfigurationError(
            f"{pipeline.job} does not take {', '.join(unknown)}"
            if unknown
            else f"{pipeline.job} needs {', '.join(missing)}",
            expected=", ".join(names) or "no parameter",
        )
    parts = [parameter.to_key(given[parameter.name]) for parameter in pipeline.parameters]
    return "|".join(parts) or None


def _format_day(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d}"
    except ValueError:
        raise ConfigurationError(
            f"invalid day {text!r}: expected a date, e.g. 2026-11-02"
        ) from None


DAY = Parameter(name="partition", to_key=_format_day)
"""Partition of a domain whose partitions are UTC days."""


@dataclass(frozen=True)
class DateRange:
    """Dates of a backfill, both included, and another part of its keys, such as ``T1``."""

    first: date
    last: date
    part: str | None = None

    def __str__(self) -> str:
        return _format_range(self.first, self.last, self.part)


@dataclass(frozen=True)
class KnownPartitions:
    """Partitions of a job.

    Attributes:
        name: The job, or its dataset, for messages.
        keys: Their keys, in order.
        cron: Cron expression of the days that name partitions, also of those not known yet.
        first_setting: The setting that moves the first partition; empty: none does.
        is_ended: Whether the calendar has an end, so that no later partition follows.
    """

    name: str
    keys: Sequence[str]
    cron: str = EVERY_DAY
    first_setting: str = ""
    is_ended: bool = False

    def days(self, part: str | None = None) -> Mapping[str, date]:
        """Return the day of each key that has one, of those with ``part``."""
        days = {key: parse_key_day(key) for key in self.keys if part in (None, *key.split("|"))}
        return {key: day for key, day in days.items() if day is not None}


@dataclass(frozen=True)
class RangeSelection:
    """Partitions of a range of dates.

    Attributes:
        requested: The range that was requested.
        keys: The keys of its partitions.
        notes: What differs between the two, a sentence each.
    """

    requested: DateRange
    keys: Sequence[str]
    notes: Sequence[str] = ()

    @property
    def loaded_range(self) -> str | None:
        """The first and last day of the partitions; None: there are none."""
        days = [day for day in map(parse_key_day, self.keys) if day is not None]
        return _format_range(min(days), max(days), self.requested.part) if days else None

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags of the runs."""
        return {REQUESTED_RANGE: str(self.requested), LOADED_RANGE: self.loaded_range or "none"}


def select_range(known: KnownPartitions, requested: DateRange, *, clip: bool) -> RangeSelection:
    """Return the partitions of a range of dates.

    A partition is in the range if the day of its key is. A month, or half a month, is also in the
    range if the range begins within it. The notes name months that are loaded whole, and weeks at
    the ends whose day is not in the range.

    Args:
        known: The partitions that there are.
        requested: The range.
        clip: Whether a range that reaches beyond the known partitions is cut to them.

    Raises:
        ConfigurationError: No partition is in the range, or one would be that is not known.
    """
    days, cron = known.days(requested.part), read_cron(known.cron)
    is_monthly = _is_monthly(cron)
    first = requested.first
    if is_monthly:
        first = find_period_day(first, cron.names_day, is_monthly=True) or first
    keys = [key for key, day in days.items() if first <= day <= requested.last]
    if not keys:
        raise _build_empty_error(known, requested)
    known_first, known_last = min(days.values()), max(days.values())
    is_before = _has_any_day(cron, first, known_first - A_DAY)
    is_after = _has_any_day(cron, known_last + A_DAY, requested.last)
    if (is_before or is_after) and not clip:
        raise _build_outside_error(
            known, requested, (known_first, known_last), (is_before, is_after)
        )
    notes = [
        *([f"nothing is loaded before {known_first}, the first partition"] if is_before else []),
        *([f"nothing is loaded after {known_last}, the last partition"] if is_after else []),
        *(
            _report_whole_months(cron, {days[key] for key in keys}, requested)
            if is_monthly
            else _report_omitted_weeks(cron, requested)
        ),
    ]
    return RangeSelection(requested, keys, notes)


def require_known(unit: str, count: int | None, keys: Sequence[str], setting: str) -> None:
    """Make sure that there are as many latest partitions as are requested.

    Args:
        unit: What they are, in the plural.
        count: The requested number; None: all.
        keys: Those that are known.
        setting: The setting that moves the first one.

    Raises:
        ConfigurationError: There are fewer.
    """
    if count is None or count <= len(keys):
        return
    raise ConfigurationError(
        f"invalid {unit} {count}: expected at most {len(keys)}",
        found=f"{len(keys)} {unit}, {keys[0]} to {keys[-1]}",
        remedy=f"request fewer, set {setting} to an earlier day, or clip: true",
    )


def propose_key(written: str, known: KnownPartitions) -> str:
    """Return the key that a person probably means; empty: no key is known.

    It is the partition whose period contains the written date, else the nearest one. Without a
    date, it is the key that is spelled most like it.
    """
    parts = written.split("|")
    dates = {part: day for part in parts if (day := _parse_day(part)) is not None}
    other_names = set(parts) - dates.keys()
    of_parts = [key for key in known.keys if other_names <= set(key.split("|"))]
    days = {key: parse_key_day(key) for key in of_parts or known.keys}
    dated = {key: day for key, day in days.items() if day is not None}
    if not dates or not dated:
        return "".join(get_close_matches(written, known.keys, 1, 0))
    text, day = next(iter(dates.items()))
    cron = read_cron(known.cron)
    target = find_period_day(day, cron.names_day, is_monthly=_is_monthly(cron)) or day
    if text.count("-") == 1 and (target.year, target.month) != (day.year, day.month):
        target = next(cron.days_from(day), day)  # the first one of a month
    nearest = min(dated.values(), key=lambda known_day: (abs(known_day - target), known_day))
    likely = [key for key, key_day in dated.items() if key_day == nearest]
    return likely[0] if of_parts else get_close_matches(written, likely, 1, 0)[0]


def parse_key_day(key: str) -> date | None:
    """Return the day of a partition's key, such as T1|2025-01-06; None: it has none."""
    days = [try_parse_day(part[:10]) for part in key.split("|")]
    return next((day for day in days if day is not None), None)


def _parse_day(text: str) -> date | None:
    """Return the day that a person wrote, or the first one of a month."""
    if match := WRITTEN_DAY.match(text):
        year, month, day = match.groups(default="1")
        return try_parse_day(f"{year}-{month:0>2}-{day:0>2}")
    return try_parse_day(text)


def _is_monthly(cron: Cron) -> bool:
    return len(cron.days) < 31


def _has_any_day(cron: Cron, first: date, last: date) -> bool:
    return first <= last and next(cron.days_from(first), date.max) <= last


def _report_whole_months(cron: Cron, days: Collection[date], requested: DateRange) -> list[str]:
    """Return a note for each month, or half of one, of which the range holds a part."""
    first, last = min(days), max(days)
    end = next(cron.days_from(last + A_DAY), date.max) - A_DAY
    notes: list[str] = []
    if first < requested.first:
        notes.append(f"{first} is loaded whole: the range begins within it, on {requested.first}")
    if requested.last < end:
        notes.append(f"{last} is loaded whole: the range ends within it, on {requested.last}")
    return notes


def _report_omitted_weeks(cron: Cron, requested: DateRange) -> list[str]:
    """Return a note for each week that the range cuts, and whose day is not in the range."""
    if len(cron.weekdays) != 1:
        return []
    ends = (requested.first, requested.last)
    weeks = [find_period_day(day, cron.names_day) for day in ends]
    return [
        f"the week {week} is not loaded: its day is not in the range, which ends within it"
        if day == requested.last
        else f"the week {week} is not loaded: the range begins within it, on {day}"
        for day, week in zip(ends, weeks, strict=True)
        if week is not None and not requested.first <= week <= requested.last
    ]


def _build_empty_error(known: KnownPartitions, requested: DateRange) -> ConfigurationError:
    part = f" of {requested.part}" if requested.part else ""
    days = known.days().values()
    return UnknownNameError(
        f"invalid range: {known.name} has no partition{part} from {requested.first} to "
        f"{requested.last}",
        expected=f"dates between {min(days)} and {max(days)}"
        if days
        else "a partition; there is none yet",
        remedy=_build_remedy(known)
        if days and known.first_setting and requested.last < min(days)
        else "choose other dates; `orchestrate datasets` lists the first and last partition",
    )


def _build_outside_error(
    known: KnownPartitions,
    requested: DateRange,
    span: tuple[date, date],
    sides: tuple[bool, bool],
) -> ConfigurationError:
    first, last = span
    is_before, is_after = sides
    missing = [
        *([f"before {first}"] if is_before else []),
        *([f"after {last}"] if is_after else []),
    ]
    remedies = [
        *([_build_remedy(known)] if is_before and known.first_setting else []),
        *([LATER] if is_after and not known.is_ended else []),
        "clip the range to these dates: --clip, or clip: true",
    ]
    return UnknownNameError(
        f"invalid range: {known.name} has no partition {' or '.join(missing)}",
        expected=f"dates between {first} and {last}",
        found=str(requested),
        remedy="; or ".join(remedies),
    )


def _build_remedy(known: KnownPartitions) -> str:
    return f"set {known.first_setting} to an earlier day, for an earlier first partition"


def _format_range(first: date, last: date, part: str | None) -> str:
    prefix = f"{part}|" if part else ""
    return f"{prefix}{first} to {prefix}{last}"
