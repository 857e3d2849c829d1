"""Gold tables as they were known or published at a time, derived of the weekly rows of that time.

Rows of `finra_otc_weekly` are read in their state of the time, and go through the functions that
derive the tables. So a table that has no history has one. A week that has not changed since is read
as its load derived it. Prices, short sales
and short interest have no day of publication: they count as they were loaded by the time.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import polars as pl
from sqlalchemy import Table, func, select

from orchestration_project.domains.finra.gold import symbol_week, venue_sums, venue_week
from orchestration_project.domains.finra.selection import TierWeek, parsed, tier_week
from orchestration_project.domains.finra.symbols import symbol_master
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.domains.finra.value import PRICE_COLUMNS
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.derived import DerivedTable, PendingDerivation
from orchestration_project.engine.warehouse.as_of import (
    AsOf,
    DerivedAsOf,
    LeftOut,
    StateAsOf,
    build_absent_error,
    read_day,
)
from orchestration_project.engine.warehouse.frames import Scope, match_scope, read_frame
from orchestration_project.engine.warehouse.target import fill_known_from
from orchestration_project.errors import (
    UnknownNameError,
)
from orchestration_project.resources.finra.gold import (
    COLUMNS,
    OF_VENUES,
    SYMBOL_KEY,
    TIER_WEEKS,
    WINDOWS,
    GoldWeeks,
    read_loaded_weeks,
)
from orchestration_project.resources.finra.short import SYMBOL_WEEK_SHORT, short_inputs_as_of
from orchestration_project.resources.finra.symbols import ALL, TABLES, TRADED
from orchestration_project.resources.finra.value import SYMBOL_WEEK_VALUE
from orchestration_project.tables.queries.published import REASON
from orchestration_project.tables.schema import key_names

OF_A_WEEK = (*TIER_WEEKS, SYMBOL_WEEK_VALUE, SYMBOL_WEEK_SHORT)
"""Tables of a week that are made of all of its tiers."""


ROWS = (
    *("week_start", "tier", "market", "symbol", "venue_id", "firm_crd_number", "participant_name"),
    *("issue_name", "share_quantity", "trade_count", "notional_usd", "last_update_date"),
    "known_from",
)
"""Columns of `finra_otc_weekly` that gold is made of."""

ALL_SYMBOLS = tuple(derive_schema(finra_symbol_week))


@dataclass(frozen=True)
class Needed:
    """Inputs of a table.

    Attributes:
        symbols: Columns of `finra_symbol_week`; none: it is not needed.
        has_venues: Whether it needs `finra_venue_week`.
        has_names: Whether it needs the names of issues.
    """

    symbols: Sequence[str] = ALL_SYMBOLS
    has_venues: bool = False
    has_names: bool = False


@dataclass(frozen=True)
class WeekAsOf:
    """A week and tier at a time: what a load derives of its weekly rows.

    Attributes:
        symbols: `finra_symbol_week`, in the needed columns.
        venues: `finra_venue_week`, if it is needed.
        names: The greatest issue_name by `SYMBOL_KEY`, if it is needed.
    """

    symbols: pl.DataFrame
    venues: pl.DataFrame
    names: pl.DataFrame


NOTHING_LEFT_OUT = LeftOut(
    pl.DataFrame(
        schema=derive_schema(finra_otc_weekly, key_names(finra_otc_weekly)) | {REASON: pl.String()}
    )
)
NO_SYMBOLS = pl.DataFrame(schema=derive_schema(finra_symbol_week))
NO_VENUES = pl.DataFrame(schema=derive_schema(finra_venue_week))
NO_NAMES = pl.DataFrame(schema=derive_schema(finra_otc_weekly, [*SYMBOL_KEY, "issue_name"]))


def _derive_loaded_table(table: Table, state: StateAsOf, key: str) -> DerivedAsOf:
    """Return a week of a table that a load derives itself."""
    tier_week(key, today=date.max)
    is_of_symbols = table is finra_symbol_week
    needed = Needed(ALL_SYMBOLS if is_of_symbols else (), has_venues=not is_of_symbols)
    weeks, left_out = _read_weeks(state, needed, [key])
    _require(table, key, [key], weeks)
    week = weeks[key]
    return DerivedAsOf(table, week.symbols if is_of_symbols else week.venues, left_out)


def _derive_table(derived: DerivedTable[Any], state: StateAsOf, key: str) -> DerivedAsOf:
    """Return a partition of a table that is derived after the load."""
    if derived in OF_A_WEEK:
        read_day(key, monday=True)
        required = derived.reach.required(key)
    else:
        tier_week(key, today=date.max)
        required = [key]
    table, inputs = derived.table, derived.reach.inputs(key)
    is_of_venues = table in OF_VENUES and table not in COLUMNS
    columns = () if is_of_venues else COLUMNS.get(table, ALL_SYMBOLS)
    needed = Needed(columns, has_venues=table in OF_VENUES)
    weeks, left_out = _read_weeks(state, needed, inputs)
    _require(table, key, required, weeks)
    gold = GoldWeeks(
        pl.concat(week.symbols for week in weeks.values()),
        pl.concat(week.venues for week in weeks.values()),
    )
    read: Any = gold
    if derived is SYMBOL_WEEK_VALUE:
        read = (gold.symbols, _read_prices(state, date.fromisoformat(key)))
    elif derived is SYMBOL_WEEK_SHORT:
        read = (gold.symbols, *short_inputs_as_of(state, date.fromisoformat(key)))
    due = PendingDerivation(derived, key, 0, None, "", list(weeks))
    return DerivedAsOf(table, derived.make(due, read).rows, left_out)


def _derive_symbols(derived: DerivedTable[Any], state: StateAsOf, key: str) -> DerivedAsOf:
    """Return a table of the symbol master, reading one week after another.

    Raises:
        ConfigurationError: The key is not its one partition, or no week was loaded by then.
    """
    if key != ALL:
        raise UnknownNameError(f"invalid partition {key!r}: expected {ALL}, the only one")
    needed = Needed(TRADED, has_names=True)
    weeks, left_out = _read_weeks(state, needed, read_loaded_weeks(state.connection))
    if not weeks:
        raise build_absent_error(derived.table.name, key, ["any week"])
    traded = pl.concat(
        week.symbols.join(week.names, on=SYMBOL_KEY, how="left") for week in weeks.values()
    )
    return DerivedAsOf(derived.table, symbol_master(traded)[derived.table], left_out)


AS_OF: AsOf = {
    **{
        table.name: partial(_derive_loaded_table, table)
        for table in (finra_symbol_week, finra_venue_week)
    },
    **{window.table.name: partial(_derive_table, window) for window in (*WINDOWS, *OF_A_WEEK)},
    **{
        derived_table.table.name: partial(_derive_symbols, derived_table)
        for derived_table in TABLES
    },
}
"""Gold tables that follow from weekly rows, each with what derives a partition as of a time."""


def _read_weeks(
    state: StateAsOf, needed: Needed, wanted: Iterable[str]
) -> tuple[dict[str, WeekAsOf], LeftOut]:
    """Return the weeks of tiers that are there, and the weekly rows that are left out."""
    weeks: dict[str, WeekAsOf] = {}
    left_out = LeftOut()
    for name in wanted:
        week, missing = _read_week(state, needed, parsed(name))
        left_out += missing
        if week is not None:
            weeks[name] = week
    return weeks, left_out


def _require(table: Table, key: str, required: Sequence[str], weeks: Collection[str]) -> None:
    """Refuse a partition of which a required week has no rows.

    Raises:
        ConfigurationError: There is one.
    """
    if absent := [name for name in required if name not in weeks]:
        raise build_absent_error(table.name, key, absent)


def _read_week(state: StateAsOf, needed: Needed, week: TierWeek) -> tuple[WeekAsOf | None, LeftOut]:
    """Return a week of a tier at the time, None without rows, and the rows that are left out."""
    state.require_time()
    scope: Scope = {"week_start": week.week_start, "tier": week.tier}
    if stored := _find_stored_week(state, needed, scope):
        return stored, NOTHING_LEFT_OUT
    wheres = [f"week_start={week.week_start}", f"tier={week.tier}"]
    left_out = state.left_out(finra_otc_weekly, wheres)
    rows = state.read(finra_otc_weekly, wheres, ROWS)
    if rows.is_empty():
        return None, left_out
    known_from = state.last_load(finra_otc_weekly, scope) if state.day is None else None
    latest = known_from or max(rows["known_from"].to_list())
    derived = WeekAsOf(
        fill_known_from(symbol_week(rows), latest).select(needed.symbols)
        if needed.symbols
        else NO_SYMBOLS,
        fill_known_from(venue_week(venue_sums(rows)), latest) if needed.has_venues else NO_VENUES,
        rows.group_by(SYMBOL_KEY).agg(pl.col("issue_name").max()) if needed.has_names else NO_NAMES,
    )
    return derived, left_out


def _find_stored_week(state: StateAsOf, needed: Needed, scope: Scope) -> WeekAsOf | None:
    """Return a week that has not changed since the time as it is stored; None: it has to be made.

    What a load derives is written with the rows: where these are those of the time, so is it.
    """
    latest = state.load_of_present(finra_otc_weekly, scope)
    if latest is None:
        return None
    symbols, venues, names = NO_SYMBOLS, NO_VENUES, NO_NAMES
    if needed.symbols:
        symbols = _read_stored_rows(state, finra_symbol_week, needed.symbols, scope, latest)
    if needed.has_venues:
        venues = _read_stored_rows(state, finra_venue_week, None, scope, latest)
    if (needed.symbols and symbols.is_empty()) or (needed.has_venues and venues.is_empty()):
        return None
    if needed.has_names:
        row = finra_otc_weekly.c
        key = [row[name] for name in SYMBOL_KEY]
        named = select(*key, func.max(row.issue_name).label("issue_name"))
        statement = named.where(match_scope(finra_otc_weekly, scope)).group_by(*key)
        names = read_frame(state.connection, statement, finra_otc_weekly)
    return WeekAsOf(symbols, venues, names)


def _read_stored_rows(
    state: StateAsOf, table: Table, names: Sequence[str] | None, scope: Scope, latest: datetime
) -> pl.DataFrame:
    columns = [table.c[name] for name in names] if names else list(table.columns)
    statement = select(*columns).where(match_scope(table, scope))
    rows = read_frame(state.connection, statement, table)
    at = pl.lit(latest).cast(pl.Datetime("us", "UTC")).alias("known_from")
    return rows.with_columns(at) if "known_from" in rows.columns else rows


def _read_prices(state: StateAsOf, week: date) -> pl.DataFrame:
    """Return the prices of a week, as `symbol_week_value` takes them, known at the time."""
    wheres = (f"trade_date>={week}", f"trade_date<={week + timedelta(days=6)}")
    return state.read(prices_daily, wheres, PRICE_COLUMNS)
