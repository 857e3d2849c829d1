"""A process that ends between its claim and the run's start: the run fails soon, and only then."""

import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable

import dagster as dg
import pytest
from dagster._core.execution.retries import auto_reexecution_should_retry_run
from sqlalchemy import text

from orchestration_project.instance.celery_worker import execute_claimed
from orchestration_project.instance.claim_monitoring import fail_lost_runs, fail_runs_of_this_host
from orchestration_project.instance.releases import RELEASE_TAG, own_release
from orchestration_project.instance.run_claims import PREFIX
from orchestration_project.services.dagster_instance import RUN_HEARTBEATS
from tests.instance.test_run_claims import computed, instance, launched

__all__ = ["instance"]

HERE = socket.gethostname()

CLONE_NEWPID = 0x20000000
unshare = ctypes.CDLL(None).unshare


def in_fork(action: Callable[[], object]) -> int:
    """Run an action in a fork of this process; return the status by which it ended."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def expect_kill_before_start(
    instance: dg.DagsterInstance, run_id: str, *, host: str = HERE
) -> None:
    """Have a worker's process claim a run, and end by kill -9 on its way to the start."""

    def execute() -> None:
        vars(instance)["add_run_tags"] = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        socket.gethostname = lambda: host
        execute_claimed(instance, run_id)

    assert in_fork(execute) == -signal.SIGKILL
    assert instance.run_storage.claims.all()[run_id].host == host  # pyright: ignore[reportAttributeAccessIssue] - of StoredRuns


def failure_of(instance: dg.DagsterInstance, run_id: str) -> str:
    [failure] = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    return failure.message


@pytest.mark.slow_after_first
def test_a_process_of_this_host_that_is_killed_after_its_claim_is_found_at_once(instance):
    lost, running = launched(instance), launched(instance)
    expect_kill_before_start(instance, lost.run_id)
    assert instance.run_storage.claims.take(running.run_id)  # by this process, which is alive
    assert fail_lost_runs(instance) == [lost.run_id]
    assert "which had claimed the run, is gone" in failure_of(instance, lost.run_id)
    assert instance.get_run_by_id(lost.run_id).status == dg.DagsterRunStatus.FAILURE
    assert list(instance.run_storage.claims.all()) == [running.run_id]
    assert instance.get_run_by_id(running.run_id).status == dg.DagsterRunStatus.STARTING
    assert fail_lost_runs(instance) == []
    assert computed() == []


@pytest.mark.slow_after_first
def test_a_process_of_another_host_is_found_by_its_silence(instance):
    run = launched(instance)
    expect_kill_before_start(instance, run.run_id, host="elsewhere")
    assert fail_lost_runs(instance, beat_seconds=300) == []
    if not hasattr(instance.event_log_storage, "heartbeats"):  # a SQLite file is of one host
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTING
        return
    assert fail_lost_runs(instance, beat_seconds=0) == [run.run_id]
    assert "no heartbeat from elsewhere" in failure_of(instance, run.run_id)
    assert keys_of(instance, run.run_id) == []


@pytest.mark.slow_after_first
@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_process_whose_clock_is_wrong_is_judged_by_the_clock_of_the_database(instance, seconds):
    run, waiting = launched(instance), launched(instance)
    right_time = time.time

    def expect_claim_and_execute() -> None:
        socket.gethostname = lambda: "elsewhere"
        time.time = lambda: right_time() + seconds
        assert instance.run_storage.claims.take(waiting.run_id)
        os._exit(0 if execute_claimed(instance, run.run_id) else 1)

    assert in_fork(expect_claim_and_execute) == 0
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.SUCCESS
    assert instance.run_storage.claims.all()[waiting.run_id].age_seconds < 1200
    assert fail_lost_runs(instance, beat_seconds=300) == []
    assert computed() == [run.run_id]


def keys_of(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    with instance.run_storage.connect() as connection:  # pyright: ignore[reportAttributeAccessIssue] - of SQL
        found = connection.execute(
            text("SELECT key FROM kvs WHERE key IN (:claim, :beat)"),
            {"claim": PREFIX + run_id, "beat": RUN_HEARTBEATS + run_id},
        )
        return [key for (key,) in found]


@pytest.mark.slow_after_first
def test_the_claim_of_a_run_that_has_started_is_left_to_run_monitoring(instance, monkeypatch):
    run = launched(instance)
    expect_kill_before_start(instance, run.run_id)
    instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name), run.run_id
    )
    assert fail_lost_runs(instance) == []
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTED


def expect_kill_after_start(
    instance: dg.DagsterInstance, run_id: str, *, host: str = HERE, claims: bool = True
) -> None:
    """Have a process start a run, and end by kill -9; one of a code server claims no run."""

    def execute() -> None:
        socket.gethostname = lambda: host
        if claims:
            instance.run_storage.claims.take(run_id)  # pyright: ignore[reportAttributeAccessIssue] - of StoredRuns
        start = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "job", pid=os.getpid())
        instance.report_dagster_event(start, run_id)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_fork(execute) == -signal.SIGKILL


def statuses(instance: dg.DagsterInstance, *runs: dg.DagsterRun) -> list[str]:
    found = {run.run_id: run.status.value for run in instance.get_runs()}
    return [found[run.run_id] for run in runs]


@pytest.mark.slow_after_first
def test_a_started_run_of_this_host_whose_process_is_killed_fails_at_once(instance):
    lost, waiting, elsewhere = (launched(instance) for _ in range(3))
    expect_kill_after_start(instance, lost.run_id)
    expect_kill_after_start(instance, elsewhere.run_id, host="elsewhere")
    assert instance.run_storage.claims.take(waiting.run_id)  # by this process, which is alive
    assert lost.run_id in fail_runs_of_this_host(instance)
    assert statuses(instance, lost, waiting, elsewhere) == ["FAILURE", "STARTING", "STARTED"]
    assert "which had claimed the run, is gone" in failure_of(instance, lost.run_id)
    assert keys_of(instance, lost.run_id) == []
    assert fail_runs_of_this_host(instance) == []


@pytest.mark.slow
@pytest.mark.parametrize("instance", ["postgresql"], indirect=True)
def test_a_run_of_a_code_server_on_this_host_whose_process_is_killed_fails_at_once(instance):
    lost, elsewhere = launched(instance), launched(instance)
    expect_kill_after_start(instance, lost.run_id, claims=False)
    expect_kill_after_start(instance, elsewhere.run_id, claims=False, host="elsewhere")
    assert lost.run_id in fail_runs_of_this_host(instance)
    assert statuses(instance, lost, elsewhere) == ["FAILURE", "STARTED"]
    assert "is gone" in failure_of(instance, lost.run_id)


@pytest.mark.slow_after_first
def test_a_run_that_was_to_be_canceled_when_its_process_was_killed_is_canceled(instance):
    run = launched(instance)
    expect_kill_after_start(instance, run.run_id)
    instance.report_run_canceling(instance.get_run_by_id(run.run_id))
    assert run.run_id in fail_runs_of_this_host(instance)
    assert statuses(instance, run) == ["CANCELED"]


def test_a_claim_of_an_earlier_release_is_left_to_the_time_that_a_start_may_take(instance):
    run = launched(instance)
    with instance.run_storage.connect() as connection:
        connection.execute(
            text("INSERT INTO kvs (key, value) VALUES (:key, :value)"),
            {"key": PREFIX + run.run_id, "value": "elsewhere 12"},
        )
    assert fail_lost_runs(instance) == []
    assert instance.run_storage.claims.holder(run.run_id) == "elsewhere 12"


@pytest.mark.slow_after_first
def test_a_worker_of_another_release_fails_the_run_by_the_names_of_both(instance):
    run = launched(instance, tags={RELEASE_TAG: "0.0.7 (tables 0001)"})
    assert not execute_claimed(instance, run.run_id)
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE
    message = failure_of(instance, run.run_id)
    for part in ("0.0.7 (tables 0001)", own_release(), HERE, "what to do: install the release"):
        assert part in message
    assert instance.run_storage.claims.holder(run.run_id) is None
    assert computed() == []
    assert auto_reexecution_should_retry_run(
        instance, instance.get_run_by_id(run.run_id), None
    ) == bool(instance.run_retries_enabled)


@pytest.mark.slow_after_first
def test_a_worker_of_the_same_release_executes_the_run(instance):
    run = launched(instance, tags={RELEASE_TAG: own_release()})
    assert execute_claimed(instance, run.run_id)
    assert computed() == [run.run_id]


@pytest.mark.slow_after_first
def test_a_process_of_another_container_with_this_host_name_is_not_looked_up_here(instance):
    run, own = launched(instance), launched(instance)

    def expect_container_and_claim() -> None:
        assert unshare(CLONE_NEWPID) == 0
        os._exit(in_fork(lambda: os._exit(not instance.run_storage.claims.take(run.run_id))))

    assert in_fork(expect_container_and_claim) == 0
    assert instance.run_storage.claims.take(own.run_id)
    claims = instance.run_storage.claims.all()
    assert claims[run.run_id].host.startswith(f"{HERE}/")
    assert not claims[run.run_id].is_of_this_host()
    assert claims[own.run_id].is_of_this_host()
