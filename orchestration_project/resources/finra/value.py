"""Dollar value of a week's shares, derived from gold tables and loaded prices, by table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, Connection, Double, Table, and_, case, cast, func, select

from orchestration_project.domains.finra import recomputation
from orchestration_project.domains.finra.activity import first_week_shown
from orchestration_project.domains.finra.calendar import session_days
from orchestration_project.domains.finra.conservation import VALUES
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_symbol_week_value,
)
from orchestration_project.domains.finra.value import ONE, coverage, symbol_week_value
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.contracts.frame_types import QUANTITY
from orchestration_project.engine.contracts.key_ranges import Days
from orchestration_project.engine.derived import (
    DerivedLoad,
    DerivedPart,
    DerivedResult,
    DerivedTable,
    Inputs,
    PendingDerivation,
    find_outdated_keys,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.fencing import read_derived_versions, read_last_changes
from orchestration_project.engine.warehouse.frames import match_scope, read_frame
from orchestration_project.engine.warehouse.target import read_stale_values
from orchestration_project.resources.finra.gold import LOADED_BY, read_loaded_weeks

_week, _daily = finra_symbol_week.c, prices_daily.c


@dataclass(frozen=True)
class ValueFigures:
    """Report of a week; ``coverage_ratio`` is the share of its shares with a value."""

    row_count: int
    coverage_ratio: float
    notional_dollars: float

    def __str__(self) -> str:
        return f"{self.row_count} symbols, {self.coverage_ratio:.1%} of the shares"


def _read_week(
    connection: Connection, due: Sequence[PendingDerivation]
) -> tuple[pl.DataFrame, ...]:
    """Return the symbols and prices of a week, as `symbol_week_value` takes them."""
    [week] = [date.fromisoformat(pending_derivation.key) for pending_derivation in due]
    return tuple(read(connection, week) for read in (_read_symbol_weeks, _read_prices))


def _make_value(due: PendingDerivation, read: tuple[pl.DataFrame, ...]) -> DerivedPart:
    week = date.fromisoformat(due.key)
    rows, excluded = symbol_week_value(*read, week_start=week, session_days=session_days(week))
    dollars = float(rows["estimated_notional_usd"].cast(pl.Int128).sum() / ONE)
    figures = ValueFigures(len(rows), coverage(rows, read[0]), dollars)
    return DerivedPart(rows, figures, excluded=excluded)


SYMBOL_WEEK_VALUE = DerivedTable(
    table=finra_symbol_week_value,
    inputs=Inputs(
        read_loaded=read_loaded_weeks,
        read=_read_week,
        job=LOADED_BY,
        expected="all tiers of the week are loaded",
    ),
    reach=recomputation.CROSS_TIER,
    scope=lambda key: {"week_start": date.fromisoformat(key)},
    make=_make_value,
    conservation=VALUES,
    is_compared=True,  # prices are revised symbol by symbol, and have no shorter version
)


def value_load(warehouse: Warehouse) -> DerivedLoad:
    """Return the load that derives weeks of `finra_symbol_week_value`."""
    where = {"asset": "finra/symbol_week_value"}
    return DerivedLoad(
        [SYMBOL_WEEK_VALUE], warehouse, where=where, describe=lambda done: str(figures_of(done))
    )


def figures_of(derived: DerivedResult) -> ValueFigures:
    """Return the figures of the week that was requested."""
    return derived.tables[finra_symbol_week_value.name].summaries[derived.partition_key]


def complete_weeks(warehouse: Warehouse) -> list[str]:
    """Return the weeks of which all tiers are loaded, oldest first."""
    return list(recomputation.CROSS_TIER.candidates(warehouse.changes(finra_otc_weekly)))


def restated_weeks(warehouse: Warehouse, table: Table) -> list[str]:
    """Return the weeks derived in ``table`` of which an input changed since, oldest first.

    FINRA's shares have another version then; of other inputs, rows are marked stale.
    """
    with warehouse.reading() as connection:
        loaded = read_last_changes(connection, finra_otc_weekly)
        derived = read_derived_versions(connection, table)
        due = set(find_outdated_keys(recomputation.CROSS_TIER, loaded, derived))
        due |= set(map(str, read_stale_values(connection, table, "week_start")))
    return sorted(due & set(derived) & set(recomputation.CROSS_TIER.candidates(loaded)))


def coverage_by_week(warehouse: Warehouse) -> dict[str, float]:
    """Return the share (0-1) of each derived week's shares that has a value, oldest week first."""
    valued = finra_symbol_week_value.c
    of_values = (
        select(valued.week_start, func.sum(valued.share_quantity))
        .where(valued.price.is_not(None))
        .group_by(valued.week_start)
    )
    with warehouse.reading() as connection:
        derived = read_derived_versions(connection, finra_symbol_week_value)  # one may have no row
        parts = {week: float(shares) for week, shares in connection.execute(of_values)}
        of_weeks = (
            select(_week.week_start, func.sum(_week.total_share_quantity))
            .where(_week.week_start.in_([date.fromisoformat(week) for week in derived]))
            .group_by(_week.week_start)
        )
        wholes = {week: float(shares) for week, shares in connection.execute(of_weeks)}
    return {
        week.isoformat(): parts.get(week, 0) / whole
        for week, whole in sorted(wholes.items())
        if whole
    }


def notional_by_week(warehouse: Warehouse) -> pl.DataFrame:
    """Return estimates beside FINRA's own traded value, by week and tier, oldest first.

    Columns: week_start, tier, estimated_dollars and notional_dollars (US dollars), of symbols
    with both.
    """
    valued = finra_symbol_week_value.c
    dollars = [
        cast(column, Double()) / ONE
        for column in (valued.estimated_notional_usd, _week.notional_usd)
    ]
    same = and_(*(valued[name] == _week[name] for name in ("week_start", "tier", "symbol")))
    statement = (
        select(valued.week_start, valued.tier, *(func.sum(dollar) for dollar in dollars))
        .select_from(finra_symbol_week_value.join(finra_symbol_week, same))
        .where(valued.estimated_notional_usd.is_not(None), _week.notional_usd.is_not(None))
        .group_by(valued.week_start, valued.tier)
        .order_by(valued.week_start, valued.tier)
    )
    schema = {
        "week_start": pl.Date,
        "tier": pl.String,
        "estimated_dollars": pl.Float64,
        "notional_dollars": pl.Float64,
    }
    with warehouse.reading() as connection:
        tuples = [tuple(row) for row in connection.execute(statement)]
    return pl.DataFrame(tuples, schema, orient="row")


def read_valued_weeks(warehouse: Warehouse) -> pl.DataFrame | None:
    """Return the trading of the latest weeks by week and tier; None: none has a value.

    Columns: week_start, tier, share_quantity, trade_count, valued_share_quantity and
    notional_dollars (US dollars); the last two are null where nothing is derived.
    """
    valued = finra_symbol_week_value.c
    with warehouse.reading() as connection:
        newest = connection.execute(select(func.max(valued.week_start))).scalar()
        if newest is None:
            return None
        first = first_week_shown(newest)
        traded = _sum_by_week(
            connection,
            [_week.week_start, _week.tier],
            [_week.total_share_quantity, _week.total_trade_count],
            first,
        )
        has_price = valued.price.is_not(None)
        worth = _sum_by_week(
            connection,
            [valued.week_start, valued.tier],
            [
                case((has_price, valued.share_quantity), else_=0),
                cast(valued.estimated_notional_usd, Double()) / ONE,
            ],
            first,
        )
    columns = {"week_start": pl.Date, "tier": pl.String}
    of_trading = {"share_quantity": QUANTITY, "trade_count": pl.Int64}
    of_value = {"valued_share_quantity": QUANTITY, "notional_dollars": pl.Float64}
    return (
        pl.DataFrame(traded, {**columns, **of_trading}, orient="row")
        .join(
            pl.DataFrame(worth, {**columns, **of_value}, orient="row"),
            on=list(columns),
            how="left",
        )
        .sort("week_start", "tier")
    )


def _sum_by_week(
    connection: Connection,
    key: Sequence[ColumnElement[Any]],
    quantities: Sequence[ColumnElement[Any]],
    first: date,
) -> list[tuple[Any, ...]]:
    """Return the key and the sums of ``quantities`` for each week from ``first`` on, and tier."""
    exact = [cast(func.sum(quantity), quantity.type) for quantity in quantities]
    statement = select(*key, *exact).where(key[0] >= first).group_by(*key)
    return [tuple(row) for row in connection.execute(statement)]


def _read_symbol_weeks(connection: Connection, week: date) -> pl.DataFrame:
    columns: list[ColumnElement[Any]] = [
        *(_week.tier, _week.symbol, _week.total_share_quantity),
        *(_week.published_at, _week.known_from),
    ]
    statement = select(*columns).where(_week.week_start == week)
    return read_frame(connection, statement, finra_symbol_week)


def _read_prices(connection: Connection, week: date) -> pl.DataFrame:
    """Return the prices of the week, of just the symbols that it has."""
    traded = select(_week.symbol).where(_week.week_start == week)
    days = {"trade_date": Days(week, week + timedelta(days=6))}
    columns: list[ColumnElement[Any]] = [
        *(_daily.symbol, _daily.trade_date, _daily.close, _daily.volume),
        *(_daily.later_splits, _daily.known_from),
    ]
    statement = select(*columns).where(_daily.symbol.in_(traded), match_scope(prices_daily, days))
    return read_frame(connection, statement, prices_daily)
