"""Gold tables as they were known or published at a time, derived of the weekly rows of that time.

Nothing is stored: rows of `finra_otc_weekly` are read in their state of the time, and go through
the functions that derive the tables. So a table that has no history has one. Prices have no day of
publication: those of an estimate are the ones that were loaded by the time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, Select, Table, func, select

from orchestration_project.domains.finra.gold import symbol_week, venue_sums, venue_week
from orchestration_project.domains.finra.selection import TierWeek, parsed, tier_week
from orchestration_project.domains.finra.value import ONE, SPLIT_COLUMNS
from orchestration_project.engine.derived import DerivedTable, PendingDerivation
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import Scope, read_frame, within
from orchestration_project.engine.warehouse.staleness import stamped
from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.resources.finra.gold import TIER_WEEKS, WINDOWS, GoldWeeks
from orchestration_project.resources.finra.value import SYMBOL_WEEK_VALUE
from orchestration_project.tables.catalogue import relation, relation_as_of
from orchestration_project.tables.finra import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.tables.prices import prices_daily
from orchestration_project.tables.published import Published, published_by
from orchestration_project.tables.schema import HISTORY

LOADED = (finra_symbol_week, finra_venue_week)
"""Gold tables that a load derives itself."""

BY_NAME: Mapping[str, DerivedTable[Any]] = {
    each.table.name: each for each in (*WINDOWS, *TIER_WEEKS, SYMBOL_WEEK_VALUE)
}
NAMES = tuple(sorted([*(table.name for table in LOADED), *BY_NAME]))
"""Gold tables that follow from weekly rows, and of estimates from prices."""


@dataclass(frozen=True)
class GoldAsOf:
    """Rows of a gold table at a time.

    Attributes:
        table: The table.
        rows: Its rows of one partition, by its key.
        missing_count: Weekly rows that are left out: they were published by the day, changed
            since, and their state of the day was never loaded.
    """

    table: Table
    rows: pl.DataFrame
    missing_count: int


def gold_as_of(
    warehouse: Warehouse,
    name: str,
    key: str,
    *,
    at: datetime | None = None,
    day: date | None = None,
) -> GoldAsOf:
    """Return a partition of a gold table as it was known at a time, or published by a day.

    Args:
        warehouse: The database.
        name: One of `NAMES`.
        key: The partition, as T1|2025-11-10, or of tables of all tiers the Monday.
        at: Only what was loaded by then counts; None: all.
        day: Only what the source had published by that day counts; None: all.

    Raises:
        ConfigurationError: The table or partition is none, or was not loaded by then.
    """
    if name not in NAMES:
        raise ConfigurationError(
            f"invalid gold table {name!r}: expected one that weekly rows make",
            expected=f"one of {', '.join(NAMES)}",
            remedy=did_you_mean(name, NAMES),
        )
    derived = BY_NAME.get(name)
    required, wanted = _partitions(derived, key)
    published = published_by(finra_otc_weekly.name, day, at) if day else None
    with warehouse.reading() as connection:
        weeks: dict[str, GoldWeeks] = {}
        missing_count = 0
        for each in wanted:
            made, missing = _week(connection, parsed(each), at, published)
            missing_count += missing
            if made is not None:
                weeks[each] = made
        prices = _prices(connection, key, at) if derived is SYMBOL_WEEK_VALUE else None
    if absent := [each for each in required if each not in weeks]:
        raise ConfigurationError(
            f"{name} of {key} cannot be derived",
            expected="its weeks were loaded and published by then",
            found=f"no rows then: {', '.join(absent)}",
            remedy="ask for a later time, or for another week",
        )
    read = GoldWeeks(
        pl.concat(each.symbols for each in weeks.values()),
        pl.concat(each.venues for each in weeks.values()),
    )
    if derived is None:
        rows = read.symbols if name == finra_symbol_week.name else read.venues
        return GoldAsOf(finra_symbol_week.metadata.tables[name], rows, missing_count)
    due = PendingDerivation(derived, key, 0, None, "", list(weeks))
    taken = read if prices is None else (read.symbols, *prices)
    return GoldAsOf(derived.table, derived.make(due, taken).rows, missing_count)


def _partitions(derived: DerivedTable[Any] | None, key: str) -> tuple[Sequence[str], Sequence[str]]:
    """Return the weeks of tiers that a partition needs, and those that it is made of.

    Raises:
        ConfigurationError: The key is none of the table's.
    """
    if derived not in (*TIER_WEEKS, SYMBOL_WEEK_VALUE):
        tier_week(key, today=date.max)
        return [key], [key] if derived is None else derived.reach.inputs(key)
    try:
        is_monday = date.fromisoformat(key).weekday() == 0
    except ValueError:
        is_monday = False
    if derived is None or not is_monday:
        raise ConfigurationError(
            f"invalid partition {key!r}: expected a Monday, e.g. 2025-11-10",
            remedy="leave the tier out: the table is of all tiers",
        )
    return derived.reach.required(key), derived.reach.inputs(key)


def _week(
    connection: Connection,
    week: TierWeek,
    at: datetime | None,
    published: Published | None,
) -> tuple[GoldWeeks | None, int]:
    """Return a week of a tier at the time, None without rows, and how many rows are missing."""
    wheres = [f"week_start={week.week_start}", f"tier={week.tier}"]
    if published:
        chosen = published.relation
    else:
        name = finra_otc_weekly.name
        chosen = relation_as_of(name, at) if at else relation(name)
    columns = [column.name for column in finra_otc_weekly.columns]
    found = chosen.select(columns, wheres).order_by(None)
    statement = found if isinstance(found, Select) else select(found.subquery())
    rows = read_frame(connection, statement, finra_otc_weekly)
    missing = 0
    if published:
        missing = int(connection.execute(published.left_out(wheres)).one().missing_count)
    if rows.is_empty():
        return None, missing
    scope = {"week_start": week.week_start, "tier": week.tier}
    known_from = _latest_load(connection, scope, at) if published is None else None
    latest = known_from or max(rows["known_from"].to_list())
    symbols, venues = symbol_week(rows), venue_week(venue_sums(rows))
    return GoldWeeks(stamped(symbols, latest), stamped(venues, latest)), missing


DAYS_BEFORE = 14
"""Days before a week in which the close before a split of its first session is looked for."""


def _prices(
    connection: Connection, key: str, at: datetime | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the prices of a week, and all splits since by `SPLIT_COLUMNS`, known at the time."""
    week, columns = date.fromisoformat(key), ("volume", "known_from", *SPLIT_COLUMNS[:-1])
    chosen = relation_as_of(prices_daily.name, at) if at else relation(prices_daily.name)

    def read(*wheres: str) -> pl.DataFrame:
        found = chosen.select(columns, wheres).order_by(None)
        statement = found if isinstance(found, Select) else select(found.subquery())
        return read_frame(connection, statement, prices_daily)

    prices = read(f"trade_date>={week}", f"trade_date<={week + timedelta(days=6)}")
    split = read(f"trade_date>{week}", f"split_ratio!={ONE}")["symbol"].unique().sort()
    since = week - timedelta(days=DAYS_BEFORE)
    named = ",".join(f'"{symbol}"' for symbol in split)
    wheres = (f"symbol in ({named})", f"trade_date>={since}")
    around = prices.clear() if split.is_empty() else read(*wheres)
    is_split = (pl.col("trade_date") > week) & (pl.col("split_ratio") != ONE)
    splits = around.sort("symbol", "trade_date").with_columns(
        close_before=pl.col("close").shift().over("symbol")
    )
    return prices, splits.filter(is_split).select(SPLIT_COLUMNS)


def _latest_load(connection: Connection, scope: Scope, at: datetime | None) -> datetime | None:
    """Return when a load last changed a week by then; one that only removed rows counts, too."""
    history = finra_otc_weekly.info[HISTORY]
    moments = [
        (finra_otc_weekly, finra_otc_weekly.c.known_from),
        (history, history.c.known_from),
        (history, history.c.known_to),
    ]
    found = []
    for table, moment in moments:
        statement = select(func.max(moment)).where(within(table, scope))
        if at is not None:
            statement = statement.where(moment <= at)
        found.append(connection.execute(statement).scalar_one())
    return max((each for each in found if each is not None), default=None)
