"""Validation of responses of HTTP sources, before they are parsed."""

import re
from collections.abc import Mapping

from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.http import Response
from orchestration_project.errors import ConfigurationError, SourceError

KEPT_HEADERS = ("content-encoding", "content-type", "date")

SYMBOL = re.compile(rb'"(?:2\. Symbol|symbol)"\s*:\s*"([^"]*)"')
SYMBOL_WITHIN_BYTES = 4096


def keep(
    captures: Captures, response: Response, request: Mapping[str, object], clock: Clock
) -> Capture:
    """Store the bytes of an answer, and return their capture; ``request`` holds no secret."""
    return captures.keep(
        response.body,
        url=response.url,
        request=request,
        response_headers={
            name: value for name, value in response.headers.items() if name in KEPT_HEADERS
        },
        http_status=response.status,
        fetched_at=clock.now(),
    )


def refuse_another(response: Response, symbol: str) -> None:
    """Make sure that an answer does not say that it is about another symbol.

    Raises:
        SourceError: It does: a cache or proxy mixes answers up, or the vendor forwards old symbols.
    """
    match = SYMBOL.search(response.body, 0, SYMBOL_WITHIN_BYTES)
    if match and match[1] != symbol.encode():
        raise SourceError(
            f"{symbol} was requested, and another symbol's prices came",
            expected=symbol,
            found=match[1].decode("utf-8", "backslashreplace"),
            remedy="see whether the symbol was changed; the file that PRICES_SYMBOLS_FILE names "
            "can spell it otherwise",
            url=response.url,
        )


def unmapped(symbol: str, vendor: str) -> ConfigurationError:
    """Return the error of a symbol without a known spelling."""
    return ConfigurationError(
        f"{symbol} cannot be requested from {vendor}: its spelling there is unknown",
        remedy="spell it in the file that PRICES_SYMBOLS_FILE names, or leave it out",
    )
