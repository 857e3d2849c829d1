"""Tables derived across weeks and tiers: inputs, affected partitions and functions."""

from collections.abc import Collection, Sequence
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, Connection, select

from orchestration_project.domains.finra import across, recomputation
from orchestration_project.domains.finra.selection import parsed
from orchestration_project.engine.derived import (
    DerivedPart,
    DerivedTable,
    Inputs,
    PendingDerivation,
)
from orchestration_project.engine.warehouse.difference import changes
from orchestration_project.engine.warehouse.frames import Scope, read_frame, read_scope, within
from orchestration_project.resources.finra.preview import largest_rows
from orchestration_project.tables.finra import (
    finra_concentration_week,
    finra_otc_weekly,
    finra_symbol_rolling_6w,
    finra_symbol_week,
    finra_tier_week,
    finra_venue_week,
)

LOADED_BY = "finra_otc_weekly"
"""The job that loads what all gold is made of."""

SYMBOL_KEY = ("week_start", "tier", "symbol")
COLUMNS = {
    finra_symbol_rolling_6w: (*SYMBOL_KEY, "total_share_quantity", "total_trade_count"),
    finra_concentration_week: (
        *(*SYMBOL_KEY, "hhi_lower", "hhi_upper"),
        *("top_venue_share", "top_3_venue_share", "top_5_venue_share", "total_share_quantity"),
    ),
    finra_tier_week: SYMBOL_KEY,
}
"""Columns of `finra_symbol_week` that each table needs."""


def landed_weeks(connection: Connection, _key: str | None = None) -> recomputation.Landed:
    """Return the loaded weeks of tiers, and the number of the delivery that last changed each."""
    return changes(connection, finra_otc_weekly)


def _of_tier_week(key: str) -> Scope:
    partition = parsed(key)
    return {"week_start": partition.week_start, "tier": partition.tier}


def _of_week(key: str) -> Scope:
    return {"week_start": parsed(f"|{key}").week_start}


def _read_symbol_weeks(connection: Connection, due: Sequence[PendingDerivation]) -> pl.DataFrame:
    """Return the weeks of all that is due once, as windows overlap, in the columns needed."""
    at = [parsed(key) for key in {one for each in due for one in each.inputs}]
    scope = {
        "week_start": tuple(sorted({each.week_start for each in at})),
        "tier": tuple(sorted({each.tier for each in at})),
    }
    names = dict.fromkeys(name for each in due for name in COLUMNS[each.derived.table])
    columns: list[ColumnElement[Any]] = [finra_symbol_week.c[name] for name in names]
    statement = select(*columns).where(within(finra_symbol_week, scope))
    return read_frame(connection, statement, finra_symbol_week)


def _read_tiers(
    connection: Connection, due: Sequence[PendingDerivation]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the symbols and the venues of a week in all tiers."""
    [week] = due
    venue_weeks = read_scope(connection, finra_venue_week, _of_week(week.key))
    return _read_symbol_weeks(connection, due).drop("week_start"), venue_weeks


def _make_rolling(due: PendingDerivation, symbol_weeks: pl.DataFrame) -> DerivedPart:
    rows = across.symbol_rolling_6w(
        _of_weeks(symbol_weeks, due.inputs),
        week_start=parsed(due.key).week_start,
        is_complete=len(due.inputs) == recomputation.WINDOW_WEEKS,
    )
    return _with_largest_symbols(due, rows, symbol_weeks)


def _make_concentration(due: PendingDerivation, symbol_weeks: pl.DataFrame) -> DerivedPart:
    of_weeks = _of_weeks(symbol_weeks, due.inputs)
    rows = across.concentration_week(of_weeks, week_start=parsed(due.key).week_start)
    return _with_largest_symbols(due, rows, symbol_weeks)


def _make_tiers(due: PendingDerivation, read: tuple[pl.DataFrame, pl.DataFrame]) -> DerivedPart:
    symbols, venue_weeks = read
    rows = across.tier_week(venue_weeks, symbols)
    return DerivedPart(rows, _largest(due, rows, "share_quantity"))


def _of_weeks(rows: pl.DataFrame, keys: Collection[str]) -> pl.DataFrame:
    return rows.filter(pl.col("week_start").is_in([parsed(key).week_start for key in keys]))


def _with_largest_symbols(
    due: PendingDerivation, rows: pl.DataFrame, symbol_weeks: pl.DataFrame
) -> DerivedPart:
    """Return rows, and the largest of them by their symbols' shares in the week."""
    shares = "total_share_quantity"
    sized = rows.join(symbol_weeks.select(*SYMBOL_KEY, shares), on=SYMBOL_KEY)
    return DerivedPart(rows, _largest(due, sized, shares))


def _largest(due: PendingDerivation, rows: pl.DataFrame, shares: str) -> pl.DataFrame:
    table, of_partition = due.derived.table, due.derived.scope(due.key)
    shown = [column.name for column in table.columns if column.name not in of_partition]
    return largest_rows(rows, table, shares).select(shown)


SYMBOL_WEEKS = Inputs(landed=landed_weeks, read=_read_symbol_weeks, job=LOADED_BY)

ROLLING = DerivedTable(
    table=finra_symbol_rolling_6w,
    inputs=SYMBOL_WEEKS,
    reach=recomputation.ROLLING,
    scope=_of_tier_week,
    make=_make_rolling,
)
CONCENTRATION = DerivedTable(
    table=finra_concentration_week,
    inputs=SYMBOL_WEEKS,
    reach=recomputation.CONCENTRATION,
    scope=_of_tier_week,
    make=_make_concentration,
)
CROSS_TIER = DerivedTable(
    table=finra_tier_week,
    inputs=Inputs(landed=landed_weeks, read=_read_tiers, job=LOADED_BY),
    reach=recomputation.CROSS_TIER,
    scope=_of_week,
    make=_make_tiers,
)

WINDOWS = (ROLLING, CONCENTRATION)
"""Tables of a tier's weeks that look back at earlier ones."""

TIER_WEEKS = (CROSS_TIER,)
"""Tables of a week that compare its tiers."""
