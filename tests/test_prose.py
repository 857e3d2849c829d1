"""The check of prose finds long sentences, headings without a topic, and wrong commit subjects."""

import runpy

import pytest

from orchestration_project.settings import PROJECT_ROOT

CHECK = runpy.run_path(str(PROJECT_ROOT / ".ci" / "prose.py"))
THIRTY = " ".join(["word"] * 30)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"{THIRTY}.\n", []),
        (f"Title\n\n{THIRTY} more.\n", [3]),
        (f"{THIRTY}. And {THIRTY}.\n", [1]),
        (f"- {THIRTY}\n- {THIRTY}\n", []),
        (f"| {THIRTY} | {THIRTY} |\n", []),
        (f"| a | {THIRTY} more |\n", [1]),
        (f"```\n{THIRTY} more\n```\n", []),
        ("one\n" * 31, [1]),
    ],
)
def test_a_sentence_of_more_than_30_words_is_found_with_its_line(text: str, lines: list[int]):
    assert [line for line, _ in CHECK["long_sentences"](text)] == lines


@pytest.mark.parametrize(
    ("heading", "is_found"),
    [
        ("# Threat model", False),
        ("## How to rotate a key", False),
        ("## Whole weeks", False),
        ("## Who may log in", True),
        ("### How it works", True),
        ("## Of prices", True),
        ("## Is it all there", True),
        ("## Lost a key?", True),
        ("```\n# What a comment of code says\n```", False),
    ],
)
def test_a_heading_names_a_topic_or_a_task(heading: str, is_found: bool):
    assert bool(list(CHECK["headings"](heading))) is is_found


def test_a_line_is_too_long_outside_tables_and_code():
    text = f"{'x' * 110}\n{'x' * 111}\n| {'x' * 120} |\n```\n{'x' * 120}\n```\n"
    assert [line for line, _ in CHECK["long_lines"](text)] == [2]


def test_a_docstring_begins_with_what_it_describes():
    text = (
        '"""Rows of a week."""\nclass A:\n    """Whose rows they are."""\ndef b(): "Return rows."\n'
    )
    assert [line for line, _ in CHECK["docstrings"](text)] == [2]


@pytest.mark.parametrize(
    ("subject", "problem"),
    [
        ("http: ignore out-of-range Retry-After values", ""),
        ("copy-database: name the target when it is unreachable", ""),
        ("http: ignored values", "'ignored' is not in the list of verbs"),
        ("Show the figures as measured", "not of the form `area: verb object`"),
        ("docs: refresh.", "not of the form `area: verb object`"),
        (f"docs: add {'x' * 51}", "61 characters, 60 allowed"),
    ],
)
def test_a_subject_has_an_area_and_a_verb(subject: str, problem: str):
    assert CHECK["wrong_subject"](subject) == problem
