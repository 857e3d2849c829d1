"""Yahoo's chart of daily prices: a request for each symbol and range, with splits and dividends."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

from orchestration_project.domains.prices.days import json_of
from orchestration_project.domains.prices.symbols import (
    Overrides,
    VendorSpellings,
    map_symbols,
    vendor_symbol,
)
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.clock import NEW_YORK, Clock
from orchestration_project.engine.http import HttpClient, Response
from orchestration_project.errors import SourceError, TransientError, UnavailableError
from orchestration_project.resources.prices.http_answers import keep, refuse_another, unmapped
from orchestration_project.resources.prices.source import PriceRange

VENDOR = "yahoo"

KNOWN_SYMBOL = "SPY"
"""Symbol of the readiness probe; the demo responds that it has none, which passes."""

CHART = b'"chart"'

SYMBOL_STATUSES = frozenset({200, 400, 404})
"""Statuses of an answer about the symbol; any other without a chart is about the service alone."""

A_DAY = timedelta(days=1)


class YahooChart:
    """Reads Yahoo's chart, or whatever speaks it at another address."""

    quota_left: int | None = None
    is_local: bool = False

    def __init__(
        self,
        http: HttpClient,
        captures: Captures,
        clock: Clock,
        *,
        name: str,
        api_url: str,
        overrides: Overrides,
    ) -> None:
        self.name: str = name
        self._http = http
        self._captures = captures
        self._clock = clock
        self._api_url = api_url.rstrip("/")
        self._overrides = overrides

    def vendor_symbol(self, symbol: str) -> str | None:
        """Return Yahoo's spelling, None if it is not known."""
        return vendor_symbol(symbol, VENDOR, self._overrides)

    def mapped(self, symbols: Iterable[str]) -> VendorSpellings:
        """Return which symbols can be requested, and why not the others."""
        return map_symbols(symbols, VENDOR, self._overrides)

    def ready(self) -> str:
        """Request a symbol, and make sure that a chart or its refusal comes.

        Raises:
            TransientError: The service does not answer.
            SourceError: Something else does.
        """
        today = self._clock.today_in_new_york()
        response = self._fetch_response(
            KNOWN_SYMBOL, PriceRange(KNOWN_SYMBOL, today - 7 * A_DAY, today)
        )
        if CHART not in response.body[:200]:
            self._refuse(KNOWN_SYMBOL, response)
        return f"answered that it has no {KNOWN_SYMBOL}" if response.status == 404 else "answered"

    def fetch(self, requested: PriceRange, kept: list[Capture]) -> Sequence[Capture]:
        """Fetch the days until now: the splits after the range are in its prices already."""
        symbol = self.vendor_symbol(requested.symbol)
        if symbol is None:
            raise unmapped(requested.symbol, VENDOR)
        last = max(requested.last_date, self._clock.today_in_new_york())
        response = self._fetch_response(
            symbol, PriceRange(requested.symbol, requested.first_date, last)
        )
        request = {"symbol": symbol, "from": requested.first_date, "to": last}
        messages = {name: str(value) for name, value in request.items()}
        kept.append(keep(self._captures, response, messages, self._clock))
        if response.status != 200 or CHART not in response.body[:200]:
            self._refuse(requested.symbol, response)
        refuse_another(response, symbol)
        return kept[-1:]

    def fetch_again(self, request: Mapping[str, Any]) -> bytes | None:
        """Fetch the recorded symbol and range again."""
        symbol = str(request["symbol"])
        try:
            days = [date.fromisoformat(str(request[name])) for name in ("from", "to")]
        except (KeyError, ValueError):
            return None
        return self._fetch_response(symbol, PriceRange(symbol, *days)).body

    def _fetch_response(self, symbol: str, requested: PriceRange) -> Response:
        query = urlencode(
            {
                "interval": "1d",
                "period1": _find_midnight(requested.first_date),
                "period2": _find_midnight(requested.last_date + A_DAY),
                "events": "div,splits",
            }
        )
        url = f"{self._api_url}/v8/finance/chart/{quote(symbol, safe='')}?{query}"
        return self._http.request("GET", url, headers={"Accept": "application/json"})

    def _refuse(self, symbol: str, response: Response) -> NoReturn:
        is_of_vendor = CHART in response.body[:200]
        if response.status not in SYMBOL_STATUSES and not is_of_vendor:
            raise TransientError(
                "Yahoo did not answer with a chart",
                expected='HTTP 200 with {"chart": …}, or an error in its place',
                found=f"HTTP {response.status}: {_extract_error_text(response)}",
                remedy="ask again later; if it stays so, see what answers at YAHOO_API_URL",
                url=response.url,
            )
        kind = UnavailableError if is_of_vendor else SourceError
        raise kind(
            f"Yahoo has no chart of {symbol}",
            expected='HTTP 200 with {"chart": …}',
            found=f"HTTP {response.status}: {_extract_error_text(response)}",
            remedy="see whether it still trades, and under which symbol; the file that "
            "PRICES_SYMBOLS_FILE names can spell it otherwise, or leave it out; if no symbol has a "
            "chart, see what answers at YAHOO_API_URL",
            url=response.url,
        )


def _extract_error_text(response: Response) -> str:
    """Return the vendor's words, or the first of whatever answered in its place."""
    try:
        return str(json_of(response.body)["chart"]["error"]["description"])
    except (SourceError, KeyError, TypeError):
        return ascii(response.body[:200].decode("utf-8", "replace"))


def _find_midnight(day: date) -> int:
    """Return when ``day`` begins in New York, in seconds since 1970."""
    return int(datetime.combine(day, time(), NEW_YORK).timestamp())
