"""Times in the JSON of commands are in ISO 8601, with a zone."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from orchestration_project.__main__ import main
from orchestration_project.cli import console
from orchestration_project.engine.contracts.problems import Problem
from tests.cli.test_alerts import store

LIKE_A_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*")
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def times_in(document: object) -> Iterator[str]:
    """Yield the texts of a JSON document that begin as a time."""
    if isinstance(document, dict):
        for value in document.values():
            yield from times_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from times_in(value)
    elif isinstance(document, str) and LIKE_A_TIME.fullmatch(document):
        yield document


@pytest.fixture
def records(desk):
    """An alert, a key, a pause, and the captures of a load."""
    store("a", Problem("failed", "finra/otc_weekly", "T1|2026-01-05"))
    assert main(["keys", "create", "--role", "viewer", "--owner", "Ada", "-q"]) == 0
    assert main(["pause", "finra/otc_weekly", "--reason", "x", "--until", "2099-01-02T03:00Z"]) == 0


@pytest.mark.parametrize(
    "arguments",
    [["alerts", "list"], ["keys", "list"], ["pause", "--list"], ["automation", "simulate"]],
    ids=" ".join,
)
@pytest.mark.usefixtures("records")
def test_a_command_writes_times_with_their_zone(arguments: list[str], capsys):
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    found = list(times_in(json.loads(capsys.readouterr().out)))
    assert found or arguments[0] == "automation"
    assert [text for text in found if not ISO.fullmatch(text)] == []


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        (None, "2026-11-02T03:04:05+00:00"),
        (UTC, "2026-11-02T03:04:05+00:00"),
        (timezone(timedelta(hours=-5)), "2026-11-02T03:04:05-05:00"),
    ],
)
def test_a_time_without_zone_is_of_a_database_and_thus_in_utc(zone, text, capsys):
    console.emit({"at": datetime(2026, 11, 2, 3, 4, 5, tzinfo=zone)})
    assert json.loads(capsys.readouterr().out) == {"at": text}
