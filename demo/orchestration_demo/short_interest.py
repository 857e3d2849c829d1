"""FINRA's consolidated short interest, synthetic: settlement dates, publication, rows, revisions.

Mid-month settlement dates are revised two weeks after they came out. Some issues are new: they have
no earlier position and no volume.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import polars as pl

from orchestration_demo.publication import is_holiday
from orchestration_demo.symbols import TREACHEROUS, universe

ROWS = 5_200
"""Takes two pages."""

PUBLISHED_AFTER = 9  # business days
REVISED_AFTER = timedelta(days=14)
REVISED_ONE_IN = 40
NEW_ISSUE_ONE_IN = 50
TRADED_PER_TIER = 300
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def is_out(day: date, today: date) -> bool:
    """Return whether ``day`` is a settlement date whose positions are published by ``today``."""
    following = _next_business_day(day)
    is_last = (following.month, following.day > 15) != (day.month, day.day > 15)
    return is_last and _is_business_day(day) and _published(day) <= today


def is_revised(day: date, today: date) -> bool:
    """Return whether positions of the settlement date ``day`` are revised by ``today``."""
    return day.day <= 15 and today >= _published(day) + REVISED_AFTER


@lru_cache(1)
def traded(seed: int) -> Sequence[str]:
    """Return tickers of the demo's market, the treacherous ones first, then the most traded.

    A few of them have a suffix in a market of another size.
    """
    treacherous = [ticker for tickers in TREACHEROUS.values() for ticker in tickers]
    of_tiers = [universe(seed, tier, TRADED_PER_TIER) for tier in ("T1", "T2", "OTCE")]
    tickers = [each.frame["issueSymbolIdentifier"].to_list() for each in of_tiers]
    return list(dict.fromkeys([*treacherous, *(each for found in tickers for each in found)]))


def rows(rng: np.random.Generator, settlement_date: str, *, seed: int) -> pl.DataFrame:
    """Return the positions of a settlement date, as they come out first."""
    made = [f"Q{LETTERS[n // 676]}{LETTERS[n // 26 % 26]}{LETTERS[n % 26]}" for n in range(ROWS)]
    symbols = list(dict.fromkeys([*traded(seed), *made]))[:ROWS]
    before = rng.integers(100, 2_000_000, ROWS)
    known_before = pl.when(pl.int_range(ROWS) % NEW_ISSUE_ONE_IN != 7)
    return _with_figures(
        pl.DataFrame(
            {
                "accountingYearMonthNumber": [int(settlement_date.replace("-", ""))] * ROWS,
                "symbolCode": symbols,
                "issueName": [f"{symbol} Common Stock" for symbol in symbols],
                "issuerServicesGroupExchangeCode": rng.choice(list("ABRSEH"), ROWS),
                "marketClassCode": rng.choice(["NYSE", "NNM", "ARCA", "OTC"], ROWS),
                "currentShortPositionQuantity": (before * rng.uniform(0.6, 1.5, ROWS)).astype(int),
                "previousShortPositionQuantity": before,
                "stockSplitFlag": rng.choice(["", "S"], ROWS, p=[0.995, 0.005]),
                "averageDailyVolumeQuantity": rng.integers(1, 900_000, ROWS),
                "revisionFlag": [""] * ROWS,
                "settlementDate": [settlement_date] * ROWS,
            }
        ).with_columns(
            known_before.then(pl.col(name)).alias(name)
            for name in ("previousShortPositionQuantity", "averageDailyVolumeQuantity")
        )
    )


def revised(published: pl.DataFrame) -> pl.DataFrame:
    """Return other positions of some issues, which are flagged; one issue is gone."""
    place, current = pl.int_range(pl.len()), pl.col("currentShortPositionQuantity")
    is_changed = place % REVISED_ONE_IN == 0
    changed = published.with_columns(
        currentShortPositionQuantity=pl.when(is_changed).then(current + 500).otherwise(current),
        revisionFlag=pl.when(is_changed).then(pl.lit("R")).otherwise("revisionFlag"),
    )
    return _with_figures(changed).filter(place != pl.len() - 2)


def _with_figures(positions: pl.DataFrame) -> pl.DataFrame:
    """Return ``positions`` with what follows of them: change, percent, days to cover."""
    now, before = pl.col("currentShortPositionQuantity"), pl.col("previousShortPositionQuantity")
    return positions.with_columns(
        changePreviousNumber=now - before,
        changePercent=((now - before) / before * 100).round(2),
        daysToCoverQuantity=(now / pl.col("averageDailyVolumeQuantity")).clip(1, 999.99).round(2),
    )


@lru_cache(1024)
def _published(settlement_date: date) -> date:
    day = settlement_date
    for _ in range(PUBLISHED_AFTER):
        day = _next_business_day(day)
    return day


@lru_cache(1024)
def _next_business_day(day: date) -> date:
    following = day + timedelta(days=1)
    return following if _is_business_day(following) else _next_business_day(following)


def _is_business_day(day: date) -> bool:
    return day.weekday() < 5 and not is_holiday(day)
