"""What the exchange's calendar has promised and is not landed, for who watches over all domains."""

from datetime import datetime, timedelta

from sqlalchemy import func, select

from orchestration_project.domains.operations.control_tower import Unlanded
from orchestration_project.domains.prices.calendar import closes_at, month_of, sessions_from
from orchestration_project.resources.warehouse import Warehouse
from orchestration_project.tables.prices import prices_symbol_months

ASSET = "prices/daily"

GRACE = timedelta(hours=20)
"""From a session's close to noon of the next day: vendors take hours, and a quota begins anew."""


def oldest_unlanded_session(warehouse: Warehouse, now: datetime) -> Unlanded | None:
    """Return the month of the oldest session that is due and of which no symbol has prices.

    Where no price was ever landed, nobody waits for any. A symbol that lags behind alone is a
    state of that symbol.
    """
    newest = select(func.max(prices_symbol_months.c.landed_through_date))
    with warehouse.reading() as connection:
        landed = connection.execute(newest).scalar()
    if landed is None:
        return None
    session = sessions_from(landed, 1)
    due_at = closes_at(session) + GRACE
    return Unlanded(ASSET, month_of(session).isoformat(), due_at) if due_at <= now else None
