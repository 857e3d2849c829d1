"""`orchestrate backup` and `restore`: equal databases elsewhere, or a refusal that names why."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import func, select

from orchestration_project.__main__ import main
from orchestration_project.instance.storage import open_instance
from orchestration_project.settings import child_environment, load_settings
from orchestration_project.settings.chosen import change_stored, read_stored
from orchestration_project.tables.operations_deployment import operations_backups
from tests import databases
from tests.commands import run_without_failure
from tests.expecting import expect_present
from tests.postgres import new_database
from tests.prepared import Prepared
from tests.resources.weeks import PartitionLoader, row
from tests.s3 import s3, s3_endpoint  # noqa: F401 - fixtures

MOVED = ("STATE_DIR", "ARTIFACTS_URL", "DATABASE_SCHEMA", "DATABASE_URL")


@dataclass
class Installation:
    """An installation with a backup, and the way to an empty one."""

    partition_loader: PartitionLoader
    place: Path
    move: Callable[[], Path]
    come_back: Callable[[], None]
    capsys: pytest.CaptureFixture[str]

    def call(self, *arguments: str) -> Mapping[str, Any]:
        """Run a command with --json that succeeds; return its result."""
        run_without_failure(*arguments, "--json")
        return json.loads(self.capsys.readouterr().out)

    def expect_refusal(self, *arguments: str) -> str:
        """Run a command that is refused; return its message."""
        self.capsys.readouterr()
        assert main(arguments) == 1
        return self.capsys.readouterr().err

    def back_up(self) -> Mapping[str, Any]:
        return self.call("backup", "--to", str(self.place))

    def folder(self, backup_id: str) -> Path:
        return self.place / "backups" / backup_id

    def restore(self, *options: str) -> tuple[str, ...]:
        return ("restore", "--from", str(self.place), *options)


@pytest.fixture
def installation(request, partition_loader, tmp_path, monkeypatch, capsys) -> Installation:
    monkeypatch.setenv("ARTIFACTS_URL", str(partition_loader.folder))
    monkeypatch.setenv("DATA_PROFILE", "real")
    monkeypatch.delenv("DAGSTER_DATABASE_URL", raising=False)
    partition_loader.write_batch(
        row("A"), captures=[partition_loader.capture(b"header\r\n\xff\x00")]
    )
    before = {name: value for name, value in child_environment().items() if name in MOVED}

    def come_back() -> None:
        for name in MOVED:
            monkeypatch.delenv(name, raising=False)
        for name, value in before.items():
            monkeypatch.setenv(name, value)

    def move() -> Path:
        target = tmp_path / "elsewhere"
        monkeypatch.setenv("STATE_DIR", str(target))
        monkeypatch.setenv("ARTIFACTS_URL", str(target / "artifacts"))
        monkeypatch.delenv("DATABASE_SCHEMA", raising=False)
        if partition_loader.warehouse.file is None:
            prepared: Prepared = request.getfixturevalue("prepared")
            monkeypatch.setenv("DATABASE_URL", prepared.postgresql())
        else:
            monkeypatch.setenv("DATABASE_URL", f"sqlite:///{target}/other.sqlite")
        return target

    return Installation(partition_loader, tmp_path / "place", move, come_back, capsys)


def present_url() -> str:
    url = expect_present(load_settings().database_url)
    return url.get_secret_value()


def rows_of(partition_loader: PartitionLoader) -> dict[str, int]:
    with partition_loader.warehouse.reading() as connection:
        counts = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in databases.METADATA.sorted_tables
        }
    return {name: count for name, count in counts.items() if count}


def add_run(run_id: str) -> None:
    with open_instance() as instance:
        run = instance.add_run(dg.DagsterRun("load", run_id=run_id))
        instance.report_engine_event("started elsewhere", run)


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_what_was_backed_up_is_restored_elsewhere_and_verified(installation):
    add_run("11111111-1111-4111-8111-111111111111")
    made = installation.back_up()
    counts = rows_of(installation.partition_loader)
    assert counts.pop("operations_backups") == 1
    assert made["missing"] == []
    installation.move()
    restored = installation.call(*installation.restore("--check"))
    assert restored["manifest_sha256"] == made["manifest_sha256"]
    assert restored["checked"] == {"artifacts": 1, "blobs": 1, "runs": 1}
    with open_instance() as instance:
        [run] = instance.get_runs()
        assert instance.all_logs(run.run_id)[0].message == "started elsewhere"
    found = databases.contents(present_url())
    assert {name: len(rows) for name, rows in found.items() if rows} == {
        **{name: count for name, count in counts.items() if name in found},
        "operations_backups": 1,
    }
    assert found["operations_backups"][0][0] == made["backup_id"]


@pytest.mark.slow
@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
def test_a_verified_restore_reaches_the_installation_at_its_next_backup(installation):
    first, second = installation.back_up()["backup_id"], installation.back_up()["backup_id"]
    installation.move()
    installation.call(*installation.restore("--check", "--backup", first))
    verified = installation.folder(first) / "verified.json"
    note = json.loads(verified.read_text()) | {"manifest_sha256": "0" * 64}
    (installation.folder(second) / "verified.json").write_text(
        json.dumps(note)
    )  # of another backup
    installation.come_back()
    installation.back_up()
    found = installation.partition_loader.rows(operations_backups, "backup_id", "verified_at")
    assert [backup_id for backup_id, verified_at in found if verified_at] == [first]


@pytest.mark.slow
@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
def test_artifacts_are_repaired_from_the_latest_backup_that_has_them_whole(installation):
    kept = installation.partition_loader.capture(b"kept\nrow\n")
    installation.partition_loader.write_batch(row("B"), version="v2", captures=[kept])
    installation.back_up()
    file = installation.partition_loader.folder / kept.storage_uri
    whole = file.read_bytes()
    file.write_bytes(b"damaged, and backed up so")
    installation.back_up()
    for path in [
        path for path in installation.partition_loader.folder.rglob("*") if path.is_file()
    ]:
        path.unlink()
    repaired = installation.call("artifacts", "repair", "--from", str(installation.place))
    assert (repaired["damaged_count"], repaired["repaired_count"]) == (2, 2)
    assert {repair["from"] for repair in repaired["repairs"]} == {"the copy"}
    assert file.read_bytes() == whole
    assert (
        installation.call("artifacts", "repair", "--from", str(installation.place))["damaged_count"]
        == 0
    )


@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
def test_a_second_backup_copies_only_new_artifacts(installation):
    assert installation.back_up()["copied_count"] == 1
    installation.partition_loader.write_batch(
        row("B"), captures=[installation.partition_loader.capture(b"another")], version="v2"
    )
    second = installation.back_up()
    assert (second["object_count"], second["copied_count"]) == (2, 1)
    assert installation.back_up()["copied_count"] == 0


@pytest.mark.slow_on_postgresql
def test_a_restore_into_what_is_not_empty_is_refused_and_changes_nothing(installation):
    installation.back_up()
    installation.partition_loader.write_batch(
        row("B"), captures=[installation.partition_loader.capture(b"later")], version="v2"
    )
    before = rows_of(installation.partition_loader)
    assert "the database to restore into is not empty" in installation.expect_refusal(
        *installation.restore()
    )
    assert rows_of(installation.partition_loader) == before


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_backup_of_another_installation_is_refused_unless_it_is_accepted(installation):
    installation.back_up()
    other = installation.move()
    main(["migrate"])
    databases.execute(
        present_url(), "INSERT INTO database_labels VALUES ('installation', 'another one')"
    )
    installation.capsys.readouterr()
    message = installation.expect_refusal(*installation.restore())
    assert "the backup is of another installation" in message
    assert "--other-installation" in message
    assert not (other / "artifacts").exists()
    installation.call(*installation.restore("--other-installation"))


def change_manifest(folder: Path, **changes: Any) -> None:
    file = folder / "manifest.json"
    found = json.loads(file.read_bytes()) | changes
    file.write_bytes(json.dumps(found, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
def test_tables_of_a_newer_release_are_refused_by_name(installation):
    backup_id = installation.back_up()["backup_id"]
    manifest = json.loads((installation.folder(backup_id) / "manifest.json").read_bytes())
    project = manifest["project"]
    project["version"] = "9001"
    project["parts"][0]["row_counts"]["invented_table"] = 0
    change_manifest(installation.folder(backup_id), project=project, release="7.8.9")
    installation.move()
    message = installation.expect_refusal(*installation.restore())
    assert "version 9001 of release 7.8.9, with invented_table" in message
    assert "install release 7.8.9" in message


DAMAGES: Mapping[str, Callable[[Path, Path], object]] = {
    "part": lambda folder, _: flip_last_byte(folder / "project" / "tables.sqlite"),
    "part gone": lambda folder, _: (folder / "project" / "tables.sqlite").unlink(),
    "artifact": lambda _, artifact: flip_last_byte(artifact),
    "artifact gone": lambda _, artifact: artifact.unlink(),
    "artifact cut": lambda _, artifact: artifact.write_bytes(artifact.read_bytes()[:-1]),
    "list": lambda folder, _: flip_last_byte(folder / "objects.jsonl", at=-4),
    "manifest": lambda folder, _: (folder / "manifest.json").write_bytes(b"[" * 100_000),
    "no manifest": lambda folder, _: (folder / "manifest.json").unlink(),
    "escape": lambda folder, _: change_manifest(folder, missing=["../../etc/passwd"]),
}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("part", "was changed"),
        ("part gone", "lacks a part"),
        ("artifact", "is not what was backed up"),
        ("artifact gone", "missing: blobs/"),
        ("artifact cut", "another size: blobs/"),
        ("list", "the part objects.jsonl of the backup"),
        ("manifest", "cannot be read"),
        ("no manifest", "without manifest, so killed"),
        ("escape", "not a path below a folder"),
    ],
)
def test_a_damaged_backup_is_refused_by_name(installation, damage, expected):
    backup_id = installation.back_up()["backup_id"]
    folder = installation.folder(backup_id)
    [artifact] = (path for path in installation.place.glob("objects/*/*") if path.is_file())
    DAMAGES[damage](folder, artifact)
    target = installation.move()
    assert expected in installation.expect_refusal(*installation.restore())
    assert not (target / "other.sqlite.restoring").exists()
    copied = list(target.glob("artifacts/blobs/*/*"))
    assert len(copied) == (damage == "part")  # a whole artifact, before the database


def flip_last_byte(file: Path, at: int = -1) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
def test_a_restore_that_was_killed_is_repeated(installation):
    """Artifacts and Dagster's storage were there already; the project's database was not."""
    add_run("22222222-2222-4222-8222-222222222222")
    installation.back_up()
    target = installation.move()
    installation.call(*installation.restore())
    (target / "other.sqlite").unlink()
    (target / "other.sqlite.restoring").write_bytes(b"half")
    again = installation.call(*installation.restore("--check"))
    assert again["copied_count"] == 0
    assert not (target / "other.sqlite.restoring").exists()


@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
def test_a_store_that_lacks_an_artifact_is_backed_up_and_named(installation):
    shutil.rmtree(installation.partition_loader.folder)
    installation.partition_loader.folder.mkdir()
    assert main(["backup", "--to", str(installation.place)]) == 1
    assert "artifacts that the database names are not in the store: blobs/" in (
        installation.capsys.readouterr().err
    )


@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
def test_places_that_cannot_be_are_refused(installation):
    assert "outside the artifact store" in installation.expect_refusal(
        "backup", "--to", str(installation.partition_loader.folder / "backups")
    )
    assert "invalid --to: expected a folder or an s3:// URL" in installation.expect_refusal(
        "backup", "--to", "ftp://host/x"
    )
    assert "has no complete backup" in installation.expect_refusal(*installation.restore())


@pytest.mark.slow
@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
def test_a_backup_goes_to_a_bucket_and_comes_back(installation, s3):  # noqa: F811 - the fixture
    made = installation.call("backup", "--to", s3)
    installation.move()
    assert (
        installation.call("restore", "--from", s3, "--check")["manifest_sha256"]
        == (made["manifest_sha256"])
    )


@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
def test_old_backups_are_removed_with_what_they_alone_name(installation):
    old = installation.back_up()["backup_id"]
    for file in installation.partition_loader.folder.glob("blobs/*/*"):
        file.unlink()
    installation.partition_loader.write_batch(
        row("B"), captures=[installation.partition_loader.capture(b"another")], version="v2"
    )
    assert main(["backup", "--to", str(installation.place)]) == 1  # it lacks what was unlinked
    installation.folder(old).rename(installation.folder("20200101T000000Z-00000000"))
    installation.capsys.readouterr()
    assert main(["backup", "--to", str(installation.place), "--keep-days", "14"]) == 1
    assert "1 old backups removed" in installation.capsys.readouterr().err
    assert not installation.folder("20200101T000000Z-00000000").joinpath("manifest.json").exists()
    assert len(list(installation.place.glob("objects/*/*"))) == 1
    assert len(list(installation.place.glob("backups/*/manifest.json"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("partition_loader", ["postgresql"], indirect=True)
def test_dagsters_storage_in_postgresql_and_a_database_without_tables_are_restored(
    installation, postgres_server, monkeypatch
):
    monkeypatch.setenv("DAGSTER_DATABASE_URL", new_database(postgres_server, "dagster_before"))
    add_run("33333333-3333-4333-8333-333333333333")
    add_run("44444444-4444-4444-8444-444444444444")
    last = last_event()
    installation.back_up()
    installation.move()
    monkeypatch.setenv("DATABASE_URL", new_database(postgres_server, "pipelines_after"))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", new_database(postgres_server, "dagster_after"))
    assert installation.call(*installation.restore("--check"))["checked"]["runs"] == 2
    assert last_event() == last
    add_run("55555555-5555-4555-8555-555555555555")
    assert last_event() > last


def last_event() -> int:
    """Return the number of the latest event: cursors of sensors depend on it."""
    with open_instance() as instance:
        return max(
            record.storage_id
            for run in instance.get_runs()
            for record in instance.get_records_for_run(run.run_id).records
        )


@pytest.mark.parametrize("partition_loader", ["sqlite"], indirect=True)
def test_draining_waits_for_runs_in_progress_and_names_those_that_are_left(installation):
    assert main(["drain"]) == 0
    with open_instance() as instance:
        instance.add_run(dg.DagsterRun("load", run_id="one", status=dg.DagsterRunStatus.STARTED))
        instance.add_run(dg.DagsterRun("load", run_id="two", status=dg.DagsterRunStatus.SUCCESS))
    installation.capsys.readouterr()
    assert main(["drain", "--minutes", "0"]) == 1
    assert "1 runs are still in progress: load one" in installation.capsys.readouterr().out


@pytest.mark.slow_after_first
def test_a_restore_brings_the_choice_of_domains_back(installation):
    change_stored(load_settings(), ["fx", "finra/reg_sho_daily"], ["cboe"])
    installation.back_up()
    installation.move()
    change_stored(load_settings(), ["web"], [])
    assert main(installation.restore()) == 0
    assert read_stored(load_settings()) == ["-cboe", "finra/reg_sho_daily", "fx"]


@pytest.mark.slow
def test_a_backup_without_a_choice_of_domains_leaves_that_of_the_target(installation):
    installation.back_up()
    installation.move()
    change_stored(load_settings(), ["web"], [])
    assert main(installation.restore()) == 0
    assert read_stored(load_settings()) == ["web"]
