"""Which partitions a dataset has, which are due, and which of them are to be loaded."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from orchestration_project.domains.finra.calendar import WEEK, is_closed
from orchestration_project.errors import ConfigurationError, SourceError
from orchestration_project.tables.finra_datasets import Calendar, Dataset

A_DAY = timedelta(days=1)
SATURDAY = 5


@dataclass(frozen=True, order=True)
class DatasetPartition:
    """One partition: the day that names it, and what else does (blank: nothing)."""

    day: date
    value: str = ""

    @property
    def said(self) -> str:
        """It in words, as in ``2026-01-09 T1``."""
        return f"{self.day} {self.value}".rstrip()


def key_of(dataset: Dataset, partition: DatasetPartition) -> str:
    """Return Dagster's key; its parts stand in the order of their columns' names."""
    named = dict(zip(dataset.partition_columns, _texts(partition), strict=False))
    return "|".join(named[name] for name in sorted(named))


def scope_of(dataset: Dataset, partition: DatasetPartition) -> Mapping[str, object]:
    """Return the condition on the table's columns."""
    values = (partition.day, partition.value)
    return dict(zip(dataset.partition_columns, values, strict=False))


def source_values(dataset: Dataset, partition: DatasetPartition) -> Mapping[str, str]:
    """Return what the fields that name a partition have in each of its rows, in FINRA's words."""
    return dict(zip(dataset.partition_fields, _texts(partition), strict=False))


def _texts(partition: DatasetPartition) -> tuple[str, str]:
    return partition.day.isoformat(), partition.value


def partition_of(dataset: Dataset, key: str, *, today: date) -> DatasetPartition:
    """Read a partition key such as ``2026-01-05`` or ``T1|2026-01-09``.

    Raises:
        ConfigurationError: The key has another shape, or a day that no partition has yet or ever.
    """
    columns = sorted(dataset.partition_columns)
    named = dict(zip(columns, key.split("|"), strict=False))
    day_column, *others = dataset.partition_columns
    day = _day_or_none(named.get(day_column, ""))
    found = DatasetPartition(day, named.get(others[0], "") if others else "") if day else None
    if found is None or key_of(dataset, found) != key:
        raise _wrong_key(dataset, key, "another shape")
    if found.value and found.value not in dataset.known_values:
        raise _wrong_key(dataset, key, found.value)
    if not is_named(dataset.calendar, found.day):
        raise _wrong_key(dataset, key, f"{found.day} is a {found.day:%A}")
    if found.day > today:
        raise _wrong_key(dataset, key, f"a day after {today}")
    return found


def _day_or_none(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _wrong_key(dataset: Dataset, key: str, found: str) -> ConfigurationError:
    day = f"a past {_words(dataset.calendar)}, yyyy-mm-dd"
    values = dict(
        zip(dataset.partition_columns, (day, "|".join(dataset.known_values)), strict=False)
    )
    return ConfigurationError(
        f"{dataset.table.name} has no partition {key}",
        expected="|".join(f"<{values[name]}>" for name in sorted(values)),
        found=found,
        remedy="ask for another partition",
    )


def _words(calendar: Calendar) -> str:
    return "weekday" if calendar.weekday is None else f"{date(2026, 1, 5 + calendar.weekday):%A}"


def is_named(calendar: Calendar, day: date) -> bool:
    """Whether a partition may be named by ``day``."""
    if calendar.weekday is None:
        return day.weekday() < SATURDAY
    return day.weekday() == calendar.weekday


def of_known_values(
    dataset: Dataset, listed: Iterable[Sequence[str]]
) -> tuple[list[DatasetPartition], list[str]]:
    """Return the partitions that a source lists and that we know, oldest first, and other values.

    Raises:
        SourceError: A partition of a known value has no day that could name it.
    """
    every = [tuple(each) for each in listed]
    ours = [each for each in every if len(each) == 1 or each[1] in dataset.known_values]
    known = [DatasetPartition(_listed_day(dataset, each), *each[1:]) for each in ours]
    return sorted(known), sorted({each[1] for each in every if each not in ours})


def _listed_day(dataset: Dataset, listed: tuple[str, ...]) -> date:
    day = _day_or_none(listed[0])
    if day is None or day.isoformat() != listed[0] or not is_named(dataset.calendar, day):
        raise SourceError(
            f"the source lists a partition of {dataset.name} whose day names none",
            expected=f"{dataset.partition_fields[0]} as yyyy-mm-dd, a {_words(dataset.calendar)}",
            found=", ".join(listed)[:100],
            remedy="report it to the source; if its calendar changed, correct the declaration",
        )
    return day


def missing_and_recent(
    known: Sequence[DatasetPartition],
    dataset: Dataset,
    *,
    taken: Collection[str],
    since: date,
    most_recent: int,
) -> tuple[list[DatasetPartition], list[DatasetPartition]]:
    """Return what was never taken, and of what was the latest, whose rows may have changed.

    Nothing is older than ``since``. A dataset does not say when its rows changed: whether one did
    tells a look at them, and ``most_recent`` of each value are worth one.
    """
    wanted = [each for each in known if each.day >= since]
    missing = [each for each in wanted if key_of(dataset, each) not in taken]
    held = [each for each in wanted if key_of(dataset, each) in taken]
    recent = [
        each
        for value in sorted({each.value for each in held})
        for each in [each for each in held if each.value == value][-most_recent:]
    ]
    return missing, sorted(recent)


def next_due(calendar: Calendar, landed: date) -> date:
    """Return the day from which on something newer than ``landed`` should be out."""
    day = landed + A_DAY
    while not is_named(calendar, day) or (calendar.weekday is None and is_closed(day)):
        day += A_DAY
    return day + calendar.delay_days * A_DAY


def first_day(calendar: Calendar, week_start: date) -> date:
    """Return the first day from a Monday on that may name a partition."""
    return week_start + (calendar.weekday or 0) * A_DAY


def days_between(calendar: Calendar, first: date, last: date) -> list[date]:
    """Return the days from ``first`` to ``last``, both included, that may name partitions."""
    if calendar.weekday is None:
        span = ((last - first).days + 1) if last >= first else 0
        every = (first + place * A_DAY for place in range(span))
        return [each for each in every if is_named(calendar, each)]
    start = first + (calendar.weekday - first.weekday()) % 7 * A_DAY
    return [start + place * WEEK for place in range((last - start) // WEEK + 1)]


def file_name(dataset: Dataset, partition: DatasetPartition) -> str:
    """Return how the file of a partition is called: ``<table>_T1_20260109.csv``."""
    parts = (dataset.table.name, partition.value, f"{partition.day:%Y%m%d}")
    return "_".join(part for part in parts if part) + ".csv"


def partitions_in(dataset: Dataset, names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return what names the partition of each file, in FINRA's words.

    Raises:
        ConfigurationError: The name of a file that ends in .csv names no partition.
    """
    ours = [name for name in names if name.lower().endswith(".csv")]
    return [_named_by(dataset, name) for name in ours]


def _named_by(dataset: Dataset, name: str) -> tuple[str, ...]:
    *value, day = name.removeprefix(f"{dataset.table.name}_").removesuffix(".csv").split("_")
    written = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    found = _day_or_none(written)
    partition = DatasetPartition(found, "_".join(value)) if found else None
    is_known = partition is not None and partition.value in (dataset.known_values or ("",))
    if partition is None or not is_known or file_name(dataset, partition) != name:
        values = f"_<{'|'.join(dataset.known_values)}>" if dataset.known_values else ""
        raise ConfigurationError(
            f"cannot tell the partition of the file {name}",
            expected=f"{dataset.table.name}{values}_<yyyymmdd, a {_words(dataset.calendar)}>.csv",
            remedy="rename the file, or take it out of the folder",
        )
    return tuple(source_values(dataset, partition).values())


@dataclass(frozen=True)
class Newest:
    """The newest landed day of one value, and from when on a newer one should be out."""

    value: str
    day: date
    next_due: date


def newest_landed(dataset: Dataset, landed: Iterable[str]) -> list[Newest]:
    """Return how new each value's partitions are, of these keys; what never landed is not due."""
    days: dict[str, date] = {}
    for key in landed:
        each = partition_of(dataset, key, today=date.max)
        days[each.value] = max(each.day, days.get(each.value, each.day))
    return [
        Newest(value, day, next_due(dataset.calendar, day)) for value, day in sorted(days.items())
    ]
