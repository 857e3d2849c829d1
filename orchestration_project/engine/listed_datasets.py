"""The datasets that can be loaded, as `orchestrate datasets` lists them, without Dagster.

The definitions of Dagster take names and descriptions from here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import product

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.partitioning import A_DAY, Calendar, Partitioning
from orchestration_project.engine.dataset import Dataset
from orchestration_project.engine.environment import open_clock
from orchestration_project.settings import load_shared_settings


@dataclass(frozen=True)
class ListedDataset:
    """A dataset, and the job that loads or derives it.

    Attributes:
        job: The job.
        description: Description of the job, a sentence.
        tables: The tables that the job writes, in the order of its assets.
        list_keys: Returns the keys of its partitions, in Dagster's order; None: it has none.
        table: The table with history whose name is that of the dataset; blank: the job's name is.
    """

    job: str
    description: str
    tables: Sequence[str]
    list_keys: Callable[[], Sequence[str]] | None = None
    table: str = ""

    @property
    def name(self) -> str:
        """The name by which commands take it."""
        return self.table or self.job


@dataclass(frozen=True)
class DatasetList:
    """Registers the datasets of a domain; `read` returns them."""

    read: Callable[[], Sequence[ListedDataset]]


def load_description(dataset: Dataset) -> str:
    """Return the description of a declared dataset's job, a sentence."""
    return (
        f"Loads {dataset.table.name} of {dataset.source_label}, or what stands in for it: "
        "fetch, check, load."
    )


def list_declared(dataset: Dataset) -> ListedDataset:
    """Return a declared dataset as it is listed."""
    return ListedDataset(
        dataset.job_name,
        load_description(dataset),
        [transform.name for transform in (dataset.table, *dataset.transforms)],
        partial(_find_keys, dataset),
        table=dataset.table.name,
    )


def _find_keys(dataset: Dataset) -> Sequence[str]:
    settings = load_shared_settings()
    zone = dataset.partitioning.calendar.zone
    today = open_clock(settings).today(zone)
    first_day = dataset.limits(settings, today).first_day
    return list_partition_keys(dataset.partitioning, first_day, today=today)


def list_partition_keys(partitioning: Partitioning, first_day: date, *, today: date) -> list[str]:
    """Return the keys that `engine.dataset.dagster_partitions` has, in the same order.

    ``today`` is the project's day in the calendar's time zone.
    """
    days = [day.isoformat() for day in _list_days(partitioning.calendar, first_day, today)]
    if not partitioning.value_column:
        return days
    named = {partitioning.day_column: days, partitioning.value_column: partitioning.values}
    return list(map("|".join, product(*(named[name] for name in sorted(named)))))


def _list_days(calendar: Calendar, first_day: date, today: date) -> Sequence[date]:
    """Return the days that name partitions: those that began, or of periods those that ended."""
    first, endless = calendar.first_from(first_day), replace(calendar, last_day=None)
    if calendar.last_day is not None:  # Dagster ends these by the clock of the machine
        last = endless.last_until(Clock().today(calendar.zone)) - A_DAY
    elif calendar.begins_periods:
        last = calendar.last_until(today) - A_DAY
    else:
        last = today
    return calendar.days_between(first, last)
