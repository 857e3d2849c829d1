"""Chunks: exact places, ids, bounds and headings, for any text."""

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.documents.chunks import ChunkRule, chunk_id, chunks
from orchestration_project.domains.documents.extracted import (
    Draft,
    Heading,
    Limits,
    Page,
)
from orchestration_project.domains.documents.fingerprints import count_words
from orchestration_project.errors import ConfigurationError
from tests.properties import bounded

WORDS = st.sampled_from(
    [
        "one",
        "two",
        "don't",
        "3.5",
        "größer",
        "(x)",
        "--",
        "«q»",
        "日本語です",
        "w" * 150,
        "Ende.",
        "e\u0301",
    ]
)
GAPS = st.sampled_from([" ", "  ", "\n", "\n\n", "\t", ", ", "\u00a0", "\n# ", "/"])
TEXTS = st.one_of(
    st.text(max_size=300),
    st.lists(st.tuples(WORDS, GAPS), max_size=120).map(
        lambda pairs: "".join(word + gap for word, gap in pairs)
    ),
)
RULES = st.integers(1, 30).flatmap(
    lambda words: st.builds(ChunkRule, st.just(words), st.integers(0, words // 2))
)


@st.composite
def documents(draw: st.DrawFn) -> list[Page]:
    draft = Draft("a", "text/plain", None, Limits())
    for text in draw(st.lists(TEXTS, max_size=3)):
        lines = [line for line in text.splitlines() if line.strip()]
        named = draw(st.lists(st.sampled_from(lines), max_size=4)) if lines else []
        levels = draw(st.lists(st.integers(1, 6), min_size=len(named), max_size=len(named)))
        draft.add_page(text, headings=list(zip(levels, named, strict=True)))
    return draft.pages


@pytest.mark.slow
@bounded
@given(documents(), RULES)
def test_a_chunk_is_the_text_at_its_place_within_its_bounds(pages, rule):
    for chunk in chunks("id", pages, rule):
        page = pages[chunk.page_number - 1]
        assert chunk.text == page.text[chunk.start : chunk.end]
        assert chunk.text == chunk.text.strip() != ""
        assert 1 <= chunk.word_count == count_words(chunk.text) <= rule.words


@pytest.mark.slow
@bounded
@given(documents(), RULES)
def test_every_character_of_a_page_with_words_is_in_a_chunk_and_ids_differ(pages, rule):
    found = list(chunks("id", pages, rule))
    assert len({chunk.chunk_id for chunk in found}) == len(found)
    for page in pages:
        own = [chunk for chunk in found if chunk.page_number == page.number]
        assert [chunk.start for chunk in own] == sorted(chunk.start for chunk in own)
        if count_words(page.text):
            covered = {place for chunk in own for place in range(chunk.start, chunk.end)}
            rest = (each for place, each in enumerate(page.text) if place not in covered)
            assert "".join(rest).strip() == ""
        else:
            assert own == []


@bounded
@given(documents(), RULES)
def test_chunks_of_a_page_share_the_overlap_and_no_more(pages, rule):
    for before, after in pairwise(chunks("id", pages, rule)):
        if before.page_number == after.page_number:
            shared = pages[before.page_number - 1].text[after.start : before.end]
            assert count_words(shared) <= rule.overlap


@pytest.mark.slow
@bounded
@given(documents(), RULES)
def test_the_same_pages_give_the_same_chunks_and_another_rule_other_ids(pages, rule):
    found = list(chunks("id", pages, rule))
    assert found == list(chunks("id", pages, rule))
    other = ChunkRule(rule.words, rule.overlap, version="2")
    ids = {chunk.chunk_id for chunk in found}
    assert ids.isdisjoint(chunk.chunk_id for chunk in chunks("id", pages, other))
    assert ids.isdisjoint(chunk.chunk_id for chunk in chunks("other", pages, rule))


TEXT = "# One\n\nFirst sentence here. Second one there.\n\n## Two\n### Three\n\na b c d e f g h\n"
PAGE = Page(
    1,
    TEXT,
    headings=(
        Heading(0, 1, "# One"),
        Heading(TEXT.index("## Two"), 2, "## Two"),
        Heading(TEXT.index("### Three"), 3, "### Three"),
    ),
)


def test_chunks_end_where_a_reader_pauses_and_begin_with_headings():
    found = list(chunks("id", [PAGE, Page(2, "i j")], ChunkRule(words=5)))
    assert [(chunk.text, chunk.section_path) for chunk in found] == [
        ("# One\n\nFirst sentence here.", ("# One",)),
        ("Second one there.", ("# One",)),
        ("## Two\n### Three\n\na b c", ("# One", "## Two")),
        ("d e f g h", ("# One", "## Two", "### Three")),
        ("i j", ("# One", "## Two", "### Three")),
    ]
    assert [chunk.page_number for chunk in found] == [1, 1, 1, 1, 2]


def test_text_without_spaces_is_cut_too():
    chinese = chunks("id", [Page(1, "你好世界。再见。")], ChunkRule(words=4))
    assert [chunk.text for chunk in chinese] == ["你好世界。", "再见。"]
    encoded = list(chunks("id", [Page(1, "x" * 1000)], ChunkRule(words=4)))
    assert [len(chunk.text) for chunk in encoded] == [400, 400, 200]


def test_a_chunk_begins_again_with_the_overlap():
    found = chunks("id", [Page(1, "a b c d e f g h i")], ChunkRule(words=4, overlap=2))
    assert [chunk.text for chunk in found] == ["a b c d", "c d e f", "e f g h", "g h i"]


def test_an_id_is_known_from_its_parts():
    rule = ChunkRule(words=7, overlap=1)
    known = sha256(b"doc\n1/7/1\n3\n10\n20").hexdigest()
    assert chunk_id("doc", rule, 3, 10, 20) == known


@pytest.mark.parametrize(("words", "overlap"), [(0, 0), (10, -1), (10, 6)])
def test_an_impossible_rule_is_refused(words, overlap):
    with pytest.raises(ConfigurationError, match=r"invalid (words|overlap): expected"):
        ChunkRule(words, overlap)
