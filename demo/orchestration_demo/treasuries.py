"""FINRA's aggregates of US Treasury securities, synthetic: weeks until 2023, then days and months.

Volumes are billions of US dollars. Bills have no average price.
"""

from datetime import date, timedelta

import numpy as np
import polars as pl

WEEKS = tuple(date(2022, 12, 19) + timedelta(days=7 * place) for place in range(8))
"""All weeks that are still listed: FINRA ended the dataset in February 2023."""

MONTH_IS_OUT_AFTER = timedelta(days=12)
TRADING_DAYS = {"day": 1, "week": 5, "month": 21}
MILLIONS_PER_TRADE = 13.0

_SECURITIES = [
    ("Bills", "", "", 180.0),
    ("FRNs", "", "", 2.4),
    *(
        (category, years, benchmark, size)
        for category, size in (("Nominal Coupons", 32.0), ("TIPS", 1.8))
        for years in ("<= 2 years", "> 2 years and <= 5 years", "> 5 years and <= 10 years")
        for benchmark in ("On-the-run", "Off-the-run")
    ),
]


def week_is_out(day: date, today: date) -> bool:
    """Return whether the week of ``day`` is listed."""
    return day in WEEKS and day <= today


def month_is_out(day: date, today: date) -> bool:
    """Return whether ``day`` begins a month that is published by ``today``."""
    following = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
    return day.day == 1 and following + MONTH_IS_OUT_AFTER <= today


def weekly(rng: np.random.Generator, week: str) -> pl.DataFrame:
    """Return the volumes of a week."""
    return _volumes(rng, "beginningOfWeekDate", week, TRADING_DAYS["week"])


def daily(rng: np.random.Generator, day: str) -> pl.DataFrame:
    """Return counts, volumes and average prices of a day."""
    rows = _with_counts(_volumes(rng, "tradeDate", day, TRADING_DAYS["day"]))
    prices = pl.Series(rng.uniform(94, 104, len(rows)).round(4))
    is_bill = pl.col("productCategory") == "Bills"
    return rows.with_columns(volumeWeightedAveragePrice=pl.when(~is_bill).then(prices))


def monthly(rng: np.random.Generator, month: str) -> pl.DataFrame:
    """Return counts and volumes of a month."""
    return _with_counts(_volumes(rng, "beginningOfTheMonthDate", month, TRADING_DAYS["month"]))


def _volumes(rng: np.random.Generator, field: str, day: str, trading_days: int) -> pl.DataFrame:
    sizes = np.array([size for *_, size in _SECURITIES]) * trading_days
    return pl.DataFrame(
        {
            field: [day] * len(_SECURITIES),
            "productCategory": [category for category, *_ in _SECURITIES],
            "yearsToMaturity": [years or None for _, years, *_ in _SECURITIES],
            "benchmark": [benchmark or None for _, _, benchmark, _ in _SECURITIES],
            "atsInterdealerVolume": (sizes * rng.uniform(0.7, 1.3, len(sizes))).round(1),
            "dealerCustomerVolume": (sizes * rng.uniform(0.7, 1.3, len(sizes))).round(1),
        }
    )


def _with_counts(rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with as many trades as their volumes take."""
    return rows.with_columns(
        (pl.col(f"{parties}Volume") * 1000 / MILLIONS_PER_TRADE)
        .ceil()
        .cast(pl.Int64)
        .alias(f"{parties}Count")
        for parties in ("atsInterdealer", "dealerCustomer")
    )
