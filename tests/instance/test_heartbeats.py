"""Runs whose machine is gone are found dead by their silence, and leave no slot taken."""

import logging
import socket
from datetime import timedelta
from threading import Semaphore
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.test_utils import freeze_time
from dagster._daemon.monitoring.concurrency import execute_concurrency_slots_iteration
from dagster._daemon.monitoring.run_monitoring import monitor_started_run
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy import text

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.instance.heartbeats import Heartbeats
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.dagster_instance import RUN_HEARTBEATS

HERE, LOG = socket.gethostname(), logging.getLogger("test")


@pytest.fixture
def instance(postgres_url, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", postgres_url)
    with open_instance() as instance:
        yield instance


def signs(instance) -> dict[str, str]:
    with instance.event_log_storage.index_connection() as connection:
        found = connection.execute(text("SELECT key, value FROM kvs"))
        return {
            row.key.removeprefix(RUN_HEARTBEATS): row.value
            for row in found
            if RUN_HEARTBEATS in row.key
        }


def started_elsewhere(instance, *, seconds_ago: float) -> dg.RunRecord:
    """Return a run that another machine executes, and that gave its last sign so long ago."""
    job = dg.Definitions([quick]).resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    with instance.event_log_storage.index_connection() as connection:
        connection.execute(
            text(
                "INSERT INTO kvs (key, value) VALUES "
                "(:key, 'elsewhere ' || extract(epoch FROM clock_timestamp()) - :ago)"
            ),
            {"key": RUN_HEARTBEATS + run.run_id, "ago": seconds_ago},
        )
    return instance.get_run_record_by_id(run.run_id)


@dg.asset
def quick(context: dg.AssetExecutionContext):
    seen.update(signs(context.instance))


seen: dict[str, str] = {}


@pytest.mark.slow
def test_a_run_sends_heartbeats_from_its_start_to_its_end(instance):
    result = dg.materialize([quick], instance=instance)
    assert list(seen) == [result.run_id]
    machine, at = seen[result.run_id].split(" ")
    assert machine == HERE
    assert abs(float(at) - Clock().now().timestamp()) < 60
    assert result.run_id not in signs(instance)


def test_signs_go_on_after_an_outage_of_the_server(instance, caplog):
    connect, was_asked = instance.event_log_storage.index_connection, Semaphore(0)
    outage = iter([None, DagsterPostgresException("too many retries for DB connection")])

    def connect_but_once():
        was_asked.release()
        if (error := next(outage, None)) is not None:
            raise error
        return connect()

    signing = Heartbeats(connect_but_once, seconds=0.01)
    signing.begin("run")
    assert all(was_asked.acquire(timeout=30) for _ in range(3))
    signing.end("run")
    assert "failed to record the heartbeat of run run: too many retries" in caplog.text


def test_a_run_of_another_machine_runs_while_it_sends_heartbeats(instance):
    record = started_elsewhere(instance, seconds_ago=60)
    health = instance.run_launcher.check_run_worker_health(record.dagster_run)
    assert (health.status, health.msg) == (WorkerStatus.RUNNING, "alive on elsewhere")


def test_a_silence_counts_from_the_start_of_the_server_on(instance):
    with instance.event_log_storage.index_connection() as connection:
        up = connection.scalar(
            text("SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())")
        )
    record = started_elsewhere(instance, seconds_ago=1_000_000)
    silent = instance.event_log_storage.heartbeats.last(record.dagster_run.run_id).silent_seconds
    assert float(up) <= silent < float(up) + 60


def test_a_run_of_a_machine_that_went_silent_is_marked_failed_with_that_reason(instance):
    instance.run_launcher.silence_seconds = 0.5
    record = started_elsewhere(instance, seconds_ago=1000)
    monitor_started_run(instance, None, record, LOG)  # pyright: ignore[reportArgumentType] - only for runs that are resumed
    run_id = record.dagster_run.run_id
    assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.FAILURE
    [failure] = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert "no heartbeat from elsewhere for " in failure.message
    assert run_id not in signs(instance)


def test_a_run_that_gave_no_sign_and_is_not_here_is_let_be(instance):
    job = dg.Definitions([quick]).resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    health = instance.run_launcher.check_run_worker_health(run)
    assert (health.status, health.msg) == (WorkerStatus.RUNNING, "running on another machine")


def test_the_pool_slots_of_a_dead_run_are_freed_a_minute_after_it_was_marked_failed(instance):
    storage = instance.event_log_storage
    storage.set_concurrency_slots("pool", 1)
    run = started_elsewhere(instance, seconds_ago=0).dagster_run
    assert storage.claim_concurrency_slot("pool", run.run_id, "step").is_claimed
    instance.report_run_failed(run, "gone")
    context = SimpleNamespace(instance=instance)
    with freeze_time(Clock().now() + timedelta(seconds=90)):
        list(execute_concurrency_slots_iteration(context, LOG))  # pyright: ignore[reportArgumentType] - it reads the instance alone
    assert storage.get_concurrency_info("pool").active_slot_count == 0
