"""The demo's market: which venue traded how much of which symbol, the same for ever for a seed.

Only seed, size, tier and week decide a row, never the clock, the process or what was asked before.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import IntEnum
from functools import lru_cache

import numpy as np
import polars as pl

from orchestration_demo.publication import trading_level
from orchestration_demo.symbols import Universe, universe
from orchestration_demo.venues import DE_MINIMIS, Venues, venues_of

NOTIONAL_SINCE = date(2025, 6, 30)  # the first week whose traded value is published
NMS_ROWS = 12

_ROW_SHARE = {"T1": 0.47, "T2": 0.34, "OTCE": 0.19}
_ROWS_PER_SYMBOL = {"T1": 37.0, "T2": 10.0, "OTCE": 4.3, "NMS": 3.0}
_SYMBOLS_EVER_PER_LISTED = 1.3
_FEWEST_SYMBOLS = {"T1": 24, "T2": 24, "OTCE": 20, "NMS": 4}
_TIER_CODES = {"T1": 1, "T2": 2, "OTCE": 3, "NMS": 4}
_LOG_SHARES = {"T1": 18.2, "T2": 15.6, "OTCE": 16.4, "NMS": 9.0}
_NO_CENTS = pl.lit(None, pl.Int64)


class Purpose(IntEnum):
    """Purposes of random numbers: each has numbers of its own."""

    TRADING = 0
    AFFINITY = 1
    RESTATEMENT_DAY = 2
    RESTATEMENT = 3
    ORDER = 4


class Market:
    """A market of about ``rows_per_week`` rows per symbol and firm over the three tiers."""

    def __init__(self, seed: int, rows_per_week: int) -> None:
        self.seed = seed
        self._rows_per_week = rows_per_week
        self._tier = lru_cache(maxsize=None)(self._make_tier)

    def random(self, tier: str, week: date, purpose: Purpose) -> np.random.Generator:
        """Return the random numbers of one week and tier for one ``purpose``."""
        entropy = [self.seed, _TIER_CODES[tier], week.toordinal(), purpose]
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))

    def firm_rows(self, tier: str, week: date) -> pl.DataFrame:
        """Return one row per symbol and firm that traded it in ``week``.

        Columns: issueSymbolIdentifier, issueName, productTypeCode, market (`ATS` or `OTC`), MPID,
        marketParticipantName, firmCRDNumber, trades, shares, cents (of traded value, or null) and
        lastReportedDate.
        """
        traded = self._tier(tier)
        rng = self.random(tier, week, Purpose.TRADING)
        symbol, venue = traded.pairs(week, self._row_count(tier, week, rng), rng)
        shares = traded.shares(symbol, venue, rng) * trading_level(week)
        shares = _with_de_minimis_share(shares, venue, traded.venues, rng.uniform(0.27, 0.345))
        noise = np.exp(0.4 * rng.standard_normal(len(symbol)))
        trades = np.clip(np.rint(shares / traded.symbols.trade_size[symbol] / noise), 1, shares)
        price = traded.symbols.price_usd * np.exp(0.03 * rng.standard_normal(traded.size))
        cents = np.rint(shares * price[symbol] * 100)
        return pl.concat(
            [traded.symbols.frame[symbol], traded.venues.frame[venue]], how="horizontal"
        ).with_columns(
            trades=pl.Series(trades.astype(np.int64)),
            shares=pl.Series(shares.astype(np.int64)),
            cents=pl.Series(cents.astype(np.int64)) if week >= NOTIONAL_SINCE else _NO_CENTS,
            lastReportedDate=pl.lit((week + timedelta(days=4)).isoformat()),
        )

    def symbols(self, tier: str) -> Universe:
        """Return every symbol that ``tier`` ever lists."""
        return self._tier(tier).symbols

    def usual_shares(self, tier: str) -> np.ndarray:
        """Return the mean shares of each of `symbols` in an ordinary week, if all venues trade."""
        traded = self._tier(tier)
        activity = traded.symbols.activity[:, None]
        return np.exp(
            traded.log_shares + 1.1 * activity + traded.venues.size + traded.affinity + 0.8**2 / 2
        ).sum(axis=1)

    def _row_count(self, tier: str, week: date, rng: np.random.Generator) -> int:
        """Return how many rows ``week`` has: a wobble, and a few less in a week with holidays."""
        if tier == "NMS":
            return NMS_ROWS
        wobble = rng.uniform(0.98, 1.03) * (1.0 if trading_level(week) == 1 else 0.985)
        return round(self._rows_per_week * _ROW_SHARE[tier] * wobble)

    def _make_tier(self, tier: str) -> "_Tier":
        """Return what never changes about ``tier``."""
        rows = self._rows_per_week * _ROW_SHARE.get(tier, 0)
        listed = max(_FEWEST_SYMBOLS[tier], rows / _ROWS_PER_SYMBOL[tier])
        size = round(listed * _SYMBOLS_EVER_PER_LISTED)
        venues = venues_of(tier)
        rng = self.random(tier, date.min, Purpose.AFFINITY)
        affinity = 0.9 * rng.standard_normal((size, len(venues.presence)), dtype=np.float32)
        return _Tier(universe(self.seed, tier, size), venues, affinity, _LOG_SHARES[tier])


@dataclass(frozen=True, eq=False)
class _Tier:
    """Constant parts of a tier: symbols, venues, and their affinities.

    ``affinity`` holds a log weight for each symbol (down) and venue (across).
    """

    symbols: Universe
    venues: Venues
    affinity: np.ndarray
    log_shares: float

    @property
    def size(self) -> int:
        """Return how many symbols the tier ever lists."""
        return len(self.symbols.activity)

    def pairs(
        self, week: date, rows: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions of the ``rows`` symbols and venues that meet in ``week``, sorted."""
        listed = self.symbols.listed(week)
        score = (
            self.symbols.activity[listed, None]
            + self.venues.presence
            + self.affinity[listed]
            + 0.35 * rng.standard_normal((len(listed), len(self.venues.presence)))
        )
        score[listed < self.symbols.treacherous_count, 0] = np.inf  # they trade every week
        score[listed < self.symbols.treacherous_count, -1] = np.inf
        best = np.sort(np.argpartition(-score, rows, axis=None)[:rows])
        symbol, venue = np.divmod(best, len(self.venues.presence))
        return listed[symbol], venue

    def shares(self, symbol: np.ndarray, venue: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the shares (not yet whole) that each pair trades in an ordinary week."""
        log_shares = self.log_shares + 1.1 * self.symbols.activity[symbol] + self.venues.size[venue]
        noise = self.affinity[symbol, venue] + 0.8 * rng.standard_normal(len(symbol))
        return np.exp(log_shares + noise + 0.05 * rng.standard_normal())


def _with_de_minimis_share(
    shares: np.ndarray, venue: np.ndarray, venues: Venues, fraction: float
) -> np.ndarray:
    """Return whole ``shares``, of which De Minimis firms hold ``fraction`` of the non-ATS ones."""
    names = venues.frame["marketParticipantName"]
    is_lump = (names == DE_MINIMIS).to_numpy()[venue]
    is_named_firm = ~venues.is_ats[venue] & ~is_lump
    wanted = shares[is_named_firm].sum() * fraction / (1 - fraction)
    held = shares[is_lump].sum()
    scale = wanted / held if wanted and held else 1.0  # a tiny tier may lack one or the other
    return np.maximum(1, np.rint(np.where(is_lump, shares * scale, shares)))
