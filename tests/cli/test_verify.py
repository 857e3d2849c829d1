"""The command `verify`."""

import re

import pytest
from sqlalchemy import text

from orchestration_project.__main__ import main
from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.environment import open_unprepared_warehouse, open_warehouse
from orchestration_project.migrations import BASELINE_VERSION, FORMER_COMMIT
from orchestration_project.settings import load_settings
from tests.databases import store_version
from tests.programs import free_port


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("FINRA_SOURCE", "files")
    monkeypatch.setenv("FINRA_FILES_DIR", str(tmp_path))


@pytest.mark.slow
def test_it_shows_a_line_for_each_dependency_and_what_to_do_about_one_that_fails(
    monkeypatch, capsys
):
    assert main(["verify"]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    sources = [probe.dependency for probe in REGISTRY.probes(load_settings())]
    assert [line.split()[:2] for line in lines[: 8 + len(sources)]] == [
        ["dependency", "state"],
        ["database", "OK"],
        ["disk", "OK"],
        ["artifacts", "OK"],
        *([name, "OK" if name == "finra" else "SKIP"] for name in sources),
        ["clock", "SKIP"],
        ["alerts", "SKIP"],
        ["daemon", "SKIP"],
        ["code_server", "SKIP"],
    ]
    assert lines[-1] == (
        "settings since they were last verified: not applicable: nothing was verified before"
    )
    monkeypatch.setenv("ALERT_URLS", f"json://127.0.0.1:{free_port()}/hunter2")
    assert main(["verify"]) == 1
    shown = capsys.readouterr().out
    assert re.search("^alerts +FAIL ", shown, re.MULTILINE)
    assert "what to do: check these settings, their services, and the rules" in shown
    assert "  ALERT_URLS: '' -> '***' (environment)" in shown
    assert "hunter2" not in shown


def test_without_a_database_it_shows_what_was_found_and_why_that_is_not_stored(monkeypatch, capsys):
    url = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/none"
    monkeypatch.setenv("DATABASE_URL", url)
    assert main(["verify"]) == 1
    shown = capsys.readouterr().out
    assert re.search("^database +FAIL ", shown, re.MULTILINE)
    assert re.search("^artifacts +OK ", shown, re.MULTILINE)
    assert "what was found could not be stored: " in shown
    assert "the database did not do what was asked" in shown.split("could not be stored")[1]
    assert "Stack Trace" not in shown
    assert "hunter2" not in shown


@pytest.mark.slow
def test_tables_of_an_older_version_are_reported_and_not_migrated(capsys):
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        store_version(connection, "0085")
    with open_unprepared_warehouse(load_settings()) as warehouse:
        for command in (["verify"], ["migrate"], ["migrate", "--dry-run"]):
            assert main(command) == 1
            assert warehouse.version() == "0085"
            shown = " ".join("".join(capsys.readouterr()).split())
            assert f"version {BASELINE_VERSION} or newer" in shown
            assert "found version 0085" in shown.replace("found:", "found")
            assert f"git checkout {FORMER_COMMIT}" in shown


@pytest.mark.slow
def test_a_missing_column_is_named_although_the_version_is_the_newest(capsys):
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        connection.execute(text("ALTER TABLE prices_returns RENAME known_from TO landed_at"))
    for name in ("verify", "migrate"):
        assert main([name]) == 1
        shown = "".join(capsys.readouterr())
        assert "column prices_returns.known_from is missing" in shown
        assert "Traceback" not in shown


@pytest.mark.slow
def test_a_table_of_the_user_is_named_and_tolerated(capsys):
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        connection.execute(text("CREATE TABLE notes_of_mine (a INT)"))
    assert main(["verify"]) == 0
    assert "not of this project: table notes_of_mine" in capsys.readouterr().out
    assert main(["migrate"]) == 0
    assert "left as they are: table notes_of_mine" in capsys.readouterr().out
