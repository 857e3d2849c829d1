"""Keywords of documents: terms, scores, stop words by frequency."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.documents.fingerprints import (
    HELD_TERMS,
    KEYWORD_COUNT,
    TERM_COUNT,
    TermCounts,
    keywords,
)
from orchestration_project.domains.documents.words import words_of
from tests.properties import bounded


def counts(text: str) -> dict[str, int]:
    found = TermCounts()
    found.add(words_of(text))
    return found.most_frequent()


def test_terms_are_words_of_letters_without_regard_to_case():
    assert counts("Straße STRASSE of 2026 x-ray tax Tax TAX é") == {"tax": 3, "strasse": 2}


def test_a_score_is_the_share_of_a_term_times_its_rarity():
    found = keywords({"pump": 3, "valve": 1}, {"pump": 1, "valve": 9}, total=9)
    assert found == [
        ("pump", pytest.approx(0.75 * (1 + log(5)), abs=1e-6)),
        ("valve", 0.25),
    ]


def test_words_of_more_than_half_of_twenty_documents_are_stop_words():
    own = {"the": 50, "pump": 1}
    assert [each.term for each in keywords(own, {"the": 10, "pump": 2}, 20)] == ["the", "pump"]
    assert [each.term for each in keywords(own, {"the": 11, "pump": 2}, 20)] == ["pump"]
    assert [each.term for each in keywords(own, {"the": 19, "pump": 2}, 19)] == ["the", "pump"]
    assert keywords({}, {}, 20) == []


@bounded
@given(st.permutations(["apple", "cherry", "banana", "dates", "elder"] * 2))
def test_the_order_of_words_does_not_matter_and_equal_scores_are_alphabetical(words):
    found = keywords(counts(" ".join(words)), {}, total=3)
    assert [each.term for each in found] == ["apple", "banana", "cherry", "dates", "elder"]


@pytest.mark.slow
def test_terms_of_a_long_text_are_bounded_and_frequent_ones_are_kept():
    def letters(number: int) -> str:
        return "".join(chr(97 + int(digit)) for digit in f"{number:06}")

    found = TermCounts()
    for number in range(HELD_TERMS + 10):
        found.add([letters(number), *(["frequent"] if number % 1000 == 0 else [])])
    most = found.most_frequent()
    assert len(most) == TERM_COUNT
    assert next(iter(most.items())) == ("frequent", HELD_TERMS // 1000 + 1)
    assert len(keywords(most, {}, total=1)) == KEYWORD_COUNT
