"""Corporate actions and returns, derived of what changed of each symbol.

What they are made of is named by the version of their definitions, and the time of the symbol's
latest delivery: rows that are known since later, and rows that history kept since later, are what
changed. Under other definitions all of them did.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

import polars as pl
from sqlalchemy import Connection, Table, func, select

from orchestration_project.domains.prices.gold import (
    ACTIONS,
    GOLD_VERSION,
    RETURNS,
    ROWS_BEFORE,
    corporate_actions,
    returns,
    returns_by_day,
)
from orchestration_project.domains.prices.tables import (
    prices_corporate_actions,
    prices_daily,
    prices_daily_history,
    prices_returns,
)
from orchestration_project.engine.contracts.balance import Conservation, DerivedKeys
from orchestration_project.engine.contracts.key_ranges import Days
from orchestration_project.engine.derived import (
    DerivedLoad,
    DerivedPart,
    DerivedTable,
    Inputs,
    PendingDerivation,
    Reach,
    find_outdated,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.as_of import (
    AsOf,
    DerivedAsOf,
    StateAsOf,
    build_absent_error,
)
from orchestration_project.engine.warehouse.frames import read_frame
from orchestration_project.tables.conditions import write_condition
from orchestration_project.tables.spine import fences

_daily, _history = prices_daily.c, prices_daily_history.c

DEFINITIONS_PREFIX = f"gold {GOLD_VERSION}: "
"""How the name of what was derived by the present definitions begins."""

NEVER = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
"""When what was never derived was."""


@dataclass(frozen=True)
class DerivedPrices:
    """How many symbols were derived, and the rows of each table that were written."""

    symbol_count: int
    rows: Mapping[str, int]
    seconds: float


def _find_delivery_times(connection: Connection, symbol: str | None = None) -> dict[str, datetime]:
    """Return when each symbol, or this one, was last delivered."""
    conditions = [fences.c.scope_key == symbol] if symbol is not None else []
    statement = select(fences.c.scope_key, fences.c.known_from).where(
        fences.c.table_name == prices_daily.name, *conditions
    )
    return {row.scope_key: row.known_from for row in connection.execute(statement)}


def _read(connection: Connection, due: Sequence[PendingDerivation]) -> tuple[pl.DataFrame, date]:
    """Return a symbol's rows that its changes reach, and the first day that changed."""
    [symbol] = {pending_derivation.key for pending_derivation in due}
    versions = {pending_derivation.before for pending_derivation in due}
    since = min(_find_first_change(connection, symbol, before) for before in versions)
    return _read_rows(connection, symbol, since), since


def _find_first_change(connection: Connection, symbol: str, before: str | None) -> date:
    """Return the first day whose price is another than that which was derived from."""
    seen_moment = NEVER
    if before is not None and before.startswith(DEFINITIONS_PREFIX):
        seen_moment = datetime.fromisoformat(before.removeprefix(DEFINITIONS_PREFIX))
    written = select(func.min(_daily.trade_date)).where(
        _daily.symbol == symbol, _daily.known_from > seen_moment
    )
    replaced = select(func.min(_history.trade_date)).where(
        _history.symbol == symbol, _history.known_to > seen_moment
    )
    days = [connection.execute(each).scalar() for each in (written, replaced)]
    return min((day for day in days if day is not None), default=date.max)


def _read_rows(connection: Connection, symbol: str, since: date) -> pl.DataFrame:
    """Return a symbol's rows from ``since`` on, and as many before it as windows reach back."""
    earlier = (
        select(_daily.trade_date)
        .where(_daily.symbol == symbol, _daily.trade_date < since)
        .order_by(_daily.trade_date.desc())
        .limit(ROWS_BEFORE + 1)
    )
    first = min(connection.execute(earlier).scalars(), default=since)
    statement = select(prices_daily).where(_daily.symbol == symbol, _daily.trade_date >= first)
    return read_frame(connection, statement, prices_daily)


class _SameSymbol(Reach):
    """A symbol is derived of its prices, known by the time of their latest delivery."""

    def version(self, key: str, loaded: Mapping[str, datetime]) -> str:
        """Return the version that a derivation of a symbol would have now."""
        return f"{DEFINITIONS_PREFIX}{loaded[key].isoformat()}"


INPUTS = Inputs(read_loaded=_find_delivery_times, read=_read, job="prices_daily")


def _declare_table(
    conservation: Conservation, make: Callable[[pl.DataFrame, date], DerivedKeys]
) -> DerivedTable[tuple[pl.DataFrame, date]]:
    """Declare a table; ``make`` returns its rows from a day on, of rows that begin earlier."""

    def make_changed(_: PendingDerivation, changed: tuple[pl.DataFrame, date]) -> DerivedPart:
        rows, excluded = make(*changed)
        part = {"trade_date": Days(changed[1], date.max)}
        return DerivedPart(rows, part=part, excluded=excluded)

    return DerivedTable(
        table=conservation.derived,
        inputs=INPUTS,
        reach=_SameSymbol(),
        scope=lambda symbol: {"symbol": symbol},
        make=make_changed,
        conservation=conservation,
    )


TABLES = (
    _declare_table(
        ACTIONS,
        lambda rows, since: DerivedKeys(
            corporate_actions(rows.filter(pl.col("trade_date") >= since)), {}
        ),
    ),
    _declare_table(RETURNS, lambda rows, since: returns_by_day(rows, since=since)),
)


def _derive_as_of(
    table: Table,
    make: Callable[[pl.DataFrame], pl.DataFrame],
    state: StateAsOf,
    symbol: str,
) -> DerivedAsOf:
    """Return a symbol of a table of the prices that were loaded by a time.

    Raises:
        ConfigurationError: There were none, or a day is requested: prices have no publication.
    """
    state.refuse_day(prices_daily)
    rows = state.read(prices_daily, [write_condition("symbol", symbol)]).sort("trade_date")
    if rows.is_empty():
        raise build_absent_error(table.name, symbol, [symbol])
    return DerivedAsOf(table, make(rows))


AS_OF: AsOf = {
    prices_corporate_actions.name: partial(
        _derive_as_of, prices_corporate_actions, corporate_actions
    ),
    prices_returns.name: partial(_derive_as_of, prices_returns, partial(returns, since=date.min)),
}
"""Derived tables, each with what derives a symbol as of a time."""


def outdated_symbols(warehouse: Warehouse) -> dict[str, datetime]:
    """Return the symbols of which something was delivered since they were derived, and when."""
    delivered, symbols = find_outdated(warehouse, TABLES)
    return {symbol: delivered[symbol] for symbol in symbols}


def derive_outdated(warehouse: Warehouse) -> DerivedPrices:
    """Derive each outdated symbol again, in a transaction of its own.

    Raises:
        SupersededError: Another run derived one of them meanwhile.
    """
    started, rows = (
        time.monotonic(),
        Counter({derived_table.table.name: 0 for derived_table in TABLES}),
    )
    load, symbols = DerivedLoad(TABLES, warehouse), outdated_symbols(warehouse)
    for symbol in symbols:
        for name, table in load.derive(symbol).tables.items():
            rows[name] += sum(table.recomputed.values())
    return DerivedPrices(len(symbols), rows, time.monotonic() - started)
