"""Record of a source about a day, as a row of exact integers or as a reject with its reason."""

from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

import numpy
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.prices.contract import (
    RequestedRange,
    check_prices,
    exact,
    read_prices,
)
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.errors import SourceError
from tests.domains.prices import MONDAY, csv, line, part, week
from tests.properties import bounded

LAST = date(2026, 2, 27)


def checked(*days: str):
    answer = read_prices("files", [part(*days)])
    return sorted_out(answer)


def sorted_out(answer: pl.DataFrame):
    return check_prices([RequestedRange(answer, "AAA", "AAA", "files", MONDAY, LAST)])


def test_a_day_becomes_a_row_of_exact_integers():
    day = f"{MONDAY},10.25,11,9.999999,10.5,5.25,12345,0.24,2"
    found = checked(day)
    assert found.rejects.is_empty()
    [only] = found.rows.to_dicts()
    assert only == {
        "symbol": "AAA",
        "trade_date": MONDAY,
        "open": 10_250_000,
        "high": 11_000_000,
        "low": 9_999_999,
        "close": 10_500_000,
        "adjusted_close": 5_250_000,
        "volume": 12345,
        "dividend": 240_000,
        "split_ratio": 2_000_000,
        "later_splits": "none",
        "source": "files",
        "part_number": 1,
        "place": 0,
    }


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("changed", "code", "reason"),
    [
        ({"open": ""}, "missing_price", "open is not given"),
        (
            dict.fromkeys(("open", "high", "low", "close"), ""),
            "no_price",
            "no price of the day is given",
        ),
        (
            {"high": "10.1234567"},
            "not_a_decimal",
            "high is not a decimal number that 64 bits keep exactly with 6 places: 10.1234567",
        ),
        (
            {"low": "n/a"},
            "not_a_decimal",
            "low is not a decimal number that 64 bits keep exactly with 6 places: n/a",
        ),
        ({"low": "0"}, "not_positive", "low is not above zero: 0"),
        ({"adjusted_close": "0.0"}, "not_positive", "adjusted_close is not above zero: 0.0"),
        ({"volume": ""}, "missing_volume", "volume is not given"),
        ({"volume": "-5"}, "not_a_volume", None),
        ({"volume": str(2**63)}, "not_a_volume", None),
        ({"high": "9"}, "high_is_not_highest", "high 9 is below another price of the day"),
        (
            {"low": "10.5", "high": "11"},
            "low_is_not_lowest",
            "low 10.5 is above another price of the day",
        ),
        ({"date": "2026-02-30"}, "impossible_date", "trade_date is not a date: 2026-02-30"),
    ],
)
def test_a_day_that_breaks_a_rule_is_rejected_with_its_reason(changed, code, reason):
    tuesday = line(week()[1])
    found = checked(line(MONDAY, **changed), tuesday)
    [reject] = found.rejects.to_dicts()
    assert reject["reason_code"] == code
    assert reason is None or reject["reason"] == reason
    assert found.rows["trade_date"].to_list() == [week()[1]]


@pytest.mark.parametrize(
    ("written", "volume"),
    [
        ("1204306.140000", "1204306.14"),
        ("1204306.0", "1204306"),
        ("1204306", "1204306"),
        ("9223372036854.775807", "9223372036854.775807"),
        ("0", "0"),
    ],
)
def test_a_volume_keeps_six_decimals(written, volume):
    found = checked(line(MONDAY, volume=written))
    assert found.rows["volume"].to_list() == [Decimal(volume)]
    assert found.rejects.is_empty()


def test_a_volume_with_more_than_six_decimals_is_rejected_and_not_rounded():
    found = checked(line(MONDAY, volume="1000.0000001"), line(week()[1], volume="1000.50000000"))
    assert found.rows["volume"].to_list() == [Decimal("1000.5")]
    [reject] = found.rejects.to_dicts()
    assert reject["reason_code"] == "not_a_volume"
    assert reject["reason"] == (
        "volume is not a number from 0 to 9223372036854 with at most 6 decimals: 1000.0000001"
    )


def test_what_a_format_does_not_have_stays_unknown():
    text = b"date,open,high,low,close,volume\n2026-02-02,1,1,1,1,7\n"
    answer = read_prices("files", [Part(1, text)])
    found = sorted_out(answer)
    [only] = found.rows.to_dicts()
    assert [only[name] for name in ("adjusted_close", "dividend", "split_ratio")] == [None] * 3


def test_only_days_of_the_range_count_and_the_newest_day_of_all_is_known():
    found = checked(line(date(2026, 1, 30)), line(MONDAY), line(date(2026, 3, 2), volume="?"))
    assert found.rows["trade_date"].to_list() == [MONDAY]
    assert (found.received_counts, len(found.rejects)) == ([1], 0)
    answer = read_prices("files", [part(line(MONDAY), line(date(2026, 3, 2)))])
    assert sorted_out(answer).newest == [date(2026, 3, 2)]


def test_the_newest_day_is_one_with_a_price_that_had_come():
    tuesday, wednesday = week()[1:3]
    answer = read_prices("files", [part(*map(line, week()[:2]), line(wednesday, close=""))])
    requested = RequestedRange(answer, "AAA", "AAA", "files", MONDAY, LAST)
    assert check_prices([requested]).newest == [tuesday]
    assert check_prices([replace(requested, said_on=MONDAY), requested]).newest == [MONDAY, tuesday]
    nothing = read_prices("files", [part(line(MONDAY, close=""))])
    assert sorted_out(nothing).newest == [None]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("127.026824184584", 127_026_824),
        ("0.0000005", 1),
        ("12.9999994999999999999999999999", 12_999_999),
        ("12.9999995", 13_000_000),
        ("188.02940368652344", 188_029_400),  # a 32-bit fraction stays the shortest decimal
    ],
)
def test_an_adjusted_close_is_rounded_as_the_vendor_computed_it(written: str, parts: int):
    found = checked(line(MONDAY, adjusted_close=written), line(week()[1], adjusted_close=""))
    assert found.rows["adjusted_close"].to_list() == [parts, None]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("0.0000004", "not_positive"),
        ("-1.0000005", "not_a_decimal"),
        ("1.00000050x", "not_a_decimal"),
        (f"{10**13}.0000005", "not_a_decimal"),
        ("many", "not_a_decimal"),
    ],
)
def test_an_adjusted_close_that_is_no_price_even_if_rounded_is_rejected(written: str, code: str):
    found = checked(line(MONDAY, adjusted_close=written))
    assert found.rejects["reason_code"].to_list() == [code]


@bounded
@given(st.integers(1, 10**6), st.just(2))
def test_cents_as_a_32_bit_fraction_with_all_its_digits_are_the_cents_again(
    number: int, places: int
):
    meant = Decimal(number).scaleb(-places)
    written = f"{float(numpy.float32(float(meant))):.17g}"
    scaled = int((meant * 10**6).quantize(Decimal(1), ROUND_HALF_UP))
    if "e" not in written:
        assert exact(pl.Series([written])).to_list() == [scaled]


@bounded
@given(st.floats(2.0**-10, 2.0**20, width=32))
def test_any_32_bit_fraction_is_taken_for_the_shortest_decimal_that_makes_it(number: float):
    written, shortest = Decimal(repr(number)), Decimal(str(numpy.float32(number)))
    is_plain = written == round(written, 6)
    meant = (written if is_plain else shortest) * 10**6
    if meant == int(meant):  # a shorter one is rounded: no price has more than six places
        assert exact(pl.Series([repr(number)])).to_list() == [int(meant)]


def test_a_finer_number_that_is_no_32_bit_fraction_is_none():
    assert exact(pl.Series(["10.12345678", "189.83999633789062", None, ""])).to_list() == [
        None,
        189_840_000,
        None,
        None,
    ]


@bounded
@given(st.lists(st.binary(max_size=40), max_size=6))
def test_no_day_vanishes_whatever_a_line_holds(lines: list[bytes]):
    text = csv() + b"\n".join(each.replace(b"\n", b"").replace(b"\r", b"") for each in lines)
    try:
        answer = read_prices("files", [Part(1, text)])
    except SourceError:
        return
    found = sorted_out(answer)
    assert len(found.rows) + len(found.rejects) == sum(found.received_counts)
