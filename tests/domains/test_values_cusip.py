"""CUSIPs: which texts are ones, by their shape and their check digit."""

import polars as pl
import pytest

from orchestration_project.engine.contracts.values import (
    check_digit,
    has_cusip_shape,
    has_right_digit,
)

KNOWN = {
    "037833100": "Apple",
    "17275R102": "Cisco",
    "38259P508": "Google",
    "594918104": "Microsoft",
    "68389X105": "Oracle",
    "912810TM0": "a Treasury bond",
}


def found(expression: pl.Expr, *texts: str) -> list[object]:
    return pl.DataFrame({"cusip": texts}).select(expression.alias("found"))["found"].to_list()


def test_the_check_digits_of_known_securities_are_right():
    assert found(has_right_digit("cusip"), *KNOWN) == [True] * len(KNOWN)
    assert found(check_digit("cusip"), *KNOWN) == [int(cusip[-1]) for cusip in KNOWN]
    assert found(has_cusip_shape("cusip"), *KNOWN) == [True] * len(KNOWN)


@pytest.mark.parametrize("cusip", KNOWN)
def test_any_other_digit_at_the_end_is_wrong(cusip: str):
    others = [cusip[:-1] + digit for digit in "0123456789" if digit != cusip[-1]]
    assert found(has_right_digit("cusip"), *others) == [False] * 9


@pytest.mark.parametrize("cusip", KNOWN)
def test_any_other_digit_in_an_odd_place_makes_the_last_one_wrong(cusip: str):
    changed = [
        cusip[:place] + digit + cusip[place + 1 :]
        for place in (0, 2)
        for digit in "0123456789"
        if digit != cusip[place]
    ]
    assert not any(found(has_right_digit("cusip"), *changed))


def test_letters_and_the_three_marks_count_from_ten_on():
    # Each stands where it counts once: A 1+0, Z 3+5, * 3+6, @ 3+7, # 3+8.
    texts = [f"{mark}00000000" for mark in "AZ*@#"]
    assert found(check_digit("cusip"), *texts) == [9, 2, 1, 0, 9]
    # And where it counts twice: A 20, Z 70, * 72, @ 74, # 76.
    doubled = [f"0{mark}0000000" for mark in "AZ*@#"]
    assert found(check_digit("cusip"), *doubled) == [8, 3, 1, 9, 7]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "03783310",
        "0378331000",
        "o37833100",
        "03783310A",
        "037833 00",
        "037833100\n",
        "\uff1037833100",
    ],
)
def test_what_has_another_shape_is_none(text: str):
    assert found(has_cusip_shape("cusip"), text) == [False]
