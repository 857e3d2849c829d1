"""Data of the charts, read from the database, by chart."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, Connection, Table, and_, cast, func, or_, select

from orchestration_project.domains.finra import charts
from orchestration_project.domains.finra.activity import first_week_shown
from orchestration_project.domains.finra.restatement import RESTATEMENTS
from orchestration_project.domains.finra.tables.datasets import finra_short_interest
from orchestration_project.domains.finra.tables.market import finra_symbol_movers_week
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
    finra_symbol_week_value,
    finra_tier_week,
    finra_venue_week,
)
from orchestration_project.domains.finra.value import ONE
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import read_frame
from orchestration_project.tables.schema import Quantity
from orchestration_project.tables.spine import landings

CANDIDATES = 200
"""Symbols with the largest short interest, among which those with prices are looked for."""


def _match_weeks_shown(connection: Connection, table: Table) -> ColumnElement[bool]:
    """Return the condition that a row is of the weeks shown, back from the newest of its table."""
    newest = connection.execute(select(func.max(table.c.week_start))).scalar()
    return table.c.week_start >= (first_week_shown(newest) if newest else date.max)


def read_ats_shares(warehouse: Warehouse) -> pl.DataFrame:
    """Return `charts.ats_shares` of the weeks shown."""
    with warehouse.reading() as connection:
        return charts.ats_shares(_sum_shares(connection, "week_start", "tier", "market"))


def _sum_shares(connection: Connection, *by: str) -> pl.DataFrame:
    """Return the shares of venues of the weeks shown."""
    column = finra_venue_week.c
    keys = [column[name] for name in by]
    shares = cast(func.sum(column.share_quantity), Quantity()).label("share_quantity")
    statement = (
        select(*keys, shares)
        .where(_match_weeks_shown(connection, finra_venue_week))
        .group_by(*keys)
    )
    return read_frame(connection, statement, finra_venue_week)


def read_off_exchange_shares(warehouse: Warehouse) -> pl.DataFrame:
    """Return `charts.off_exchange_shares` of the weeks shown."""
    names = ("week_start", "tier", "symbol", "share_quantity", "market_volume_share")
    with warehouse.reading() as connection:
        frame = _read(connection, finra_symbol_week_value, names)
    return charts.off_exchange_shares(frame)


def read_concentration(warehouse: Warehouse) -> pl.DataFrame:
    """Return the bounds of the HHI of firms by week and tier, of the weeks shown."""
    names = ("week_start", "tier", "firm_hhi_lower", "firm_hhi_upper")
    with warehouse.reading() as connection:
        frame = _read(connection, finra_tier_week, names)
    return frame.drop_nulls().sort("week_start", "tier")


def _read(connection: Connection, table: Table, names: Sequence[str]) -> pl.DataFrame:
    columns: list[ColumnElement[Any]] = [table.c[name] for name in names]
    return read_frame(
        connection, select(*columns).where(_match_weeks_shown(connection, table)), table
    )


def read_movers(warehouse: Warehouse) -> tuple[date | None, pl.DataFrame]:
    """Return the newest week with movers, and `charts.largest_movers` of it."""
    mover = finra_symbol_movers_week.c
    with warehouse.reading() as connection:
        newest = connection.execute(select(func.max(mover.week_start))).scalar()
        columns: list[ColumnElement[Any]] = [
            *(mover.tier, mover.symbol, mover.movement, mover.share_change)
        ]
        of_week = select(*columns).where(mover.week_start == newest)
        frame = read_frame(connection, of_week, finra_symbol_movers_week)
    return newest, charts.largest_movers(frame)


def read_short_interest(warehouse: Warehouse) -> pl.DataFrame:
    """Return `charts.short_interest_with_price` of all loaded settlement dates."""
    short, daily = finra_short_interest.c, prices_daily.c
    newest = select(func.max(short.settlement_date)).scalar_subquery()
    priced = select(daily.symbol).distinct()
    largest = (
        select(short.symbol)
        .where(short.settlement_date == newest, short.symbol.in_(priced))
        .order_by(short.short_quantity.desc(), short.symbol)
        .limit(CANDIDATES)
    )
    with warehouse.reading() as connection:
        symbols = list(connection.scalars(largest))
        of_short = select(
            *[short[name] for name in ("settlement_date", "symbol", "short_quantity")]
        ).where(short.symbol.in_(symbols))
        interest = read_frame(connection, of_short, finra_short_interest)
        of_daily = select(*[daily[name] for name in ("trade_date", "symbol", "close")]).where(
            daily.symbol.in_(symbols)
        )
        prices = read_frame(connection, of_daily, prices_daily)
    dollars = pl.col("close").cast(pl.Float64) / ONE
    return charts.short_interest_with_price(interest, prices.with_columns(dollars))


def read_restatements(warehouse: Warehouse) -> pl.DataFrame:
    """Return `charts.restatement_sizes` of all restatements of the weeks shown."""
    with warehouse.reading() as connection:
        times = _list_restatements(connection)
        ended = _read_sides(connection, [(finra_otc_weekly_history, "known_to")], times)
        sources = [(finra_otc_weekly, "known_from"), (finra_otc_weekly_history, "known_from")]
        begun = _read_sides(connection, sources, times)
        weeks = _sum_shares(connection, "week_start", "tier")
    return charts.restatement_sizes(ended, begun, weeks)


def _list_restatements(connection: Connection) -> list[tuple[str, date, Any]]:
    """Return tier, week and time of each restatement of the weeks shown."""
    statement = select(landings.c.partition_key, landings.c.landed_at).where(
        landings.c.table_name == finra_otc_weekly.name,
        landings.c.change_cause.in_(RESTATEMENTS),
    )
    found = [(key.split("|"), at) for key, at in connection.execute(statement)]
    restated = [(tier, date.fromisoformat(week), at) for (tier, week), at in found]
    newest = max((week for _, week, _ in restated), default=date.min + timedelta(weeks=200))
    return [row for row in restated if row[1] >= first_week_shown(newest)]


ROW = ("week_start", "tier", "market", "symbol", "venue_id", "share_quantity")
MAX_BATCH_TIMES = 100


def _read_sides(
    connection: Connection, sources: Sequence[tuple[Table, str]], times: Sequence[Any]
) -> pl.DataFrame:
    """Return the rows of ``sources`` whose time is that of a restatement of their week."""
    frames: list[pl.DataFrame] = []
    for table, moment in sources:
        columns: list[ColumnElement[Any]] = [table.c[name] for name in (*ROW, moment)]
        empty = select(*columns).where(table.c.tier == "", table.c.tier != "")
        statements = [empty]
        for start in range(0, len(times), MAX_BATCH_TIMES):
            some = times[start : start + MAX_BATCH_TIMES]
            is_one = (
                and_(table.c.week_start == week, table.c.tier == tier, table.c[moment] == at)
                for tier, week, at in some
            )
            statements.append(select(*columns).where(or_(*is_one)))
        frames += [
            read_frame(connection, statement, table).rename({moment: "at"})
            for statement in statements
        ]
    return pl.concat(frames)
