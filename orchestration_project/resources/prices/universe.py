"""Whose prices are wanted: symbols from the settings, or those that trade most over the counter."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import and_, desc, func, or_, select

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.settings import Settings
from orchestration_project.tables.finra import finra_symbol_week as traded


def wanted_symbols(settings: Settings, warehouse: Warehouse) -> Sequence[str]:
    """Return FINRA's symbols whose prices are wanted, the most important first.

    Those of PRICES_SYMBOLS; without it, those with most shares in the latest weeks of each tier
    that are landed, and none before any is.
    """
    if given := settings.prices_symbols.split():
        return list(dict.fromkeys(given))
    return most_traded(
        warehouse, weeks=settings.prices_universe_weeks, size=settings.prices_universe_size
    )


def most_traded(warehouse: Warehouse, *, weeks: int, size: int) -> Sequence[str]:
    """Return the ``size`` symbols with most shares in the latest ``weeks`` of each landed tier."""
    newest = select(traded.c.tier, func.max(traded.c.week_start)).group_by(traded.c.tier)
    shares = func.sum(traded.c.total_share_quantity)
    with warehouse.reading() as connection:
        recent = [
            and_(traded.c.tier == tier, traded.c.week_start > week - timedelta(weeks=weeks))
            for tier, week in connection.execute(newest)
        ]
        if not recent:
            return []
        ranked = (
            select(traded.c.symbol)
            .where(or_(*recent))
            .group_by(traded.c.symbol)
            .order_by(desc(shares), traded.c.symbol)
            .limit(size)
        )
        return list(connection.scalars(ranked))
