"""The `artifacts` command: captured bytes come back to the byte, or not at all."""

import json
import shutil
import sys

import pytest

from orchestration_project.__main__ import main
from orchestration_project.engine.connections.artifacts import FolderStore
from tests.resources.weeks import row


@pytest.fixture
def capture(partition_loader, monkeypatch):
    monkeypatch.setenv("ARTIFACTS_URL", str(partition_loader.folder))
    captured = partition_loader.capture(b"header\r\n\xff\x00")
    partition_loader.write_batch(row("A"), captures=[captured])
    return captured


@pytest.mark.slow
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


def test_bytes_that_are_others_than_those_received_are_refused(
    capture, partition_loader, tmp_path, capsys
):
    FolderStore(partition_loader.folder).put(capture.storage_uri, b"something else")
    file = tmp_path / "got"
    assert main(["artifacts", "get", capture.sha256, "--output", str(file)]) == 1
    assert "is not what was captured" in capsys.readouterr().err
    assert not file.exists()


def test_captures_are_listed_with_what_gets_their_bytes(capture, capsys):
    assert main(["artifacts", "list", "--json", "--where", "row_count>=0"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [artifact["sha256"] for artifact in shown] == [capture.sha256]
    assert main(["artifacts", "list"]) == 0
    assert str(shown[0]["capture_id"]) in capsys.readouterr().out.splitlines()[1].split()
    assert main(["artifacts", "get", str(shown[0]["capture_id"]), "--dry-run"]) == 0
    output = capsys.readouterr()
    assert (output.out, "would be written to -" in output.err) == ("", True)


@pytest.mark.parametrize("wrong", ["abc", "-1", "1.5", "²", ""])
def test_a_capture_that_cannot_be_one_is_named_with_what_can(capture, capsys, wrong):
    assert main(["artifacts", "get", "--", wrong]) == 2
    assert (
        f"invalid capture {wrong!r}: expected a capture_id or a SHA-256" in capsys.readouterr().err
    )


def test_a_standard_output_that_is_closed_is_reported(capture, monkeypatch, capsys):
    with monkeypatch.context() as started_with:
        started_with.setattr(sys, "stdout", None)  # as Python has it after >&-
        assert main(["artifacts", "get", capture.sha256]) == 1
    said = capsys.readouterr().err
    assert "standard output cannot be written" in said
    assert "name a file: --output" in said


@pytest.mark.slow
@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
def test_a_damaged_capture_is_repaired_from_a_copy_by_commands(
    capture, partition_loader, tmp_path, capsys
):
    store, copy = FolderStore(partition_loader.folder), tmp_path / "copy"
    shutil.copytree(partition_loader.folder, copy)
    whole = store.get(capture.storage_uri)
    store.put(capture.storage_uri, b"something else")
    repair = ["artifacts", "repair", "--from", str(copy)]
    assert main([*repair, "--sha256", capture.sha256, "--dry-run", "--json"]) == 0
    assert "the copy" in capsys.readouterr().out
    assert store.get(capture.storage_uri) == b"something else"
    assert main([*repair, "--sha256", capture.sha256, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["repaired_count"] == 1
    assert store.get(capture.storage_uri) == whole

    store.delete(capture.storage_uri)  # which no verification has found yet
    assert main(repair) == 0
    said = capsys.readouterr().out
    assert "1 damaged, 1 repaired" in said
    assert f"{capture.storage_uri}: missing, repaired from the copy" in said
    assert store.get(capture.storage_uri) == whole
    assert main([*repair, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["damaged_count"] == 0

    FolderStore(copy).put(capture.storage_uri, b"something else")
    store.delete(capture.storage_uri)
    assert main(["evidence", *repair[1:]]) == 1
    said = capsys.readouterr().out
    assert "the copy has other bytes" in said
    assert "are lost" in said
