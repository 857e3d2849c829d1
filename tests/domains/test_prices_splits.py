"""Later splits for which a source has adjusted its prices, from its whole answer."""

import json
from datetime import date, datetime, time

import pytest

from orchestration_project.domains.prices.calendar import NEW_YORK
from orchestration_project.domains.prices.contract import RequestedRange, check_prices, read_prices
from orchestration_project.engine.contracts.parts import Part
from tests.domains.prices import line, part, week

FIRST, SECOND, THIRD, FOURTH = week(count=4)


def seconds(day: date) -> int:
    return int(datetime.combine(day, time(9, 30), NEW_YORK).timestamp())


def chart(days: list[date], splits: dict[date, tuple[int, int]]) -> bytes:
    """Return Yahoo's chart of days at ten dollars, and of splits: new and old shares."""
    events = {
        str(seconds(day)): {"date": seconds(day), "numerator": new, "denominator": old}
        for day, (new, old) in splits.items()
    }
    quote = {name: [10.0] * len(days) for name in ("open", "high", "low", "close", "volume")}
    result = {
        "meta": {"currency": "USD", "symbol": "AAA", "gmtoffset": -18_000},
        "timestamp": [seconds(day) for day in days],
        "events": {"splits": events},
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": [10.0] * len(days)}]},
    }
    return json.dumps({"chart": {"result": [result], "error": None}}).encode()


def later_splits(
    source: str, body: bytes, last: date = SECOND, *, is_until_now: bool = True
) -> list[str | None]:
    """Return them by day, of an answer that was asked for the days up to ``last``."""
    answer = read_prices(source, [Part(1, body)])
    requested = RequestedRange(answer, "AAA", "AAA", source, FIRST, last, is_until_now=is_until_now)
    return check_prices([requested]).rows["later_splits"].to_list()


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("splits", "last", "expected"),
    [
        ({}, SECOND, ["none", "none"]),
        ({FOURTH: (4, 1)}, SECOND, [f"{FOURTH} 4"] * 2),
        ({FOURTH: (4, 1)}, FOURTH, [f"{FOURTH} 4"] * 3 + ["none"]),
        (
            {SECOND: (1, 20), FOURTH: (3, 2)},
            SECOND,
            [f"{SECOND} 0.05, {FOURTH} 1.5", f"{FOURTH} 1.5"],
        ),
    ],
)
def test_a_chart_is_adjusted_for_all_splits_after_a_day_loaded_or_not(
    splits: dict[date, tuple[int, int]], last: date, expected: list[str]
):
    body = chart([FIRST, SECOND, THIRD, FOURTH], splits)
    assert later_splits("yahoo", body, last) == expected


def test_a_chart_that_ends_too_early_does_not_hold_all_splits():
    body = chart([FIRST, SECOND], {})
    assert later_splits("yahoo", body, is_until_now=False) == [None, None]


def test_alpha_vantage_states_prices_as_they_were_traded():
    price = {"1. open": "10", "2. high": "10", "3. low": "10", "4. close": "10"}
    more = {"5. adjusted close": "10", "6. volume": "1", "7. dividend amount": "0"}
    days = {
        str(day): {**price, **more, "8. split coefficient": ratio}
        for day, ratio in ((THIRD, "4.0"), (SECOND, "1.0"), (FIRST, "1.0"))
    }
    body = json.dumps({"Meta Data": {"2. Symbol": "AAA"}, "Time Series (Daily)": days}).encode()
    assert later_splits("alpha_vantage", body) == ["none", "none"]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("close", "after", "expected"),
    [(40, 10, "none"), (10, 10, f"{THIRD} 4"), (11, 10, f"{THIRD} 4"), (36, 10, "none")],
)
def test_a_file_states_prices_after_a_split_where_they_do_not_jump_with_it(
    close: int, after: int, expected: str
):
    days = [line(FIRST, close), line(SECOND, close), line(THIRD, after, split_ratio=4)]
    assert later_splits("files", part(*days).body) == [expected] * 2


@pytest.mark.parametrize("ratio", ["", "0.12345678901", "x"])
def test_a_file_with_unreadable_splits_does_not_hold_them(ratio: str):
    days = [line(FIRST), line(SECOND), line(THIRD, split_ratio=ratio)]
    assert later_splits("files", part(*days).body) == [None, None]


def test_a_file_without_ratios_does_not_hold_its_splits():
    rows = "\n".join(f"{day},10,10,10,10,100" for day in (FIRST, SECOND))
    body = f"date,open,high,low,close,volume\n{rows}\n".encode()
    assert later_splits("files", body) == [None, None]
