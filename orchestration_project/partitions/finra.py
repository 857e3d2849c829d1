"""FINRA's partitions: weeks, and tier x week."""

from datetime import date, timedelta

import dagster as dg

from orchestration_project.domains.finra.calendar import (
    FIRST_WEEK_OF_ALL,
    TIERS,
    WEEK,
    monday_of,
)
from orchestration_project.settings import Settings

A_YEAR = 52 * WEEK
"""What FINRA keeps in its current dataset."""


def first_finra_week(settings: Settings, now: date) -> date:
    """Return FINRA_FIRST_WEEK; without it, a year back, and for files, which may be old, all."""
    if settings.finra_first_week is not None:
        return settings.finra_first_week
    return FIRST_WEEK_OF_ALL if settings.finra_source == "files" else monday_of(now) - A_YEAR


def finra_weeks(start: date, *, now: date, machine_now: date) -> dg.WeeklyPartitionsDefinition:
    """Return the weeks from ``start``, a Monday, to the last that has ended by ``now``.

    Dagster ends weekly partitions by ``machine_now``; the offset makes that the project's ``now``.
    """
    return dg.WeeklyPartitionsDefinition(
        start_date=start.isoformat(),
        day_offset=1,  # FINRA's weeks start on Mondays, Dagster's on Sundays
        end_offset=(monday_of(now) - monday_of(machine_now)) // timedelta(days=7),
    )


def finra_tier_weeks(weeks: dg.WeeklyPartitionsDefinition) -> dg.MultiPartitionsDefinition:
    """Return tier x week."""
    return dg.MultiPartitionsDefinition(
        {"tier": dg.StaticPartitionsDefinition(list(TIERS)), "week": weeks}
    )
