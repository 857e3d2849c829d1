"""What the load of a symbol and its replay have in common: how it is landed and told of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl
from sqlalchemy import Connection, select

from orchestration_project.contracts import Audit, Checked
from orchestration_project.domains.prices.audits import Limits, warnings_about
from orchestration_project.domains.prices.calendar import last_complete_session
from orchestration_project.domains.prices.contract import RULE_VERSION
from orchestration_project.domains.prices.states import (
    LANDED,
    Standing,
    SymbolMonth,
    rows_by_month,
)
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.intake import IntakeFigures
from orchestration_project.resources.warehouse import (
    Delivery,
    Landed,
    Order,
    ScopeState,
    Warehouse,
)
from orchestration_project.resources.warehouse.frames import frame_of, range_of
from orchestration_project.tables.prices import prices_daily, prices_daily_history

_daily = prices_daily.c


@dataclass(frozen=True)
class PriceChange:
    """How many rows of each month a landing wrote, and how many it replaced or removed."""

    written: Mapping[date, int]
    replaced: Mapping[date, int]


@dataclass(frozen=True)
class LoadedPrices:
    """How a symbol ended, in figures; without ``landed`` nothing was landed by this run.

    A run keeps these of all its symbols: of each month the number of rows, and of those that are
    not landed all there is to say.
    """

    symbol: str
    standing: Standing
    row_counts: Mapping[date, int]
    open: Mapping[date, SymbolMonth]
    figures: IntakeFigures | None = None
    landed: Landed[PriceChange] | None = None

    def __str__(self) -> str:
        if self.landed is None:
            reason = f": {self.standing.reason}" if self.standing.reason else ""
            return f"{'unchanged' if self.standing == LANDED else self.standing.state}{reason}"
        warned = f"; unusual: {', '.join(self.landed.warnings)}" if self.landed.warnings else ""
        return (
            f"{self.landed.rows_added} rows added, {self.landed.rows_changed} changed, "
            f"{self.landed.rows_removed} removed, {self.landed.rows_unchanged} unchanged{warned}"
        )


def loaded(
    symbol: str,
    standing: Standing,
    rows: Iterable[SymbolMonth],
    figures: IntakeFigures | None = None,
    landed: Landed[PriceChange] | None = None,
) -> LoadedPrices:
    """Return how a symbol ended, of which the months stand as ``rows`` say."""
    counts, is_open = {}, {}
    for row in rows:
        counts[row.month_start] = row.row_count
        if row.state != LANDED.state:
            is_open[row.month_start] = row
    return LoadedPrices(symbol, standing, counts, is_open, figures, landed)


@dataclass(frozen=True)
class PriceLanding:
    """Says how deliveries of a symbol are landed in `prices_daily`, wherever their bytes are."""

    warehouse: Warehouse
    clock: Clock
    run_id: str
    limits: Limits

    def order(
        self, symbol: str, state: ScopeState, second_rows: Callable[[], pl.DataFrame | None]
    ) -> Order[PriceChange]:
        """Return the order of a symbol, of which ``state`` is landed.

        ``second_rows`` returns what another source has of the same days; None: there is none.
        """

        def warn(connection: Connection, delivery: Delivery, checked: Checked) -> Sequence[Audit]:
            return self._warnings(connection, symbol, delivery, checked, second_rows())

        return Order(
            table=prices_daily,
            history=prices_daily_history,
            partition_key=symbol,
            partition={"symbol": symbol},
            token=state.token,
            metadata_columns=("source",),
            rule_version=RULE_VERSION,
            run_id=self.run_id,
            derive={},
            summarise=_change,
            warn=warn,
            before=state,
        )

    def _warnings(
        self,
        connection: Connection,
        symbol: str,
        delivery: Delivery,
        checked: Checked,
        second_rows: pl.DataFrame | None,
    ) -> Sequence[Audit]:
        """Look at the delivery beside the landed day before it, and a second source."""
        days = range_of(delivery.scope)
        if days is None or checked.rows.is_empty():
            return ()
        last_before = connection.execute(
            select(prices_daily)
            .where(_daily.symbol == symbol, _daily.trade_date < days.first)
            .order_by(_daily.trade_date.desc())
            .limit(1)
        )
        before = frame_of([row._asdict() for row in last_before], prices_daily)
        landed = [name for name in checked.rows.columns if name in _daily]
        return warnings_about(
            checked.rows.select(landed).unique("trade_date", maintain_order=True),
            before,
            second_rows,
            through=days.last,
            newest_session=last_complete_session(self.clock.now()),
            limits=self.limits,
        )


def _change(*, replaced: pl.DataFrame, written: pl.DataFrame, kept: pl.DataFrame) -> PriceChange:
    return PriceChange(
        rows_by_month(written["trade_date"]),
        rows_by_month(replaced["trade_date"]),
    )
