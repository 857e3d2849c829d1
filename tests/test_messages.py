"""Messages and docstrings use the field's words: each file has at most the findings it had."""

import runpy
import subprocess
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from orchestration_project.instance.logs import LOG_EVENTS
from orchestration_project.settings import PROJECT_ROOT
from tests.message_texts import (
    Text,
    allowed,
    collect,
    error_names,
    findings,
    lint,
    log_events,
    package,
)

SOURCE = '''
"""What can go wrong.

Of no interest.
"""
LIMIT = 5
"""Bytes."""

def load(context, name):
    """Load it."""
    context.log.info(f"{name} loaded")
    if not name:
        raise ConfigurationError("no " "name", expected="one" if name else "two")
    yield dg.SkipReason("Nothing to do.")
    add(description="Of a job", other="short text")
    return "a longer text of " + name, "SELECT a FROM b WHERE c"
'''


def test_messages_are_collected_with_their_kinds():
    assert [message[1:] for message in collect(SOURCE)] == [
        ("docstring", "What can go wrong."),
        ("docstring", "Bytes."),
        ("docstring", "Load it."),
        ("log", "… loaded"),
        ("error", "no name"),
        ("error", "one"),
        ("error", "two"),
        ("skip", "Nothing to do."),
        ("description", "Of a job"),
        ("text", "a longer text of …"),
    ]
    assert collect("x = 1\ny = 'this has four words'") == [Text(2, "text", "this has four words")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Whose week it is.", ["headless 'Whose'"]),
        ("It failed. After which it ends.", ["headless 'After which'"]),
        ("What did we know then?", []),
        ("What to do: restart it", []),
        ("The week of which it is one.", []),
    ],
)
def test_a_text_is_linted_for_headless_sentences(text: str, found: list[str]):
    assert lint(text) == found


def test_an_error_names_what_was_expected_or_found_or_what_to_do():
    assert findings("raise SourceError('it failed', found='5')") == []
    assert findings("raise SourceError('invalid x: expected 1 or 2')") == []
    assert findings("raise SourceError('it failed')") == [
        (1, "SourceError without expected, found, remedy")
    ]


def test_an_error_of_a_class_below_the_four_is_not_bare_either():
    assert {"ConfigurationError", "UnavailableError", "BehindError"} <= error_names()
    assert findings("raise UnavailableError('it failed')") == [
        (1, "UnavailableError without expected, found, remedy")
    ]


def test_a_planted_module_is_read_before_it_is_added(tmp_path: Path):
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "--quiet"], check=True)  # noqa: S603 - git
    (tmp_path / "orchestration_project").mkdir()
    planted = tmp_path / "orchestration_project" / "planted.py"
    planted.write_text('"""Whose week it is."""\n')
    [source] = package(tmp_path).values()
    assert findings(source) == [(1, "docstring headless 'Whose': 'Whose week it is.'")]
    assert runpy.run_path(str(PROJECT_ROOT / ".ci" / "words.py"))["files"](tmp_path) == [planted]
    planted.unlink()
    assert package(tmp_path) == {}


def test_events_of_log_calls_are_collected():
    source = """
LOG.error("a", extra={"event": "a_failed"})
context.log.info("b", extra={"event": "b" if x else "c"})
dg.get_dagster_logger().info("d")
math.log(2)
"""
    assert log_events(source) == [(2, ["a_failed"]), (3, ["b", "c"]), (4, [])]


@cache
def read() -> Mapping[str, tuple[Any, Any]]:
    """Return the log events and findings of each module, which is parsed once for both."""
    return {name: (log_events(source), findings(source)) for name, source in package().items()}


def test_each_log_call_has_an_event_name_of_its_own_that_the_table_describes():
    calls = {
        f"{name}:{line}": events for name, (found, _) in read().items() for line, events in found
    }
    assert [place for place, events in calls.items() if not events] == []
    used = Counter(event for events in calls.values() for event in events)
    assert {event: count for event, count in used.items() if count > 1} == {}
    assert set(used) == set(LOG_EVENTS)
    assert all(description.endswith(".") for description in LOG_EVENTS.values())


def test_no_file_has_more_findings_than_are_allowed():
    limits = allowed()
    found = {name: each for name, (_, each) in read().items()}
    assert {
        name: value for name, value in found.items() if len(value) > limits.get(name, 0)
    } == {}, "list them with python -m tests.message_texts"
