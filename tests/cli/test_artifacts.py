"""The `artifacts` command: captured bytes come back to the byte, or not at all."""

import sys

import pytest

from orchestration_project.__main__ import main
from orchestration_project.connections.artifacts import FolderStore
from tests.resources.weeks import row


@pytest.fixture
def capture(desk, monkeypatch):
    monkeypatch.setenv("ARTIFACTS_URL", str(desk.folder))
    captured = desk.capture(b"header\r\n\xff\x00")
    desk.land(row("A"), captures=[captured])
    return captured


def test_bytes_are_written_as_they_were_received_and_replaced_only_when_asked(
    capture, tmp_path, capsysbinary
):
    file = tmp_path / "got"
    assert main(["artifacts", "get", capture.sha256, "--output", str(file)]) == 0
    assert file.read_bytes() == b"header\r\n\xff\x00"
    assert main(["artifacts", "get", capture.sha256, "--output", str(file)]) == 1
    assert main(["artifacts", "get", capture.sha256, "--output", str(file), "--force"]) == 0
    capsysbinary.readouterr()
    assert main(["artifacts", "get", capture.sha256]) == 0
    assert capsysbinary.readouterr().out == b"header\r\n\xff\x00"


def test_bytes_that_are_others_than_those_received_are_refused(capture, desk, tmp_path, capsys):
    FolderStore(desk.folder).put(capture.storage_uri, b"something else")
    file = tmp_path / "got"
    assert main(["artifacts", "get", capture.sha256, "--output", str(file)]) == 1
    assert "is not what was captured" in capsys.readouterr().err
    assert not file.exists()


def test_a_standard_output_that_is_closed_is_told(capture, monkeypatch, capsys):
    with monkeypatch.context() as started_with:
        started_with.setattr(sys, "stdout", None)  # as Python has it after >&-
        assert main(["artifacts", "get", capture.sha256]) == 1
    said = capsys.readouterr().err
    assert "standard output cannot be written" in said
    assert "name a file: --output" in said
