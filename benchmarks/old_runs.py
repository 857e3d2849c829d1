"""Old runs and old artifacts in large numbers, and what frees them; runs are copies of a real one.

Each function is called in a process of its own (`child.py`), with settings of its own.
"""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import RunsTable
from sqlalchemy import insert, select, text

from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.retention import STAGED
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.cleanup.removing import Retention, clean_up, plan_cleanup
from orchestration_project.services.ledger import Ledger, reconcile
from orchestration_project.services.run_logs import prune
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_runs import operations_runs

A_DAY = timedelta(days=1)
LINES = 12
"""Log lines of the run, beside those of Dagster: about as much as a load."""

BATCH_ROWS = 1000

COPIED_EVENTS = text(
    "INSERT INTO event_logs"
    " (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)"
    " SELECT copies.id, event, dagster_event_type, timestamp, step_key, asset_key, partition"
    " FROM event_logs, unnest(CAST(:ids AS text[])) AS copies(id) WHERE run_id = :run_id"
)


@dg.asset(check_specs=[dg.AssetCheckSpec("is_good", asset="part")])
def part(context: dg.AssetExecutionContext) -> Iterator[Any]:
    """One row per nothing: a run's worth of log."""
    for number in range(LINES):
        context.log.info(f"line {number} of a load that was long ago")
    yield dg.AssetCheckResult(passed=True, check_name="is_good")
    yield dg.MaterializeResult(asset_key="part", metadata={"rows": 3})


def pruned(runs: int) -> dict[str, Any]:
    """Make that many old runs and prune them; return seconds, bytes and runs that were freed."""
    with open_instance() as instance, open_warehouse(load_settings()) as warehouse:
        ledger = Ledger(warehouse, Clock())
        make_runs(instance, warehouse, runs)
        before = Clock().now() + A_DAY
        started = time.perf_counter()
        found = prune(instance, ledger, before, dry_run=False)
        seconds = time.perf_counter() - started
    freed = found.freed.values()
    return {
        "seconds": seconds,
        "runs": max(left.run_count for left in freed),
        "megabytes": sum(left.byte_count for left in freed) / 1e6,
    }


def make_runs(instance: dg.DagsterInstance, warehouse: Warehouse, count: int) -> str:
    """Make a run and ``count`` copies of it, in Dagster's storage and in the ledger; its id."""
    run_id = dg.materialize([part], instance=instance).run_id
    reconcile(instance, Ledger(warehouse, Clock()), None)
    copies = [str(uuid4()) for _ in range(count)]
    for start in range(0, count, BATCH_ROWS):
        _copy(instance, warehouse, run_id, copies[start : start + BATCH_ROWS])
    return run_id


def _copy(
    instance: dg.DagsterInstance, warehouse: Warehouse, run_id: str, copies: Sequence[str]
) -> None:
    runs, events = instance.run_storage, instance.event_log_storage
    manager = instance.compute_log_manager
    if not (
        isinstance(runs, SqlRunStorage)
        and isinstance(events, SqlEventLogStorage)
        and isinstance(manager, LocalComputeLogManager)
    ):
        raise TypeError("the storage is not that of dagster.yaml")
    with runs.connect() as connection:
        wanted = select(RunsTable).where(RunsTable.c.run_id == run_id)
        row = dict(connection.execute(wanted).mappings().one())
        del row["id"]
        bodies = ((each, row["run_body"].replace(run_id, each)) for each in copies)
        rows = [row | {"run_id": each, "run_body": body} for each, body in bodies]
        connection.execute(insert(RunsTable), rows)
    with warehouse.writing() as connection:
        wanted = select(operations_runs).where(operations_runs.c.run_id == run_id)
        row = dict(connection.execute(wanted).mappings().one())
        connection.execute(insert(operations_runs), [row | {"run_id": each} for each in copies])
    _copy_events(events, run_id, copies)
    log = Path(manager.get_captured_local_path([run_id, "any"], "out")).parent
    for each in copies:
        shutil.copytree(log, log.parent.parent / each / log.name)


def _copy_events(events: SqlEventLogStorage, run_id: str, copies: Sequence[str]) -> None:
    if isinstance(events, SqliteEventLogStorage):
        with events.run_connection(run_id) as connection:  # else the log lies beside its file
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        for each in copies:
            shutil.copy(events.path_for_shard(run_id), events.path_for_shard(each))
        return
    with events.index_connection() as connection:
        connection.execute(COPIED_EVENTS, {"ids": list(copies), "run_id": run_id})


def cleaned_up(artifacts: int, byte_count: int) -> dict[str, Any]:
    """Make that many old staged files and clean them up; return seconds and files that went."""
    settings = load_settings()
    store = FolderStore(settings.state_path / "artifacts")
    (store.folder / "staged").mkdir(parents=True)
    now = Clock().now()
    long_ago = (now - 100 * A_DAY).timestamp()
    for number in range(artifacts):
        file = store.folder / "staged" / f"{number:08}.parquet"
        file.write_bytes(bytes(byte_count))
        os.utime(file, (long_ago, long_ago))
    with open_warehouse(settings) as warehouse:
        started = time.perf_counter()
        plan = plan_cleanup(warehouse, store, Retention({STAGED: 30}, keep_newest=3), now=now)
        went = clean_up(warehouse, store, plan, now=now, run_id="bench")
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "artifacts": len(went[STAGED])}
