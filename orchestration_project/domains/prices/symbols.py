"""FINRA's spelling of a symbol and a vendor's. Ambiguous symbols are not mapped.

The case and every character of FINRA's spelling are identity: `ABCp` is not `ABCP`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Vendor = Literal["alpha_vantage", "yahoo", "files"]
"""Owner of the spelling; a vendor's demo spells as the vendor does, files as FINRA does."""

Overrides = Mapping[str, str]
"""A vendor's spelling by ours; an empty one: this symbol is not to be requested."""


@dataclass(frozen=True)
class _Kind:
    """A kind of security: how FINRA spells it, and how each vendor does."""

    ours: re.Pattern[str]
    yahoo: str
    alpha_vantage: str


KINDS = (
    _Kind(re.compile("([A-Z0-9]+)"), r"\1", r"\1"),
    _Kind(re.compile(r"([A-Z]+)\.([A-D])"), r"\1-\2", r"\1-\2"),  # a class of shares
    _Kind(re.compile(r"([A-Z]+)[$p]([A-Z])"), r"\1-P\2", r"\1-P-\2"),  # a preferred series
    _Kind(re.compile(r"([A-Z]+)\.U"), r"\1-UN", r"\1-U"),  # units
    _Kind(re.compile(r"([A-Z]+)\.(?:W|WS)"), r"\1-WT", r"\1-WS"),  # warrants
)


@dataclass(frozen=True)
class VendorSpellings:
    """Our symbols with a vendor's spelling, no two the same; and of the others, why they have none.

    Both are in the order in which the symbols were given.
    """

    spelling: Mapping[str, str]
    unmapped: Mapping[str, str]

    @property
    def ours(self) -> Mapping[str, str]:
        """Our symbol by the vendor's spelling."""
        return {theirs: ours for ours, theirs in self.spelling.items()}


def map_symbols(symbols: Iterable[str], vendor: Vendor, overrides: Overrides) -> VendorSpellings:
    """Spell each of ``symbols`` as ``vendor`` does; an override goes before the rules.

    Symbols that would be spelled alike are all left out, as one of them would get another's prices.
    """
    spelled_names = {symbol: _spell_symbol(symbol, vendor, overrides) for symbol in symbols}
    counted = Counter(theirs for theirs in spelled_names.values() if theirs)
    spelling = {
        ours: theirs for ours, theirs in spelled_names.items() if theirs and counted[theirs] == 1
    }
    return VendorSpellings(
        spelling,
        {
            ours: _explain_missing(ours, theirs, overrides)
            for ours, theirs in spelled_names.items()
            if ours not in spelling
        },
    )


def vendor_symbol(symbol: str, vendor: Vendor, overrides: Overrides) -> str | None:
    """Return how ``vendor`` spells one symbol; None: not mapped."""
    return _spell_symbol(symbol, vendor, overrides) or None


def _spell_symbol(symbol: str, vendor: Vendor, overrides: Overrides) -> str:
    if symbol in overrides:
        return overrides[symbol]
    if vendor == "files":
        return symbol
    for kind in KINDS:
        if match := kind.ours.fullmatch(symbol):
            return match.expand(getattr(kind, vendor))
    return ""


def _explain_missing(symbol: str, theirs: str, overrides: Overrides) -> str:
    if theirs:
        return f"another symbol would be spelled {theirs} too"
    if symbol in overrides:
        return "the file of symbols says not to ask for it"
    return "no rule says for sure how the vendor spells it"
