"""The load of symbols' prices over the months of a run, from their source to the loaded table.

A vendor is not asked again for what is loaded; files are compared each time. A symbol whose quota
ended, or that its source does not have, is noted as such and harms no other.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from sqlalchemy import Connection

from orchestration_project.domains.prices.audits import PriceLimits
from orchestration_project.domains.prices.calendar import last_complete_session
from orchestration_project.domains.prices.states import (
    Known,
    SymbolMonth,
    SymbolStatus,
    after,
    days_of,
)
from orchestration_project.domains.prices.symbols import VendorSpellings
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.work_items import ClaimedItem
from orchestration_project.engine.environment import open_all
from orchestration_project.engine.loads import naming
from orchestration_project.engine.warehouse import (
    QuarantinedError,
    ScopeState,
    SupersededError,
    Warehouse,
    WriteOutcome,
)
from orchestration_project.engine.warehouse.fencing import read_states
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.resources.prices.extraction import (
    FetchedSymbol,
    PendingFetch,
    PriceExtractor,
)
from orchestration_project.resources.prices.source import PriceSource
from orchestration_project.resources.prices.states import (
    SymbolObservation,
    read_known,
    record_observations,
)
from orchestration_project.resources.prices.symbol_fetch import why
from orchestration_project.resources.prices.work import SymbolItems
from orchestration_project.resources.prices.writing import (
    LoadedPrices,
    PriceChange,
    PriceWriter,
    loaded,
)

Item = TypeVar("Item")
Done = TypeVar("Done")

MAX_BATCH_SYMBOLS = 100
"""Symbols of a batch at most: what it costs to check and load one is then what it costs alone."""

MAX_BATCH_SYMBOL_MONTHS = 2_000
"""How much is read at once of what is known of symbols."""

MAX_BATCH_BYTES = 4 * 1024 * 1024
"""A batch ends with the answer that reaches this, about 40,000 rows: a symbol of 20 years costs
half of what it costs alone, and larger batches gain little more for their memory."""

MAX_BATCH_SECONDS = 5
"""A batch ends after so long: of a slow source little is lost with a run that is killed."""


@dataclass(frozen=True)
class PriceLoad:
    """Loads symbols of `prices_daily` over months.

    ``full`` asks also for what is loaded, and before it may help; ``force`` replaces all that came
    from another source of a symbol, whatever the months. ``requested`` are the months of the run.
    `pieces` sets them before anything is extracted. What the source is asked for are work items: a
    symbol that a run which ``is_under_way`` has claimed is left to that run.
    """

    source: PriceSource
    warehouse: Warehouse
    clock: Clock
    symbols: Callable[[], Sequence[str]]
    run_id: str
    limits: PriceLimits
    second: PriceSource | None = None
    full: bool = False
    force: bool = False
    is_under_way: Callable[[str], bool] = lambda _: False
    requested: list[date] = field(default_factory=list, init=False)
    claimed: dict[str, ClaimedItem] = field(default_factory=dict, init=False)

    @property
    def where(self) -> Mapping[str, str]:
        """Context of errors besides symbol and run."""
        return {"asset": "prices/daily", "source": self.source.name}

    def ready(self) -> None:
        """Open the database and the source, and end the leases of runs that have ended.

        Raises:
            OrchestrationError: One of them cannot be opened.
        """
        open_all(self.warehouse, self.source, self.second)
        self._items.end_leases()

    def pieces(self, partitions: Sequence[str]) -> Sequence[str]:
        """Return the symbols to be loaded for these months.

        Raises:
            ConfigurationError: There is none, or a key names no month.
        """
        self.requested[:] = sorted(map(month_named, partitions))
        symbols = self.symbols()
        if not symbols:
            raise ConfigurationError(
                "no symbol's prices are wanted",
                expected="symbols in PRICES_SYMBOLS, or loaded weeks of FINRA that contain some",
                remedy="load weeks by the job finra_otc_weekly, or set PRICES_SYMBOLS",
            )
        return list(dict.fromkeys(symbols))

    def batches(self, keys: Sequence[str]) -> Iterator[Sequence[FetchedSymbol]]:
        """Fetch and check what is missing of symbols, and yield what is best loaded together.

        Raises:
            ConfigurationError: No session of the months is over.
        """
        at_once = max(1, min(MAX_BATCH_SYMBOLS, MAX_BATCH_SYMBOL_MONTHS // len(self.requested)))
        mapped = self.source.mapped(keys)
        some = [keys[position : position + at_once] for position in range(0, len(keys), at_once)]
        with ThreadPoolExecutor(1, thread_name_prefix="claim") as pool:
            for begun in _fetch_ahead(pool, lambda each: self._claimed(mapped, each), some):
                yield from self._batches(*begun)

    def _batches(
        self, taking: PriceExtractor, begun: Mapping[str, FetchedSymbol | ScopeState]
    ) -> Iterator[Sequence[FetchedSymbol]]:
        batch: list[FetchedSymbol | PendingFetch] = []
        started = time.monotonic()
        with ThreadPoolExecutor(1, thread_name_prefix="fetch") as pool:
            for one in _fetch_ahead(
                pool, lambda each: self._taken(taking, *each), [*begun.items()]
            ):
                batch.append(one)
                byte_count = sum(item.byte_count for item in batch)
                if byte_count >= MAX_BATCH_BYTES or time.monotonic() - started >= MAX_BATCH_SECONDS:
                    yield self._checked(taking, batch)
                    batch, started = [], time.monotonic()
        if batch:
            yield self._checked(taking, batch)

    def _taking(self, mapped: VendorSpellings) -> PriceExtractor:
        now = self.clock.now()
        days = days_of(self.requested, last_complete_session(now))
        if days is None:
            raise ConfigurationError(
                f"no session of {self.requested[0]:%Y-%m} is over",
                expected="a month with prices",
                remedy="wait for the close of its first session",
            )
        return PriceExtractor(
            self.source,
            self.second,
            self._writer,
            self.limits,
            days,
            now,
            self.full,
            self.force,
            mapped,
        )

    @property
    def _writer(self) -> PriceWriter:
        return PriceWriter(self.warehouse, self.clock, self.run_id, self.limits)

    @property
    def _items(self) -> SymbolItems:
        return SymbolItems(
            self.warehouse, self.clock, self.run_id, self.requested, self.is_under_way, self.claimed
        )

    def _claimed(
        self, mapped: VendorSpellings, symbols: Sequence[str]
    ) -> tuple[PriceExtractor, Mapping[str, FetchedSymbol | ScopeState]]:
        taking = self._taking(mapped)
        return taking, self._begun(taking, symbols)

    def _begun(
        self, taking: PriceExtractor, symbols: Sequence[str]
    ) -> Mapping[str, FetchedSymbol | ScopeState]:
        """Claim the symbols to be requested; return what is loaded of them, or how others stand."""
        try:
            begun, unsettled = self._seen(taking, symbols)
            is_ended = {symbol: isinstance(value, FetchedSymbol) for symbol, value in begun.items()}
            expected_names = [name for name in symbols if not is_ended[name] or name in unsettled]
            held_by = self._items.claim(expected_names, taking.version)
            if self._items.are_repeated(expected_names):  # perhaps loaded before they were claimed
                begun, _ = self._seen(taking, symbols)
        except OrchestrationError as error:
            return {
                symbol: FetchedSymbol(symbol, taking.days, is_recorded=False, error=copy(error))
                for symbol in symbols
            }
        left = {
            symbol: taking.leave(symbol, run_id)
            for symbol, run_id in held_by.items()
            if not isinstance(begun[symbol], FetchedSymbol)
        }
        return {**begun, **left}

    def _seen(
        self, taking: PriceExtractor, symbols: Sequence[str]
    ) -> tuple[Mapping[str, FetchedSymbol | ScopeState], Collection[str]]:
        """Return the loaded states of symbols, or how one ends without a request; and open work."""
        with self.warehouse.reading() as connection:
            entries = read_known(connection, [(symbol, taking.days) for symbol in symbols])
            states = read_states(connection, prices_daily, symbols)
            unsettled = self._items.unsettled(connection, symbols)
        begun = {
            symbol: taking.without_request(symbol, entries[symbol]) or states[symbol]
            for symbol in symbols
        }
        return begun, unsettled

    def _taken(
        self, taking: PriceExtractor, symbol: str, begun: FetchedSymbol | ScopeState
    ) -> FetchedSymbol | PendingFetch:
        if isinstance(begun, FetchedSymbol):
            return begun
        with naming(symbol=symbol, run=self.run_id, **self.where):
            return taking.requested(symbol, begun)

    def _checked(
        self, taking: PriceExtractor, batch: Sequence[FetchedSymbol | PendingFetch]
    ) -> Sequence[FetchedSymbol]:
        symbols = [item.symbol for item in batch]
        try:
            with naming(symbols=", ".join(symbols), run=self.run_id, **self.where):
                return taking.checked(batch)
        except OrchestrationError as error:
            return [
                FetchedSymbol(symbol, taking.days, is_recorded=False, error=copy(error))
                for symbol in symbols
            ]

    def write_batch(
        self, taken: Sequence[FetchedSymbol]
    ) -> Mapping[str, LoadedPrices | OrchestrationError]:
        """Load the taken symbols in one transaction, and record the state of each symbol.

        Of each symbol comes how it ended: loaded, or the error that held it back. What fails of
        the transaction itself is the error of all of them.
        """
        symbols = [fetched_symbol.symbol for fetched_symbol in taken]
        try:
            with naming(symbols=", ".join(symbols), run=self.run_id, **self.where):
                return self._write_symbols(taken)
        except OrchestrationError as error:
            ended = {
                fetched_symbol.symbol: fetched_symbol.error or copy(error)
                for fetched_symbol in taken
            }
            with suppress(OrchestrationError):  # then the leases end with the run
                self._items.settle_alone(ended)
            return ended
        finally:
            self._items.forget(symbols)

    def _write_symbols(
        self, taken: Sequence[FetchedSymbol]
    ) -> Mapping[str, LoadedPrices | OrchestrationError]:
        rows: dict[str, Iterable[SymbolMonth]] = {}
        ready = {
            fetched_symbol.symbol: fetched_symbol.batch
            for fetched_symbol in taken
            if fetched_symbol.batch is not None
        }
        second = {fetched_symbol.symbol: fetched_symbol.second for fetched_symbol in taken}

        def note(connection: Connection, ended: Sequence[WriteOutcome[PriceChange]]) -> None:
            ends = dict(zip(ready, ended, strict=True))
            observations = [
                observation
                for fetched_symbol in taken
                if (observation := self._observe(fetched_symbol, ends.get(fetched_symbol.symbol)))
            ]
            rows.update(
                record_observations(
                    connection, observations, now=self.clock.now(), run_id=self.run_id
                )
            )
            self._items.settle(
                connection,
                {
                    fetched_symbol.symbol: _decide_end(
                        fetched_symbol, ends.get(fetched_symbol.symbol)
                    )
                    for fetched_symbol in taken
                },
            )

        ended: Mapping[str, WriteOutcome[PriceChange]] = {}
        if any(
            fetched_symbol.is_recorded or fetched_symbol.symbol in self.claimed
            for fetched_symbol in taken
        ):
            ended = self._writer.write_batch(list(ready.values()), second, note)
        unasked = [
            fetched_symbol
            for fetched_symbol in taken
            if not fetched_symbol.is_recorded and fetched_symbol.error is None
        ]
        if unasked:
            with self.warehouse.reading() as connection:
                entries = read_known(
                    connection,
                    [(fetched_symbol.symbol, fetched_symbol.days) for fetched_symbol in unasked],
                )
            rows |= {
                fetched_symbol.symbol: self._rows_unasked(
                    fetched_symbol, entries[fetched_symbol.symbol]
                )
                for fetched_symbol in unasked
            }
        source = self.source.name
        return {
            fetched_symbol.symbol: _build_result(
                fetched_symbol, source, ended.get(fetched_symbol.symbol), rows
            )
            for fetched_symbol in taken
        }

    def _rows_unasked(self, taken: FetchedSymbol, known: Known) -> Iterable[SymbolMonth]:
        """Return the rows of a symbol's months; one that another run loads waits where it lacks."""
        if not taken.left_to:
            return known.values()
        return after(
            known,
            taken.days,
            taken.standing,
            None,
            {month: row.row_count for month, row in known.items()},
            symbol=taken.symbol,
            source=self.source.name,
            now=self.clock.now(),
            run_id=taken.left_to,
        )

    def _observe(
        self, taken: FetchedSymbol, ended: WriteOutcome[PriceChange] | None
    ) -> SymbolObservation | None:
        """Return how a symbol stands that was requested; one that came too late is asked again."""
        if not taken.is_recorded or isinstance(ended or taken.error, SupersededError):
            return None
        standing, through = taken.standing, taken.through
        if isinstance(ended, QuarantinedError):
            standing, through = SymbolStatus("refused", why(ended)), None
        return SymbolObservation(taken.symbol, taken.days, standing, through, self.source.name)


def _fetch_ahead(
    pool: ThreadPoolExecutor, fetch: Callable[[Item], Done], items: Sequence[Item]
) -> Iterator[Done]:
    """Yield the fetched result of each item; the next is fetched while one is worked on."""
    ahead: deque[Future[Done]] = deque()
    for item in items:
        ahead.append(pool.submit(fetch, item))
        if len(ahead) > 1:
            yield ahead.popleft().result()
    for future in ahead:
        yield future.result()


def _decide_end(
    taken: FetchedSymbol, ended: WriteOutcome[PriceChange] | None
) -> SymbolStatus | OrchestrationError:
    if isinstance(ended, OrchestrationError):
        return ended
    return taken.error or taken.standing


def _build_result(
    taken: FetchedSymbol,
    source: str,
    ended: WriteOutcome[PriceChange] | None,
    rows: Mapping[str, Iterable[SymbolMonth]],
) -> LoadedPrices | OrchestrationError:
    if taken.error is not None:
        return taken.error
    if isinstance(ended, OrchestrationError):
        return ended
    figures = taken.batch.figures if taken.batch is not None else None
    return loaded(
        taken.symbol,
        source,
        taken.standing,
        rows[taken.symbol],
        figures,
        ended,
        is_requested=taken.is_requested,
    )


def month_named(partition: str) -> date:
    """Return the month that a partition's key names.

    Raises:
        ConfigurationError: It names none.
    """
    try:
        month = date.fromisoformat(partition)
    except ValueError:
        month = None
    if month is None or month.day != 1:
        raise ConfigurationError(
            f"{partition} names no month", expected="its first day, such as 2026-02-01"
        )
    return month
