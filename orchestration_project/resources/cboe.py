"""Shares off exchange of weeks, derived of days and of FINRA's weeks; data of the chart."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, cast, func, select

from orchestration_project.domains.cboe import volume
from orchestration_project.domains.cboe.tables import (
    market_volume_daily,
    off_exchange_share_daily,
    off_exchange_share_weekly,
)
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly, finra_symbol_week
from orchestration_project.engine.contracts.frame_types import QUANTITY
from orchestration_project.engine.derived import (
    DerivedLoad,
    DerivedPart,
    DerivedTable,
    Inputs,
    LoadedVersions,
    PendingDerivation,
)
from orchestration_project.engine.environment import open_clock
from orchestration_project.engine.listed_datasets import ListedDataset, list_partition_keys
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.as_of import (
    AsOf,
    DerivedAsOf,
    LeftOut,
    StateAsOf,
    build_absent_error,
    read_day,
)
from orchestration_project.engine.warehouse.fencing import read_last_changes
from orchestration_project.engine.warehouse.frames import read_frame, read_scope
from orchestration_project.engine.warehouse.target import fill_known_from
from orchestration_project.settings import load_shared_settings
from orchestration_project.settings.sources import source_values
from orchestration_project.tables.schema import Quantity

FINRA_MARKETS = {"ATS": "ats_share_quantity", "NON_ATS": "non_ats_share_quantity"}
DAYS_SHOWN = timedelta(days=365)
TIER_ROWS = ("market", "share_quantity", "last_update_date", "known_from")
TIER_SHARES = {
    "ats_share_quantity": QUANTITY,
    "non_ats_share_quantity": QUANTITY,
    "published_at": pl.Datetime("us", "UTC"),
    "known_from": pl.Datetime("us", "UTC"),
}


@dataclass(frozen=True)
class WeekInputs:
    """Days of a week, and a row for each of FINRA's tiers that is loaded."""

    days: pl.DataFrame
    tiers: pl.DataFrame


def _read_loaded(connection: Connection, _key: str | None = None) -> LoadedVersions:
    return volume.find_loaded_inputs(
        read_last_changes(connection, market_volume_daily),
        read_last_changes(connection, finra_otc_weekly),
    )


def _read_week(connection: Connection, due: Sequence[PendingDerivation]) -> WeekInputs:
    [week] = [date.fromisoformat(pending_derivation.key) for pending_derivation in due]
    days = tuple(volume.week_days(week))
    return WeekInputs(
        read_scope(connection, off_exchange_share_daily, {"trade_date": days}),
        _read_tiers(connection, week),
    )


def _read_tiers(connection: Connection, week: date) -> pl.DataFrame:
    column = finra_symbol_week.c
    statement = (
        select(
            *(
                cast(func.sum(column[name]), Quantity())
                for name in ("ats_share_quantity", "non_ats_share_quantity")
            ),
            func.max(column.published_at),
            func.max(column.known_from),
        )
        .where(column.week_start == week, column.tier.in_(volume.NMS_TIERS))
        .group_by(column.tier)
    )
    rows = [tuple(row) for row in connection.execute(statement)]
    return pl.DataFrame(rows, TIER_SHARES, orient="row")


def _make_week(due: PendingDerivation, read: WeekInputs) -> DerivedPart:
    rows = volume.off_exchange_weekly(read.days, read.tiers, week_start=date.fromisoformat(due.key))
    return DerivedPart(rows)


WEEKLY = DerivedTable(
    table=off_exchange_share_weekly,
    inputs=Inputs(
        read_loaded=_read_loaded,
        read=_read_week,
        job="cboe_market_volume_daily",
        expected="a day of the week is loaded",
    ),
    reach=volume.Weekly(),
    scope=lambda key: {"week_start": date.fromisoformat(key)},
    make=_make_week,
)


def _derive_daily(state: StateAsOf, key: str) -> DerivedAsOf:
    """Return a day of `off_exchange_share_daily` of the market volume that was loaded by a time."""
    day, name = read_day(key), off_exchange_share_daily.name
    state.refuse_day(market_volume_daily)
    rows = _derive_shares(state, day)
    if rows.is_empty():
        raise build_absent_error(name, key, [key])
    return DerivedAsOf(off_exchange_share_daily, rows)


def _derive_shares(state: StateAsOf, day: date) -> pl.DataFrame:
    rows = volume.off_exchange_daily(state.read(market_volume_daily, [f"trade_date={day}"]))
    last_load = state.last_load(market_volume_daily, {"trade_date": day})
    return fill_known_from(rows, last_load) if last_load and len(rows) else rows


def _derive_weekly(state: StateAsOf, key: str) -> DerivedAsOf:
    """Return a week of `off_exchange_share_weekly` of what was loaded by a time."""
    week = read_day(key, monday=True)
    days = pl.concat(_derive_shares(state, day) for day in volume.week_days(week))
    if days.is_empty():
        raise build_absent_error(off_exchange_share_weekly.name, key, ["any day of the week"])
    tiers, left_out = [], LeftOut()
    for tier in volume.NMS_TIERS:
        wheres = [f"week_start={week}", f"tier={tier}"]
        left_out += state.left_out(finra_otc_weekly, wheres)
        rows = state.read(finra_otc_weekly, wheres, TIER_ROWS)
        if len(rows):
            sums = {
                name: rows.filter(market=market)["share_quantity"].sum()
                for market, name in FINRA_MARKETS.items()
            }
            scope = {"week_start": week, "tier": tier}
            last_load = None if state.day else state.last_load(finra_otc_weekly, scope)
            published: Any = rows["last_update_date"].max()
            dates = {
                "published_at": published and datetime.combine(published, time(), UTC),
                "known_from": last_load or rows["known_from"].max(),
            }
            tiers.append({**sums, **dates})
    off_exchange_weekly = volume.off_exchange_weekly(
        days, pl.DataFrame(tiers, TIER_SHARES), week_start=week
    )
    return DerivedAsOf(off_exchange_share_weekly, off_exchange_weekly, left_out)


AS_OF: AsOf = {
    off_exchange_share_daily.name: _derive_daily,
    off_exchange_share_weekly.name: _derive_weekly,
}
"""Derived tables, each with what derives a partition as of a time."""


def _list_weeks() -> Sequence[str]:
    settings = load_shared_settings()
    today = open_clock(settings).today(volume.WEEKS.calendar.zone)
    first = source_values(settings, "cboe").first_from(today)
    return list_partition_keys(volume.WEEKS, first, today=today)


LISTED_WEEKS = ListedDataset(
    "cboe_off_exchange_share_weekly",
    "Derives the share off exchange of weeks, beside FINRA's shares on ATSs.",
    ("off_exchange_share_weekly",),
    _list_weeks,
)


def weekly_load(warehouse: Warehouse) -> DerivedLoad:
    """Return the load that derives weeks of `off_exchange_share_weekly`."""
    return DerivedLoad([WEEKLY], warehouse, where={"asset": "cboe/off_exchange_share_weekly"})


def read_shares(warehouse: Warehouse) -> pl.DataFrame:
    """Return the share off exchange by day and tape, of the year that ends with the newest day."""
    column = off_exchange_share_daily.c
    names = ("trade_date", "tape", "off_exchange_share_ratio")
    statement = select(*(column[name] for name in names))
    with warehouse.reading() as connection:
        newest = connection.execute(select(func.max(column.trade_date))).scalar()
        since = newest - DAYS_SHOWN if newest else date.max
        frame = read_frame(
            connection, statement.where(column.trade_date > since), off_exchange_share_daily
        )
    return frame.drop_nulls().sort("trade_date", "tape")
