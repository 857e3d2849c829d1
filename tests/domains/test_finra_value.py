"""Value of a week's shares: known answers, splits undone, and what is left out."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from orchestration_project.domains.finra.calendar import session_days
from orchestration_project.domains.finra.value import (
    SPLIT_COLUMNS,
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


def prices(symbol: str, *closes: float, volumes: tuple[int, ...] = (100,) * 5) -> pl.DataFrame:
    rows = [
        {"symbol": symbol, "trade_date": day, "close": round(close * ONE), "volume": volume}
        for day, close, volume in zip(DAYS, closes, volumes, strict=False)
    ]
    return pl.DataFrame(rows).with_columns(known_from=datetime(2026, 1, 6, tzinfo=UTC))


def splits(*rows: tuple[str, date, int, int, int]) -> pl.DataFrame:
    schema = {
        "symbol": pl.String,
        "trade_date": pl.Date,
        **dict.fromkeys(SPLIT_COLUMNS[2:], pl.Int64),
    }
    return pl.DataFrame(list(rows), schema, orient="row")


def value(symbol_weeks: pl.DataFrame, of: pl.DataFrame, since: pl.DataFrame | None = None):
    return symbol_week_value(
        symbol_weeks,
        of,
        splits() if since is None else since,
        week_start=MONDAY,
        session_days=DAYS,
    )


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


def test_a_symbol_without_a_price_of_each_session_is_left_out_and_counts_as_not_covered():
    symbol_weeks = weeks(AAA=60, BBB=20, CCC=20)
    of = pl.concat([prices("AAA", 1, 1, 1, 1), prices("BBB", 1, 1, 1)])
    found = value(symbol_weeks, of)
    assert found["symbol"].to_list() == ["AAA"]
    assert coverage(found, symbol_weeks) == 0.6


@pytest.mark.parametrize(
    ("close_before", "close", "price"),
    [
        (40, 10, 10),  # as of the day: 40 to 10 is the split itself
        (10, 10, 40),  # written back: no jump, so earlier closes are a quarter of what they were
        (11, 10, 40),
        (36, 10, 10),
    ],
)
def test_a_later_split_is_undone_where_the_source_writes_it_back(close_before, close, price):
    later = splits(("AAA", date(2026, 1, 5), 4 * ONE, close * ONE, close_before * ONE))
    found = value(weeks(AAA=60), prices("AAA", 10, 10, 10, 10), later)
    assert found["price"].to_list() == [price * ONE]
    assert found["market_volume_share"].to_list() == [60 / (400 * 10 / price)]


def test_a_split_before_the_week_changes_nothing():
    earlier = splits(("AAA", date(2025, 11, 3), 4 * ONE, 10 * ONE, 10 * ONE))
    assert value(weeks(AAA=60), prices("AAA", 10, 10, 10, 10), earlier)["price"][0] == 10 * ONE


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
