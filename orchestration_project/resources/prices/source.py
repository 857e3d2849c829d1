"""Protocol of a source of daily prices."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from orchestration_project.domains.prices.calendar import NEW_YORK
from orchestration_project.domains.prices.settings import PricesSettings
from orchestration_project.domains.prices.symbols import VendorSpellings
from orchestration_project.engine.captures import Capture
from orchestration_project.engine.recovery import RecordedCapture, Recovery, RecoveryEnvironment
from orchestration_project.settings import Settings


@dataclass(frozen=True)
class PriceRange:
    """Fetch request; one request serves many months.

    ``symbol`` is ours, in FINRA's spelling, exact; both dates count.
    """

    symbol: str
    first_date: date
    last_date: date


def is_until_now(captures: Sequence[Capture]) -> bool:
    """Return whether answers were asked for all days until they came, and so for all splits."""
    return all(
        "to" not in capture.request
        or str(capture.request["to"]) >= capture.fetched_at.astimezone(NEW_YORK).date().isoformat()
        for capture in captures
    )


class PriceSource(Protocol):
    """A source of daily prices."""

    @property
    def name(self) -> str:
        """Source name in captures and rows."""
        ...

    @property
    def quota_left(self) -> int | None:
        """Requests that the vendor still grants today; None: it counts none."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether it is read without a request: a load compares also what is loaded already."""
        ...

    def vendor_symbol(self, symbol: str) -> str | None:
        """Return the source's spelling of our ``symbol``; None if unknown."""
        ...

    def mapped(self, symbols: Iterable[str]) -> VendorSpellings:
        """Return which of our ``symbols`` the source has, and why not the others."""
        ...

    def ready(self) -> str:
        """Verify that the source responds, at no cost of quota; return the finding.

        Raises:
            OrchestrationError: It cannot; with the remedy.
        """
        ...

    def fetch_again(self, request: Mapping[str, Any]) -> bytes | None:
        """Return the bytes of a recorded request as they are now; None: there are none.

        Nothing is stored. Requests count against the quota.

        Raises:
            OrchestrationError: The source does not answer, or the request is none of its.
        """
        ...

    def fetch(self, requested: PriceRange, kept: list[Capture]) -> Sequence[Capture]:
        """Fetch a symbol's prices, keeping all bytes; return what makes them up, in order.

        The answer may hold days outside of the range: sources send what they like. It may also hold
        the day whose session was not over at `Capture.fetched_at`. Everything that came is appended
        to ``kept`` too, also what turned out unusable.

        Raises:
            QuotaEndedError: The vendor answers no more today; says when it will. Nothing is wrong.
            TransientError: It did not answer in full: throttled, down, broken.
            SourceError: It has no such symbol, or answered what cannot be used.
            ConfigurationError: It refuses our key, or the symbol is not mapped.
        """
        ...


CAPTURE_SOURCES = frozenset({"alpha_vantage", "yahoo", "files", "demo"})


def _is_own(capture: RecordedCapture, settings: Settings) -> bool:
    """Whether it is of the first source of prices that the settings name."""
    chosen = PricesSettings.of(settings)
    is_source = capture.source == chosen.prices_source and capture.source in CAPTURE_SOURCES
    return is_source and isinstance(capture.request.get("symbol"), str)


def _read(capture: RecordedCapture, given: RecoveryEnvironment) -> bytes | None:
    return given.open("prices").fetch_again(capture.request)


RECOVERIES = [Recovery(way="source", applies=_is_own, read=_read)]
"""Answers for a symbol, and files of a folder."""
