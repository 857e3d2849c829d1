"""FINRA's spelling and the vendors': what is certain, and what is left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.prices.overrides import read_overrides
from orchestration_project.domains.prices.symbols import map_symbols, vendor_symbol
from orchestration_project.errors import ConfigurationError
from tests.properties import bounded

ENDINGS = ("", ".A", ".B", "$A", "pA", "p", "w", ".U", ".W", ".WS", ".R")
SYMBOLS = st.builds(
    "".join, st.tuples(st.text("AB1", min_size=1, max_size=3), st.sampled_from(ENDINGS))
)


@pytest.mark.parametrize(
    ("ours", "yahoo", "alpha_vantage"),
    [
        ("AAPL", "AAPL", "AAPL"),
        ("NA", "NA", "NA"),
        ("1E5", "1E5", "1E5"),
        ("BRK.B", "BRK-B", "BRK-B"),
        ("EP$C", "EP-PC", "EP-P-C"),
        ("NEE$U", "NEE-PU", "NEE-P-U"),
        ("MERpA", "MER-PA", "MER-P-A"),
        ("RAC.U", "RAC-UN", "RAC-U"),
        ("PL.W", "PL-WT", "PL-WS"),
        ("PL.WS", "PL-WT", "PL-WS"),
    ],
)
def test_what_is_certain_is_spelled_as_each_vendor_does(ours: str, yahoo: str, alpha_vantage: str):
    assert vendor_symbol(ours, "yahoo", {}) == yahoo
    assert vendor_symbol(ours, "alpha_vantage", {}) == alpha_vantage
    assert vendor_symbol(ours, "files", {}) == ours


@pytest.mark.parametrize(
    "ours", ["ABCp", "ABCw", "XYZ.V", "XYZ.R", "EP$", "aapl", "BRK/B", "A B", ""]
)
def test_what_is_not_certain_is_not_spelled(ours: str):
    assert vendor_symbol(ours, "yahoo", {}) is None
    assert map_symbols([ours], "yahoo", {}).unmapped == {
        ours: "no rule says for sure how the vendor spells it"
    }


def test_symbols_that_would_get_the_same_prices_are_all_left_out():
    found = map_symbols(["EP$C", "AAPL", "EPpC"], "yahoo", {})
    assert found.spelling == {"AAPL": "AAPL"}
    why = "another symbol would be spelled EP-PC too"
    assert found.unmapped == {"EP$C": why, "EPpC": why}


def test_the_file_of_symbols_goes_before_the_rules_and_may_forbid_to_ask():
    overrides = {"ABCw": "ABC-WI", "BRK.B": ""}
    found = map_symbols(["ABCw", "BRK.B"], "yahoo", overrides)
    assert found.spelling == {"ABCw": "ABC-WI"}
    assert found.unmapped == {"BRK.B": "the file of symbols says not to ask for it"}


@bounded
@given(st.lists(SYMBOLS, unique=True), st.sampled_from(["yahoo", "alpha_vantage", "files"]))
def test_each_symbol_is_mapped_there_and_back_or_has_a_reason(symbols: list[str], vendor):
    found = map_symbols(symbols, vendor, {})
    assert sorted([*found.spelling, *found.unmapped]) == sorted(symbols)
    assert {ours: found.ours[theirs] for ours, theirs in found.spelling.items()} == {
        ours: ours for ours in found.spelling
    }


def test_all_in_the_file_of_symbols_is_text():
    found = read_overrides("yahoo:\n  NO: NULL\n  1E5: 1e5\n  ABCw:\nfiles:\n")
    assert found["yahoo"] == {"NO": "NULL", "1E5": "1e5", "ABCw": ""}
    assert found["files"] == found["alpha_vantage"] == {}
    assert read_overrides("") == {"alpha_vantage": {}, "yahoo": {}, "files": {}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("yahoo: {A: B", "line 1: invalid YAML: expected ',' or '}'"),
        ("- yahoo", "line 1: the file: expected a mapping"),
        ("bloomberg: {}", "line 1: expected one of alpha_vantage, yahoo, files, found 'bloomberg'"),
        ("yahoo: [A]", "line 1: yahoo: expected a mapping"),
        ("yahoo: {A: [B]}", "line 1: A: expected plain text"),
        ("yahoo:\n  [A]: B", "line 2: yahoo: expected plain text"),
        ("yahoo: {A: B, A: C}", "yahoo: expected each name once, found two of A"),
        (
            "yahoo: {A: C, B: C}",
            "yahoo: expected a spelling for each symbol, found C for two symbols",
        ),
    ],
)
def test_a_file_of_symbols_that_cannot_be_used_says_what_is_wrong(content: str, said: str):
    with pytest.raises(ConfigurationError, match="invalid symbol spellings") as error:
        read_overrides(content)
    assert said in error.value.found
