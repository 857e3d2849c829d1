"""Commands of `approvals`: an erasure on a host waits for two people with a key."""

import json

import pytest
from sqlalchemy import select

from orchestration_project.__main__ import main
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.settings import load_settings
from orchestration_project.tables.erasures import operations_erasures
from tests.cli.test_erasure import ANN
from tests.cli.test_erasure import planted as planted
from tests.commands import run_without_failure
from tests.plugin_files import plugin_files, zipped


@pytest.fixture
def key_of(demo_settings, tmp_path, capsys):
    """Create keys; each is a file of its owner."""

    def created(owner: str, role: str = "admin") -> str:
        run_without_failure("--json", "keys", "create", "--owner", owner, "--role", role)
        file = tmp_path / f"{owner}.key"
        file.write_text(json.loads(capsys.readouterr().out)["key"] + "\n")
        return str(file)

    return created


def listed(capsys) -> list[dict]:
    run_without_failure("--json", "approvals", "list")
    return json.loads(capsys.readouterr().out)


def erased_count() -> int:
    with open_warehouse(load_settings()) as warehouse, warehouse.reading() as connection:
        return len(connection.execute(select(operations_erasures)).all())


@pytest.mark.slow
def test_an_erasure_of_a_command_needs_a_requester_and_another_who_confirms(
    planted, key_of, capsys, monkeypatch
):
    monkeypatch.setenv("FOUR_EYES", "erase")
    ada, bob, eve = key_of("ada"), key_of("bob"), key_of("eve", "operator")
    begin = ["erase", "saas/person", "--from", str(planted), "--reason", "asked for", "--yes"]
    assert main([*begin, "--only-database"]) == 1
    shown = capsys.readouterr()
    assert "erase needs a second person" in shown.out + shown.err
    [waiting] = listed(capsys)
    assert (waiting["state"], waiting["requested_by"]) == ("unclaimed", None)
    assert waiting["parameters"]["kind"] == "saas/person"
    assert ANN not in json.dumps(waiting)
    one, sha256 = waiting["approval_id"], ["--sha256", waiting["sha256"]]
    confirm = ["approvals", "confirm", one, *sha256, "--key-file"]
    command = f"erase --request {waiting['parameters']['erasure_id']} --only-database"
    assert f"`{command}`" in shown.err
    again = [*command.split(), "--yes"]
    assert main([*confirm, ada]) == 1  # it was not requested
    assert main(["approvals", "request", one, "--key-file", eve]) == 1  # an operator
    assert main(["approvals", "request", one, "--key-file", ada]) == 0
    assert main(again) == 1
    assert main([*confirm, ada]) == 1  # the requester
    assert main([*confirm, eve]) == 1  # an operator
    assert main(["approvals", "confirm", one, "--sha256", "0" * 64, "--key-file", bob]) == 1
    assert main(again) == 1
    assert erased_count() == 0
    assert main([*confirm, bob]) == 0
    assert main(again) == 0
    assert erased_count() == 1
    capsys.readouterr()
    [used] = listed(capsys)
    assert (used["state"], used["decided_by"]) == ("used", "bob")


def test_a_wrong_key_decides_nothing_and_is_not_shown(demo_settings, tmp_path, capsys):
    file = tmp_path / "wrong.key"
    file.write_text(f"op_{'0' * 12}_{'x' * 43}")
    assert main(["approvals", "confirm", "a", "--sha256", "b", "--key-file", str(file)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("invalid API key")
    assert "xxx" not in error
    assert main(["approvals", "refuse", "a", "--reason", "r", "--key-file", "/nowhere"]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_an_unknown_request_is_named(key_of, capsys):
    assert main(["approvals", "request", "f00", "--key-file", key_of("ada")]) == 1
    assert "request of an approval not found: 'f00'" in capsys.readouterr().err


def test_a_grant_of_a_command_waits_too(demo_settings, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("FOUR_EYES", "grant")
    archive = tmp_path / "rss.zip"
    archive.write_bytes(zipped(plugin_files()))
    assert main(["plugins", "add", str(archive), "--unsigned"]) == 0
    assert main(["plugins", "grant", "rss", "--reason", "news"]) == 1
    assert "grant needs a second person" in capsys.readouterr().err
    [waiting] = listed(capsys)
    assert (waiting["state"], waiting["reason"]) == ("unclaimed", "news")
    assert waiting["parameters"]["plugin"] == "rss"
