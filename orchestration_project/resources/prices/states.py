"""The rows of `prices_symbol_months`, read and written."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

import polars as pl
from sqlalchemy import Connection, delete, extract, func, select

from orchestration_project.domains.prices.calendar import (
    last_of_month,
    month_of,
)
from orchestration_project.domains.prices.states import (
    Known,
    SymbolMonth,
    SymbolStatus,
    after,
)
from orchestration_project.domains.prices.tables import prices_daily, prices_symbol_months
from orchestration_project.engine.contracts.key_ranges import Days
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import (
    Scope,
    clean_text,
    insert_frame,
    join_scopes,
    match_scope,
)

SCHEMA = derive_schema(prices_symbol_months)
"""The columns of `SymbolMonth`, in their order."""

_row = prices_symbol_months.c


class SymbolObservation(NamedTuple):
    """A symbol that was looked at for ``days``, and how it stands now.

    ``through`` is the last day that is loaded by this look; None: nothing is. Without a standing,
    all stays as it was but the numbers of rows.
    """

    symbol: str
    days: Days
    standing: SymbolStatus | None = None
    through: date | None = None
    source: str = ""


def read_known(connection: Connection, ranges: Sequence[tuple[str, Days]]) -> Mapping[str, Known]:
    """Return the rows of each symbol for the months of its days."""
    entries: dict[str, dict[date, SymbolMonth]] = {symbol: {} for symbol, _ in ranges}
    for scope in join_scopes(_build_month_scope(symbol, days) for symbol, days in ranges):
        query = select(prices_symbol_months).where(match_scope(prices_symbol_months, scope))
        for row in connection.execute(query):
            entries[row.symbol][row.month_start] = SymbolMonth(*row)
    return entries


def record_observations(
    connection: Connection, observations: Sequence[SymbolObservation], *, now: datetime, run_id: str
) -> Mapping[str, Sequence[SymbolMonth]]:
    """Note how symbols stand after they were looked at, and return the rows of each.

    One transaction at a time notes: rows of looks that load nothing have no other lock.
    """
    if not observations:
        return {}
    lock_row(connection, prices_symbol_months.name)
    ranges = [(observation.symbol, observation.days) for observation in observations]
    entries, counts = read_known(connection, ranges), _count_rows(connection, ranges)
    rows = {
        observation.symbol: _build_rows(
            observation, entries[observation.symbol], counts[observation.symbol], now, run_id
        )
        for observation in observations
    }
    for scope in join_scopes(_build_month_scope(*pair) for pair in ranges if entries[pair[0]]):
        connection.execute(
            delete(prices_symbol_months).where(match_scope(prices_symbol_months, scope))
        )
    written = [row for of_symbol in rows.values() for row in of_symbol]
    insert_frame(connection, prices_symbol_months, pl.DataFrame(written, SCHEMA, orient="row"))
    return rows


def _build_rows(
    observation: SymbolObservation,
    known: Known,
    counts: Mapping[date, int],
    now: datetime,
    run_id: str,
) -> Sequence[SymbolMonth]:
    standing = observation.standing
    if standing is None:
        return [row._replace(row_count=counts.get(month, 0)) for month, row in known.items()]
    if standing.reason is not None:
        standing = SymbolStatus(standing.state, clean_text(standing.reason), standing.resumes_at)
    return after(
        known,
        observation.days,
        standing,
        observation.through,
        counts,
        symbol=observation.symbol,
        source=observation.source,
        now=now,
        run_id=run_id,
    )


def symbols_of(warehouse: Warehouse, requested: Sequence[date]) -> Sequence[str]:
    """Return the symbols that were ever requested in any of these months."""
    with warehouse.reading() as connection:
        query = select(_row.symbol).distinct().where(_row.month_start.in_(requested))
        return sorted(connection.execute(query).scalars())


def _build_month_scope(symbol: str, days: Days) -> Scope:
    return {"symbol": symbol, "month_start": Days(month_of(days.first), days.last)}


def _count_rows(
    connection: Connection, ranges: Sequence[tuple[str, Days]]
) -> Mapping[str, Mapping[date, int]]:
    """Return how many rows of each symbol there are in the months of its days."""
    year, month = (extract(part, prices_daily.c.trade_date) for part in ("year", "month"))
    counts: dict[str, dict[date, int]] = {symbol: {} for symbol, _ in ranges}
    for scope in join_scopes(
        {"symbol": symbol, "trade_date": Days(month_of(days.first), last_of_month(days.last))}
        for symbol, days in ranges
    ):
        counted = (
            select(prices_daily.c.symbol, year, month, func.count())
            .where(match_scope(prices_daily, scope))
            .group_by(prices_daily.c.symbol, year, month)
        )
        for symbol, y, m, count in connection.execute(counted):
            counts[symbol][date(int(y), int(m), 1)] = count
    return counts


def waiting(warehouse: Warehouse, now: datetime) -> Sequence[SymbolMonth]:
    """Return the waiting symbol months that may be requested at ``now``, oldest month first."""
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


def refused_until(
    warehouse: Warehouse, source: str, first: date, now: datetime
) -> Mapping[str, datetime]:
    """Return the symbols that no run from the month ``first`` on asks of ``source``, until when."""
    statement = (
        select(_row.symbol, func.max(_row.resumes_at).label("until"))
        .where(_row.source == source, _row.month_start >= first, _row.resumes_at > now)
        .group_by(_row.symbol)
    )
    with warehouse.reading() as connection:
        return {row.symbol: row.until for row in connection.execute(statement)}


def oldest_month(warehouse: Warehouse) -> date | None:
    """Return the oldest month for which a symbol was ever requested."""
    with warehouse.reading() as connection:
        return connection.execute(select(func.min(_row.month_start))).scalar()


def all_months(warehouse: Warehouse, first: date, last: date) -> Sequence[SymbolMonth]:
    """Return all rows of the months from ``first`` to ``last``."""
    statement = select(prices_symbol_months).where(_row.month_start.between(first, last))
    with warehouse.reading() as connection:
        return [SymbolMonth(*row) for row in connection.execute(statement)]
