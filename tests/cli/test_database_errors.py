"""Errors of databases that reach the terminal: what failed, and no traceback."""

import pytest
from sqlalchemy import text

from orchestration_project.__main__ import main
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.settings import load_settings
from tests.prepared import write_default
from tests.programs import free_port


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    write_default(load_settings())


def alter(statement: str) -> None:
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        connection.execute(text(statement))


def expect_error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 1
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    return shown


@pytest.mark.parametrize(
    "arguments",
    [("keys", "list"), ("keys", "create", "--owner", "me", "--role", "viewer")],
    ids=" ".join,
)
def test_a_command_whose_table_lacks_a_column_refers_to_migrate(arguments, capsys):
    alter("ALTER TABLE access_keys RENAME owner TO holder")
    shown = expect_error(capsys, *arguments)
    assert shown.startswith("the database lacks a table, column or key that this program declares")
    assert "owner" in shown
    assert "run `orchestrate migrate`, which names each difference" in shown


def test_a_statement_that_the_rows_refuse_is_explained(capsys):
    alter("CREATE TRIGGER refuse BEFORE INSERT ON access_keys BEGIN SELECT RAISE(ABORT, 'no'); END")
    shown = expect_error(capsys, "keys", "create", "--owner", "me", "--role", "viewer")
    assert shown.startswith("the database refused a statement of this program")
    assert "report this with the traceback that --verbose prints" in shown


@pytest.mark.slow
def test_an_unreachable_database_of_dagster_is_explained(monkeypatch, capsys):
    url = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/none"
    monkeypatch.setenv("DAGSTER_DATABASE_URL", url)
    shown = expect_error(capsys, "drain", "--minutes", "0")
    assert "Connection refused" in shown
    assert "hunter2" not in shown
