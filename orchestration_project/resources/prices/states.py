"""The rows of `prices_symbol_months`, read and written."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import polars as pl
from sqlalchemy import Connection, delete, extract, func, select

from orchestration_project.domains.prices.calendar import last_of_month, months
from orchestration_project.domains.prices.states import (
    Days,
    Known,
    Standing,
    SymbolMonth,
    after,
)
from orchestration_project.resources.warehouse import Between, Warehouse
from orchestration_project.resources.warehouse.frames import (
    Scope,
    insert_frame,
    storable,
    within,
)
from orchestration_project.tables.kinds import schema_of
from orchestration_project.tables.prices import prices_daily, prices_symbol_months

SCHEMA = schema_of(prices_symbol_months)
"""The columns of `SymbolMonth`, in their order."""

_row = prices_symbol_months.c


def read_known(connection: Connection, symbol: str, days: Days) -> Known:
    """Return the rows of a symbol for the months of ``days``."""
    found = connection.execute(
        select(prices_symbol_months).where(within(prices_symbol_months, _months(symbol, days)))
    )
    return {row.month_start: SymbolMonth(**row._mapping) for row in found}


def note_standing(
    connection: Connection,
    symbol: str,
    days: Days,
    standing: Standing,
    through: date | None,
    *,
    source: str,
    now: datetime,
    run_id: str,
) -> Sequence[SymbolMonth]:
    """Note how a symbol stands after it was looked at for ``days``, and return its rows."""
    if standing.reason is not None:
        standing = Standing(standing.state, storable(standing.reason), standing.resumes_at)
    known = read_known(connection, symbol, days)
    rows = after(
        known,
        months(days.first, days.last),
        standing,
        through,
        _counts(connection, symbol, days),
        symbol=symbol,
        source=source,
        now=now,
        run_id=run_id,
    )
    _write(connection, symbol, days, rows, replaces=bool(known))
    return rows


def note_counts(connection: Connection, symbol: str, days: Days) -> None:
    """Count what is landed of a symbol anew; how it stands stays."""
    known, counts = read_known(connection, symbol, days), _counts(connection, symbol, days)
    rows = [row._replace(row_count=counts.get(month, 0)) for month, row in known.items()]
    _write(connection, symbol, days, rows, replaces=True)


def _write(
    connection: Connection, symbol: str, days: Days, rows: Sequence[SymbolMonth], *, replaces: bool
) -> None:
    if replaces:
        scope = within(prices_symbol_months, _months(symbol, days))
        connection.execute(delete(prices_symbol_months).where(scope))
    insert_frame(connection, prices_symbol_months, pl.DataFrame(rows, SCHEMA, orient="row"))


def symbols_of(warehouse: Warehouse, asked: Sequence[date]) -> Sequence[str]:
    """Return the symbols that were ever asked for in any of these months."""
    with warehouse.reading() as connection:
        wanted = select(_row.symbol).distinct().where(_row.month_start.in_(asked))
        return sorted(connection.execute(wanted).scalars())


def _months(symbol: str, days: Days) -> Scope:
    return {"symbol": symbol, "month_start": Between(days.first.replace(day=1), days.last)}


def _counts(connection: Connection, symbol: str, days: Days) -> Mapping[date, int]:
    whole = Between(days.first.replace(day=1), last_of_month(days.last))
    year, month = (extract(part, prices_daily.c.trade_date) for part in ("year", "month"))
    counted = (
        select(year, month, func.count())
        .where(within(prices_daily, {"symbol": symbol, "trade_date": whole}))
        .group_by(year, month)
    )
    return {date(int(y), int(m), 1): count for y, m, count in connection.execute(counted)}


def waiting(warehouse: Warehouse, now: datetime) -> Sequence[SymbolMonth]:
    """Return what waits and may be asked for again at ``now``, oldest month first."""
    statement = (
        select(prices_symbol_months)
        .where(
            _row.state == "waiting",
            _row.resumes_at.is_not(None),
            _row.resumes_at <= now,
        )
        .order_by(_row.month_start, _row.symbol)
    )
    with warehouse.reading() as connection:
        return [SymbolMonth(**row._mapping) for row in connection.execute(statement)]


def months_of_symbols(warehouse: Warehouse) -> tuple[frozenset[str], date | None]:
    """Return every symbol that was ever asked for, and the oldest month for which one was."""
    with warehouse.reading() as connection:
        symbols = connection.execute(select(_row.symbol).distinct()).scalars()
        return (
            frozenset(symbols),
            connection.execute(select(func.min(_row.month_start))).scalar(),
        )
