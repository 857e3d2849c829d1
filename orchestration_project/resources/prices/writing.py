"""Shared part of load and replay of a symbol: writing and reporting."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, and_, or_, select

from orchestration_project.domains.finra.tables.weekly import finra_symbol_week_value
from orchestration_project.domains.prices.audits import PriceComparison, PriceLimits, warnings_about
from orchestration_project.domains.prices.calendar import last_complete_session
from orchestration_project.domains.prices.contract import RULE_VERSION
from orchestration_project.domains.prices.states import (
    LOADED,
    SymbolMonth,
    SymbolStatus,
    rows_by_month,
)
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.announcements import UNCHANGED
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import Audit
from orchestration_project.engine.contracts.values import BATCH_INDEX, combine_batches
from orchestration_project.engine.dataset import NOT_REQUESTED, REQUEST_HINT
from orchestration_project.engine.warehouse import (
    BatchFigures,
    ScopeState,
    TableSpec,
    ValidatedBatch,
    Warehouse,
    WriteOutcome,
    WriteResult,
    WriteTarget,
)
from orchestration_project.engine.warehouse.delivery import AfterWrite
from orchestration_project.engine.warehouse.frames import Scope, find_range
from orchestration_project.engine.warehouse.loading import judge_completeness
from orchestration_project.engine.warehouse.target import mark_stale
from orchestration_project.resources.prices.loaded_days import rows_before
from orchestration_project.tables.schema import HISTORY

NO_SECOND = "no second source was asked"

HOW_TO_REQUEST = f"{REQUEST_HINT}, or the preset prices_full"

_daily = prices_daily.c


@dataclass(frozen=True)
class PriceChange:
    """How many rows of each month a load wrote, and how many it replaced or removed."""

    written: Mapping[date, int]
    replaced: Mapping[date, int]


@dataclass(frozen=True)
class LoadedPrices:
    """How a symbol ended, in figures; without ``write_result`` nothing was loaded by this run.

    Without ``is_requested``, this run sent no request for it to the source.

    ``source`` is where its prices come from; of a replay, where they came from when they were kept.

    A run keeps these of all its symbols: of each month the number of rows, and of those that are
    not loaded all there is to say.
    """

    symbol: str
    source: str
    standing: SymbolStatus
    row_counts: Mapping[date, int]
    open: Mapping[date, SymbolMonth]
    figures: BatchFigures | None = None
    write_result: WriteResult[PriceChange] | None = None
    is_requested: bool = True

    def __str__(self) -> str:
        if self.write_result is None:
            return self._unwritten
        warned = (
            f"; unusual: {', '.join(self.write_result.warnings)}"
            if self.write_result.warnings
            else ""
        )
        return f"{self.write_result.in_words}{warned}"

    @property
    def _unwritten(self) -> str:
        standing = self.standing
        if standing == LOADED:
            is_loaded = f"{NOT_REQUESTED}: its months are loaded; {HOW_TO_REQUEST}"
            return UNCHANGED if self.is_requested else is_loaded
        reason = f": {standing.reason}" if standing.reason else ""
        if self.is_requested or standing.resumes_at is None:
            return f"{standing.state}{reason}"
        until = f"{NOT_REQUESTED} until {standing.resumes_at:%Y-%m-%d %H:%M} UTC"
        return f"{standing.state}{reason}; {until}; {HOW_TO_REQUEST}"


def loaded(
    symbol: str,
    source: str,
    standing: SymbolStatus,
    rows: Iterable[SymbolMonth],
    figures: BatchFigures | None = None,
    write_result: WriteResult[PriceChange] | None = None,
    *,
    is_requested: bool = True,
) -> LoadedPrices:
    """Return how a symbol ended, of which the months stand as ``rows`` say."""
    counts, is_open = {}, {}
    for row in rows:
        counts[row.month_start] = row.row_count
        if row.state != LOADED.state:
            is_open[row.month_start] = row
    return LoadedPrices(
        symbol, source, standing, counts, is_open, figures, write_result, is_requested
    )


@dataclass(frozen=True)
class PriceWriter:
    """Says how deliveries of a symbol are loaded in `prices_daily`, wherever their bytes are."""

    warehouse: Warehouse
    clock: Clock
    run_id: str
    limits: PriceLimits

    def target(self, symbol: str, state: ScopeState) -> WriteTarget[PriceChange]:
        """Return where a symbol is written, of which ``state`` is loaded."""
        return PRICES.target(symbol, {"symbol": symbol}, state, run_id=self.run_id)

    def write_batch(
        self,
        batches: Sequence[ValidatedBatch[PriceChange]],
        second: Mapping[str, pl.DataFrame | str],
        note: AfterWrite,
    ) -> Mapping[str, WriteOutcome[PriceChange]]:
        """Load deliveries of symbols in one transaction, and return how each symbol ended.

        ``second`` is what another source has of the same days of a symbol, or why it has nothing;
        without an entry it was not asked.
        """

        def warn(
            connection: Connection, passed: Sequence[ValidatedBatch]
        ) -> Sequence[Sequence[Audit]]:
            complete = judge_completeness(
                connection, passed, lambda _: (), self.limits.completeness, self.limits.acceptance
            )
            warnings = self._warnings(connection, passed, second)
            return [[audit, *added] for audit, added in zip(complete, warnings, strict=True)]

        def note_and_mark(connection: Connection, ended: Sequence[Any]) -> None:
            note(connection, ended)
            _mark_values(connection, batches, ended)

        ended = self.warehouse.load_batches(batches, warn, note_and_mark)
        return {batch.target.partition_key: end for batch, end in zip(batches, ended, strict=True)}

    def _warnings(
        self,
        connection: Connection,
        batches: Sequence[ValidatedBatch],
        second: Mapping[str, pl.DataFrame | str],
    ) -> Sequence[Sequence[Audit]]:
        """Look at each delivery beside the loaded day before it, and a second source."""
        compared = [
            (batch, days)
            for batch in batches
            if (days := find_range(batch.delivery.scope)) and not batch.validated.rows.is_empty()
        ]
        if not compared:
            return [()] * len(batches)
        symbols = [validated_batch.target.partition_key for validated_batch, _ in compared]
        before = rows_before(
            connection, {key: days.first for key, (_, days) in zip(symbols, compared, strict=True)}
        )
        rows = combine_batches([validated_batch.validated.rows for validated_batch, _ in compared])
        nothing = compared[0][0].validated.rows.clear()
        beside = [second.get(symbol, NO_SECOND) for symbol in symbols]
        write_result = [name for name in rows.columns if name in _daily]
        places = pl.DataFrame({"symbol": symbols}).with_row_index(BATCH_INDEX)
        places = places.with_columns(pl.col(BATCH_INDEX).cast(pl.Int64))
        is_first = pl.any_horizontal(  # of the rows of a day, which follow each other
            pl.col(name).ne_missing(pl.col(name).shift()) for name in (BATCH_INDEX, "trade_date")
        )
        audits = warnings_about(
            PriceComparison(
                rows.select(*write_result, BATCH_INDEX).filter(is_first),
                before.join(places, on="symbol"),
                combine_batches([nothing if isinstance(item, str) else item for item in beside]),
                [item if isinstance(item, str) else None for item in beside],
                [days.last for _, days in compared],
            ),
            newest_session=last_complete_session(self.clock.now()),
            limits=self.limits,
        )
        audits_by_name = dict(zip(symbols, audits, strict=True))
        return [audits_by_name.get(batch.target.partition_key, ()) for batch in batches]


def _change(*, replaced: pl.DataFrame, written: pl.DataFrame, kept: pl.DataFrame) -> PriceChange:
    return PriceChange(
        rows_by_month(written["trade_date"]),
        rows_by_month(replaced["trade_date"]),
    )


def _mark_values(
    connection: Connection, batches: Sequence[ValidatedBatch[PriceChange]], ended: Sequence[Any]
) -> None:
    """Mark stale what FINRA's shares were worth in weeks whose prices were restated.

    New days, adjusted closes and dividends do not count: they change no value.
    """
    for batch, result in zip(batches, ended, strict=True):
        if isinstance(result, WriteResult) and result.change and result.change.replaced:
            symbol = batch.target.partition_key
            weeks = tuple(sorted(_find_restated_weeks(connection, symbol, result.known_from)))
            scope: Scope = {"week_start": weeks, "symbol": symbol}
            if weeks:
                mark_stale(connection, {finra_symbol_week_value: lambda same: same}, [scope])


def _find_restated_weeks(connection: Connection, symbol: str, known_to: datetime) -> set[date]:
    """Return the Mondays of days that a load removed, or whose values it changed."""
    before = prices_daily.info[HISTORY].c
    is_same_day = and_(_daily.symbol == before.symbol, _daily.trade_date == before.trade_date)
    names = ("close", "volume", "later_splits")
    differs = or_(*(before[name].is_distinct_from(_daily[name]) for name in names))
    query = (
        select(before.trade_date)
        .select_from(prices_daily.info[HISTORY].outerjoin(prices_daily, is_same_day))
        .where(before.symbol == symbol, before.known_to == known_to, differs)
    )
    days = connection.execute(query).scalars()
    return {day - timedelta(days=day.weekday()) for day in days}


PRICES = TableSpec(
    table=prices_daily,
    rule_version=RULE_VERSION,
    metadata_columns=("source",),
    summarise=_change,
)
"""How deliveries of symbols are written."""
