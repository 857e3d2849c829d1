"""Data of the price charts, read from loaded prices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl
from sqlalchemy import func, select

from orchestration_project.domains.prices.calendar import sessions, sessions_from
from orchestration_project.domains.prices.tables import PRICES, prices_daily, prices_symbol_months
from orchestration_project.engine.contracts.key_ranges import Days
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import match_scope, read_frame
from orchestration_project.tables.schema import USD_SCALE

SESSIONS = 60
"""A quarter of a year: more candles would overlap."""


@dataclass(frozen=True)
class ChartRows:
    """The latest sessions, and the rows of the wanted symbols in them, prices in dollars.

    ``requested`` has the symbols and months, by their first day, that were requested.
    """

    days: Sequence[date]
    rows: pl.DataFrame
    requested: frozenset[tuple[str, date]]

    @property
    def largest(self) -> list[str]:
        """The symbols, those with most dollars traded first."""
        traded = (pl.col("close") * pl.col("volume").cast(pl.Float64)).sum()
        sums = self.rows.group_by("symbol").agg(traded=traded)
        return sums.sort(pl.col("traded"), "symbol", descending=[True, False])["symbol"].to_list()

    def of(self, symbol: str) -> pl.DataFrame:
        """Return the days of one symbol."""
        return self.rows.filter(pl.col("symbol") == symbol).sort("trade_date")


def read_shown(warehouse: Warehouse, symbols: Sequence[str]) -> ChartRows | None:
    """Return the latest sessions of these symbols; None: no prices yet."""
    with warehouse.reading() as connection:
        names = {"symbol": tuple(symbols)}
        newest = select(func.max(prices_daily.c.trade_date)).where(match_scope(prices_daily, names))
        last = connection.execute(newest).scalar()
        if last is None:
            return None
        first = sessions_from(last, 1 - SESSIONS)
        scope = names | {"trade_date": Days(first, last)}
        statement = select(prices_daily).where(match_scope(prices_daily, scope))
        rows = read_frame(connection, statement, prices_daily)
        month = prices_symbol_months.c
        query = select(month.symbol, month.month_start).where(
            match_scope(prices_symbol_months, names)
        )
        requested = frozenset(
            (symbol, start) for symbol, start in connection.execute(query) if start <= last
        )
    dollars = rows.with_columns(pl.col(PRICES) / 10**USD_SCALE)
    return ChartRows(sessions(first, last), dollars, requested)
