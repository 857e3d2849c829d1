"""The symbol master, derived of all loaded weeks at once, when any of them changed."""

from collections.abc import Mapping, Sequence
from functools import partial

import polars as pl
from sqlalchemy import Connection, Table, func, select

from orchestration_project.domains.finra.conservation import MASTER
from orchestration_project.domains.finra.symbols import SYMBOLS_VERSION, symbol_master
from orchestration_project.domains.finra.tables.symbols import (
    finra_symbol_changes,
    finra_symbol_renames,
    finra_symbols,
)
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly, finra_symbol_week
from orchestration_project.engine.contracts.chain import hash_content
from orchestration_project.engine.contracts.key_ranges import KeyRange
from orchestration_project.engine.derived import (
    DerivedLoad,
    DerivedPart,
    DerivedResult,
    DerivedTable,
    Inputs,
    PendingDerivation,
    Reach,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import read_frame
from orchestration_project.resources.finra.gold import LOADED_BY, SYMBOL_KEY, read_loaded_weeks

ALL = "all"
"""The one partition: a symbol's rows follow from all of its weeks."""

TRADED = (*SYMBOL_KEY, "total_share_quantity", "top_venue_id", "published_at", "known_from")
"""Columns of `finra_symbol_week` that the symbol master is made of."""

_week, _row = finra_symbol_week.c, finra_otc_weekly.c


class _AllWeeks(Reach):
    """One partition, made of every loaded week of every tier."""

    def required(self, key: str) -> Sequence[str]:
        """Return nothing: without a loaded week the tables are empty."""
        return []

    def candidates(self, loaded: Mapping[str, int]) -> Sequence[str]:
        """Return the partition if a week is loaded."""
        return [ALL] if loaded else []

    def version(self, key: str, loaded: Mapping[str, int]) -> str:
        """Return a hash of all weeks and their changes."""
        data_frame = pl.DataFrame(sorted(loaded.items()), ["partition", "token"], orient="row")
        return f"symbols {SYMBOLS_VERSION}: {len(data_frame)} weeks {hash_content(data_frame)[:16]}"


def _read(connection: Connection, due: Sequence[PendingDerivation]) -> Mapping[Table, pl.DataFrame]:
    """Return the rows of all tables of symbols, whichever is due."""
    weeks = read_frame(connection, select(*(_week[name] for name in TRADED)), finra_symbol_week)
    key = [_row[name] for name in SYMBOL_KEY]
    named = select(*key, func.max(_row.issue_name).label("issue_name")).group_by(*key)
    names = read_frame(connection, named, finra_otc_weekly)
    return symbol_master(weeks.join(names, on=SYMBOL_KEY, how="left"))


def _make(table: Table, due: PendingDerivation, read: Mapping[Table, pl.DataFrame]) -> DerivedPart:
    return DerivedPart(read[table])


INPUTS = Inputs(read_loaded=read_loaded_weeks, read=_read, job=LOADED_BY)

TABLES = tuple(
    DerivedTable(
        table=table,
        inputs=INPUTS,
        reach=_AllWeeks(),
        scope=lambda _: {"symbol": KeyRange()},
        make=partial(_make, table),
        conservation=MASTER if table is finra_symbols else None,
    )
    for table in (finra_symbols, finra_symbol_changes, finra_symbol_renames)
)


def derive_symbols(warehouse: Warehouse) -> DerivedResult:
    """Derive the symbol master if a loaded week changed since.

    Raises:
        SupersededError: Another run derived it meanwhile.
    """
    load = DerivedLoad(TABLES, warehouse, where={"tables": "symbols"})
    return load.derive(ALL)


def newest_week_changes(warehouse: Warehouse, kind: str, *, weeks: int) -> pl.DataFrame:
    """Return the changes of a kind in the latest weeks, by symbol."""
    change = finra_symbol_changes.c
    newest = select(func.max(_week.week_start)).scalar_subquery()
    with warehouse.reading() as connection:
        last = connection.execute(select(newest)).scalar_one()
        statement = select(finra_symbol_changes).where(change.kind == kind)
        frame = read_frame(connection, statement, finra_symbol_changes)
    if last is None:
        return frame
    return frame.filter((pl.lit(last) - pl.col("week_start")).dt.total_days() < weeks * 7)
