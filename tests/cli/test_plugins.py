"""Commands of `plugins`: added, reviewed, granted, enabled and stopped."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestration_project.__main__ import main
from orchestration_project.settings import Settings
from tests.plugin_files import plugin_files, zipped


@pytest.fixture
def archive(tmp_path: Path, demo_settings: Settings) -> Path:
    """The archive of a plugin, beside an empty database."""
    file = tmp_path / "rss.zip"
    file.write_bytes(zipped(plugin_files() | {"main.py": b"import socket\n"}))
    return file


def run_and_check_status(
    capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0
) -> str:
    assert main(["plugins", *arguments]) == status
    output, error = capsys.readouterr()
    return error if status else output


def read(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(run_and_check_status(capsys, *arguments, "--json"))


def state(capsys: pytest.CaptureFixture[str]) -> str:
    return read(capsys, "list")[0]["state"]


def test_a_plugin_is_added_reviewed_granted_enabled_and_stopped(
    archive: Path, capsys: pytest.CaptureFixture[str]
):
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    shown = run_and_check_status(capsys, "add", str(archive), "--sha256", digest, "--unsigned")
    assert "added: rss 1.0.0, unsigned, claims to be of example.org" in shown
    assert "import socket: opens network connections" in shown
    run_and_check_status(capsys, "grant", "rss", "--hosts", "example.org", "--table", "items")
    assert not main(["plugins", "enable", "rss", "--share", "0.1", "--partition", "2026-11-26"])
    assert "Code locations, Reload" in capsys.readouterr().err
    (listed,) = read(capsys, "list")
    assert (listed["state"], listed["share"], listed["signature"]) == ("enabled", 0.1, "unsigned")
    shown = read(capsys, "show", "rss")
    assert {permission["change"] for permission in shown["permissions"]} == {"same"}
    assert [change["action"] for change in shown["changes"]] == ["enable", "grant", "add"]
    run_and_check_status(capsys, "disable", "rss", "--reason", "too slow")
    assert read(capsys, "list")[0]["reason"] == "too slow"
    run_and_check_status(capsys, "remove", "rss")
    assert read(capsys, "list") == []


def test_a_dry_run_shows_what_it_would_do_and_changes_nothing(
    archive: Path, capsys: pytest.CaptureFixture[str]
):
    review = read(capsys, "add", str(archive), "--unsigned", "--dry-run")
    assert (review["state"], review["needs_grant"]) == ("would be added", True)
    assert read(capsys, "list") == []
    run_and_check_status(capsys, "add", str(archive), "--unsigned")
    for command in ("grant", "enable", "disable", "refuse", "remove"):
        run_and_check_status(capsys, command, "rss", "--dry-run")
    assert state(capsys) == "added"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sha256", "0" * 64, "--unsigned"], "not the expected one"),
        ([], "is not signed by a trusted publisher"),
    ],
)
def test_a_wrong_hash_or_missing_signature_is_refused(
    archive: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert message in run_and_check_status(capsys, "add", str(archive), *arguments, status=1)
    assert read(capsys, "list") == []


def test_a_hash_is_compared_before_the_archive_is_read(
    archive: Path, capsys: pytest.CaptureFixture[str]
):
    archive.write_bytes(b"no zip")
    error = run_and_check_status(capsys, "add", str(archive), "--sha256", "0" * 64, status=1)
    assert "not the expected one" in error


@pytest.mark.slow
def test_a_new_plugin_works_and_has_a_test(
    tmp_path: Path, demo_settings: Settings, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "my-source"
    run_and_check_status(capsys, "new", "my-source", "--output", str(folder))
    tested = subprocess.run(  # noqa: S603 - our own files
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert "2 passed" in tested.stdout
    review = read(capsys, "add", str(folder), "--unsigned")
    assert (review["plugin"], review["state"], review["advice"]) == ("my_source", "added", [])
    for name in ("My Source", "rows", "../x"):
        assert "invalid name" in run_and_check_status(capsys, "new", name, status=1)
    assert "cannot be used" in run_and_check_status(
        capsys, "new", "x", "--output", str(folder), status=1
    )


def test_a_publisher_signs_is_trusted_and_revoked(
    tmp_path: Path, demo_settings: Settings, capsys: pytest.CaptureFixture[str]
):
    folder, key = tmp_path / "mine", tmp_path / "key"
    run_and_check_status(capsys, "new", "mine", "--output", str(folder))
    public_key = run_and_check_status(capsys, "keygen", str(key)).strip()
    assert key.stat().st_mode & 0o777 == 0o600
    run_and_check_status(capsys, "sign", str(folder), "--key", str(key))
    run_and_check_status(capsys, "trust", "example.org", public_key)
    assert read(capsys, "add", str(folder))["is_signed"] is True
    run_and_check_status(capsys, "grant", "mine")
    run_and_check_status(capsys, "enable", "mine")
    assert "disabled plugins: mine" in run_and_check_status(capsys, "revoke", "example.org")
    assert state(capsys) == "disabled"
    assert read(capsys, "publishers")[0]["state"] == "revoked"
    assert "was revoked" in run_and_check_status(capsys, "enable", "mine", status=1)
