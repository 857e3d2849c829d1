"""How Dagster's SQLite files are opened: few flushes of the disk, other files as ever."""

import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.storage.event_log.migration import (
    ASSET_DATA_MIGRATIONS,
    EVENT_LOG_DATA_MIGRATIONS,
)
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from sqlalchemy import text

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.instance.sqlite import MAX_OPEN_FILES, SqliteEvents
from orchestration_project.instance.storage import open_instance
from tests.programs import wait_for

INDEXES = (*EVENT_LOG_DATA_MIGRATIONS, *ASSET_DATA_MIGRATIONS)


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


def test_a_file_whose_maker_was_killed_is_finished_by_the_next_process(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    with open_instance() as made:
        whole = built_indexes(made)
    index = tmp_path / "state" / "dagster" / "history" / "runs" / "index.db"
    with closing(sqlite3.connect(index)) as connection:
        connection.execute("DROP TABLE alembic_version")
        connection.execute("DELETE FROM secondary_indexes")
        connection.commit()
    with open_instance() as instance:
        assert dg.materialize([one], instance=instance).success
        assert built_indexes(instance) == whole != set()
        assert instance.get_latest_materialization_event(one.key) is not None


def built_indexes(instance) -> set[str]:
    """Return the names of the indexes that Dagster's event log says are built."""
    storage = instance.event_log_storage
    return {name for name in INDEXES if storage.has_secondary_index(name)}


def test_a_watcher_of_a_run_receives_each_event_while_it_goes_on(instance):
    run = instance.create_run_for_job(job_def=nothing)
    messages: list[str] = []
    instance.watch_event_logs(run.run_id, None, lambda entry, _: messages.append(entry.message))
    for number in range(3):
        instance.report_engine_event(f"event {number}", run)
        wait_for(lambda number=number: messages[number:] == [f"event {number}"])


@dg.job
def nothing(): ...


@pytest.mark.slow
def test_only_the_files_used_last_stay_open(instance, tmp_path):
    for _ in range(MAX_OPEN_FILES + 6):
        dg.materialize([one], instance=instance)
    # files of runs, and the two that each run writes
    assert len(open_files(tmp_path)) == MAX_OPEN_FILES + 2


def made(file):
    """Return the tables and indexes of a file, and the version of Dagster's that they have."""
    with closing(sqlite3.connect(file)) as connection:
        return (
            set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")),
            connection.execute("SELECT version_num FROM alembic_version").fetchall(),
        )


def test_a_new_run_has_the_tables_that_dagster_would_make(instance, tmp_path):
    run_id = dg.materialize([one], instance=instance).run_id
    plain = SqliteEventLogStorage(str(tmp_path / "plain"))
    with plain.run_connection(run_id):
        pass
    assert made(instance.event_log_storage.path_for_shard(run_id)) == made(
        plain.path_for_shard(run_id)
    )


def test_two_that_make_a_file_at_once_make_one(instance):
    base = instance.event_log_storage._base_dir
    run_ids = [f"run-{number}" for number in range(20)]
    both = [SqliteEvents(base), SqliteEvents(base)]

    def make(storage):
        for run_id in run_ids:
            with storage._connect(run_id):
                pass

    with ThreadPoolExecutor() as pool:
        list(pool.map(make, both))
    found = {len(made(both[0].path_for_shard(run_id))[1]) for run_id in run_ids}
    assert found == {1}
    assert not [*Path(base).glob("*.partial")]
    for storage in both:
        storage.dispose()


def test_a_run_whose_file_is_gone_gets_a_new_one(instance):
    run_id = dg.materialize([one], instance=instance).run_id
    storage = instance.event_log_storage
    file = Path(storage.path_for_shard(run_id))
    for suffix in ("-shm", "-wal", ""):
        Path(f"{file}{suffix}").unlink()
    run = instance.get_run_by_id(run_id)
    instance.report_engine_event("written again", run)
    assert file.exists()
    assert [log.message for log in instance.all_logs(run_id)] == ["written again"]


def test_commits_to_dagsters_files_do_not_wait_for_the_disk_and_those_to_others_do(
    instance, tmp_path
):
    with instance.event_log_storage.index_connection() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 1
    other = Warehouse(f"sqlite:///{tmp_path}/other.sqlite", clock=Clock())
    with other, other.reading() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2


MONTHS = dg.MonthlyPartitionsDefinition("2026-01-01", end_date="2026-04-01")


@dg.multi_asset(
    name="load",
    specs=[
        dg.AssetSpec(name, partitions_def=MONTHS, tags={"domain": "test"})
        for name in ("one", "two")
    ],
    check_specs=[dg.AssetCheckSpec("holds", asset="one")],
    partitions_def=MONTHS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def load(context):
    for key in context.partition_keys:
        context.add_asset_metadata({"rows": int(key[5:7])}, asset_key="one", partition_key=key)
    yield dg.AssetCheckResult(asset_key="one", check_name="holds", passed=True)
    yield from (dg.MaterializeResult(asset_key=name) for name in ("one", "two"))


def history_of(instance):
    """Return all that Dagster stores of a run over three partitions, without times and ids."""
    every = {
        "dagster/asset_partition_range_start": "2026-01-01",
        "dagster/asset_partition_range_end": "2026-03-01",
    }
    job = dg.define_asset_job("both", [load]).resolve(
        asset_graph=dg.Definitions([load]).resolve_asset_graph()
    )
    run_id = job.execute_in_process(instance=instance, tags=every).run_id
    events_by_name = {}
    for name in ("one", "two"):
        key = dg.AssetKey(name)
        (record,) = instance.get_asset_records([key])
        events = instance.fetch_materializations(key, limit=10).records
        events_by_name[name] = (
            instance.get_materialized_partitions(key),
            [(event.partition_key, event.asset_materialization.metadata) for event in events],
            record.asset_entry.last_run_id == run_id,
            record.asset_entry.last_materialization.get_dagster_event().partition,
            record.asset_entry.last_materialization_storage_id == events[0].storage_id,
        )
    check = dg.AssetCheckKey(dg.AssetKey("one"), "holds")
    looked = instance.event_log_storage.get_asset_check_execution_history(check, limit=10)
    events_by_name["holds"] = Counter(
        (look.partition, look.status, look.run_id == run_id) for look in looked
    )
    records = instance.get_records_for_run(run_id).records
    return events_by_name, Counter(record.event_log_entry.dagster_event_type for record in records)


@pytest.mark.slow
def test_a_run_over_many_partitions_leaves_the_history_that_dagsters_own_storage_keeps(
    instance, tmp_path, monkeypatch
):
    ours = history_of(instance)
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE")
    (tmp_path / "theirs").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "theirs")) as theirs:
        assert ours == history_of(theirs)
