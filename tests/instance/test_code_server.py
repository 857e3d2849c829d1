"""The code server requires the tables of its own version before it loads definitions."""

import pytest

from orchestration_project.engine.environment import open_unprepared_warehouse, open_warehouse
from orchestration_project.errors import TransientError
from orchestration_project.instance.code_server import require_tables
from orchestration_project.migrations import NEWEST_VERSION
from orchestration_project.settings import load_settings
from tests import programs
from tests.databases import store_version

START = ("orchestration_project.instance.code_server", "code-server", "start")


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))


@pytest.mark.slow
def test_a_code_server_refuses_older_tables_with_the_command_to_run(tmp_path):
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        store_version(connection, "0085")
    port = str(programs.free_port())
    status, _, error = programs.run(
        tmp_path, *START, "-m", "orchestration_project.definitions", "--port", port
    )
    assert (status, "run `orchestrate migrate`" in error) == (1, True), error
    with open_unprepared_warehouse(load_settings()) as warehouse:
        assert warehouse.version() == "0085"


@pytest.mark.slow
def test_a_code_server_makes_the_tables_of_an_empty_database():
    require_tables()
    with open_unprepared_warehouse(load_settings()) as warehouse:
        assert warehouse.version() == NEWEST_VERSION


def test_a_code_server_ends_after_a_wait_for_a_database_that_does_not_answer(monkeypatch):
    url = f"postgresql://me@127.0.0.1:{programs.free_port()}/none"
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(TransientError):
        require_tables(seconds=0)
