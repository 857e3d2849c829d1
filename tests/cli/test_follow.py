"""The `follow` command: lines of JSON, each change once, until it is stopped."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration_project.__main__ import main
from orchestration_project.engine.environment import open_chain_key
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import find_database_url
from orchestration_project.settings import load_settings
from tests import programs
from tests.commands import run_without_failure
from tests.expecting import expect_present
from tests.resources.weeks import PartitionLoader, StoppedClock, row

NAME = "finra_otc_weekly"
FIELDS = [
    *("cursor", "change", "row", "partition", "cause"),
    *("group_id", "known_from", "known_to", "published_on"),
]


@pytest.fixture
def loader(
    partition_loader: PartitionLoader, clock: StoppedClock, tmp_path: Path
) -> Iterator[PartitionLoader]:
    """Loads a week into the database of the commands, and records the chain."""
    settings = load_settings()
    key, url = open_chain_key(settings), find_database_url(settings)
    schema = settings.database_schema
    with Warehouse(url, clock=clock, schema=schema, chain_key=lambda: key) as warehouse:
        yield PartitionLoader(warehouse, tmp_path / "artifacts")


def run(capfd: Any, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """Return the lines that the command writes until the last change, and its notes."""
    run_without_failure("follow", NAME, "--once", *arguments)
    written = capfd.readouterr()
    return [json.loads(line) for line in written.out.splitlines()], written.err


def cursor_in(notes: str) -> str:
    """Return the cursor that a note names."""
    return notes.rpartition(" --after ")[2].strip()


def summarize(lines: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(line["change"], line["row"]["symbol"]) for line in lines]


@pytest.mark.slow_after_first
def test_each_change_is_a_line_and_a_note_says_how_to_go_on(loader, clock, capfd):
    loader.write_batch(row("AAA"), row("BBB"))
    lines, notes = run(capfd)
    assert summarize(lines) == [("added", "AAA"), ("added", "BBB")]
    assert list(lines[0]) == FIELDS
    assert lines[0]["row"]["share_quantity"] == "100.000000"
    assert lines[0]["known_from"] == "2026-01-05T12:00:00.123456Z"
    assert lines[0]["partition"] == {"tier": "T1", "week_start": "2025-11-10"}
    assert cursor_in(notes) == lines[-1]["cursor"]
    clock.at += timedelta(days=1)
    loader.write_batch(row("AAA", share_quantity=7), version="v2")
    following, notes = run(capfd, "--after", cursor_in(notes))
    assert summarize(following) == [("changed", "AAA"), ("removed", "BBB")]
    assert run(capfd, "--after", cursor_in(notes))[0] == []
    assert run(capfd, "--after", lines[0]["cursor"])[0] == [lines[1], *following]
    assert run(capfd, "--after", "latest")[0] == []
    assert run(capfd)[0] == [*lines, *following]


@pytest.mark.slow_after_first
def test_columns_are_those_of_the_key_and_the_named_ones(loader, capfd):
    loader.write_batch(row("AAA"))
    [line], _ = run(capfd, "--columns", " share_quantity, capture_id")
    key = ["week_start", "tier", "market", "symbol", "venue_id"]
    assert list(line["row"]) == [*key, "share_quantity", "capture_id"]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["mistyped"], 2, "table or view not found: 'mistyped'"),
        ([NAME, "--columns", "mistyped"], 2, "mistyped"),
        ([NAME, "--after", ""], 1, "invalid cursor"),
        ([NAME, "--after", "mistyped"], 1, "invalid cursor"),
        ([NAME, "--after", "9.abcdef"], 1, "start again without a cursor"),
        (["finra_symbols"], 1, "finra_symbols keeps no history"),
    ],
)
def test_what_has_no_feed_is_refused(loader, capfd, arguments, status, text):
    loader.write_batch(row("AAA"))
    assert main(["follow", "--once", *arguments]) == status
    written = capfd.readouterr()
    assert written.out == ""
    assert text in written.err


def test_rows_without_a_chain_are_refused(partition_loader, capfd):
    partition_loader.write_batch(row("AAA"))
    assert main(["follow", NAME, "--once"]) == 1
    assert "load a partition again" in capfd.readouterr().err


@pytest.fixture
def followed(loader: PartitionLoader, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process, which has written the change of a first load."""
    loader.write_batch(row("AAA"))
    with (tmp_path / "notes").open("wb") as notes:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "orchestration_project", "follow", NAME],
            stdout=subprocess.PIPE,
            stderr=notes,
        )
        assert process.stdout is not None
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def next_line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    return json.loads(expect_present(process.stdout).readline())


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_waits_for_changes_until_a_signal_and_notes_the_cursor(
    followed, loader, clock, tmp_path, number
):
    assert next_line(followed)["change"] == "added"
    clock.at += timedelta(days=1)
    loader.write_batch(row("AAA", share_quantity=7), version="v2")
    last = next_line(followed)
    assert last["change"] == "changed"
    followed.send_signal(number)
    assert followed.wait(programs.PATIENCE_SECONDS) == 0
    assert followed.stdout.read() == b""
    assert cursor_in((tmp_path / "notes").read_text()) == last["cursor"]


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_reader_that_goes_away_ends_it(followed, loader, clock, tmp_path):
    next_line(followed)
    followed.stdout.close()
    clock.at += timedelta(days=1)
    loader.write_batch(row("BBB"), version="v2")
    assert followed.wait(programs.PATIENCE_SECONDS) == 141
    assert (tmp_path / "notes").read_text() == ""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.slow_on_postgresql
def test_an_output_that_cannot_be_written_is_named(loader):
    loader.write_batch(row("AAA"))
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "orchestration_project", "follow", NAME, "--once"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert ended.returncode != 0
    assert b"standard output cannot be written" in ended.stderr
