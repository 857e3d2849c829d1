"""Gold tables as they were known or published at a time, derived of the weekly rows of that time.

Nothing is stored: rows of `finra_otc_weekly` are read in their state of the time, and go through
the functions that derive the tables. So a table that has no history has one. Prices, short sales
and short interest have no day of publication: they count as they were loaded by the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

import polars as pl

from orchestration_project.domains.finra.gold import symbol_week, venue_sums, venue_week
from orchestration_project.domains.finra.selection import TierWeek, parsed, tier_week
from orchestration_project.domains.finra.symbols import symbol_master
from orchestration_project.domains.finra.value import ONE, SPLIT_COLUMNS
from orchestration_project.engine.derived import DerivedTable, PendingDerivation
from orchestration_project.engine.warehouse.as_of import (
    AsOf,
    DerivedAsOf,
    StateAsOf,
    nothing_then,
    read_day,
)
from orchestration_project.engine.warehouse.staleness import stamped
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.finra.gold import (
    SYMBOL_KEY,
    TIER_WEEKS,
    WINDOWS,
    GoldWeeks,
    landed_weeks,
)
from orchestration_project.resources.finra.short import SYMBOL_WEEK_SHORT, short_inputs_as_of
from orchestration_project.resources.finra.symbols import ALL, TABLES, TRADED
from orchestration_project.resources.finra.value import SYMBOL_WEEK_VALUE
from orchestration_project.tables.finra import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.tables.prices import prices_daily

OF_A_WEEK = (*TIER_WEEKS, SYMBOL_WEEK_VALUE, SYMBOL_WEEK_SHORT)
"""Tables of a week that are made of all of its tiers."""


@dataclass(frozen=True)
class WeekAsOf:
    """A week and tier at a time: its weekly rows, and what a load derives of them."""

    rows: pl.DataFrame
    gold: GoldWeeks


def _loaded_table(name: str, state: StateAsOf, key: str) -> DerivedAsOf:
    """Return a week of a table that a load derives itself."""
    tier_week(key, today=date.max)
    weeks, missing_count = _weeks(state, name, key, [key], [key])
    is_of_symbols = name == finra_symbol_week.name
    rows = weeks.symbols if is_of_symbols else weeks.venues
    return DerivedAsOf(finra_symbol_week.metadata.tables[name], rows, missing_count)


def _derived_table(derived: DerivedTable[Any], state: StateAsOf, key: str) -> DerivedAsOf:
    """Return a partition of a table that is derived after the load."""
    if derived in OF_A_WEEK:
        read_day(key, monday=True)
        required = derived.reach.required(key)
    else:
        tier_week(key, today=date.max)
        required = [key]
    inputs = derived.reach.inputs(key)
    weeks, missing_count = _weeks(state, derived.table.name, key, required, inputs)
    read: Any = weeks
    if derived is SYMBOL_WEEK_VALUE:
        read = (weeks.symbols, *_prices(state, date.fromisoformat(key)))
    elif derived is SYMBOL_WEEK_SHORT:
        read = (weeks.symbols, *short_inputs_as_of(state, date.fromisoformat(key)))
    there = {f"{tier}|{week}" for tier, week in weeks.symbols.select("tier", "week_start").rows()}
    loaded = [each for each in inputs if each in there]
    due = PendingDerivation(derived, key, 0, None, "", loaded)
    return DerivedAsOf(derived.table, derived.make(due, read).rows, missing_count)


def _symbols(derived: DerivedTable[Any], state: StateAsOf, key: str) -> DerivedAsOf:
    """Return a table of the symbol master, reading one week after another.

    Raises:
        ConfigurationError: The key is not its one partition, or no week was loaded by then.
    """
    if key != ALL:
        raise ConfigurationError(f"invalid partition {key!r}: expected {ALL}, the only one")
    missing_count, found = 0, []
    for each in landed_weeks(state.connection):
        week, missing = _week(state, parsed(each))
        missing_count += missing
        if week is not None:
            names = week.rows.group_by(SYMBOL_KEY).agg(pl.col("issue_name").max())
            found.append(week.gold.symbols.select(TRADED).join(names, on=SYMBOL_KEY, how="left"))
    if not found:
        raise nothing_then(derived.table.name, key, ["any week"])
    rows = symbol_master(pl.concat(found))[derived.table]
    return DerivedAsOf(derived.table, rows, missing_count)


AS_OF: AsOf = {
    **{
        table.name: partial(_loaded_table, table.name)
        for table in (finra_symbol_week, finra_venue_week)
    },
    **{each.table.name: partial(_derived_table, each) for each in (*WINDOWS, *OF_A_WEEK)},
    **{each.table.name: partial(_symbols, each) for each in TABLES},
}
"""Gold tables that follow from weekly rows, each with what derives a partition as of a time."""


def _weeks(
    state: StateAsOf, name: str, key: str, required: Sequence[str], wanted: Sequence[str]
) -> tuple[GoldWeeks, int]:
    """Return the weeks of tiers that are there, and how many weekly rows are missing.

    Raises:
        ConfigurationError: A required one has no rows.
    """
    weeks: dict[str, GoldWeeks] = {}
    missing_count = 0
    for each in wanted:
        week, missing = _week(state, parsed(each))
        missing_count += missing
        if week is not None:
            weeks[each] = week.gold
    if absent := [each for each in required if each not in weeks]:
        raise nothing_then(name, key, absent)
    read = GoldWeeks(
        pl.concat(each.symbols for each in weeks.values()),
        pl.concat(each.venues for each in weeks.values()),
    )
    return read, missing_count


def _week(state: StateAsOf, week: TierWeek) -> tuple[WeekAsOf | None, int]:
    """Return a week of a tier at the time, None without rows, and how many rows are missing."""
    wheres = [f"week_start={week.week_start}", f"tier={week.tier}"]
    rows = state.read(finra_otc_weekly, wheres)
    missing = state.missing_count(finra_otc_weekly, wheres)
    if rows.is_empty():
        return None, missing
    scope = {"week_start": week.week_start, "tier": week.tier}
    known_from = state.last_load(finra_otc_weekly, scope) if state.day is None else None
    latest = known_from or max(rows["known_from"].to_list())
    symbols, venues = symbol_week(rows), venue_week(venue_sums(rows))
    return WeekAsOf(rows, GoldWeeks(stamped(symbols, latest), stamped(venues, latest))), missing


DAYS_BEFORE = 14
"""Days before a week in which the close before a split of its first session is looked for."""


def _prices(state: StateAsOf, week: date) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the prices of a week, and all splits since by `SPLIT_COLUMNS`, known at the time."""
    columns = ("volume", "known_from", *SPLIT_COLUMNS[:-1])

    def read(*wheres: str) -> pl.DataFrame:
        return state.read(prices_daily, wheres, columns)

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
