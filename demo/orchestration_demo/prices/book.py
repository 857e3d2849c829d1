"""Synthetic prices of every symbol of the demo's market: trades, splits and dividends by day.

Only seed, symbol, day and anchor decide a price, never what was asked before. A price is held in
ten-thousandths of a dollar, as it was on the day; what a vendor adjusts, it adjusts itself.
"""

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from zlib import crc32

import numpy as np

from orchestration_demo.market import Market
from orchestration_demo.prices.faults import (
    FAULTS,
    REVISED_AFTER,
    SPLIT_RATIO,
    SPLIT_SESSIONS,
    VANISHED_AFTER,
    Fault,
)
from orchestration_demo.prices.sessions import position, sessions
from orchestration_demo.publication import TIERS

UNITS = 10_000
"""Units of a dollar."""

_CENT = UNITS // 100
_HISTORIES_AT_HAND = 64  # of about half a megabyte each
_PAYS_ONE_IN, _SPLITS_ONE_IN = 3, 5
_SESSIONS_A_QUARTER = 63
_SPLIT_RATIOS = (2, 3, 4)
_QUARTERLY_YIELD = 0.005
_SESSIONS_A_WEEK = 5
_DAILY_CHANGE, _MAX_CHANGE = 0.012, 0.15
"""Changes of the logarithm: by day, and from the typical price, for FINRA's traded value, which is
near that price, and a vendor's prices agree."""
_OTC_SHARE = 0.2
"""Share of a symbol's volume that FINRA counts. It is about 0.4 in life; but here a week's shares
have a long tail, and a part should not be more than the whole."""


@dataclass(frozen=True, eq=False)
class History:
    """A symbol's days, a position each in `sessions`; prices and dividends in `UNITS`."""

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    dividend: np.ndarray
    split: np.ndarray


@dataclass(frozen=True)
class Listed:
    """A symbol that vendors know: FINRA's spelling, a typical price, its size, and its fault.

    ``weight`` is the logarithm of the shares of an ordinary day.
    """

    symbol: str
    price_usd: float
    weight: float
    fault: Fault | None


class PriceBook:
    """The prices of a market whose faults lie relative to the ``anchor`` day."""

    def __init__(self, market: Market, anchor: date) -> None:
        self.anchor = anchor
        self.listed = {each.symbol: each for tier in TIERS for each in _listed(market, tier)}
        self._seed = market.seed
        self._made = lru_cache(_HISTORIES_AT_HAND)(self._make)

    def knows(self, symbol: str, today: date) -> bool:
        """Whether the vendors have prices of ``symbol`` on ``today``."""
        each = self.listed.get(symbol)
        has_vanished = today >= self.anchor + VANISHED_AFTER
        return each is not None and not (each.fault == "vanished" and has_vanished)

    def history(self, symbol: str, today: date) -> History:
        """Return all days of a listed ``symbol`` as published on ``today``."""
        each = self.listed[symbol]
        is_revised = each.fault == "revised" and today >= self.anchor + REVISED_AFTER
        return self._made(each, is_revised)

    def _make(self, listed: Listed, is_revised: bool) -> History:
        entropy = [self._seed, crc32(listed.symbol.encode())]
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
        count = len(sessions())
        split = _splits(rng, count, position(self.anchor), listed.fault)
        walk = np.cumsum(_DAILY_CHANGE / _MAX_CHANGE * rng.standard_normal(count))
        path = listed.price_usd * np.exp(_MAX_CHANGE * np.sin(walk))
        shares_now = np.cumprod(split)  # of one share at first
        at_anchor = shares_now[position(self.anchor)] / shares_now
        close = _rounded(np.clip(path, 0.02, 5_000.0) * at_anchor)
        gap = np.exp(0.004 * rng.standard_normal(count))
        before = np.concatenate([close[:1], close[:-1]]) / split
        opened = _rounded(before / UNITS * gap)
        spread = np.exp(np.abs(0.007 * rng.standard_normal((2, count))))
        high = _rounded(np.maximum(opened, close) / UNITS * spread[0])
        low = _rounded(np.minimum(opened, close) / UNITS / spread[1])
        shares = np.exp(listed.weight + 0.35 * rng.standard_normal(count)) * np.cumprod(split)
        dividend = _dividends(rng, close, listed.fault)
        if is_revised:
            close = close.copy()
            close[position(self.anchor) - 3] = low[position(self.anchor) - 3]
        volume = np.maximum(1, np.rint(shares)).astype(np.int64)
        return History(
            opened,
            np.maximum(high, np.maximum(opened, close)),
            np.minimum(low, np.minimum(opened, close)),
            close,
            volume,
            dividend,
            split,
        )


def _listed(market: Market, tier: str) -> list[Listed]:
    symbols = market.symbols(tier)
    names = symbols.frame["issueSymbolIdentifier"]
    shares = market.usual_shares(tier) / (_OTC_SHARE * _SESSIONS_A_WEEK)
    return [
        Listed(
            name,
            float(symbols.price_usd[place]),
            float(np.log(shares[place])),
            FAULTS.get((tier, place - symbols.treacherous_count)),
        )
        for place, name in enumerate(names)
    ]


def _rounded(dollars: np.ndarray) -> np.ndarray:
    """Return prices in `UNITS`: whole cents from a dollar on, below that a unit at least."""
    units = np.maximum(1, np.rint(dollars * UNITS)).astype(np.int64)
    return np.where(units >= UNITS, (units + _CENT // 2) // _CENT * _CENT, units)


def _splits(rng: np.random.Generator, count: int, anchor: int, fault: Fault | None) -> np.ndarray:
    """Return new shares for each old one, by day: 1 but on the day of a split."""
    split = np.ones(count, np.int64)
    chosen, day, ratio = rng.integers([_SPLITS_ONE_IN, count, len(_SPLIT_RATIOS)])
    if fault == "split":
        split[anchor - SPLIT_SESSIONS] = SPLIT_RATIO
    elif chosen == 0:
        split[day] = _SPLIT_RATIOS[ratio]
    return split


def _dividends(rng: np.random.Generator, close: np.ndarray, fault: Fault | None) -> np.ndarray:
    """Return dollars a share in `UNITS`, by day: 0 but once a quarter, of those that pay."""
    dividend = np.zeros(len(close), np.int64)
    chosen, first = rng.integers([_PAYS_ONE_IN, _SESSIONS_A_QUARTER])
    if chosen == 0 or fault == "dividend":
        days = np.arange(first, len(close), _SESSIONS_A_QUARTER)
        dividend[days] = (close[days] * _QUARTERLY_YIELD).astype(np.int64) // _CENT * _CENT
    return dividend
