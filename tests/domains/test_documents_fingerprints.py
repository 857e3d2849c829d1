"""Similarity of texts: signatures, their estimate, their buckets, and groups."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.documents.fingerprints import (
    BAND_HASHES,
    BLOCK_WORDS,
    HASH_COUNT,
    SHINGLE_WORDS,
    Groups,
    Signature,
    Sketch,
    buckets,
    estimated_similarity,
    grouped,
    signature_as_text,
    signature_of_text,
)
from tests.expecting import expect_present
from tests.properties import bounded

VOCABULARY = [f"w{number}" for number in range(40)]
texts = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=60)


def signature(words: list[str], *, piece: int = 1_000_000) -> Signature:
    sketch = Sketch()
    for start in range(0, len(words), piece):
        sketch.add(words[start : start + piece])
    return expect_present(sketch.signature())


def exact(one: list[str], other: list[str]) -> float:
    """Return the Jaccard similarity of the sets of shingles."""
    sets = [
        set(zip(*(words[place:] for place in range(SHINGLE_WORDS)), strict=False))
        for words in (one, other)
    ]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_a_signature_is_the_same_on_every_machine():
    found = signature(["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"])
    assert signature_as_text(found)[:32] == "GfFDNjTK1xwzo/MWQtmGZI38vwtMOycy"
    assert buckets(found)[:2] == [-7250442081668348792, -2973466181424602246]


@bounded
@given(texts, st.integers(1, 7))
def test_pieces_in_which_words_come_do_not_matter_and_text_keeps_a_signature(words, piece):
    found = signature(words)
    assert np.array_equal(found, signature(words, piece=piece))
    assert np.array_equal(found, signature_of_text(signature_as_text(found)))
    assert estimated_similarity(found, found) == 1.0


def test_a_long_text_is_hashed_in_blocks_without_losing_a_shingle():
    words = [f"n{number}" for number in range(2 * BLOCK_WORDS + 5)]
    assert np.array_equal(signature(words), signature(words, piece=100))
    assert estimated_similarity(signature(words), signature(words[::-1])) < 0.05


@pytest.mark.slow_after_first
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_the_estimate_is_within_four_standard_errors_of_the_exact_similarity(share):
    for seed in range(10):
        common = [f"c{seed}-{number}" for number in range(int(600 * share))]
        one = common + [f"a{seed}-{number}" for number in range(600 - len(common))]
        other = common + [f"b{seed}-{number}" for number in range(600 - len(common))]
        found = estimated_similarity(signature(one), signature(other))
        assert abs(found - exact(one, other)) < 4 * 0.5 / HASH_COUNT**0.5


def test_similar_texts_share_a_bucket_and_different_ones_none():
    one = [f"w{number}" for number in range(400)]
    similar = [*one[:360], *(f"x{number}" for number in range(40))]
    different = [f"y{number}" for number in range(400)]
    own = buckets(signature(one))
    assert len(own) == HASH_COUNT // BAND_HASHES
    assert set(own) & set(buckets(signature(similar)))
    assert not set(own) & set(buckets(signature(different)))


def test_short_texts_are_compared_whole_and_no_word_has_no_signature():
    assert Sketch().signature() is None
    assert estimated_similarity(signature(["a"]), signature(["a"])) == 1.0
    assert estimated_similarity(signature(["a", "b"]), signature(["b", "a"])) < 0.2


@bounded
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"))))
def test_groups_are_connected_components_named_by_their_smallest_member(pairs):
    groups = Groups()
    for one, other in pairs:
        groups.join(one, other)
    reached = {member: {member} for pair in pairs for member in pair}
    for _ in range(len(reached)):  # a longer way there is not
        for one, other in pairs:
            reached[one] = reached[other] = reached[one] | reached[other]
    found = dict(groups.items())
    assert set(found) == set(reached)
    assert all(found[member] == min(members) for member, members in reached.items())
    assert sorted(itertools.chain(*grouped(groups.items()).values())) == sorted(found)
