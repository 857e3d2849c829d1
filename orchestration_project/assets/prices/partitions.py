"""The partitions of prices: months, the present one among them."""

from datetime import date

import dagster as dg

from orchestration_project.domains.prices.calendar import NEW_YORK, month_of
from orchestration_project.settings import Settings

MONTHS_BACK = 12


def first_price_month(settings: Settings, now: date) -> date:
    """Return PRICES_FIRST_MONTH; without it, a year back."""
    return settings.prices_first_month or _months_before(now, MONTHS_BACK)


def price_months(start: date, *, now: date, machine_now: date) -> dg.MonthlyPartitionsDefinition:
    """Return the months from ``start``, a first of a month, to that of ``now``, which still runs.

    Dagster ends monthly partitions by ``machine_now``; the offset makes that the project's ``now``.
    All three are days in New York.
    """
    ahead = _number(now) - _number(machine_now)
    return dg.MonthlyPartitionsDefinition(
        start_date=start.isoformat(), timezone=NEW_YORK.key, end_offset=ahead + 1
    )


def _number(day: date) -> int:
    return 12 * day.year + day.month - 1


def _months_before(day: date, count: int) -> date:
    year, month = divmod(_number(month_of(day)) - count, 12)
    return date(year, month + 1, 1)
