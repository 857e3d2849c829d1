"""Value of a week's shares: known answers, splits undone or unknown, and what is left out."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from orchestration_project.domains.finra.calendar import session_days
from orchestration_project.domains.finra.value import (
    UNKNOWN_SPLITS,
    coverage,
    differing_weeks,
    symbol_week_value,
)

MONDAY = date(2025, 11, 24)
DAYS = session_days(MONDAY)
ONE = 10**6


def weeks(**shares: int) -> pl.DataFrame:
    rows = [{"tier": "T1", "symbol": name, "total_share_quantity": n} for name, n in shares.items()]
    dates = {"published_at": MONDAY, "known_from": datetime(2026, 1, 5, tzinfo=UTC)}
    return pl.DataFrame([{**row, **dates} for row in rows])


def prices(
    symbol: str,
    *closes: float,
    volumes: tuple[int, ...] = (100,) * 5,
    later_splits: str | None = "none",
) -> pl.DataFrame:
    rows = [
        {"symbol": symbol, "trade_date": day, "close": round(close * ONE), "volume": volume}
        for day, close, volume in zip(DAYS, closes, volumes, strict=False)
    ]
    return pl.DataFrame(rows).with_columns(
        known_from=datetime(2026, 1, 6, tzinfo=UTC),
        later_splits=pl.lit(later_splits, pl.String),
    )


def value(symbol_weeks: pl.DataFrame, of: pl.DataFrame):
    return symbol_week_value(symbol_weeks, of, week_start=MONDAY, session_days=DAYS).rows


def test_thanksgiving_week_has_four_sessions():
    assert [day.weekday() for day in DAYS] == [0, 1, 2, 4]


def test_shares_are_worth_the_mean_close_weighted_by_volume():
    of = pl.concat(
        [
            prices("AAA", 10, 10, 10, 20, volumes=(100, 100, 100, 300)),
            prices("BBB", 5, 5, 5, 5, volumes=(0, 0, 0, 0)),
        ]
    )
    found = value(weeks(AAA=60, BBB=20), of)
    assert found.select("symbol", "price", "session_count", "estimated_notional_usd").rows() == [
        ("AAA", 15 * ONE, 4, 900 * ONE),
        ("BBB", 5 * ONE, 4, 100 * ONE),
    ]
    assert found["dollar_volume_share"].to_list() == [0.9, 0.1]
    assert found["market_volume_share"].to_list() == [0.1, None]


def test_a_value_of_more_digits_than_a_double_has_is_exact():
    found = value(weeks(AAA=12_345_678_901), prices("AAA", 10, 10, 10, 10.000001))
    assert found["estimated_notional_usd"].to_list() == [123_456_792_096_419_725]


def test_a_symbol_without_a_price_of_each_session_is_left_out_and_counts_as_not_covered():
    symbol_weeks = weeks(AAA=60, BBB=20, CCC=20)
    of = pl.concat([prices("AAA", 1, 1, 1, 1), prices("BBB", 1, 1, 1)])
    found = value(symbol_weeks, of)
    assert found["symbol"].to_list() == ["AAA"]
    assert coverage(found, symbol_weeks) == 0.6


@pytest.mark.parametrize(
    ("later_splits", "price"),
    [
        ("none", 10),
        ("2026-01-05 4", 40),
        ("2026-01-05 4, 2026-02-02 2", 80),
        ("2026-01-05 0.05", 0.5),
    ],
)
def test_later_splits_in_prices_are_undone_and_named(later_splits: str, price: float):
    of = prices("AAA", 10, 10, 10, 10, later_splits=later_splits)
    found = value(weeks(AAA=60), of)
    assert found["price"].to_list() == [round(price * ONE)]
    assert found["undone_splits"].to_list() == [later_splits]
    assert found["price_reason"].to_list() == [None]
    assert found["market_volume_share"].to_list() == [60 / (400 * 10 / price)]


def test_a_split_within_the_week_is_undone_before_it_alone():
    of = prices("AAA", 40, 40, 40, 40, later_splits=f"{DAYS[2]} 0.25").with_columns(
        later_splits=pl.when(pl.col("trade_date") < DAYS[2])
        .then("later_splits")
        .otherwise(pl.lit("none"))
    )
    found = value(weeks(AAA=60), of)
    assert found["price"].to_list() == [round((800 * 10 + 200 * 40) / 1000 * ONE)]
    assert found["undone_splits"].to_list() == [f"{DAYS[2]} 0.25"]


def test_a_symbol_whose_later_splits_are_unknown_has_no_value_and_a_reason():
    of = pl.concat([prices("AAA", 1, 1, 1, 1), prices("BBB", 1, 1, 1, 1, later_splits=None)])
    symbol_weeks = weeks(AAA=60, BBB=40)
    found = value(symbol_weeks, of)
    names = ("symbol", "price", "estimated_notional_usd", "dollar_volume_share")
    more = ("market_volume_share", "undone_splits", "price_reason")
    assert found.select(*names, *more).rows() == [
        ("AAA", ONE, 60 * ONE, 1.0, 0.15, "none", None),
        ("BBB", None, None, None, None, None, UNKNOWN_SPLITS),
    ]
    assert coverage(found, symbol_weeks) == 0.6


@pytest.mark.parametrize(
    ("estimated", "notional", "factors"),
    [
        (125.0, 100.0, []),
        (126.0, 100.0, [1.26]),
        (100.0, 125.0, []),
        (100.0, 126.0, [100 / 126]),
        (0.0, 0.0, []),
        (1.0, 0.0, [None]),
    ],
)
def test_an_estimate_differs_from_finra_by_more_than_a_factor_up_or_down(
    estimated: float, notional: float, factors: list[float | None]
):
    sums = {"week_start": [MONDAY], "tier": ["T1"]}
    dollars = {"estimated_dollars": [estimated], "notional_dollars": [notional]}
    found = differing_weeks(pl.DataFrame({**sums, **dollars}), max_factor=1.25)
    assert found["factor"].to_list() == factors
