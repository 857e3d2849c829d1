"""Restatements of the demo: corrected weeks, times and changes."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from orchestration_demo import faults
from orchestration_demo.market import Market, Purpose
from orchestration_demo.symbols import TREACHEROUS, UNUSED_SUFFIX

_ONE_IN = 12
_EARLIEST_DAYS = 100
_LATEST_DAYS = 169
_TREACHEROUS = [ticker for tickers in TREACHEROUS.values() for ticker in tickers]


@dataclass(frozen=True)
class Restatement:
    """A correction of one week and tier, visible from ``day`` on.

    ``share_changed`` is the share of rows whose quantities change, 0 to 1; at 0 nothing changes but
    the update date of one symbol.
    """

    day: date
    share_changed: float


def restatement(market: Market, anchor: date, tier: str, week: date) -> Restatement | None:
    """Return the correction that ``week`` gets, on whatever day, if it gets one."""
    where = faults.place(anchor, tier, week)
    known = {
        faults.RESTATED: Restatement(anchor + timedelta(days=8), share_changed=0.01),
        faults.RELABELLED: Restatement(anchor + timedelta(days=9), share_changed=0.0),
    }
    if where in known:
        return known[where]
    rng = market.random(tier, week, Purpose.RESTATEMENT_DAY)
    is_chosen = rng.integers(_ONE_IN) == 0
    day = week + timedelta(days=int(rng.integers(_EARLIEST_DAYS, _LATEST_DAYS + 1)))
    # What a first run loads holds still for a week, so that repeating the run changes nothing.
    is_too_soon = 1 <= where[1] <= 9 and day < anchor + timedelta(days=8)
    return Restatement(day, share_changed=0.003) if is_chosen and not is_too_soon else None


def restated(
    rows: pl.DataFrame, rng: np.random.Generator, restatement: Restatement
) -> pl.DataFrame:
    """Return firm ``rows`` corrected: some quantities differ, one symbol is gone, one is new."""
    gone, model = ordinary_symbols(rows)[:2]
    symbol = pl.col("issueSymbolIdentifier")
    added = rows.filter(symbol == model).with_columns(
        issueSymbolIdentifier=symbol + UNUSED_SUFFIX, issueName=pl.col("issueName") + " Rights"
    )
    kept = rows.filter(symbol != gone)
    count = max(1, round(kept.height * restatement.share_changed))
    factor = np.ones(kept.height)
    factor[rng.choice(kept.height, count, replace=False)] = rng.uniform(1.02, 1.2, count)
    more = (pl.col("shares", "cents") * pl.Series(factor)).ceil().cast(pl.Int64)
    return pl.concat([kept.with_columns(more), added])


def ordinary_symbols(rows: pl.DataFrame) -> list[str]:
    """Return the symbols of middling volume in ``rows`` first, none of them treacherous."""
    volumes = (
        rows.filter(~pl.col("issueSymbolIdentifier").is_in(_TREACHEROUS))
        .group_by("issueSymbolIdentifier")
        .agg(pl.col("shares").sum())
        .sort("shares", "issueSymbolIdentifier")
    )
    middle = volumes.height // 2
    return volumes["issueSymbolIdentifier"].to_list()[middle:]
