"""`evidence verify`: every kind of damage is named, from the file alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration_project.__main__ import main
from orchestration_project.errors import OrchestrationError
from orchestration_project.services.evidence.archive import Archive
from orchestration_project.services.evidence.rules import MANIFEST, SUMS
from orchestration_project.services.evidence.verifying import verify as verify_file
from tests.properties import bounded

MEMBERS = {"runs.jsonl": b'{"run_id":"1"}\n', "bytes/ab": b"x" * 3_000_000}


@pytest.fixture(autouse=True)
def _nothing_but_the_file(monkeypatch):
    """No setting can be read, so neither database nor store could be opened."""
    monkeypatch.setenv("FINRA_SOURCE", "none of these")


@pytest.fixture
def archive(tmp_path) -> Path:
    return written(tmp_path / "evidence.zip", MEMBERS)


def written(path: Path, members: Mapping[str, bytes], run: str = "1") -> Path:
    with path.open("wb") as file, Archive(file) as archive:
        for name, content in members.items():
            archive.add(name, content)
        archive.finish({"run": run})
    return path


def contents(path: Path) -> dict[str, bytes]:
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path: Path, members: Mapping[str, bytes]) -> Path:
    """Put other members in, as anybody's zip program would."""
    with ZipFile(path, "w", ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def verify(path: Path, capsys, *options: str) -> tuple[int, list[str]]:
    """Return the exit status, and what is said of members."""
    status = main(["evidence", "verify", str(path), *options])
    return status, capsys.readouterr().out.splitlines()[2:]


def test_an_archive_as_made_is_whole_also_when_packed_again(archive, capsys):
    whole = (0, ["whole: every member is there as it was, and no other"])
    assert verify(archive, capsys) == whole
    assert verify(rewritten(archive, contents(archive)), capsys) == whole


@pytest.mark.parametrize("name", ["runs.jsonl", "bytes/ab", "README.txt", SUMS])
def test_a_member_that_is_missing_is_named(archive, capsys, name):
    left = contents(archive)
    del left[name]
    assert verify(rewritten(archive, left), capsys) == (1, [f"missing {name}"])


@pytest.mark.parametrize("name", ["runs.jsonl", "bytes/ab", "README.txt", SUMS])
def test_a_member_that_was_changed_is_named(archive, capsys, name):
    members = contents(archive)
    status, said = verify(rewritten(archive, members | {name: members[name] + b" "}), capsys)
    assert (status, len(said)) == (1, 1)
    assert said[0].startswith(f"changed {name} (")


def test_members_that_do_not_belong_are_named_without_what_a_terminal_would_obey(archive, capsys):
    extra = {"../x": b"", "a/": b"", "\x1b[2J": b""}
    assert verify(rewritten(archive, contents(archive) | extra), capsys) == (
        1,
        ["extra   \\x1b[2J", "extra   ../x", "extra   a/"],
    )


def test_all_that_is_wrong_is_reported_at_once(archive, capsys):
    members = contents(archive) | {"more": b"", "runs.jsonl": b"{}\n"}
    del members["bytes/ab"]
    _, said = verify(rewritten(archive, members), capsys)
    assert [line.split()[:2] for line in said] == [
        ["missing", "bytes/ab"],
        ["extra", "more"],
        ["changed", "runs.jsonl"],
    ]


def test_a_member_that_is_there_twice_is_reported(archive, capsys):
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        ZipFile(archive, "a") as opened,
    ):
        opened.writestr("runs.jsonl", MEMBERS["runs.jsonl"])
    assert verify(archive, capsys) == (1, ["changed runs.jsonl (it is there more than once)"])


def test_a_manifest_that_was_changed_is_named_with_the_sums_that_contradict_it(archive, capsys):
    members = contents(archive)
    members[MANIFEST] = members[MANIFEST].replace(b'"run": "1"', b'"run": "2"')
    status, said = verify(rewritten(archive, members), capsys)
    assert status == 1
    assert [line.split()[:2] for line in said] == [["changed", SUMS], ["changed", MANIFEST]]


def test_a_forged_archive_is_detected_by_the_printed_hash(archive, tmp_path, capsys):
    assert main(["evidence", "verify", str(archive)]) == 0
    sha256 = capsys.readouterr().out.splitlines()[1].rpartition(" ")[2]
    assert verify(archive, capsys, "--sha256", sha256.upper())[0] == 0
    forged = written(tmp_path / "forged.zip", MEMBERS | {"runs.jsonl": b"{}\n"})
    assert verify(forged, capsys)[0] == 0
    status, said = verify(forged, capsys, "--sha256", sha256)
    assert (status, said) == (1, [f"{MANIFEST} is not the one with SHA-256 {sha256}"])


def test_bytes_that_decayed_on_the_way_are_a_changed_member(archive, capsys):
    stored = bytearray(rewritten(archive, contents(archive)).read_bytes())
    stored[stored.index(b"x" * 1000)] ^= 1
    archive.write_bytes(stored)
    status, said = verify(archive, capsys)
    assert (status, len(said)) == (1, 1)
    assert said[0].startswith("changed bytes/ab (it cannot be read: Bad CRC-32")


def of_one_member(values: bytes) -> bytes:
    start = b'{"format": 1, "about": {}, "members": [{"sha256": "0", "name": '
    return start + values + b"}]}"


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (b"", "the manifest cannot be read"),
        (b"[" * 100_000, "the manifest cannot be read"),
        (b'{"format": 1, "about": {}, "members": [{}]}', "the manifest cannot be read"),
        (of_one_member(b'"a", "byte_count": 1e999, "row_count": null'), "cannot be read"),
        (of_one_member(b'"\\ud800", "byte_count": 1, "row_count": null'), "cannot be read"),
        (b'{"format": 2, "about": {}, "members": []}', "another format"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_reported(archive, capsys, manifest, said):
    rewritten(archive, contents(archive) | {MANIFEST: manifest})
    assert main(["evidence", "verify", str(archive)]) == 1
    assert said in capsys.readouterr().err


def test_an_archive_without_a_manifest_is_reported(archive, capsys):
    rewritten(archive, {"x": b""})
    assert main(["evidence", "verify", str(archive)]) == 1
    assert f"the archive has no {MANIFEST}" in capsys.readouterr().err


@pytest.mark.slow
@given(
    place=st.integers(0, 2**32),
    ends=st.sampled_from([1, 1, 2, 4, 400]),
    put=st.binary(max_size=4) | st.sampled_from([b"\x0c\0", b"\x0e\0", b"\x5d\0", b"\0\x08"]),
)
@settings(bounded, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_to_bytes_is_reported_and_a_whole_zip_has_members(tmp_path, place, ends, put):
    file = written(tmp_path / "any.zip", {"a": b"1" * 50, "b": b"2"})
    before, content = contents(file), file.read_bytes()
    place %= len(content)
    file.write_bytes(content[:place] + put + content[place + ends :])
    try:
        found = verify_file(file)
    except OrchestrationError:
        return
    assert found.problems or contents(file) == before


@pytest.mark.parametrize("packing", [1, 12, 14, 93])
def test_a_member_with_a_wrong_compression_is_reported(archive, capsys, packing):
    content = bytearray(archive.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 10] = packing
    archive.write_bytes(content)
    status, said = verify(archive, capsys)
    assert (status, len(said)) == (1, 1)
    assert said[0].startswith("changed runs.jsonl (it cannot be read")


@pytest.mark.parametrize("content", [None, b"", b"no zip", "cut"])
def test_an_incomplete_zip_is_reported(archive, capsys, content):
    whole = archive.read_bytes()
    archive.unlink()
    if content is not None:
        archive.write_bytes(whole[:-30] if content == "cut" else content)
    assert main(["evidence", "verify", str(archive)]) == 1
    assert "cannot be read as an evidence archive" in capsys.readouterr().err


@pytest.mark.slow
def test_an_export_that_fails_names_the_failure_in_json(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("FINRA_SOURCE")
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    assert main(["evidence", "export", "--run", "nothing", "--json"]) == 2
    [failure] = json.loads(capsys.readouterr().out)["failures"]
    assert "nothing" in failure
