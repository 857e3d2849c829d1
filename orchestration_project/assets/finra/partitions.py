"""FINRA's partitions: weeks, tier x week, and those of declared datasets."""

from datetime import date, timedelta

import dagster as dg

from orchestration_project.connections.clock import NEW_YORK
from orchestration_project.domains.finra.calendar import (
    FIRST_WEEK_OF_ALL,
    TIERS,
    WEEK,
    monday_of,
)
from orchestration_project.domains.finra.datasets import A_DAY, days_between, first_day
from orchestration_project.settings import Settings
from orchestration_project.settings.domains.finra import FinraSettings
from orchestration_project.tables.finra_datasets import Dataset

A_YEAR = 52 * WEEK
"""What FINRA keeps in its current dataset."""


def first_finra_week(settings: Settings, now: date) -> date:
    """Return FINRA_FIRST_WEEK; without it, a year back, and for files, which may be old, all."""
    settings = FinraSettings.of(settings)
    if settings.finra_first_week is not None:
        return settings.finra_first_week
    return FIRST_WEEK_OF_ALL if settings.finra_source == "files" else monday_of(now) - A_YEAR


def finra_weeks(start: date, *, now: date, machine_now: date) -> dg.WeeklyPartitionsDefinition:
    """Return the weeks from ``start``, a Monday, to the last that has ended by ``now``.

    Dagster ends weekly partitions by ``machine_now``; the offset makes that the project's ``now``.
    All three are days in New York.
    """
    return dg.WeeklyPartitionsDefinition(
        start_date=start.isoformat(),
        timezone=NEW_YORK.key,
        day_offset=1,  # FINRA's weeks start on Mondays, Dagster's on Sundays
        end_offset=(monday_of(now) - monday_of(machine_now)) // timedelta(days=7),
    )


def finra_tier_weeks(weeks: dg.WeeklyPartitionsDefinition) -> dg.MultiPartitionsDefinition:
    """Return tier x week."""
    return dg.MultiPartitionsDefinition(
        {"tier": dg.StaticPartitionsDefinition(list(TIERS)), "week": weeks}
    )


def dataset_partitions(
    dataset: Dataset, start: date, *, now: date, machine_now: date
) -> dg.PartitionsDefinition:
    """Return the days from ``start`` that name partitions of a dataset, x what else names them.

    A day is there from its morning on; a Monday, which names the week that it begins, once that
    week is over. Dagster ends partitions by ``machine_now``; the offset makes that the project's
    ``now``. All three are days in New York.
    """
    calendar = dataset.calendar
    day_column, *others = dataset.partition_columns
    weekdays = "1-5" if calendar.weekday is None else str((calendar.weekday + 1) % 7)
    ahead = days_between(calendar, machine_now + A_DAY, now)
    behind = days_between(calendar, now + A_DAY, machine_now)
    days = dg.TimeWindowPartitionsDefinition(
        start=first_day(calendar, start).isoformat(),
        fmt="%Y-%m-%d",
        timezone=NEW_YORK.key,
        cron_schedule=f"0 0 * * {weekdays}",
        end_offset=len(ahead) - len(behind) + (calendar.weekday != 0),
    )
    if not others:
        return days
    values = dg.StaticPartitionsDefinition(list(dataset.known_values))
    return dg.MultiPartitionsDefinition({day_column: days, others[0]: values})
