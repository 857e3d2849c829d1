"""Data of the trading chart, read in one snapshot of the database.

Gold tables alone, summed by the database over ranges of their keys; only names, which gold does
not have, are looked up in the weekly table, by whole keys.
"""

from datetime import date
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, Connection, Double, cast, func, select

from orchestration_project.domains.finra import activity
from orchestration_project.domains.finra.activity import MAX_SHOWN_MOVERS, Activity
from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.domains.finra.selection import tier_week
from orchestration_project.domains.finra.tables.weekly import (
    MARKETS,
    finra_concentration_week,
    finra_otc_weekly,
    finra_symbol_week,
    finra_tier_week,
    finra_venue_week,
)
from orchestration_project.domains.finra.value import ONE
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import read_quarantined_keys
from orchestration_project.engine.warehouse.fencing import (
    find_first_load_time,
    read_derived_versions,
    read_last_changes,
)
from orchestration_project.engine.warehouse.frames import match_scope, read_frame, read_scope


def made_of(warehouse: Warehouse) -> str | None:
    """Return the name of what a picture would be made of now; None: nothing is loaded."""
    with warehouse.reading() as connection:
        return _identify_inputs(connection)


def _identify_inputs(connection: Connection) -> str | None:
    loaded = read_last_changes(connection, finra_otc_weekly)
    derived = (
        read_derived_versions(connection, table)
        for table in (finra_concentration_week, finra_tier_week)
    )
    database = find_first_load_time(connection, finra_otc_weekly)
    return activity.version_of(database, loaded, *derived) if loaded else None


def read_activity(warehouse: Warehouse) -> Activity | None:
    """Return the activity that the picture shows, read in one transaction; None: none is loaded."""
    with warehouse.reading() as connection:
        version = _identify_inputs(connection)
        newest = connection.execute(select(func.max(finra_venue_week.c.week_start))).scalar()
        if version is None or newest is None:
            return None
        return _build_activity(connection, version, newest)


def _build_activity(connection: Connection, version: str, newest: date) -> Activity:
    first = activity.first_week_shown(newest)
    traded = _sum_traded(connection, first)
    week_start, tiers = activity.newest_complete_week(traded)
    of_week = {"week_start": week_start}
    venues, lump = activity.all_venues(read_scope(connection, finra_venue_week, of_week))
    symbols, symbol_count = _read_largest_symbols(connection, week_start)
    names = _read_names(connection, week_start, symbols, venues.head(MAX_SHOWN_MOVERS))
    whole = sum(traded.filter(week_start=week_start)["share_quantity"].to_list())
    return Activity(
        made_of=version,
        weeks=activity.weeks_between(traded["week_start"].to_list()),
        traded=traded,
        concentration=activity.weighted_concentration(_sum_concentration(connection, first)),
        week_start=week_start,
        tiers=tiers,
        tier_weeks=read_scope(connection, finra_tier_week, of_week),
        symbols=activity.largest_symbols(symbols, names, whole),
        venues=activity.with_names(venues.head(MAX_SHOWN_MOVERS), names),
        de_minimis_share=lump,
        symbol_count=symbol_count,
        venue_count=len(venues),
        quarantined=_list_quarantined(connection, first),
    )


def _list_quarantined(connection: Connection, first: date) -> list[date]:
    """Return the weeks from ``first`` on of which the latest delivery of a tier is quarantined."""
    keys = read_quarantined_keys(connection, finra_otc_weekly)
    weeks = {tier_week(key, today=date.max).week_start for key in keys}
    return sorted(week for week in weeks if week >= first)


def _sum_traded(connection: Connection, first: date) -> pl.DataFrame:
    week = finra_venue_week.c
    keys = (week.week_start, week.tier, week.market)
    sums = [
        # PostgreSQL's sum is NUMERIC; that of a partition always fits a BIGINT (refuse_overflow)
        cast(func.sum(column), column.type).label(column.key)
        for column in (week.share_quantity, week.trade_count)
    ]
    statement = select(*keys, *sums).where(week.week_start >= first).group_by(*keys)
    return read_frame(connection, statement, finra_venue_week).sort(
        ["week_start", "tier", "market"]
    )


def _sum_concentration(connection: Connection, first: date) -> pl.DataFrame:
    """Return by week and tier the sums of index times shares, and of shares."""
    week = finra_symbol_week.c
    shares = week.total_share_quantity
    sums: list[ColumnElement[Any]] = [
        func.sum(index * (cast(shares, Double) / ONE)).label(index.name)
        for index in (week.hhi_lower, week.hhi_upper)
    ]
    statement = (
        select(
            *(week.week_start, week.tier),
            *(*sums, cast(func.sum(shares), shares.type).label(shares.key)),
        )
        .where(week.week_start >= first)
        .group_by(week.week_start, week.tier)
    )
    return read_frame(connection, statement, finra_symbol_week)


def _read_largest_symbols(connection: Connection, week_start: date) -> tuple[pl.DataFrame, int]:
    """Return the largest symbols of a week, with their concentration, and how many there are."""
    week, index = finra_symbol_week.c, finra_concentration_week.c
    of_week = week.week_start == week_start
    columns = ("symbol", "tier", "total_share_quantity", "total_trade_count")
    largest = read_frame(
        connection,
        select(*(week[name] for name in columns))
        .where(of_week)
        .order_by(week.total_share_quantity.desc(), week.symbol, week.tier)
        .limit(MAX_SHOWN_MOVERS),
        finra_symbol_week,
    )
    scope = {"week_start": week_start, "tier": TIERS, "symbol": tuple(largest["symbol"])}
    beside = ("symbol", "tier", "top_3_venue_share", "hhi_upper", "hhi_upper_change")
    concentration = read_frame(
        connection,
        select(*(index[name] for name in beside)).where(
            match_scope(finra_concentration_week, scope)
        ),
        finra_concentration_week,
    )
    count = select(func.count(week.symbol.distinct())).where(of_week)
    frame = largest.join(concentration, on=["symbol", "tier"], how="left")
    return frame, connection.execute(count).scalar_one()


def _read_names(
    connection: Connection, week_start: date, symbols: pl.DataFrame, venues: pl.DataFrame
) -> pl.DataFrame:
    """Return names as the rows of the largest venues in the largest symbols have them."""
    row = finra_otc_weekly.c
    scope = {
        "week_start": week_start,
        "tier": TIERS,
        "market": MARKETS,
        "symbol": tuple(symbols["symbol"]),
        "venue_id": tuple(venues["venue_id"]),
    }
    columns = ("symbol", "venue_id", "issue_name", "participant_name")
    statement = select(*(row[name] for name in columns)).where(match_scope(finra_otc_weekly, scope))
    return read_frame(connection, statement, finra_otc_weekly)
