"""IDs of runs by tag are those that Dagster's instance returns."""

import dagster as dg
import pytest

from orchestration_project.cli.dagster_home import find_run_ids
from orchestration_project.instance.storage import open_instance
from orchestration_project.settings import load_settings

TAG = "orchestration_project/trace_of_a_test"


@pytest.fixture(autouse=True)
def state_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))


@dg.op
def nothing():
    """Do nothing."""


@dg.job
def empty():
    nothing()


def test_the_latest_runs_of_a_tag_are_found_as_dagster_finds_them():
    assert find_run_ids(load_settings(), TAG, "a", 10) == []
    with open_instance() as instance:
        for value in ("a", "b", "a"):
            empty.execute_in_process(instance=instance, tags={TAG: value})
        records = instance.get_run_records(dg.RunsFilter(tags={TAG: "a"}))
    run_ids = [record.dagster_run.run_id for record in records]
    assert len(run_ids) == 2
    assert find_run_ids(load_settings(), TAG, "a", 10) == run_ids
    assert find_run_ids(load_settings(), TAG, "a", 1) == run_ids[:1]


def test_another_storage_is_left_to_dagster(monkeypatch, tmp_path):
    runs = tmp_path / "dagster" / "history" / "runs.db"
    runs.parent.mkdir(parents=True)
    runs.write_bytes(b"no database")
    assert find_run_ids(load_settings(), TAG, "a", 10) is None
    monkeypatch.setenv("DAGSTER_DATABASE_URL", "postgresql://127.0.0.1/dagster")
    assert find_run_ids(load_settings(), TAG, "a", 10) is None
