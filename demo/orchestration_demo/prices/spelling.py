"""How the vendors spell the demo's symbols, each in its own way."""

import re

_SPELLINGS = (  # FINRA's, Yahoo's, Alpha Vantage's
    (r"(.+)\.([A-D])", r"\1-\2", r"\1-\2"),
    (r"(.+)\.U", r"\1-UN", r"\1-U"),
    (r"(.+)\.W", r"\1-WT", r"\1-WS"),
    (r"(.+)[$p]([A-Z])", r"\1-P\2", r"\1-P-\2"),
    (r"(.+)p", r"\1-P", r"\1-P"),
    (r"(.+)w", r"\1-WI", r"\1-WI"),
    (r"(.+)", r"\1", r"\1"),
)


def yahoo(symbol: str) -> str:
    """Return Yahoo's spelling of FINRA's ``symbol``."""
    return _spelled(symbol, 0)


def alpha_vantage(symbol: str) -> str:
    """Return Alpha Vantage's spelling of FINRA's ``symbol``."""
    return _spelled(symbol, 1)


def _spelled(symbol: str, vendor: int) -> str:
    for ours, *theirs in _SPELLINGS:
        if found := re.fullmatch(ours, symbol):
            return found.expand(theirs[vendor])
    return symbol
