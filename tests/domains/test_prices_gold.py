"""Returns and corporate actions: known answers, and parts that equal the whole."""

import math
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from statistics import stdev
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.prices.calendar import sessions
from orchestration_project.domains.prices.gold import ROWS_BEFORE, corporate_actions, returns
from tests.domains.prices import row
from tests.domains.prices import rows as prices_of
from tests.properties import bounded
from tests.resources.weeks import NOON

DAYS = sessions(date(2025, 1, 2), date(2025, 12, 31))


def rows(*days: dict[str, Any], loaded: int = 0) -> pl.DataFrame:
    """Return prices of which that day was loaded an hour later than the others."""
    hours = [int(number == loaded) for number in range(len(days))]
    times = [NOON + timedelta(hours=hour) for hour in hours]
    known_from = pl.Series("known_from", times, pl.Datetime("us", "UTC"))
    return prices_of(*days).with_columns(known_from)


def series(closes: Sequence[float], days=DAYS, **changed) -> pl.DataFrame:
    return rows(*(row(day, close, **changed) for day, close in zip(days, closes, strict=False)))


def test_a_return_is_that_of_adjusted_prices_and_the_first_day_has_none():
    prices = rows(row(DAYS[0], 10, adjusted_close=9_000_000), row(DAYS[1], 9, dividend=1_000_000))
    [only] = returns(prices, since=DAYS[0]).to_dicts()
    assert only == {
        "symbol": "AAA",
        "trade_date": DAYS[1],
        "previous_date": DAYS[0],
        "missing_count": 0,
        "is_after_gap": False,
        "is_adjusted": True,
        "simple_return": 0.0,
        "log_return": 0.0,
        "volatility_20d": None,
        "volatility_60d": None,
        "known_from": NOON + timedelta(hours=1),
    }


def test_a_return_is_known_from_the_latest_load_of_its_window():
    days = [row(day, 10 + number % 3) for number, day in enumerate(DAYS[:100])]
    found = returns(rows(*days, loaded=20), since=DAYS[0])
    later = found.filter(pl.col("known_from") > NOON)["trade_date"].to_list()
    assert later == list(DAYS[20:81])
    [action] = corporate_actions(rows(row(DAYS[0], 10, dividend=1_000_000))).to_dicts()
    assert action["known_from"] == NOON + timedelta(hours=1)


def test_without_adjusted_prices_a_return_is_that_of_closes_and_says_so():
    [only] = returns(series([10, 11], adjusted_close=None), since=DAYS[0]).to_dicts()
    assert not only["is_adjusted"]
    assert math.isclose(only["simple_return"], 0.1)
    assert math.isclose(only["log_return"], math.log(1.1))


def test_volatility_is_the_deviation_of_the_log_returns_of_whole_windows():
    closes = [100 + (7 * number) % 13 for number in range(70)]
    found = returns(series(closes), since=DAYS[0])
    logs = [math.log(b / a) for a, b in pairwise(closes)]
    for name, length in (("volatility_20d", 20), ("volatility_60d", 60)):
        assert found[name].null_count() == length - 1
        assert math.isclose(found[name][length - 1], stdev(logs[:length]))
        assert math.isclose(found[name][-1], stdev(logs[-length:]))


def test_a_gap_is_flagged_and_leaves_no_volatility_as_long_as_a_window_holds_it():
    closes = [100.0 + number % 3 for number in range(60)]
    days = [*DAYS[:30], *DAYS[32:]]
    found = returns(series(closes, days), since=DAYS[0])
    gaps = found.filter("is_after_gap")
    assert gaps.select("trade_date", "previous_date", "missing_count").rows() == [
        (DAYS[32], DAYS[29], 2)
    ]
    after = found.filter(pl.col("trade_date") >= DAYS[32])["volatility_20d"]
    assert after.is_null().to_list() == [True] * 20 + [False] * (len(after) - 20)


def test_a_holiday_is_no_gap():
    around = [date(2025, 7, 3), date(2025, 7, 7)]
    assert returns(series([1, 1], around), since=around[0])["missing_count"].to_list() == [0]


def test_a_price_of_a_holiday_hides_no_gap_beside_it():
    wednesday, holiday, monday = date(2025, 7, 2), date(2025, 7, 4), date(2025, 7, 7)
    found = returns(series([1, 1, 1], [wednesday, holiday, monday]), since=wednesday)
    assert found["missing_count"].to_list() == [1, 0]  # Thursday was a session


@pytest.mark.slow
@bounded
@given(st.lists(st.integers(50, 150), min_size=70, max_size=90), st.integers(1, 85))
def test_a_part_is_derived_to_the_same_digits_as_the_whole(closes: list[int], start: int):
    whole = series([float(close) for close in closes])
    since = DAYS[min(start, len(closes) - 1)]
    before = whole.filter(pl.col("trade_date") < since).tail(ROWS_BEFORE + 1)
    part = pl.concat([before, whole.filter(pl.col("trade_date") >= since)])
    expected = returns(whole, since=DAYS[0]).filter(pl.col("trade_date") >= since)
    assert returns(part, since=since).equals(expected)


def test_dividends_and_splits_are_listed_and_ordinary_days_are_not():
    prices = rows(
        row(DAYS[0]),
        row(DAYS[1], dividend=240_000),
        row(DAYS[2], dividend=1, split_ratio=2_000_000),
        row(DAYS[3], dividend=None, split_ratio=None),
    )
    found = corporate_actions(prices)
    assert found.select("trade_date", "kind", "dividend", "split_ratio").rows() == [
        (DAYS[1], "dividend", 240_000, None),
        (DAYS[2], "dividend", 1, None),
        (DAYS[2], "split", None, 2_000_000),
    ]
