"""Wanted and due prices: symbols, months and sessions."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from sqlalchemy import and_, desc, func, or_, select

from orchestration_project.domains.finra.calendar import TIERS, latest_published_week
from orchestration_project.domains.finra.tables.weekly import finra_symbol_week as traded
from orchestration_project.domains.prices.calendar import (
    closes_at,
    last_complete_session,
    month_of,
    months,
)
from orchestration_project.domains.prices.settings import PricesSettings
from orchestration_project.domains.prices.states import missing_months, missing_sessions
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.engine.environment import open_clock
from orchestration_project.engine.listed_datasets import ListedDataset
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import read_quarantined_scopes
from orchestration_project.engine.warehouse.frames import find_range
from orchestration_project.resources.prices.states import all_months
from orchestration_project.settings import Settings, load_shared_settings


def first_price_month(settings: Settings, now: date) -> date:
    """Return PRICES_FIRST_MONTH; without it, a year back."""
    a_year_back = month_of(now).replace(year=now.year - 1)
    return PricesSettings.of(settings).prices_first_month or a_year_back


def wanted_symbols(settings: Settings, warehouse: Warehouse) -> Sequence[str]:
    """Return FINRA's symbols whose prices are wanted, the most important first.

    Those of PRICES_SYMBOLS; without it, those with most shares in the latest weeks of each tier
    that are loaded, and none before any is.
    """
    settings = PricesSettings.of(settings)
    if settings.prices_symbols:
        return list(dict.fromkeys(settings.prices_symbols))
    return most_traded(
        warehouse,
        weeks=settings.prices_universe_weeks,
        size=settings.prices_universe_size,
        as_of=settings.prices_universe_as_of,
    )


def most_traded(
    warehouse: Warehouse, *, weeks: int, size: int, as_of: date | None = None
) -> Sequence[str]:
    """Return the ``size`` symbols with most shares in the latest ``weeks`` of each loaded tier.

    With ``as_of``, only weeks count that FINRA's calendar had published by that day.
    """
    newest = select(traded.c.tier, func.max(traded.c.week_start)).group_by(traded.c.tier)
    if as_of is not None:
        published = [
            and_(traded.c.tier == tier, traded.c.week_start <= latest_published_week(as_of, tier))
            for tier in TIERS
        ]
        newest = newest.where(or_(*published))
    shares = func.sum(traded.c.total_share_quantity)
    with warehouse.reading() as connection:
        recent = [
            and_(
                traded.c.tier == tier,
                traded.c.week_start > week - timedelta(weeks=weeks),
                traded.c.week_start <= week,
            )
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


ASSET = "prices/daily"

GRACE = timedelta(hours=20)
"""From a session's close to noon of the next day: vendors take hours, and a quota restarts."""


def list_unloaded_months(
    warehouse: Warehouse, symbols: Sequence[str], requested: Sequence[date], now: datetime
) -> list[date]:
    """Return the ``requested`` months of which not every symbol is loaded to its newest session."""
    if not requested:
        return []
    rows = all_months(warehouse, min(requested), max(requested))
    return missing_months(rows, symbols, requested, last_complete_session(now))


def find_oldest_unloaded_session(
    warehouse: Warehouse, symbols: Sequence[str], now: datetime, *, first_month: date
) -> OldestMissing | None:
    """Return the month of the oldest session that is due and that a symbol lacks.

    Where no price was ever requested, none is expected. A month is quarantined if the latest
    delivery of each symbol that lacks it is.
    """
    newest = last_complete_session(now - GRACE)
    rows = all_months(warehouse, first_month, newest)
    found = missing_sessions(rows, symbols, first_month, newest)
    if not found:
        return None
    with warehouse.reading() as connection:
        quarantined = {
            (scope.partition_key, month)
            for scope in read_quarantined_scopes(connection, prices_daily)
            if (days := find_range(scope.scope))
            for month in months(days.first, days.last)
        }
    oldest = found[0]
    return OldestMissing(
        ASSET,
        oldest.month.isoformat(),
        closes_at(oldest.session) + GRACE,
        missing_count=len(found),
        unit="month",
        remedy=f"run prices_daily for {oldest.month}",
        quarantined_count=sum(
            all((symbol, missing.month) in quarantined for symbol in missing.symbols)
            for missing in found
        ),
    )


def list_months() -> Sequence[str]:
    """Return the keys of the months from the first one to the present one."""
    settings = load_shared_settings()
    today = open_clock(settings).today_in_new_york()
    first = first_price_month(settings, today)
    numbers = range(12 * first.year + first.month - 1, 12 * today.year + today.month)
    return [f"{number // 12}-{number % 12 + 1:02}-01" for number in numbers]


LISTED_DAILY = ListedDataset(
    "prices_daily",
    "Loads months of daily prices: a request for each symbol, check, load.",
    ("prices_daily", "prices_symbol_months"),
    list_months,
)
LISTED_GOLD = ListedDataset(
    "prices_gold",
    "Derives corporate actions and returns of changed symbols, and vendors' spellings.",
    ("prices_symbol_spellings", "prices_corporate_actions", "prices_returns"),
)


def list_datasets() -> Sequence[ListedDataset]:
    """Return the datasets of prices."""
    return [LISTED_DAILY, LISTED_GOLD]
