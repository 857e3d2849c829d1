"""The check of words finds what no user searches for, and holds each file to its number."""

import runpy

import pytest

from orchestration_project.settings import PROJECT_ROOT
from tests.message_texts import lint

CHECK = runpy.run_path(str(PROJECT_ROOT / ".ci" / "words.py"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Nobody is told of it anew.", ["Nobody", "told", "anew"]),
        ("The week was held back,\nand is tried again.", ["held back", "tried again"]),
        ("Two names with blanks between; made-up data.", ["blanks between", "made-up"]),
        ("'tier' is no condition", ["is no condition"]),
        ("An audit holds back a week.", ["holds back"]),
        ("Two weeks landed; the run lands the rest.", ["landed", "lands"]),
        ("State `landed`, column landed_at of landings; runbooks/landed.md", []),
        ("It is no longer quarantined; the run was retried.", []),
        ("A bold letter, an untold story.", []),
        ('State "told" of an alert; "day is no date: 2026-02-30"', []),
    ],
)
def test_words_of_the_dialect_are_found_with_the_word_to_use(text: str, words: list[str]):
    assert [word for _, word, _ in CHECK["hits"](text)] == words


def test_a_message_is_linted_for_words_of_the_dialect():
    assert lint("It was held back.") == ["'held back' (use: quarantined)"]
