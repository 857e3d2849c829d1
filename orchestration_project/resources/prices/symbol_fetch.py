"""Responses of a source, and of a second one, for one symbol, and the days they cover."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import polars as pl

from orchestration_project.domains.prices.calendar import NEW_YORK, sessions_from
from orchestration_project.domains.prices.contract import (
    AnswerCount,
    RequestedRange,
    read_counted,
    read_prices,
)
from orchestration_project.engine.captures import Capture, build_parts
from orchestration_project.engine.contracts.key_ranges import Days
from orchestration_project.engine.warehouse.frames import clean_text
from orchestration_project.errors import OrchestrationError, UnavailableError
from orchestration_project.resources.prices.source import PriceRange, PriceSource, is_until_now

UNMAPPED_PREFIX, NO_DATA_PREFIX = "nobody knows how ", "nothing of "
"""How it begins why a second source has nothing: it was not asked, or it failed."""


def why(error: OrchestrationError) -> str:
    """Return the cause of an error, without the parts that differ from one poll to the next."""
    return f"{error.what}: {error.found}" if error.found else error.what


class BehindError(UnavailableError):
    """The source has no price of the days yet: the first sessions of them are just over."""


class SymbolFetch:
    """Reads days of a symbol, perhaps again with earlier ones, and the same of a second source.

    Attributes:
        symbol: Ours.
        requested: The days that were requested last.
        days: Those of them for which the answer holds, once that is known.
        captures: What makes the answer up.
        kept: Everything that came.
        seconds: How long it took to fetch and read the answer.
    """

    def __init__(self, source: PriceSource, symbol: str, spelled: str, days: Days) -> None:
        self.symbol, self.requested, self.days = symbol, days, days
        self.captures: Sequence[Capture] = ()
        self.kept: list[Capture] = []
        self.seconds = 0.0
        self._source, self._spelled = source, spelled
        self._answer: pl.DataFrame | None = None
        self._count: AnswerCount | None = None

    @property
    def range(self) -> RequestedRange:
        """The answer, and the days of it that count."""
        if self._answer is None:
            raise AssertionError("nothing was fetched yet")
        answered_at = max(capture.fetched_at for capture in self.captures)
        ranged = self._ranged(self._answer, self._source, self._spelled, self.requested)
        said_on = answered_at.astimezone(NEW_YORK).date()
        is_now = is_until_now(self.captures)
        return replace(ranged, said_on=said_on, is_until_now=is_now, count=self._count)

    @property
    def byte_count(self) -> int:
        """How many bytes came."""
        return sum(capture.byte_count for capture in self.kept)

    def fetch(self, days: Days) -> None:
        """Fetch ``days``.

        Raises:
            OrchestrationError: As the source does; or the answer is none.
        """
        started = time.monotonic()
        price_range = PriceRange(self.symbol, days.first, days.last)
        self.captures = self._source.fetch(price_range, self.kept)
        received = sum(capture.byte_count for capture in self.captures)
        parts = build_parts(self.captures)
        self._answer, self._count = read_counted(self._source.name, parts, received)
        self.requested = days
        self.seconds += time.monotonic() - started

    def vouch(self, newest: date | None, stale_sessions: int) -> None:
        """Take the answer to hold up to ``newest``, the newest day of which it has a price.

        Raises:
            BehindError: That is before the first day, which is within ``stale_sessions``.
            UnavailableError: The source has no price as late as the first day.
        """
        if newest is None or newest < self.requested.first:
            # Without earlier days in the answer, a symbol that is late looks like one that is gone.
            if (newest or self.requested.first) >= sessions_from(
                self.requested.last, -stale_sessions
            ):
                since = f"newest price is of {newest}" if newest else "prices are yet to come"
                remedy = "nothing; the next load asks again"
                raise BehindError(f"the source's {since}", remedy=remedy)
            raise UnavailableError(
                f"{self._source.name} has no price of {self.symbol} from {self.requested.first} on",
                expected="a price of at least one day",
                found=f"the newest is of {newest}" if newest else "no day with a price",
                remedy="nothing, where the symbol is not traded any more; it is requested again "
                "the day after",
            )
        self.days = Days(self.requested.first, min(self.requested.last, newest))

    def fetch_from(self, second: PriceSource) -> RequestedRange | str:
        """Ask a second source, which a load does not depend on, for the same days, or say why not.

        What it fails with harms no load, so the audit that compares both reports it.
        """
        spelled = second.vendor_symbol(self.symbol)
        if spelled is None:
            return f"{UNMAPPED_PREFIX}{second.name} spells {self.symbol}"
        captures: list[Capture] = []
        try:
            price_range = PriceRange(self.symbol, self.days.first, self.days.last)
            answer = read_prices(second.name, build_parts(second.fetch(price_range, captures)))
        except OrchestrationError as error:
            return clean_text(f"{NO_DATA_PREFIX}{second.name}: {why(error)}")
        finally:
            self.kept += [replace(capture, source=second.name) for capture in captures]
        return self._ranged(answer, second, spelled, self.days)

    def _ranged(
        self, answer: pl.DataFrame, source: PriceSource, spelled: str, days: Days
    ) -> RequestedRange:
        return RequestedRange(answer, self.symbol, spelled, source.name, days.first, days.last)
