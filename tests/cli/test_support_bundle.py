"""The command `support-bundle`."""

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import dagster as dg
import pytest

from orchestration_project.__main__ import main
from orchestration_project.engine.connections.log_files import FOLDER, LogFile
from orchestration_project.engine.contracts.log_lines import encode_line
from orchestration_project.instance.storage import open_instance
from orchestration_project.instance.stored import repository_origin
from orchestration_project.migrations import NEWEST_VERSION
from orchestration_project.services.support_bundle import (
    read_errors,
    read_table_sizes,
    read_ticks,
    write_bundle,
)
from tests.dagster_storage import add_tick
from tests.programs import free_port
from tests.resources.weeks import PartitionLoader

SECTIONS = (
    *("versions", "settings", "dependencies", "errors", "folders", "tables", "ticks"),
    *("failed_runs", "problems"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("FINRA_SOURCE", "files")
    monkeypatch.setenv("FINRA_FILES_DIR", str(tmp_path))
    return tmp_path


def check_and_read_sections(file: Path) -> dict[str, Any]:
    with ZipFile(file) as archive:
        members = archive.namelist()
        assert members == [f"support-bundle/{name}.json" for name in SECTIONS]
        return {
            name: json.loads(archive.read(member))
            for name, member in zip(SECTIONS, members, strict=True)
        }


@dg.asset
def broken() -> None:
    raise ValueError("no answer that can be used")


@pytest.mark.slow
def test_it_has_versions_masked_settings_health_errors_sizes_and_failed_runs(folder, monkeypatch):
    with open_instance() as instance:
        dg.materialize([broken], instance=instance, raise_on_error=False)
    monkeypatch.setenv("ALERT_URLS", f"json://127.0.0.1:{free_port()}/hunter2")
    file = folder / "bundle.zip"
    assert main(["support-bundle", "--output", str(file)]) == 0
    found = check_and_read_sections(file)
    assert found["versions"]["packages"]["dagster"] == found["versions"]["dagster"]
    settings = {setting["name"]: setting["value"] for setting in found["settings"]}
    assert settings["ALERT_URLS"] == "***"
    assert "hunter2" not in json.dumps(found)
    outcomes = {
        dependency["dependency"]: dependency["outcome"] for dependency in found["dependencies"]
    }
    assert (outcomes["database"], outcomes["alerts"]) == ("passed", "failed")
    assert {table["name"] for table in found["tables"]["tables"]} > {"deliveries", "captures"}
    assert [
        found_folder["name"]
        for found_folder in found["folders"]
        if found_folder["name"] == "dagster"
    ]
    [run] = found["failed_runs"]
    assert "no answer that can be used" in run["error"]
    assert found["problems"] == []


def test_a_database_that_is_down_is_said_inside(folder, monkeypatch, capsys):
    url = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/none"
    monkeypatch.setenv("DATABASE_URL", url)
    file = folder / "bundle.zip"
    assert main(["support-bundle", "--output", str(file), "--json"]) == 0
    found = check_and_read_sections(file)
    assert [problem.partition(":")[0] for problem in found["problems"]] == ["tables"]
    assert "the database did not do what was asked" in found["tables"]["not_read"]
    assert found["dependencies"][0]["outcome"] == "failed"
    shown = json.loads(capsys.readouterr().out)
    assert shown == {"file": str(file), "problems": found["problems"]}
    assert "hunter2" not in json.dumps([found, shown])


@dg.sensor(job_name="any")
def on_arrival() -> None: ...


def test_ticks_of_what_is_on_are_in_it_with_their_errors(folder):
    with open_instance() as instance:
        for error in (None, "no answer"):
            add_tick(instance, on_arrival, repository_origin("here"), error=error)
        found = read_ticks(instance)
    assert [(tick["name"], tick["status"], tick["error"]) for tick in found] == [
        ("on_arrival", "FAILURE", "no answer"),
        ("on_arrival", "SKIPPED", None),
    ]


def test_errors_of_the_log_are_in_it_the_newest_first(folder):
    log = LogFile(folder / "state" / FOLDER, "gateway", 2**20, 7)
    for level, message in (("ERROR", "first"), ("WARNING", "between"), ("ERROR", "last")):
        log.append(encode_line({"time": "2026-03-02", "level": level, "message": message}))
    log.close()
    found = read_errors(folder / "state")
    assert [line["message"] for line in found] == ["last", "first"]


def test_equal_sections_give_equal_bytes_and_a_present_file_stays(folder):
    sections = {"b": lambda: {"one": 1}, "a": lambda: [2]}
    files = [folder / "one.zip", folder / "two.zip"]
    for file in files:
        assert write_bundle(file, sections, replace=False) == []
    assert files[0].read_bytes() == files[1].read_bytes()
    assert ZipFile(files[0]).namelist()[:2] == ["support-bundle/b.json", "support-bundle/a.json"]
    before = files[0].read_bytes()
    assert main(["support-bundle", "--output", str(files[0])]) == 1
    assert files[0].read_bytes() == before
    assert {path.name for path in folder.iterdir() if path.is_file()} == {"one.zip", "two.zip"}


def test_a_defect_is_in_its_section_by_its_first_line(folder):
    def fail() -> None:
        raise KeyError("first")

    file = folder / "bundle.zip"
    assert write_bundle(file, {"a": fail}, replace=False) == ["a: KeyError: 'first'"]
    assert json.loads(ZipFile(file).read("support-bundle/a.json")) == {
        "not_read": "KeyError: 'first'"
    }


def test_it_counts_the_rows_of_both_databases(partition_loader: PartitionLoader):
    found = read_table_sizes(partition_loader.warehouse)
    counts = {table["name"]: table["row_count"] for table in found["tables"]}
    assert counts.keys() > {"deliveries", "load_chain"}
    assert found["version"] == NEWEST_VERSION
