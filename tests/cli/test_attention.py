"""The command that lists what needs a person, and marks entries."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration_project.__main__ import main
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.services.inbox.uploads import NewFile, UploadRefusals
from orchestration_project.settings import load_settings
from tests.commands import run_without_failure
from tests.prepared import Prepared
from tests.programs import DEMO
from tests.situations import HOUR, NOON, SHA256, WEEKLY, Situation

PARTITION = "T2|2026-01-05"


@pytest.fixture
def situation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: Prepared
) -> Iterator[Situation]:
    for name, value in {**DEMO, "STATE_DIR": str(tmp_path / "state")}.items():
        monkeypatch.setenv(name, value)
    prepared.sqlite(load_settings().state_path / "demo.sqlite")
    with open_warehouse(load_settings()) as warehouse:
        opened = Situation(warehouse)
        group = opened.deliver(PARTITION, "held_back", 1)
        opened.audit(group, "is_complete", f"2 rows; SHA-256 {SHA256}")
        opened.item("prices_symbols", "AAA", 2, reason_code="transient", reason="timed out")
        opened.alert(3, "open")
        yield opened


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    run_without_failure("attention", "--json", *arguments)
    return json.loads(capsys.readouterr().out)


def test_each_entry_is_listed_with_the_command_that_answers_it(situation, capsys):
    commands = {entry["kind"]: entry["commands"] for entry in listed(capsys)}
    assert commands["quarantined"] == [
        f"orchestrate load {WEEKLY} '{PARTITION}'",
        f"orchestrate replay --group '{WEEKLY}:{PARTITION}#1'",
        f"orchestrate replay --group '{WEEKLY}:{PARTITION}#1' --accept {SHA256} --reason TEXT",
    ]
    assert commands["alert"] == ["orchestrate alerts close 00000000"]
    [retry] = commands["failed_item"]
    assert retry.startswith("dagster job execute -m orchestration_project.definitions")
    assert '"topics":["prices_symbols"],"reason_codes":["transient"]' in retry


def test_entries_are_filtered_by_kind_and_domain_and_have_iso_times(situation, capsys):
    [entry] = listed(capsys, "--kind", "quarantined", "--domain", "finra")
    assert datetime.fromisoformat(entry["since"]) == NOON + HOUR
    assert "T" in entry["since"]
    assert listed(capsys, "--kind", "alert", "--domain", "prices") == []
    assert main(["attention"]) == 0
    assert f"finra/otc_weekly {PARTITION}" in capsys.readouterr().out


def test_an_entry_is_shown_ignored_and_shown_again(situation, capsys):
    [entry] = listed(capsys, "--kind", "quarantined")
    start = entry["entry_id"][:8]
    assert main(["attention", start]) == 0
    assert "is_complete: expected at least 8 rows, found 2 rows" in capsys.readouterr().out
    until = (Clock().now() + timedelta(days=1)).isoformat()
    ignore = ["attention", start, "--ignore-until", until, "--reason", "reported"]
    assert main([*ignore, "--dry-run"]) == 0
    capsys.readouterr()
    assert len(listed(capsys, "--kind", "quarantined")) == 1
    assert main(ignore) == 0
    capsys.readouterr()
    assert listed(capsys, "--kind", "quarantined") == []
    [ignored] = listed(capsys, "--ignored")
    assert ignored["entry_id"] == entry["entry_id"]
    assert main(["attention", start, "--show-again"]) == 0
    assert main(["attention", start, "--acknowledge", "--reason", "ada looks"]) == 0
    capsys.readouterr()
    assert len(listed(capsys, "--kind", "quarantined")) == 1


def test_a_refused_upload_is_listed_without_a_command_and_ignored(situation, capsys):
    file = NewFile("sheets", "large.csv", "text/csv", "ada")
    refusals = UploadRefusals(situation.warehouse, Clock())
    refusals.record(file, 413, "the file is too large", "at most 1 MiB (max_mib)", 2**21)
    [entry] = listed(capsys, "--kind", "refused_upload")
    assert (entry["title"], entry["commands"]) == ("sheets: large.csv", [])
    start = entry["entry_id"][:8]
    assert main(["attention", start]) == 0
    assert (
        "status 413: expected at most 1 MiB (max_mib), "
        "found the file is too large; of 2097152 bytes, by ada"
    ) in capsys.readouterr().out
    until = (Clock().now() + timedelta(days=1)).isoformat()
    assert main(["attention", start, "--ignore-until", until, "--reason", "sent again"]) == 0
    capsys.readouterr()
    assert listed(capsys, "--kind", "refused_upload") == []


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ffff"], "no entry matches 'ffff'"),
        (["{id}", "--ignore-until", "noon", "--reason", "x"], "expected a time with its zone"),
        (["{id}", "--acknowledge"], "invalid reason"),
    ],
)
def test_an_invalid_answer_is_refused(situation, capsys, arguments: list[str], message: str):
    [entry] = listed(capsys, "--kind", "quarantined")
    given = [argument.format(id=entry["entry_id"]) for argument in arguments]
    assert main(["attention", *given]) != 0
    assert message in capsys.readouterr().err
    assert len(listed(capsys, "--kind", "quarantined")) == 1


@pytest.mark.parametrize(
    "arguments",
    [["--kind", "nothing"], ["--acknowledge"], ["0a", "--acknowledge", "--show-again"]],
)
def test_a_mistyped_option_is_a_usage_error(situation, arguments: list[str]):
    with pytest.raises(SystemExit, match="2"):
        main(["attention", *arguments])
