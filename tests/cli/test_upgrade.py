"""`upgrade --check`: what an upgrade would do, with nothing changed."""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing

import psycopg
import pytest

from orchestration_project.__main__ import main
from orchestration_project.engine.warehouse.upgrade_plans import UpgradePlan
from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations import FORMER_COMMIT, NEWEST_VERSION
from tests import programs


@pytest.fixture(scope="module")
def with_dagster(tmp_path_factory):
    """A state folder with our tables, and those of Dagster."""
    folder = tmp_path_factory.mktemp("upgrade") / "state"
    folder.mkdir()
    settings = {"DATA_PROFILE": "real", "DOMAINS": "operations"}
    for command_line in (["migrate"], ["drain"]):
        status, output, error = programs.run(
            folder, "orchestration_project", *command_line, **settings
        )
        assert status == 0, output + error
    return folder


@pytest.fixture
def state(with_dagster, tmp_path, monkeypatch):
    """A copy of that, which the environment names."""
    folder = shutil.copytree(with_dagster, tmp_path / "state")
    for name, value in (("STATE_DIR", str(folder)), ("DATA_PROFILE", "real")):
        monkeypatch.setenv(name, value)
    return folder


def hash_files(folder):
    """Return the hashes of all files but logs, and what readers of SQLite share."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(content).hexdigest()
        for file in folder.rglob("*")
        if file.is_file() and file.parent.name != "logs"
        if (content := file.read_bytes()) and not file.name.endswith("-shm")
    }


def execute(file, statement):
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


def check_upgrade(capfd) -> tuple[int, dict]:
    """Run the command twice, as text and as JSON; return the status and the JSON."""
    status = main(["upgrade", "--check"])
    text = capfd.readouterr().out
    assert main(["upgrade", "--check", "--json"]) == status
    fields = json.loads(capfd.readouterr().out)
    assert str(fields["newest_version"]) in text
    assert text.endswith("nothing was changed\n")
    return status, fields


def test_what_is_up_to_date_has_nothing_to_do(state, capfd):
    before = hash_files(state)
    status, fields = check_upgrade(capfd)
    assert status == 0
    assert (fields["version"], fields["pending"]) == (NEWEST_VERSION, [])
    assert fields["dagster_versions"] == [fields["newest_dagster_version"]]
    assert hash_files(state) == before


def test_tables_that_were_never_compared_are_named_and_stay_so(state, capfd):
    execute(state / "real.sqlite", "DELETE FROM database_labels WHERE name = 'schema'")
    before = hash_files(state)
    status, fields = check_upgrade(capfd)
    assert (status, fields["pending"], fields["is_recorded"]) == (4, [], False)
    assert hash_files(state) == before
    assert main(["migrate"]) == 0
    assert check_upgrade(capfd)[0] == 0


def test_older_tables_of_dagster_are_named_with_the_command(state, capfd):
    for file in (state / "dagster").rglob("*.db"):
        execute(file, "UPDATE alembic_version SET version_num = '16e3655b4d9b'")
    before = hash_files(state)
    assert main(["upgrade", "--check"]) == 4
    assert "version 16e3655b4d9b -> " in (output := capfd.readouterr().out)
    assert "needs `dagster instance migrate`" in output
    assert hash_files(state) == before


@pytest.mark.slow
def test_both_databases_on_a_server_are_read(state, prepared, postgres_url, monkeypatch, capfd):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('16e3655b4d9b')")
    monkeypatch.setenv("DATABASE_URL", prepared.postgresql())
    monkeypatch.setenv("DAGSTER_DATABASE_URL", postgres_url)
    status, fields = check_upgrade(capfd)
    assert (status, fields["is_dagster_other"]) == (4, True)
    assert fields["dagster_versions"] == ["16e3655b4d9b"]
    assert (fields["version"], fields["free_bytes"]) == (NEWEST_VERSION, None)
    assert fields["database_bytes"] > 1_000_000


def test_tables_that_migrate_refuses_are_refused_with_the_same_words(state, capfd):
    file = state / "real.sqlite"
    execute(file, "ALTER TABLE prices_returns RENAME known_from TO landed_at")
    before = hash_files(state)
    assert main(["upgrade", "--check"]) == 1
    assert hash_files(state) == before
    assert main(["migrate"]) == 1
    refused = capfd.readouterr().err.split("invalid tables")
    assert len(refused) == 3
    assert "column prices_returns.known_from is missing" in refused[1]
    execute(file, "UPDATE orchestration_project_version SET version_num = '0085'")
    assert main(["upgrade", "--check"]) == 1
    assert FORMER_COMMIT in capfd.readouterr().err


def test_without_a_database_none_is_made(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "missing"))
    status, fields = check_upgrade(capfd)
    assert status == 4
    assert fields["version"] is None
    assert [pending["changes"] for pending in fields["pending"]] == [
        ["make all tables of an empty database"]
    ]
    assert not list(tmp_path.rglob("*.sqlite"))


def test_a_disk_that_is_too_small_is_refused():
    plan = UpgradePlan("0086", table_bytes=1_000_000)
    plan.refuse_full_disk(2_000_000)
    plan.refuse_full_disk(None)
    with pytest.raises(ConfigurationError) as error:
        plan.refuse_full_disk(1_999_999)
    assert (error.value.expected, error.value.found) == (
        "2,000,000 free bytes, for a copy of the tables and its log",
        "1,999,999 free bytes",
    )


def test_without_check_the_steps_are_named(capfd):
    with pytest.raises(SystemExit) as ended:
        main(["upgrade"])
    assert ended.value.code == 2
    assert "docs/how-to/upgrade.md" in capfd.readouterr().err
