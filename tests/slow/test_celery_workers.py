"""Workers of Celery that are killed and paused, and their broker: every run ends once."""

import os
import signal
import time
from contextlib import nullcontext

import psutil
import pytest

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.services.gate import examine
from orchestration_project.services.host_samples import read_latest_samples
from orchestration_project.services.hosts import (
    SILENT_AFTER,
    build_host_probes,
    count_host_runs,
    read_hosts,
)
from orchestration_project.settings import load_settings
from tests.programs import wait_for
from tests.rabbitmq import requires_rabbitmq, running_broker
from tests.slow.celery_site import celery_site, signal_all

pytestmark = [pytest.mark.slow, requires_rabbitmq]

DEAD_SECONDS = 120
"""Silence after which a run of another host counts as dead."""


@pytest.fixture(scope="module")
def whole_site(postgres_url, tmp_path_factory):
    folder = tmp_path_factory.mktemp("celery")
    with running_broker(folder) as broker, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATE_DIR", str(folder / "state"))
        patch.setenv("DAGSTER_DATABASE_URL", postgres_url)
        patch.setenv("RUN_LAUNCHER", "celery")
        patch.setenv("BROKER_URL", broker.url)
        with celery_site(folder, broker) as site:
            yield site


@pytest.fixture
def site(whole_site, request):
    with whole_site.run_group(request.node.name) as site:
        yield site


def check_recovery(site, run_id: str, record_property, what: str) -> None:
    """Wait until the retry of a run that was lost succeeds; the run itself stays failed."""
    began = time.monotonic()
    wait_for(lambda: site.status(run_id) == "FAILURE", 400)
    retried = wait_for(lambda: site.retry_of(run_id), 60)
    site.allow()
    wait_for(lambda: site.status(retried) == "SUCCESS", 120)
    seconds = time.monotonic() - began
    record_property("recovery_seconds", round(seconds, 1))
    print(f"{what}: recovered after {seconds:.1f} s")  # noqa: T201 - the measure
    assert site.status(run_id) == "FAILURE"
    assert site.notes("end") == [retried]


def test_a_run_whose_process_is_killed_fails_once_and_is_retried(site, record_property):
    worker = site.start_worker("--processes", "2")
    run = site.launch()
    wait_for(lambda: site.notes("begin") == [run], 120)
    [start] = [e for e in site.instance.all_logs(run) if "Started process for run" in e.message]
    pid = int(start.message.partition("pid: ")[2].partition(")")[0])
    os.kill(pid, signal.SIGKILL)
    check_recovery(site, run, record_property, "process of a run killed")
    assert worker.poll() is None


def test_a_worker_that_is_killed_leaves_its_runs_to_another(site, record_property):
    worker = site.start_worker()
    run = site.launch()
    wait_for(lambda: site.notes("begin") == [run], 120)
    signal_all(worker, signal.SIGKILL)
    site.start_worker()
    check_recovery(site, run, record_property, "worker killed")


def test_a_run_of_another_host_whose_process_is_killed_fails_within_30_s(site, record_property):
    worker = site.start_worker("--processes", "2", host="elsewhere")
    run = site.launch()
    wait_for(lambda: site.notes("begin") == [run], 120)
    [start] = [e for e in site.instance.all_logs(run) if "Started process for run" in e.message]
    os.kill(int(start.message.partition("pid: ")[2].partition(")")[0]), signal.SIGKILL)
    wait_for(lambda: site.status(run) == "FAILURE", 30)
    check_recovery(site, run, record_property, "process of a run of another host killed")
    assert worker.poll() is None


def test_a_worker_of_another_host_that_is_killed_reports_its_runs_once_it_is_restarted(
    site, record_property
):
    worker = site.start_worker(host="restarted")
    run = site.launch()
    wait_for(lambda: site.notes("begin") == [run], 120)
    signal_all(worker, signal.SIGKILL)
    site.start_worker(host="restarted")
    wait_for(lambda: site.status(run) == "FAILURE", 60)
    check_recovery(site, run, record_property, "worker of another host killed and restarted")


def test_a_worker_of_another_host_that_is_paused_loses_its_run_and_does_not_end_it_again(
    site, record_property
):
    paused = site.start_worker(host="paused")
    run = site.launch()
    wait_for(lambda: site.notes("begin") == [run], 120)
    assert site.host_of(run) == "paused"
    signal_all(paused, signal.SIGSTOP)
    site.start_worker(host="other")
    check_recovery(site, run, record_property, "worker paused")
    executing = [child.pid for child in psutil.Process(paused.pid).children()]
    site.forbid()
    signal_all(paused, signal.SIGCONT)
    wait_for(lambda: not any(map(psutil.pid_exists, executing)), 120)
    assert site.status(run) == "FAILURE"
    assert len(site.notes("end")) == 1


def test_runs_wait_while_the_broker_is_away_and_none_is_lost_or_executed_twice(site):
    site.start_worker("--processes", "2")
    before = site.launch()
    wait_for(lambda: site.notes("begin") == [before], 120)
    site.broker.end()
    meanwhile = site.launch()
    wait_for(lambda: "re-submitting the run" in messages(site, meanwhile), 120)
    site.broker.start()
    site.allow()
    wait_for(lambda: site.status(before) == site.status(meanwhile) == "SUCCESS", 240)
    assert sorted(site.notes("begin")) == sorted(site.notes("end")) == sorted([before, meanwhile])


def test_messages_that_wait_survive_a_restart_of_the_broker(site):
    waiting = [site.launch(), site.launch()]
    wait_for(
        lambda: all("forwarded to the broker" in messages(site, place) for place in waiting), 120
    )
    site.broker.end()
    site.broker.start()
    site.allow()
    site.start_worker()
    wait_for(lambda: [site.status(place) for place in waiting] == ["SUCCESS"] * 2, 240)
    assert sorted(site.notes("begin")) == sorted(waiting)


def test_a_terminated_run_ends_as_canceled_without_the_broker(site):
    site.start_worker()
    run = site.launch()
    wait_for(lambda: site.notes("begin") == [run], 120)
    site.broker.end()
    assert site.instance.run_launcher.terminate(run)
    wait_for(lambda: site.status(run) == "CANCELED", 60)
    site.broker.start()
    assert site.notes("end") == []


def test_workers_report_their_hosts_and_one_that_is_killed_is_silent(site):
    stopped = site.start_worker("--name", "worker-1", host="far")
    killed = site.start_worker("--name", "worker-2", host="far")
    with open_warehouse(load_settings()) as warehouse:

        def reported():
            programs = read_hosts(warehouse, Clock().now())
            return {program.role: program for program in programs if program.host == "far"}

        wait_for(lambda: len(reported()) == 2, 120)
        rows = wait_for(
            lambda: [
                row for row in read_latest_samples(warehouse, Clock().now()) if row.host == "far"
            ],
            60,
        )
        assert {row.role for row in rows} <= {"worker-1", "worker-2"}
        assert all(row.disk_share > 0 and row.process_memory_bytes > 0 for row in rows)
        run = site.launch()
        wait_for(lambda: site.notes("begin") == [run], 120)
        assert count_host_runs(site.instance)["far"] == 1
        stopped.send_signal(signal.SIGTERM)
        wait_for(lambda: reported()["worker-1"].stopped_at, 60)
        signal_all(killed, signal.SIGKILL)
        later = Clock(Clock().now() + 2 * SILENT_AFTER)
        probe = build_host_probes(lambda: nullcontext(warehouse), later)["far"]
        found = examine(probe, later, "").finding
        assert found.outcome == "failed"
        assert "worker-2: last heartbeat" in found.got
        assert "worker-1" not in found.got


def messages(site, run_id: str) -> str:
    return "\n".join(log.message for log in site.instance.all_logs(run_id))
