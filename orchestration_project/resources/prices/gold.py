"""Corporate actions and returns, derived of what changed of each symbol.

What they are made of is named by the version of their definitions, and the time of the symbol's
latest delivery: rows that are known since later, and rows that history kept since later, are what
changed. Under other definitions all of them did.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl
from sqlalchemy import Connection, Table, func, select

from orchestration_project.contracts.rules import Days
from orchestration_project.domains.prices.gold import (
    GOLD_VERSION,
    ROWS_BEFORE,
    corporate_actions,
    returns,
)
from orchestration_project.engine.warehouse import Derivation, Warehouse
from orchestration_project.engine.warehouse.difference import read_fence
from orchestration_project.engine.warehouse.frames import read_frame
from orchestration_project.tables.prices import (
    prices_corporate_actions,
    prices_daily,
    prices_daily_history,
    prices_returns,
)
from orchestration_project.tables.spine import fences

_daily, _history = prices_daily.c, prices_daily_history.c

MAKE: Mapping[Table, Callable[[pl.DataFrame, date], pl.DataFrame]] = {
    prices_corporate_actions: lambda rows, since: corporate_actions(
        rows.filter(pl.col("trade_date") >= since)
    ),
    prices_returns: lambda rows, since: returns(rows, since=since),
}
"""Derived tables, and what makes their rows from a day on, from rows that begin earlier."""


BY_DEFINITIONS = f"gold {GOLD_VERSION}: "
"""How the name of what was derived by the present definitions begins."""

NEVER = (datetime.fromisoformat("1970-01-01T00:00:00+00:00"), None)
"""When what was never derived was, and of what."""


@dataclass(frozen=True)
class DerivedPrices:
    """How many symbols were derived, and the rows of each table that were written."""

    symbol_count: int
    rows: Mapping[str, int]
    seconds: float


def outdated_symbols(warehouse: Warehouse) -> dict[str, datetime]:
    """Return the symbols of which something was delivered since they were derived, and when."""
    versions = [_fences(warehouse, table) for table in MAKE]
    return {
        symbol: known_from
        for symbol, (known_from, _) in sorted(_fences(warehouse, prices_daily).items())
        if any(each.get(symbol, NEVER)[1] != _version(known_from) for each in versions)
    }


def derive_outdated(warehouse: Warehouse) -> DerivedPrices:
    """Bring what is derived of every symbol up to date, each in a transaction of its own.

    Raises:
        SupersededError: Another run derived one of them meanwhile.
    """
    started, rows = time.monotonic(), Counter({table.name: 0 for table in MAKE})
    symbols = outdated_symbols(warehouse)
    for symbol in symbols:
        for table in MAKE:
            with warehouse.reading() as connection:
                derivation = _derivation(connection, table, symbol)
            warehouse.derive([derivation])
            rows[table.name] += len(derivation.rows)
    return DerivedPrices(len(symbols), rows, time.monotonic() - started)


def _fences(warehouse: Warehouse, table: Table) -> dict[str, tuple[datetime, str | None]]:
    statement = select(fences.c.scope_key, fences.c.known_from, fences.c.source_version).where(
        fences.c.table_name == table.name
    )
    with warehouse.reading() as connection:
        return {
            row.scope_key: (row.known_from, row.source_version)
            for row in connection.execute(statement)
        }


def _version(known_from: datetime) -> str:
    return f"{BY_DEFINITIONS}{known_from.isoformat()}"


def _derivation(connection: Connection, table: Table, symbol: str) -> Derivation:
    """Return the new rows of a symbol, from the first day that changed since the last time."""
    token, before = read_fence(connection, table, symbol)
    now = connection.execute(
        select(fences.c.known_from).where(
            fences.c.table_name == prices_daily.name, fences.c.scope_key == symbol
        )
    ).scalar_one()
    since = _changed_since(connection, symbol, before)
    rows = _rows(connection, symbol, since or date.max)
    return Derivation(
        table=table,
        partition_key=symbol,
        partition={"symbol": symbol, "trade_date": Days(since or date.max, date.max)},
        token=token,
        version=_version(now),
        rows=MAKE[table](rows, since or date.max),
    )


def _changed_since(connection: Connection, symbol: str, before: str | None) -> date | None:
    """Return the first day whose price is another than that which was derived from, or None."""
    seen = NEVER[0]
    if before is not None and before.startswith(BY_DEFINITIONS):
        seen = datetime.fromisoformat(before.removeprefix(BY_DEFINITIONS))
    written = select(func.min(_daily.trade_date)).where(
        _daily.symbol == symbol, _daily.known_from > seen
    )
    replaced = select(func.min(_history.trade_date)).where(
        _history.symbol == symbol, _history.known_to > seen
    )
    days = [connection.execute(each).scalar() for each in (written, replaced)]
    return min((day for day in days if day is not None), default=None)


def _rows(connection: Connection, symbol: str, since: date) -> pl.DataFrame:
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
