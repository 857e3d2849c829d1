"""A run that two processes are asked to execute: one does, and it ends once."""

import os
import signal
import socket
import threading
from collections.abc import Mapping

import dagster as dg
import pytest
from dagster._core.remote_origin import RemoteJobOrigin

from orchestration_project.engine.dagster_private.definitions import load_repository
from orchestration_project.instance.celery_worker import RunWatch, execute_claimed
from orchestration_project.instance.launcher import MACHINE_TAG
from orchestration_project.instance.storage import open_instance
from orchestration_project.instance.stored import repository_origin
from orchestration_project.settings import PROJECT_ROOT, load_shared_settings

STARTING = dg.DagsterRunStatus.STARTING


@pytest.fixture(params=["sqlite", "postgresql"])
def instance(request, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    if request.param == "sqlite":
        yield request.getfixturevalue("kept_instance")
        return
    monkeypatch.setenv("DAGSTER_DATABASE_URL", request.getfixturevalue("postgres_url"))
    with open_instance() as instance:
        yield instance


def launched(
    instance, status: dg.DagsterRunStatus = STARTING, tags: Mapping[str, str] | None = None
) -> dg.DagsterRun:
    repository = load_repository("tests.instance.counting", "defs", PROJECT_ROOT)
    job = repository.get_reconstructable_job("__ASSET_JOB")
    return instance.create_run_for_job(
        job.get_definition(),
        job_code_origin=job.get_python_origin(),
        remote_job_origin=RemoteJobOrigin(repository_origin(), "__ASSET_JOB"),
        status=status,
        tags=tags,
    )


def computed() -> list[str]:
    file = load_shared_settings().state_path / "counted"
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.slow_on_postgresql
def test_a_message_that_is_delivered_twice_executes_its_run_once(instance):
    run = launched(instance)
    assert execute_claimed(instance, run.run_id)
    assert not execute_claimed(instance, run.run_id)
    ended = instance.get_run_by_id(run.run_id)
    assert ended.status == dg.DagsterRunStatus.SUCCESS
    assert ended.tags[MACHINE_TAG] == socket.gethostname()
    assert computed() == [run.run_id]


@pytest.mark.slow_on_postgresql
def test_of_two_processes_that_claim_a_run_at_once_one_has_it(instance):
    run = launched(instance)
    taken: list[bool] = []
    barrier = threading.Barrier(4)

    def claim() -> None:
        barrier.wait()
        taken.append(instance.run_storage.claims.take(run.run_id))

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False, False, False, True]
    assert instance.run_storage.claims.holder(run.run_id) == f"{socket.gethostname()} {os.getpid()}"
    assert not execute_claimed(instance, run.run_id)
    assert computed() == []


@pytest.mark.slow_after_first
@pytest.mark.parametrize("status", ["QUEUED", "STARTED", "FAILURE"])
def test_a_run_that_is_queued_again_or_ended_is_not_executed_and_keeps_no_claim(instance, status):
    run = launched(instance, dg.DagsterRunStatus(status))
    assert not execute_claimed(instance, run.run_id)
    assert instance.get_run_by_id(run.run_id).status.value == status
    assert instance.run_storage.claims.holder(run.run_id) is None
    assert computed() == []


@pytest.mark.slow_on_postgresql
def test_a_run_that_was_terminated_before_it_started_is_canceled(instance):
    run = launched(instance)
    instance.report_run_canceling(run)
    assert not execute_claimed(instance, run.run_id)
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.CANCELED


@pytest.mark.slow_on_postgresql
def test_a_run_that_failed_while_its_process_was_paused_stays_failed_and_loses_its_claim(instance):
    run = launched(instance)
    assert instance.run_storage.claims.take(run.run_id)
    instance.report_run_failed(run, "no heartbeat from elsewhere for 130 seconds")
    assert instance.run_storage.claims.holder(run.run_id) is None
    success = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name)
    instance.report_dagster_event(success, run.run_id)
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE


@pytest.mark.slow_after_first
@pytest.mark.parametrize("ends", ["canceling", "failed"])
def test_the_process_of_a_run_that_is_to_end_or_was_ended_is_interrupted(instance, ends):
    run = launched(instance, dg.DagsterRunStatus.STARTED)
    interrupted = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        with RunWatch(instance, run, seconds=0.01):
            if ends == "canceling":
                instance.report_run_canceling(run)
            else:
                instance.report_run_failed(run, "no heartbeat")
            assert interrupted.wait(timeout=30)
    finally:
        signal.signal(signal.SIGINT, before)
