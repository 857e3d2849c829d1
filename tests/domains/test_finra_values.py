"""Texts into numbers and nulls: only digits are a number, and only what shows nothing is blank."""

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.engine.contracts.values import parse_whole_number, replace_blank_texts
from tests.properties import bounded

MAX_INT64 = 2**63 - 1

like_numbers = st.one_of(
    st.text(st.sampled_from("0123456789+-. eE_,\u0660\uff11\t"), max_size=22),
    st.integers(-(2**64), 2**64).map(str),
    st.text(max_size=4),
)
like_blanks = st.lists(
    st.one_of(st.text(st.sampled_from(" \t\u00a0\u2003"), max_size=2), st.text())
)


@given(st.lists(like_numbers))
@bounded
def test_a_whole_number_is_digits_and_nothing_else(texts):
    read = pl.DataFrame({"text": texts}, {"text": pl.String}).select(parse_whole_number("text"))
    expected = [
        int(text) if re.fullmatch("[0-9]+", text) and int(text) <= MAX_INT64 else None
        for text in texts
    ]
    assert read["text"].to_list() == expected


@pytest.mark.parametrize("text", ["+5", "-5", "5 ", " 5", "5_0", "5.0", "5e1", "\uff15", "0x5", ""])
def test_what_a_looser_reading_would_take_is_no_whole_number(text):
    read = pl.DataFrame({"text": [text, "5"]}).select(parse_whole_number("text"))
    assert read["text"].to_list() == [None, 5]


@given(like_blanks, like_blanks)
@bounded
def test_texts_that_show_nothing_are_null_and_others_stay(first, second):
    height = min(len(first), len(second))
    rows = pl.DataFrame(
        {"a": first[:height], "b": second[:height]}, {"a": pl.String, "b": pl.String}
    )
    found = rows.select(**replace_blank_texts(rows, ("a", "b")))
    for name in ("a", "b"):
        expected = [text if re.search(r"\S", text) else None for text in rows[name]]
        assert found[name].to_list() == expected
