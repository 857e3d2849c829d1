"""Short sales and short interest of weeks, derived from gold and declared datasets."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl
from sqlalchemy import Connection, func, select

from orchestration_project.domains.finra import recomputation
from orchestration_project.domains.finra.conservation import SHORT
from orchestration_project.domains.finra.short import symbol_week_short
from orchestration_project.domains.finra.tables.datasets import finra_short_interest
from orchestration_project.domains.finra.tables.equity_datasets import finra_reg_sho_daily
from orchestration_project.domains.finra.tables.short import finra_symbol_week_short
from orchestration_project.domains.finra.tables.weekly import finra_symbol_week
from orchestration_project.engine.derived import (
    DerivedLoad,
    DerivedPart,
    DerivedResult,
    DerivedTable,
    Inputs,
    PendingDerivation,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.as_of import StateAsOf
from orchestration_project.engine.warehouse.frames import read_frame
from orchestration_project.resources.finra.gold import LOADED_BY, read_loaded_weeks

_week, _sales, _interest = finra_symbol_week.c, finra_reg_sho_daily.c, finra_short_interest.c
FRIDAY = timedelta(days=4)
SUNDAY = timedelta(days=6)
SALES = (
    *("trade_date", "symbol", "short_quantity", "short_exempt_quantity", "total_quantity"),
    "known_from",
)
INTEREST = ("settlement_date", "symbol", "short_quantity", "known_from")
LATEST_SETTLEMENT = timedelta(days=31)
"""Short interest of an older settlement date than this, by the week's Friday, is not shown."""


@dataclass(frozen=True)
class ShortFigures:
    """Report of a week: its symbols, and those of them with short sales and short interest."""

    row_count: int
    sold_count: int
    held_count: int

    def __str__(self) -> str:
        return (
            f"{self.row_count} symbols, {self.sold_count} with short sales, "
            f"{self.held_count} with short interest"
        )


def _read_week(
    connection: Connection, due: Sequence[PendingDerivation]
) -> tuple[pl.DataFrame, ...]:
    """Return trading, short sales and short interest, as `symbol_week_short` takes them."""
    [week] = [date.fromisoformat(pending_derivation.key) for pending_derivation in due]
    columns = ("symbol", "total_share_quantity", "ats_share_quantity", "published_at", "known_from")
    traded = select(*(_week[name] for name in columns)).where(_week.week_start == week)
    sales = select(*(_sales[name] for name in SALES)).where(
        _sales.trade_date >= week, _sales.trade_date <= week + SUNDAY
    )
    newest = select(func.max(_interest.settlement_date)).where(
        _interest.settlement_date <= week + FRIDAY,
        _interest.settlement_date >= week + FRIDAY - LATEST_SETTLEMENT,
    )
    interest = select(*(_interest[name] for name in INTEREST)).where(
        _interest.settlement_date == newest.scalar_subquery()
    )
    return (
        read_frame(connection, traded, finra_symbol_week),
        read_frame(connection, sales, finra_reg_sho_daily),
        read_frame(connection, interest, finra_short_interest),
    )


def short_inputs_as_of(state: StateAsOf, week: date) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the short sales and the short interest of a week, as `_read_week` does, at a time."""
    days = (f"trade_date>={week}", f"trade_date<={week + SUNDAY}")
    friday = week + FRIDAY
    since = friday - LATEST_SETTLEMENT
    dates = (f"settlement_date<={friday}", f"settlement_date>={since}")
    interest = state.read(finra_short_interest, dates, INTEREST)
    newest = pl.col("settlement_date") == pl.col("settlement_date").max()
    return state.read(finra_reg_sho_daily, days, SALES), interest.filter(newest)


def _make_week(due: PendingDerivation, read: tuple[pl.DataFrame, ...]) -> DerivedPart:
    rows = symbol_week_short(*read, week_start=date.fromisoformat(due.key))
    counts = [len(rows.drop_nulls(name)) for name in ("total_quantity", "settlement_date")]
    return DerivedPart(rows, ShortFigures(len(rows), *counts))


SYMBOL_WEEK_SHORT = DerivedTable(
    table=finra_symbol_week_short,
    inputs=Inputs(
        read_loaded=read_loaded_weeks,
        read=_read_week,
        job=LOADED_BY,
        expected="all tiers of the week are loaded",
    ),
    reach=recomputation.CROSS_TIER,
    scope=lambda key: {"week_start": date.fromisoformat(key)},
    make=_make_week,
    conservation=SHORT,
    is_compared=True,  # short sales and short interest are revised without a version of the week
)


def short_load(warehouse: Warehouse) -> DerivedLoad:
    """Return the load that derives weeks of `finra_symbol_week_short`."""
    where = {"asset": "finra/symbol_week_short"}
    return DerivedLoad(
        [SYMBOL_WEEK_SHORT], warehouse, where=where, describe=lambda done: str(figures_of(done))
    )


def figures_of(derived: DerivedResult) -> ShortFigures:
    """Return the figures of the week that was requested."""
    return derived.tables[finra_symbol_week_short.name].summaries[derived.partition_key]
