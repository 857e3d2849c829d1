"""Alpha Vantage's daily prices: a request for each symbol, whatever the number of days."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from datetime import timedelta
from typing import Any, NoReturn
from urllib.parse import urlencode

from pydantic import SecretStr

from orchestration_project.domains.prices.answers import VendorRefusal, refusal_of
from orchestration_project.domains.prices.symbols import (
    Overrides,
    VendorSpellings,
    map_symbols,
    vendor_symbol,
)
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.http import HttpClient, Response
from orchestration_project.errors import (
    ConfigurationError,
    SourceError,
    ThrottledError,
    TransientError,
    UnavailableError,
)
from orchestration_project.redaction import hide, redacted
from orchestration_project.resources.prices.http_answers import keep, refuse_another, unmapped
from orchestration_project.resources.prices.quota import Quota
from orchestration_project.resources.prices.source import PriceRange

VENDOR = "alpha_vantage"

COMPACT = timedelta(days=130)
"""`outputsize=compact` holds the latest 100 sessions, which are never fewer days than these."""

QUOTED_CHARACTERS = 200

REMEDIES = {
    "premium": "with a free key set ALPHA_VANTAGE_IS_PREMIUM=false, and request the latest 100 "
    "sessions alone; a premium key, and PRICES_SOURCE=yahoo or files, have longer histories",
    "unknown_symbol": "see whether it still trades, and under which symbol; the file that "
    "PRICES_SYMBOLS_FILE names can spell it otherwise, or leave it out",
}
"""What to do where Alpha Vantage says that it does not offer a symbol's prices, by kind."""

DEFAULT_REMEDY = "ask again later; if it stays so, see what answers at ALPHA_VANTAGE_API_URL"


class AlphaVantage:
    """Reads Alpha Vantage, or whatever speaks it at another address.

    Its ``http`` takes from the ``quota`` before each attempt.
    """

    is_local: bool = False

    def __init__(
        self,
        http: HttpClient,
        captures: Captures,
        clock: Clock,
        quota: Quota,
        *,
        name: str,
        api_url: str,
        api_key: SecretStr,
        is_premium: bool,
        overrides: Overrides,
    ) -> None:
        self.name: str = name
        self._http = http
        self._captures = captures
        self._clock = clock
        self._quota = quota
        self._api_url = api_url.rstrip("/")
        self._api_key = api_key.get_secret_value()
        hide(self._api_key)
        self._is_premium = is_premium
        self._overrides = overrides
        self._throttled: dict[str, ThrottledError] = {}

    @property
    def quota_left(self) -> int | None:
        """Requests that the key still has today; None: as many as one likes."""
        return self._quota.left

    def vendor_symbol(self, symbol: str) -> str | None:
        """Return Alpha Vantage's spelling, None if unknown."""
        return vendor_symbol(symbol, VENDOR, self._overrides)

    def mapped(self, symbols: Iterable[str]) -> VendorSpellings:
        """Return which symbols can be requested, and why not the others."""
        return map_symbols(symbols, VENDOR, self._overrides)

    def ready(self) -> str:
        """Say how many requests are left: to request anything would cost one.

        Raises:
            ConfigurationError: The count of requests cannot be kept.
        """
        left = self._quota.left
        if left is None:
            return "the key has no daily limit"
        return f"{left} requests left until {self._quota.resumes_at():%Y-%m-%d %H:%M} UTC"

    def fetch(self, requested: PriceRange, kept: list[Capture]) -> Sequence[Capture]:
        """Fetch the latest 100 sessions, or all there are, as the range needs."""
        symbol = self.vendor_symbol(requested.symbol)
        if symbol is None:
            raise unmapped(requested.symbol, VENDOR)
        request = {
            "function": f"TIME_SERIES_DAILY{'_ADJUSTED' if self._is_premium else ''}",
            "symbol": symbol,
            "outputsize": "compact" if self._is_recent(requested) else "full",
        }
        query = urlencode({**request, "apikey": self._api_key})
        response = self._answered(f"{self._api_url}/query?{query}", symbol)
        refused = refusal_of(response.body)
        if refused is None or not _contains_secrets(response):  # which must not be among captures
            kept.append(keep(self._captures, response, request, self._clock))
        if refused or response.status != 200:
            self._refuse(requested, response, refused or VendorRefusal("other", ""))
        refuse_another(response, symbol)
        return kept[-1:]

    def fetch_again(self, request: Mapping[str, Any]) -> bytes | None:
        """Fetch the recorded symbol again; it counts against the quota."""
        values = {name: str(request.get(name, "")) for name in ("function", "symbol", "outputsize")}
        query = urlencode({**values, "apikey": self._api_key})
        return self._answered(f"{self._api_url}/query?{query}", values["symbol"]).body

    def _answered(self, url: str, symbol: str) -> Response:
        """Return the answer for a symbol; one that was throttled is not requested again.

        Each request counts against the quota. A run's second attempt uses the same object.
        """
        if symbol in self._throttled:
            raise copy(self._throttled[symbol])
        try:
            return self._http.request("GET", url)
        except ThrottledError as error:
            self._throttled[symbol] = copy(error)
            raise

    def _is_recent(self, requested: PriceRange) -> bool:
        return requested.first_date >= self._clock.today_in_new_york() - COMPACT

    def _refuse(
        self, requested: PriceRange, response: Response, refused: VendorRefusal
    ) -> NoReturn:
        text = redacted(refused.said)[:QUOTED_CHARACTERS]  # in this order, or a part of a key stays
        found = f"HTTP {response.status}: {text}"
        if refused.kind == "quota":
            self._quota.close_for_today()
            raise self._quota.ended(found)
        if refused.kind == "key" or response.status in (401, 403):
            raise ConfigurationError(
                "Alpha Vantage does not know our key",
                expected="prices",
                found=found,
                remedy="correct ALPHA_VANTAGE_API_KEY",
                url=response.url,
            )
        if response.status == 408 or response.status >= 500:
            raise TransientError(
                "Alpha Vantage did not answer with prices",
                expected="HTTP 200",
                found=found,
                remedy=DEFAULT_REMEDY,
                url=response.url,
            )
        kind = UnavailableError if refused.kind in REMEDIES else SourceError
        raise kind(
            f"Alpha Vantage has no prices of {requested.symbol}",
            expected=f"days from {requested.first_date} to {requested.last_date}",
            found=found,
            remedy=REMEDIES.get(refused.kind, DEFAULT_REMEDY),
            url=response.url,
        )


def _contains_secrets(response: Response) -> bool:
    """Whether an answer quotes our key, as Alpha Vantage does when a quota has ended."""
    text = response.body.decode("latin-1")
    return redacted(text) != text


def says_too_fast(body: bytes) -> bool:
    """Whether an answer demands fewer requests a second or minute, with a status of success."""
    refused = refusal_of(body)
    return refused is not None and refused.kind == "rate"
