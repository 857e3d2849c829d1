"""Tables derived across weeks and tiers: inputs, affected partitions and functions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import ColumnElement, Connection, Table, select

from orchestration_project.domains.finra import across, conservation, movers, recomputation
from orchestration_project.domains.finra.selection import parsed
from orchestration_project.domains.finra.tables.market import (
    finra_symbol_anomalies_week,
    finra_symbol_movers_week,
    finra_venue_movers_week,
    finra_venue_week_all_tiers,
)
from orchestration_project.domains.finra.tables.weekly import (
    finra_concentration_week,
    finra_otc_weekly,
    finra_symbol_rolling_6w,
    finra_symbol_week,
    finra_tier_week,
    finra_venue_week,
)
from orchestration_project.engine.derived import (
    DerivedPart,
    DerivedTable,
    Inputs,
    PendingDerivation,
)
from orchestration_project.engine.warehouse.fencing import read_last_changes
from orchestration_project.engine.warehouse.frames import Scope, match_scope, read_frame, read_scope
from orchestration_project.resources.finra.preview import largest_rows

LOADED_BY = "finra_otc_weekly"
"""The job that loads what all gold is made of."""

SYMBOL_KEY = ("week_start", "tier", "symbol")
DATED_SHARES = (*SYMBOL_KEY, "total_share_quantity", "published_at", "known_from")
COLUMNS: dict[Table, tuple[str, ...]] = {
    finra_symbol_rolling_6w: (*DATED_SHARES, "total_trade_count"),
    finra_concentration_week: (
        *(*DATED_SHARES, "hhi_lower", "hhi_upper"),
        *("top_venue_share", "top_3_venue_share", "top_5_venue_share"),
    ),
    finra_tier_week: SYMBOL_KEY,
    finra_symbol_movers_week: DATED_SHARES,
    finra_symbol_anomalies_week: DATED_SHARES,
}
"""Columns of `finra_symbol_week` that each table needs."""


@dataclass(frozen=True)
class GoldWeeks:
    """Weeks of `finra_symbol_week`, in the columns needed, and of `finra_venue_week`."""

    symbols: pl.DataFrame
    venues: pl.DataFrame

    def of(self, keys: Collection[str]) -> "GoldWeeks":
        """Return those of just these partitions."""
        weeks = [parsed(key).week_start for key in keys]
        is_in = pl.col("week_start").is_in(weeks)
        return GoldWeeks(self.symbols.filter(is_in), self.venues.filter(is_in))


def read_loaded_weeks(
    connection: Connection, _key: str | None = None
) -> recomputation.LoadedVersions:
    """Return the loaded weeks of tiers, and the number of the delivery that last changed each."""
    return read_last_changes(connection, finra_otc_weekly)


def _parse_tier_week(key: str) -> Scope:
    partition = parsed(key)
    return {"week_start": partition.week_start, "tier": partition.tier}


def _parse_week(key: str) -> Scope:
    return {"week_start": parsed(f"|{key}").week_start}


def _read_weeks(connection: Connection, due: Sequence[PendingDerivation]) -> GoldWeeks:
    """Return the weeks of all that is due once, as windows overlap."""
    names = dict.fromkeys(
        name
        for pending_derivation in due
        for name in COLUMNS.get(pending_derivation.derived.table, ())
    )
    of_symbols = _collect_scope(
        [
            pending_derivation
            for pending_derivation in due
            if pending_derivation.derived.table in COLUMNS
        ]
    )
    columns: list[ColumnElement[Any]] = [finra_symbol_week.c[name] for name in names or SYMBOL_KEY]
    statement = select(*columns).where(match_scope(finra_symbol_week, of_symbols))
    of_venues = _collect_scope(
        [
            pending_derivation
            for pending_derivation in due
            if pending_derivation.derived.table in OF_VENUES
        ]
    )
    return GoldWeeks(
        read_frame(connection, statement, finra_symbol_week),
        read_scope(connection, finra_venue_week, of_venues),
    )


def _collect_scope(due: Sequence[PendingDerivation]) -> Scope:
    at = [
        parsed(key)
        for key in {one for pending_derivation in due for one in pending_derivation.inputs}
    ]
    return {
        "week_start": tuple(sorted({tier_week.week_start for tier_week in at})),
        "tier": tuple(sorted({tier_week.tier for tier_week in at})),
    }


OF_VENUES = (finra_tier_week, finra_venue_week_all_tiers, finra_venue_movers_week)
"""Tables that need `finra_venue_week`."""


def _make_rolling(due: PendingDerivation, read: GoldWeeks) -> DerivedPart:
    rows = across.symbol_rolling_6w(
        read.of(due.inputs).symbols,
        week_start=parsed(due.key).week_start,
        is_complete=len(due.inputs) == recomputation.WINDOW_WEEKS,
    )
    return _add_largest_symbols(due, rows, read.symbols)


def _make_concentration(due: PendingDerivation, read: GoldWeeks) -> DerivedPart:
    of_weeks = read.of(due.inputs).symbols
    rows = across.concentration_week(of_weeks, week_start=parsed(due.key).week_start)
    return _add_largest_symbols(due, rows, read.symbols)


def _make_symbol_movers(due: PendingDerivation, read: GoldWeeks) -> DerivedPart:
    weeks = read.of(due.inputs).symbols
    rows, excluded = movers.symbol_movers(weeks, week_start=parsed(due.key).week_start)
    return DerivedPart(rows, _select_largest(due, rows, "share_quantity"), excluded=excluded)


def _make_venue_movers(due: PendingDerivation, read: GoldWeeks) -> DerivedPart:
    weeks = read.of(due.inputs).venues
    rows, excluded = movers.venue_movers(weeks, week_start=parsed(due.key).week_start)
    return DerivedPart(rows, _select_largest(due, rows, "share_quantity"), excluded=excluded)


def _make_anomalies(due: PendingDerivation, read: GoldWeeks) -> DerivedPart:
    weeks = read.of(due.inputs).symbols
    rows, excluded = movers.symbol_anomalies(weeks, week_start=parsed(due.key).week_start)
    return DerivedPart(rows, _select_largest(due, rows, "share_quantity"), excluded=excluded)


def _make_tiers(due: PendingDerivation, read: GoldWeeks) -> DerivedPart:
    rows = across.tier_week(read.venues, read.symbols)
    return DerivedPart(rows, _select_largest(due, rows, "share_quantity"))


def _make_venues(due: PendingDerivation, read: GoldWeeks) -> DerivedPart:
    rows = across.venue_week_all_tiers(read.venues)
    return DerivedPart(rows, _select_largest(due, rows, "share_quantity"))


def _add_largest_symbols(
    due: PendingDerivation, rows: pl.DataFrame, symbol_weeks: pl.DataFrame
) -> DerivedPart:
    """Return rows, and the largest of them by their symbols' shares in the week."""
    shares = "total_share_quantity"
    sized = rows.join(symbol_weeks.select(*SYMBOL_KEY, shares), on=SYMBOL_KEY)
    return DerivedPart(rows, _select_largest(due, sized, shares))


def _select_largest(due: PendingDerivation, rows: pl.DataFrame, shares: str) -> pl.DataFrame:
    table, of_partition = due.derived.table, due.derived.scope(due.key)
    keys = [column.key for column in table.columns if column.key not in of_partition]
    return largest_rows(rows, table, shares).select(keys)


GOLD_WEEKS = Inputs(read_loaded=read_loaded_weeks, read=_read_weeks, job=LOADED_BY)

ROLLING = DerivedTable(
    table=finra_symbol_rolling_6w,
    inputs=GOLD_WEEKS,
    reach=recomputation.ROLLING,
    scope=_parse_tier_week,
    make=_make_rolling,
    conservation=conservation.ROLLING,
)
CONCENTRATION = DerivedTable(
    table=finra_concentration_week,
    inputs=GOLD_WEEKS,
    reach=recomputation.CONCENTRATION,
    scope=_parse_tier_week,
    make=_make_concentration,
    conservation=conservation.CONCENTRATION,
)
SYMBOL_MOVERS = DerivedTable(
    table=finra_symbol_movers_week,
    inputs=GOLD_WEEKS,
    reach=recomputation.CONCENTRATION,
    scope=_parse_tier_week,
    make=_make_symbol_movers,
    conservation=conservation.SYMBOL_MOVERS,
)
VENUE_MOVERS = DerivedTable(
    table=finra_venue_movers_week,
    inputs=GOLD_WEEKS,
    reach=recomputation.CONCENTRATION,
    scope=_parse_tier_week,
    make=_make_venue_movers,
    conservation=conservation.VENUE_MOVERS,
)
ANOMALIES = DerivedTable(
    table=finra_symbol_anomalies_week,
    inputs=GOLD_WEEKS,
    reach=recomputation.ROLLING,
    scope=_parse_tier_week,
    make=_make_anomalies,
    conservation=conservation.ANOMALIES,
)
CROSS_TIER = DerivedTable(
    table=finra_tier_week,
    inputs=GOLD_WEEKS,
    reach=recomputation.CROSS_TIER,
    scope=_parse_week,
    make=_make_tiers,
    conservation=conservation.TIERS,
)
ALL_TIER_VENUES = DerivedTable(
    table=finra_venue_week_all_tiers,
    inputs=GOLD_WEEKS,
    reach=recomputation.CROSS_TIER,
    scope=_parse_week,
    make=_make_venues,
    conservation=conservation.ALL_TIERS,
)

WINDOWS = (ROLLING, CONCENTRATION, SYMBOL_MOVERS, VENUE_MOVERS, ANOMALIES)
"""Tables of a tier's weeks that look back at earlier ones."""

TIER_WEEKS = (CROSS_TIER, ALL_TIER_VENUES)
"""Tables of a week that compare its tiers."""
