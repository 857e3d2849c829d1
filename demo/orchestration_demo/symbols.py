"""Symbols of the demo's market: tickers with names, each in one tier, some hard to parse."""

from dataclasses import dataclass
from datetime import date
from string import ascii_uppercase

import numpy as np
import polars as pl

UNUSED_SUFFIX = ".R"  # no ticker here ends so: restatements may add one that does

# Tickers that careless readers change: into a missing value, a number, or another company.
TREACHEROUS = {
    "T1": ("EP$C", "NEE$U", "BRK.B", "NA", "NULL", "ABCp", "ABCP"),
    "T2": ("PL.W", "RAC.U", "NAN", "TRUE", "MERpA", "MERPA"),
    "OTCE": ("1E5", "ECOXp", "ECOXP"),
    "NMS": (),
}
_ALL_TREACHEROUS = frozenset(ticker for tickers in TREACHEROUS.values() for ticker in tickers)
# Their names are invented, as all names here: the figures are synthetic.
_TREACHEROUS_NAMES = {
    "EP$C": "Emberleigh Passage Corporation Preferred Stock Series C",
    "NEE$U": "Netherquill Energy, Inc. Series U Junior Subordinated Debentures due June 1, 2085",
    "BRK.B": "Brindlemoor Kestrel Inc.  New Common Stock",
    "PL.W": "Pellworth Labs PBC Warrants, each whole warrant exercisable for one share",
    "RAC.U": "Ravensill Acquisition Corp. Units (1 Share & 1/3 Warrant)",
    "NA": "Netherquay Labs Ltd Ordinary Shares #2",
}
_FIRST_WORDS = (
    "Aldmerrow", "Brinvale", "Carlowen", "Dunfennick", "Elstravane", "Fennimoor", "Gorswyke",
    "Hallowquay", "Iverbrenn", "Jessamarrow", "Kelvorne", "Lanthermoor", "Marrowick", "Norvellan",
    "Oxenquill", "Pellavane", "Quorrimer", "Rookhallow", "Skerrimoor", "Thornavale",
)  # fmt: skip
_SECOND_WORDS = (
    "Broadband", "Energy", "Foods", "Gold", "Health", "Lithium", "Marine", "Networks", "Optics",
    "Pharma", "Rail", "Silver", "Software", "Therapeutics", "Timber", "Water",
)  # fmt: skip
_KINDS = (
    ("{} Inc Common Stock", "CORP"),
    ("{} Holdings, Inc. Common Stock", "CORP"),
    ("{} Corp.  Class A Common Stock", "CORP"),
    ("{} Ltd Ordinary Shares (Cayman Islands)", "CORP"),
    (
        "{} plc Sponsored American Depositary Shares, each representing 10 Ordinary Shares "
        "(United Kingdom)",
        "ADR",
    ),
    (
        "{} Trust  Depositary Shares (each representing a 1/1,000th interest in a share of 5.25% "
        "Fixed-Rate Non-Cumulative Perpetual Preferred Stock, Series #4)",
        "PFD",
    ),
    ("{} Index Fund ETF", "ETF"),
    ("{} COM (Canada)", "UNKNOWN"),
)
_SUFFIXES = ("$A", "$B", ".A", ".U", ".W", "p", "pA", "w")
_TIER_ORDER = tuple(TREACHEROUS)
_MAX_PER_TIER = 100_000
_CHURN_CYCLE_WEEKS = 520
_CHURN_AWAY_WEEKS = 120


@dataclass(frozen=True, eq=False)
class Universe:
    """Every symbol that a tier ever lists, a position each.

    ``frame`` has the columns issueSymbolIdentifier, issueName, productTypeCode; ``activity`` is a
    log weight; ``price_usd`` and ``trade_size`` (shares a trade) are typical values; ``phase`` is
    the week of the churn cycle in which the symbol was listed, or -1 for those that never leave.
    The first ``treacherous_count`` positions hold the tier's treacherous tickers.
    """

    frame: pl.DataFrame
    activity: np.ndarray
    price_usd: np.ndarray
    trade_size: np.ndarray
    phase: np.ndarray
    treacherous_count: int

    def listed(self, week: date) -> np.ndarray:
        """Return the positions that are listed in ``week``."""
        age = (week.toordinal() // 7 - self.phase) % _CHURN_CYCLE_WEEKS
        is_listed = (self.phase < 0) | (age < _CHURN_CYCLE_WEEKS - _CHURN_AWAY_WEEKS)
        return np.flatnonzero(is_listed)


def universe(seed: int, tier: str, size: int) -> Universe:
    """Return the ``size`` symbols of ``tier``; the same seed always makes the same ones."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _code(tier), 1])))
    tickers = _tickers(seed, tier, size, rng)
    kinds = rng.integers(len(_KINDS), size=size)
    median_price = {"T1": 20.0, "T2": 18.0, "OTCE": 0.9, "NMS": 10.0}[tier]
    median_trade, spread = (4_000.0, 2.1) if tier == "OTCE" else (140.0, 0.5)
    named = len(TREACHEROUS[tier])
    rank = np.arange(size) - named
    rank[:named] = size // 3  # treacherous symbols stay small
    phase = rng.integers(_CHURN_CYCLE_WEEKS, size=size)
    phase[: named + size // 20] = -1
    return Universe(
        _named(tickers, kinds),
        activity=-1.1 * np.log(rank + 3.0),
        price_usd=median_price * np.exp(rng.normal(0, 0.7, size)),
        trade_size=np.maximum(1.0, median_trade * np.exp(rng.normal(0, spread, size))),
        phase=phase,
        treacherous_count=named,
    )


def _code(tier: str) -> int:
    """Return the number of a tier that makes its seeds distinct."""
    return _TIER_ORDER.index(tier)


def _tickers(seed: int, tier: str, size: int, rng: np.random.Generator) -> list[str]:
    """Return ``size`` distinct tickers that no other tier has, the treacherous ones first."""
    shared = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 99])))
    start = _code(tier) * _MAX_PER_TIER
    numbers = shared.permutation(26**4)[start : start + size + len(_ALL_TREACHEROUS)]
    letters = 5 if tier == "OTCE" else 4
    made = [_spell(int(number), letters) for number in numbers]
    for position in rng.choice(size, size // 20, replace=False):
        made[position] = made[position][:4] + _SUFFIXES[position % len(_SUFFIXES)]
    ordinary = (ticker for ticker in made if ticker not in _ALL_TREACHEROUS)
    return [*TREACHEROUS[tier], *ordinary][:size]


def _spell(number: int, letters: int) -> str:
    """Return the ticker of ``number``: four letters that are its own, and F or Y as a fifth."""
    own = ""
    for _ in range(4):
        number, digit = divmod(number, 26)
        own += ascii_uppercase[digit]
    return own + "FY"[ord(own[0]) % 2] if letters == 5 else own


def _named(tickers: list[str], kinds: np.ndarray) -> pl.DataFrame:
    """Return ``tickers`` with their names and product types; see `Universe`."""
    numbered = enumerate(zip(tickers, kinds, strict=True))
    return pl.DataFrame(
        {
            "issueSymbolIdentifier": tickers,
            "issueName": [_name(ticker, kind, position) for position, (ticker, kind) in numbered],
            "productTypeCode": [_KINDS[kind][1] for kind in kinds],
        }
    )


def _name(ticker: str, kind: int, position: int) -> str:
    """Return the issue's name: commas, `#`, parentheses and double spaces occur in them."""
    first = _FIRST_WORDS[position % len(_FIRST_WORDS)]
    second = _SECOND_WORDS[position // len(_FIRST_WORDS) % len(_SECOND_WORDS)]
    return _TREACHEROUS_NAMES.get(ticker) or _KINDS[kind][0].format(f"{first} {second}")
