"""How Dagster's SQLite files are opened: few flushes of the disk, other files as ever."""

import dagster as dg
import psutil
import pytest
from sqlalchemy import text

from orchestration_project.instance.sqlite import FILES_KEPT_OPEN
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.warehouse import Warehouse


@dg.asset
def one():
    return None


@pytest.fixture
def instance(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("DAGSTER_DATABASE_URL", raising=False)
    with open_instance() as instance:
        yield instance


def open_files(folder) -> set[str]:
    files = {file.path for file in psutil.Process().open_files()}
    return {file for file in files if file.startswith(str(folder)) and file.endswith(".db")}


def test_the_log_of_a_file_stays_between_two_connections(instance, tmp_path):
    dg.materialize([one], instance=instance)
    index = tmp_path / "state" / "dagster" / "history" / "runs" / "index.db-wal"
    inode = index.stat().st_ino
    dg.materialize([one], instance=instance)
    assert index.stat().st_ino == inode


def test_only_the_files_used_last_stay_open(instance, tmp_path):
    for _ in range(FILES_KEPT_OPEN + 2):
        dg.materialize([one], instance=instance)
    assert len(open_files(tmp_path)) == FILES_KEPT_OPEN


def test_commits_to_dagsters_files_do_not_wait_for_the_disk_and_those_to_others_do(
    instance, tmp_path
):
    with instance.event_log_storage.index_connection() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 1
    other = Warehouse(f"sqlite:///{tmp_path}/other.sqlite", clock=Clock())
    with other, other.reading() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2
