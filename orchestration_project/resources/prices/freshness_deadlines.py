"""Which months and sessions of prices are missing: due by the calendar, and not landed."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from orchestration_project.domains.operations.control_tower import Unlanded
from orchestration_project.domains.prices.calendar import (
    closes_at,
    last_complete_session,
    month_of,
)
from orchestration_project.domains.prices.states import missing_months, oldest_missing_session
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.prices.states import all_months

ASSET = "prices/daily"

GRACE = timedelta(hours=20)
"""From a session's close to noon of the next day: vendors take hours, and a quota begins anew."""


def months_not_landed(
    warehouse: Warehouse, symbols: Sequence[str], asked: Sequence[date], now: datetime
) -> list[date]:
    """Return the ``asked`` months of which not every symbol is landed to its newest session."""
    if not asked:
        return []
    rows = all_months(warehouse, min(asked), max(asked))
    return missing_months(rows, symbols, asked, last_complete_session(now))


def oldest_unlanded_session(
    warehouse: Warehouse, symbols: Sequence[str], now: datetime, *, first_month: date
) -> Unlanded | None:
    """Return the month of the oldest session that is due and that a symbol lacks.

    Where no price was ever asked for, none is expected.
    """
    newest = last_complete_session(now - GRACE)
    rows = all_months(warehouse, first_month, newest)
    session = oldest_missing_session(rows, symbols, first_month, newest)
    if session is None:
        return None
    return Unlanded(ASSET, month_of(session).isoformat(), closes_at(session) + GRACE)
