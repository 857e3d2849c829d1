"""The first and the last days that are loaded of symbols, and those with a dividend or split.

A first or last day is looked up in the index symbol by symbol, beside the fence that each has: to
group the rows of symbols would read all of their history.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import polars as pl
from sqlalchemy import Connection, Select, func, or_, select

from orchestration_project.domains.prices.contract import ONE
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.contracts.key_ranges import Days
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse.frames import (
    join_scopes,
    match_scope,
    read_frame,
    read_scope,
)
from orchestration_project.tables.spine import fences

_daily = prices_daily.c


def first_days(connection: Connection, symbols: Sequence[str]) -> Mapping[str, date]:
    """Return the first loaded day of those of ``symbols`` that have one."""
    return _find_days(connection, symbols, select(func.min(_daily.trade_date)))


def last_days(connection: Connection, symbols: Sequence[str]) -> Mapping[str, date]:
    """Return the last loaded day of those of ``symbols`` that have one."""
    return _find_days(connection, symbols, select(func.max(_daily.trade_date)))


def rows_before(connection: Connection, days: Mapping[str, date]) -> pl.DataFrame:
    """Return the row of each symbol's last loaded day before its own of ``days``, if there is one.

    The columns are those of `prices_daily`.
    """
    newest: dict[str, date] = {}
    for day in set(days.values()):
        symbols = [symbol for symbol, own in days.items() if own == day]
        before = select(func.max(_daily.trade_date)).where(_daily.trade_date < day)
        newest |= _find_days(connection, symbols, before)
    nothing = pl.DataFrame(schema=derive_schema(prices_daily))
    scopes = join_scopes({"symbol": symbol, "trade_date": day} for symbol, day in newest.items())
    return pl.concat([nothing, *(read_scope(connection, prices_daily, scope) for scope in scopes)])


def read_loaded_actions(connection: Connection, days: Mapping[str, Days]) -> pl.DataFrame:
    """Return the loaded dividends and splits of each symbol within its ``days``.

    The columns are symbol, trade_date, dividend and split_ratio.
    """
    columns = [_daily[name] for name in ("symbol", "trade_date", "dividend", "split_ratio")]
    query = select(*columns).where(or_(_daily.dividend > 0, _daily.split_ratio != ONE))
    scopes = join_scopes({"symbol": symbol, "trade_date": own} for symbol, own in days.items())
    return pl.concat(
        read_frame(connection, query.where(match_scope(prices_daily, scope)), prices_daily)
        for scope in scopes
    )


def _find_days(
    connection: Connection, symbols: Sequence[str], day: Select[Any]
) -> Mapping[str, date]:
    of_symbol = day.where(_daily.symbol == fences.c.scope_key).scalar_subquery()
    rows = connection.execute(
        select(fences.c.scope_key, of_symbol.label("day")).where(
            fences.c.table_name == prices_daily.name, fences.c.scope_key.in_(symbols)
        )
    )
    return {row.scope_key: row.day for row in rows if row.day is not None}
