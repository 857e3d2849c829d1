"""Stored backups of the first format: checked and restored by this release, damage refused."""

import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from orchestration_project.__main__ import main
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.environment import open_unprepared_warehouse
from orchestration_project.instance.storage import open_instance
from orchestration_project.migrations import FORMER_COMMIT
from orchestration_project.settings import load_settings
from orchestration_project.settings.chosen import read_stored
from tests import databases
from tests.expecting import expect_present
from tests.postgres import new_database

STORED = Path(__file__).parent / "backups"
"""Archives of backups that the release 0.1.0 made, with tables of version 0086, and of 0084."""

MANIFESTS = {
    "sqlite": "297332744fb7402c85ca6e3e749f44e6c3b71d7ad9787fd63cbbbd93a443d8e8",
    "postgresql": "973606ca8d49bb5be23777d14c4f2946170cbcb9d1ba0eb6ceb0681ad3adc730",
}
"""SHA-256 of their manifests, as that release printed them."""

ROWS = {"audits": 1, "balances": 3, "blobs": 1, "captures": 1, "deliveries": 1, "landings": 1}

KINDS = ["sqlite", "postgresql"]


def extract(name: str, folder: Path) -> None:
    with tarfile.open(STORED / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")


@pytest.fixture(params=KINDS)
def place(request, tmp_path, monkeypatch) -> Path:
    """A folder with a stored backup; the settings name empty databases and an empty store."""
    kind: str = request.param
    extract(f"format_1_{kind}", tmp_path / kind)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ARTIFACTS_URL", str(tmp_path / "artifacts"))
    monkeypatch.setenv("DATA_PROFILE", "real")
    monkeypatch.delenv("DATABASE_SCHEMA", raising=False)
    urls = {"DATABASE_URL": f"sqlite:///{tmp_path}/tables.sqlite"}
    if kind == "postgresql":
        server = request.getfixturevalue("postgres_server")
        names = {"DATABASE_URL": "stored_project", "DAGSTER_DATABASE_URL": "stored_dagster"}
        urls = {
            setting: new_database(server, f"{name}_{uuid4().hex}")
            for setting, name in names.items()
        }
    monkeypatch.delenv("DAGSTER_DATABASE_URL", raising=False)
    for setting, url in urls.items():
        monkeypatch.setenv(setting, url)
    return tmp_path / kind


def restore(place: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Restore with --check; return status, output and errors."""
    capsys.readouterr()
    status = main(["restore", "--from", str(place), "--check", "--json"])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def project_contents() -> Mapping[str, Any]:
    url = expect_present(load_settings().database_url)
    return databases.contents(url.get_secret_value())


@pytest.mark.slow
def test_a_backup_of_the_first_format_is_checked_and_restored(place, capsys):
    status, output, errors = restore(place, capsys)
    assert status == 0, errors
    restored = json.loads(output)
    assert restored["manifest_sha256"] == MANIFESTS[place.name]
    assert restored["checked"] == {"artifacts": 1, "blobs": 1, "runs": 1}
    contents = project_contents()
    assert {name: len(contents[name]) for name in ROWS} == ROWS
    assert read_stored(load_settings()) == ["-cboe", "fx"]
    with open_instance() as instance:
        [run] = instance.get_runs()
        assert instance.all_logs(run.run_id)[0].message == "started elsewhere"


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_backup_from_before_the_baseline_is_refused_with_the_commit_to_restore_it(
    place, tmp_path, capsys
):
    extract("before_baseline_sqlite", tmp_path / "earlier")
    status, _, errors = restore(tmp_path / "earlier", capsys)
    assert status == 1
    assert "found: version 0084 of release 0.1.0" in errors
    assert f"`git checkout {FORMER_COMMIT}`" in errors
    with open_unprepared_warehouse(load_settings()) as warehouse:
        assert warehouse.version() is None
    assert not list((tmp_path / "artifacts").glob("*/*"))


def flip_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def find_part(place: Path) -> Path:
    name = {"sqlite": "tables.sqlite", "postgresql": "landings.copy"}[place.name]
    [file] = place.glob(f"backups/*/project/{name}")
    return file


def find_artifact(place: Path) -> Path:
    [file] = place.glob("objects/*/*")
    return file


DAMAGES: Mapping[str, tuple[Callable[[Path], Path], Callable[[Path], object], str]] = {
    "changed byte of a table": (find_part, flip_byte, "of the backup"),
    "missing table": (find_part, Path.unlink, "lacks a part"),
    "changed byte of a blob": (find_artifact, flip_byte, "is not what was backed up"),
    "missing blob": (find_artifact, Path.unlink, "missing: blobs/"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "damage"),
    [*(("sqlite", damage) for damage in DAMAGES), ("postgresql", "changed byte of a table")],
    indirect=["place"],
)
def test_damage_of_the_first_format_is_refused_and_a_whole_copy_is_restored_after_it(
    place, damage, capsys
):
    find, harm, expected = DAMAGES[damage]
    file = find(place)
    whole = file.read_bytes()
    harm(file)
    status, _, errors = restore(place, capsys)
    assert status == 1
    assert expected in errors
    file.write_bytes(whole)
    status, _, errors = restore(place, capsys)
    assert status == 0, errors
    assert {name: len(project_contents()[name]) for name in ROWS} == ROWS
    assert [stored_file.byte_count for stored_file in open_store(load_settings()).listed()] == [19]
