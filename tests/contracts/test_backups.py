"""Manifests of backups: read as they were stored, and refused where a restore would do harm."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from orchestration_project.engine.contracts.backups import (
    DatabaseBackup,
    Manifest,
    Part,
    StoredArtifact,
    build_backup_id,
    compare_row_counts,
    compare_sizes,
    encode_artifact_line,
    format_names,
    is_backup_id,
    read_artifact_lines,
    read_manifest,
    refuse_foreign,
    refuse_newer,
    refuse_older,
)
from orchestration_project.errors import ConfigurationError, ContractError

SHA256 = "0123456789abcdef" * 4
ID = "20261126T134500Z-0123abcd"
PART = Part("project/weeks.csv", SHA256, 7, {"weeks": 2}, ["week", "shares"], {"number": 3})
MANIFEST = Manifest(
    backup_id=ID,
    installation_id="here",
    data="demo",
    release="0.1.0",
    dagster="1.13.27",
    started_at="2026-11-26T13:45:00+00:00",
    project=DatabaseBackup(
        "postgresql", "0070", [PART, replace(PART, row_counts={"weeks": 1, "days": 4})]
    ),
    dagster_storage=DatabaseBackup("sqlite", "7e", [Part("runs.db", SHA256, 5, {"runs": 1})]),
    objects=Part("objects.jsonl", SHA256, 11),
    object_count=2,
    object_bytes=40,
    missing=["captures/aa"],
)


@pytest.mark.parametrize("domains", [(), ("-cboe", "fx")])
def test_a_manifest_is_read_as_it_was_stored(domains: Sequence[str]):
    manifest = replace(MANIFEST, domains=domains)
    read = read_manifest(manifest.to_json(), ID)
    assert read.to_json() == manifest.to_json()
    assert (b'"domains"' in manifest.to_json()) == bool(domains)  # else as earlier releases wrote
    assert read.sha256 == manifest.sha256
    assert read.project.row_counts == {"weeks": 3, "days": 4}
    assert (read.database_bytes, len([*read.parts])) == (19, 4)


@pytest.mark.parametrize(
    "change",
    [
        {"started_at": "2026-11-26T13:45:00"},
        {"started_at": "yesterday"},
        {"object_count": -1},
        {"object_bytes": True},
        {"release": 1},
        {"missing": ["../captures/aa"]},
        {"missing": ["captures\\aa"]},
        {"backup_id": "20261126T134500Z-ffffffff"},
        {"project": {"kind": "db2", "version": "1", "parts": []}},
        {"objects": {"name": "objects.jsonl", "sha256": "aa"}},
        {"dagster_storage": {"kind": "sqlite"}},
    ],
)
def test_another_manifest_cannot_be_read(change: Mapping[str, Any]):
    content = {**json.loads(MANIFEST.to_json()), **change}
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(ContractError, match=f"the manifest of the backup {ID} cannot be read"):
        read_manifest(text, ID)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", MANIFEST.to_json() + b" "])
def test_what_is_no_manifest_cannot_be_read(text: bytes):
    with pytest.raises(ContractError, match="cannot be read"):
        read_manifest(text, ID)


def test_a_table_whose_name_is_none_cannot_be_read():
    content = json.loads(MANIFEST.to_json())
    content["objects"]["row_counts"] = {"weeks; drop": 1}
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(ContractError) as refused:
        read_manifest(text, ID)
    assert refused.value.found == "ValueError: 'weeks; drop' is not the name of a table"


def test_another_format_names_the_release_that_reads_it():
    content = {**json.loads(MANIFEST.to_json()), "format": 2}
    with pytest.raises(ConfigurationError) as refused:
        read_manifest(json.dumps(content).encode(), ID)
    assert (refused.value.expected, refused.value.found) == ("format 1", "format 2")
    assert refused.value.remedy == "restore it with the release that made it"


def test_a_backup_of_empty_tables_and_no_object_is_read():
    part = Part("runs.db", SHA256, 0, {"runs": 0})
    empty = replace(
        MANIFEST, dagster_storage=DatabaseBackup("sqlite", "7e", [part]), object_count=0
    )
    read = read_manifest(empty.to_json(), ID)
    assert (read.dagster_storage.row_counts, read.object_count) == ({"runs": 0}, 0)


def test_ids_sort_by_time_in_utc():
    at = datetime(2026, 11, 26, 14, 45, tzinfo=timezone(timedelta(hours=1)))
    assert build_backup_id(at, "0123abcdef") == ID
    assert is_backup_id(ID)
    assert not is_backup_id(f"{ID}0")


def test_artifacts_are_listed_by_lines():
    artifact = StoredArtifact("captures/ä", 3, SHA256)
    assert encode_artifact_line(artifact) == f'["captures/\\u00e4",3,"{SHA256}"]\n'.encode()
    assert [*read_artifact_lines([encode_artifact_line(artifact)])] == [artifact]
    for line in (b"[]", b'["a", 1, "aa"]', f'["/a", 1, "{SHA256}"]'.encode(), b"no"):
        with pytest.raises(ContractError, match="line 2 of the list of artifacts") as refused:
            list(read_artifact_lines([encode_artifact_line(artifact), line]))
        assert refused.value.expected == "a JSON list of name, bytes and SHA-256"
        assert refused.value.remedy == "restore another backup: --backup ID"


def test_the_tables_of_a_newer_release_are_refused_by_name():
    refuse_newer(MANIFEST, "0070", ["weeks"])
    with pytest.raises(ConfigurationError) as refused:
        refuse_newer(MANIFEST, "0069", ["weeks"])
    assert refused.value.found == ("version 0070 of release 0.1.0, with days that it does not know")
    with pytest.raises(ConfigurationError) as known:
        refuse_newer(MANIFEST, "0069", ["weeks", "days"])
    assert known.value.found == "version 0070 of release 0.1.0"


def test_tables_from_before_the_baseline_are_refused_with_the_commit_that_has_their_version():
    with pytest.raises(ConfigurationError, match="invalid version of the backup's") as refused:
        refuse_older(MANIFEST, "0071", "0123abcd")
    assert refused.value.expected == "version 0071 or newer"
    assert refused.value.found == "version 0070 of release 0.1.0"
    assert "`git checkout 0123abcd`" in refused.value.remedy
    refuse_older(MANIFEST, "0070", "0123abcd")


def test_a_backup_of_another_installation_or_of_other_data_is_refused():
    refuse_foreign(MANIFEST, "here", "demo")
    refuse_foreign(MANIFEST, None, "demo")
    with pytest.raises(ConfigurationError, match="the backup is of another installation"):
        refuse_foreign(MANIFEST, "there", "demo")
    with pytest.raises(ConfigurationError, match="holds demo data, and DATA_PROFILE says real"):
        refuse_foreign(MANIFEST, "here", "real")


def test_differences_are_named():
    assert compare_sizes({"b": 1, "a": 1, "c": 1}, {"c": 2, "d": 1}) == (["a", "b"], ["c"])
    assert format_names(["ä", *"bcdefg"]) == "\\xe4, b, c, d, e and 2 more"
    assert compare_row_counts({"runs": 4, "ticks": 1}, {"runs": 3, "ticks": 1}) == [
        "runs: 3 instead of 4"
    ]
    assert compare_row_counts({"runs": 0}, {}) == []
    assert compare_row_counts({"runs": 1}, {}) == ["runs: 0 instead of 1"]
