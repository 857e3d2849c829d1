"""Symbols taken from their source together: fetched one by one, checked as one frame.

What keeps a symbol from loading is a value here, so that it harms no other.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial

import polars as pl

from orchestration_project.domains.prices.audits import (
    PriceLimits,
    checked_prices,
    symbols_with_other_actions,
)
from orchestration_project.domains.prices.calendar import last_complete_session
from orchestration_project.domains.prices.contract import PriceRows, check_prices
from orchestration_project.domains.prices.states import (
    LOADED,
    Known,
    SymbolStatus,
    is_loaded,
    standing_of,
)
from orchestration_project.domains.prices.symbols import VendorSpellings
from orchestration_project.engine.captures import Capture
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.key_ranges import Days
from orchestration_project.engine.contracts.values import split_batches
from orchestration_project.engine.loader import (
    add_discarded,
    drop_bodies,
    record_unusable,
)
from orchestration_project.engine.warehouse import (
    Delivery,
    ScopeState,
    ValidatedBatch,
    WriteTarget,
    prepare_all,
)
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    SourceError,
    UnavailableError,
)
from orchestration_project.resources.prices.loaded_days import (
    first_days,
    last_days,
    read_loaded_actions,
)
from orchestration_project.resources.prices.quota import QuotaEndedError
from orchestration_project.resources.prices.source import PriceSource
from orchestration_project.resources.prices.symbol_fetch import BehindError, SymbolFetch, why
from orchestration_project.resources.prices.writing import NO_SECOND, PriceChange, PriceWriter

REFUSED_FOR = timedelta(hours=20)
"""A symbol that its source does not have is requested again the day after."""


@dataclass(frozen=True)
class FetchedSymbol:
    """A symbol that was looked at; without ``batch``, there is nothing to ask or nothing new.

    ``days`` are more than those of the run where all that is loaded was requested again.
    ``through`` is the last day for which the batch vouches. ``error`` is what held it back.
    ``second`` is what a second source has of the same days, or why nothing. How a symbol stands is
    stored where it ``is_recorded``. ``is_requested`` says whether the source was. ``left_to`` is
    another run that loads it now.
    """

    symbol: str
    days: Days
    standing: SymbolStatus = LOADED
    batch: ValidatedBatch[PriceChange] | None = None
    through: date | None = None
    is_recorded: bool = True
    is_requested: bool = True
    error: OrchestrationError | None = None
    second: pl.DataFrame | str = NO_SECOND
    left_to: str = ""

    @property
    def byte_count(self) -> int:
        """Nothing: its bytes are released."""
        return 0


@dataclass(frozen=True)
class PendingFetch:
    """A symbol that is being requested, of which ``state`` is loaded."""

    reading: SymbolFetch
    target: WriteTarget[PriceChange]
    state: ScopeState

    @property
    def symbol(self) -> str:
        """Ours."""
        return self.reading.symbol

    @property
    def byte_count(self) -> int:
        """How many bytes came."""
        return self.reading.byte_count


@dataclass(frozen=True)
class PriceExtractor:
    """Takes symbols for ``days``, as they are known at ``now``.

    ``mapped`` says how the source spells the run's symbols, all of them: those spelled alike are
    known beside each other alone.
    """

    source: PriceSource
    second: PriceSource | None
    writer: PriceWriter
    limits: PriceLimits
    days: Days
    now: datetime
    full: bool
    force: bool
    mapped: VendorSpellings

    @property
    def version(self) -> str:
        """Fetch request of symbols as a text, ordered: more days, or with options, sorts later."""
        words = [str(self.days.last), self.source.name]
        if self.full:
            words.append("full")
        if self.force:
            words.append("force")
        return " ".join(words)

    def without_request(self, symbol: str, known: Known) -> FetchedSymbol | None:
        """Return how a symbol stands that need not be requested, or in vain; None: it is asked."""
        if symbol in self.mapped.unmapped:
            standing = SymbolStatus("unmapped", self.mapped.unmapped[symbol])
            return FetchedSymbol(symbol, self.days, standing, is_requested=False)
        if self.source.is_local:
            return None
        if not self.full and is_loaded(known, self.days, self.source.name):
            # Earlier versions noted of whole months that they wait for another, or were refused.
            is_noted = all(row.state == LOADED.state for row in known.values())
            return FetchedSymbol(symbol, self.days, is_recorded=not is_noted, is_requested=False)
        name = self.source.name
        standing = None if self.full else standing_of(known, self.days, name, self.now)
        if standing is not None:
            return FetchedSymbol(symbol, self.days, standing, is_recorded=False, is_requested=False)
        return None

    def leave(self, symbol: str, run_id: str) -> FetchedSymbol:
        """Return a symbol that another run loads: nothing is noted of it here."""
        standing = SymbolStatus("waiting", f"the run {run_id} loads it")
        return FetchedSymbol(
            symbol, self.days, standing, is_recorded=False, is_requested=False, left_to=run_id
        )

    def requested(self, symbol: str, state: ScopeState) -> FetchedSymbol | PendingFetch:
        """Ask the source for a symbol.

        What the source or the contract refuse is noted in what is returned.
        """
        reading = SymbolFetch(self.source, symbol, self.mapped.spelling[symbol], self.days)
        target = self.writer.target(symbol, state)
        pending_fetch = PendingFetch(reading, target, state)
        return self._ended(pending_fetch, lambda: self._fetch(pending_fetch)) or pending_fetch

    def _fetch(self, requested: PendingFetch) -> None:
        requested.reading.fetch(self._days_of(requested.symbol, requested.state.source))

    def _ended(self, requested: PendingFetch, act: Callable[[], None]) -> FetchedSymbol | None:
        """Return the result of a symbol if ``act`` finds that it cannot load; record evidence."""
        reading = requested.reading

        def found() -> Delivery:
            return replace(self._delivery((), self.days), discarded=reading.kept)

        error: OrchestrationError | None = None
        try:
            with record_unusable(self.writer.warehouse, requested.target, reading.kept, found):
                act()
            return None
        except QuotaEndedError as ended:
            standing = SymbolStatus("waiting", why(ended), ended.resumes_at)
        except BehindError as behind:
            standing = SymbolStatus("waiting", why(behind))
        except UnavailableError as refused:
            standing = SymbolStatus("refused", why(refused), self.now + REFUSED_FOR)
        except (SourceError, ContractError) as broken:
            error, standing = broken, SymbolStatus("refused", why(broken))
        except OrchestrationError as failed:
            error, standing = failed, SymbolStatus("waiting", why(failed))
        return FetchedSymbol(requested.symbol, self.days, standing, error=error)

    def checked(self, batch: Sequence[FetchedSymbol | PendingFetch]) -> list[FetchedSymbol]:
        """Check the fetched symbols, and compare them with the loaded rows.

        Raises:
            OrchestrationError: The database cannot be read.
        """
        started = time.monotonic()
        ended = {item.symbol: item for item in batch if isinstance(item, FetchedSymbol)}
        pending_fetches = [item for item in batch if isinstance(item, PendingFetch)]
        validated = self._checked(pending_fetches, ended)
        pending_fetches = [fetch for fetch in pending_fetches if fetch.symbol not in ended]
        second = self._second_rows(pending_fetches)
        seconds = (time.monotonic() - started) / len(batch)
        ready = self._prepared(pending_fetches, validated, seconds)
        is_there = self._are_there(pending_fetches, ready)
        for fetch, own, is_unchanged in zip(pending_fetches, ready, is_there, strict=True):
            through, last = fetch.reading.days.last, fetch.reading.requested.last
            if fetch.state.source == self.source.name:  # no work waits for days beyond the run's
                last = max(through, self.days.last)
            ended[fetch.symbol] = FetchedSymbol(
                fetch.symbol,
                Days(fetch.reading.days.first, last),
                LOADED if through >= last else _describe_behind(through),
                None if is_unchanged else own,
                through,
                second=second.get(fetch.symbol, NO_SECOND),
            )
        return [ended[item.symbol] for item in batch]

    def _checked(
        self, requested: Sequence[PendingFetch], ended: dict[str, FetchedSymbol]
    ) -> dict[str, Validated]:
        """Check answers; where dividends or splits are new or gone, those of all that is loaded.

        What ends a symbol then is added to ``ended``.
        """
        if not requested:
            return {}
        rows = check_prices([pending_fetch.reading.range for pending_fetch in requested])
        names = [pending_fetch.symbol for pending_fetch in requested]
        validated = dict(zip(names, checked_prices(rows, self.limits), strict=True))
        for item, newest in zip(requested, rows.newest, strict=True):
            vouch = partial(item.reading.vouch, newest, self.limits.stale_sessions)
            if end := self._ended(item, vouch):
                ended[item.symbol] = end
        requested = [
            pending_fetch for pending_fetch in requested if pending_fetch.symbol not in ended
        ]
        restated = self._restated(requested, rows)
        for pending_fetch in requested:
            if pending_fetch.symbol in restated:
                again = partial(
                    self._again, pending_fetch.reading, restated[pending_fetch.symbol], validated
                )
                if end := self._ended(pending_fetch, again):
                    ended[pending_fetch.symbol] = end
        return validated

    def _again(self, reading: SymbolFetch, first: date, validated: dict[str, Validated]) -> None:
        """Fetch all that is loaded of a symbol; alone, as it may be the history of decades."""
        reading.fetch(Days(first, reading.requested.last))
        rows = check_prices([reading.range])
        reading.vouch(rows.newest[0], self.limits.stale_sessions)
        [validated[reading.symbol]] = checked_prices(rows, self.limits)

    def _restated(self, requested: Sequence[PendingFetch], rows: PriceRows) -> dict[str, date]:
        """Return the first loaded day of each symbol with other dividends and splits than loaded.

        Only where that is before the days that were requested.
        """
        write_result = {
            pending_fetch.symbol: pending_fetch.reading.days
            for pending_fetch in requested
            if pending_fetch.state.source is not None
        }
        if not write_result:
            return {}
        reported = rows.actions.filter(pl.col("symbol").is_in(list(write_result)))
        with self.writer.warehouse.reading() as connection:
            other = symbols_with_other_actions(
                reported, read_loaded_actions(connection, write_result)
            )
            first = first_days(connection, sorted(other))
        return {symbol: day for symbol, day in first.items() if day < write_result[symbol].first}

    def _second_rows(self, requested: Sequence[PendingFetch]) -> Mapping[str, pl.DataFrame | str]:
        """Return each symbol's rows of a second source, or why it has none, if there is one."""
        if self.second is None:
            return {}
        values = {
            pending_fetch.symbol: pending_fetch.reading.fetch_from(self.second)
            for pending_fetch in requested
        }
        ranges = [value for value in values.values() if not isinstance(value, str)]
        reasons = {symbol: value for symbol, value in values.items() if isinstance(value, str)}
        if not ranges:
            return reasons
        rows = split_batches(check_prices(ranges).rows, len(ranges))
        return reasons | {item.symbol: own for item, own in zip(ranges, rows, strict=True)}

    def _prepared(
        self, requested: Sequence[PendingFetch], validated: Mapping[str, Validated], seconds: float
    ) -> list[ValidatedBatch[PriceChange]]:
        """Return the batches, validated in so many ``seconds`` each, ready to load."""
        if not requested:
            return []
        prepared = prepare_all(
            [
                (
                    pending_fetch.target,
                    self._without_bodies(pending_fetch.reading),
                    validated[pending_fetch.symbol],
                )
                for pending_fetch in requested
            ]
        )
        return [
            replace(own, read_seconds=item.reading.seconds, check_seconds=seconds)
            for item, own in zip(requested, prepared, strict=True)
        ]

    def _without_bodies(self, reading: SymbolFetch) -> Delivery:
        delivery = self._delivery(reading.captures, reading.days)
        return drop_bodies(add_discarded(delivery, reading.kept))

    def _are_there(
        self, requested: Sequence[PendingFetch], ready: Sequence[ValidatedBatch[PriceChange]]
    ) -> list[bool]:
        """Say which deliveries would change nothing, so that they need no load."""
        compared = {
            item.symbol: own
            for item, own in zip(requested, ready, strict=True)
            if item.state.source is not None and not own.validated.is_quarantined
        }
        if not compared:
            return [False] * len(requested)
        found = self.writer.warehouse.are_there(list(compared.values()))
        is_there = dict(zip(compared, found, strict=True))
        return [is_there.get(pending_fetch.symbol, False) for pending_fetch in requested]

    def _days_of(self, symbol: str, source: str | None) -> Days:
        """Return the days to request: with those loaded from another source, which are replaced.

        Where later days are loaded, all until now are: every dividend and split until now is in
        what the source says of these days, and would make a seam. ``full`` reads just its months.

        Raises:
            ConfigurationError: No option says that those of another source are replaced.
        """
        newest, is_same = last_complete_session(self.now), source == self.source.name
        if source is None or (is_same and (self.full or self.days.last >= newest)):
            return self.days
        if not (is_same or self.force):
            raise ConfigurationError(
                f"prices of {symbol} were loaded from another source",
                expected=f"more from {source}: sources write splits in different ways",
                found=f"PRICES_SOURCE={self.source.name}",
                remedy="set PRICES_SOURCE back, use another DATABASE_URL, or replace the symbol by "
                "allow_conflicts: true in the run's config",
            )
        with self.writer.warehouse.reading() as connection:
            first, last = first_days(connection, [symbol]), last_days(connection, [symbol])
        if is_same:
            is_later = last.get(symbol, self.days.last) > self.days.last
            return Days(self.days.first, newest) if is_later else self.days
        return Days(
            min(self.days.first, first.get(symbol, self.days.first)),
            max(self.days.last, last.get(symbol, self.days.last)),
        )

    def _delivery(self, captures: Sequence[Capture], days: Days) -> Delivery:
        digests = "".join(capture.sha256 for capture in captures)
        return Delivery(
            source=self.source.name,
            dataset="daily",
            source_version=hashlib.sha256(digests.encode()).hexdigest() if digests else "",
            record_total=None,
            scope={"trade_date": days},
            captures=captures,
        )


def _describe_behind(newest: date) -> SymbolStatus:
    return SymbolStatus("waiting", f"the source's newest price is of {newest}")
