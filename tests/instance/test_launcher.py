"""Whether a run's process is alive, asked of real processes."""

import os
import pwd
import time

import dagster as dg
import psutil
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from orchestration_project.instance.launcher import (
    EARLIER_MACHINE_TAG,
    MACHINE_TAG,
    is_alive,
    is_on_this_machine,
    own_run_tags,
)
from orchestration_project.instance.storage import open_instance
from tests import programs

EXECUTE = ("dagster", "job", "execute", "-f", "tests/instance/sleeper.py", "-j", "__ASSET_JOB")


@pytest.mark.slow
def test_a_run_is_healthy_until_its_process_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("DAGSTER_DATABASE_URL", raising=False)
    with open_instance() as instance:
        process = programs.start(tmp_path / "state", *EXECUTE)
        started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
        [run] = programs.wait_for(lambda: instance.get_runs(started))
        assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
        process.kill()
        process.wait()
        for left in programs.processes_of(tmp_path / "state"):  # Dagster's tail of its output
            left.kill()
        process.communicate()
        health = instance.run_launcher.check_run_worker_health(run)
        assert (health.status, health.msg) == (
            WorkerStatus.FAILED,
            f"process {process.pid} is gone",
        )


def test_a_process_that_was_made_after_the_run_started_is_another_one():
    made = psutil.Process().create_time()
    assert is_alive(os.getpid(), since=time.time())
    assert not is_alive(os.getpid(), since=made - 1)


def test_a_clock_that_is_set_forward_makes_no_process_another_one(monkeypatch):
    started = time.time()
    process = psutil.Popen(programs.HANGING)
    since = process.create_time() + 1
    assert is_alive(process.pid, since=since)
    boot = psutil.boot_time()
    monkeypatch.setattr(
        psutil._pslinux, "boot_time", lambda: boot + 3600
    )  # as the kernel reports it
    assert psutil.Process(process.pid).create_time() > started + 1800
    assert is_alive(process.pid, since=since)
    process.kill()
    process.wait()
    assert not is_alive(process.pid, since=since)


@pytest.mark.parametrize(
    ("tags", "is_here"),
    [
        (own_run_tags(), True),
        ({MACHINE_TAG: "elsewhere"}, False),
        ({EARLIER_MACHINE_TAG: "elsewhere"}, False),
        ({GRPC_INFO_TAG: '{"host": "localhost", "socket": "/tmp/s"}'}, True),
        ({GRPC_INFO_TAG: '{"host": "127.0.0.1", "port": 4000}'}, True),
        ({GRPC_INFO_TAG: '{"host": "code", "port": 4000}'}, False),
        ({}, False),
    ],
)
def test_with_a_shared_storage_only_runs_known_to_be_here_are_looked_up(tags, is_here, monkeypatch):
    monkeypatch.setenv("DAGSTER_DATABASE_URL", "postgresql://db/dagster")
    assert is_on_this_machine(tags) == is_here


def test_with_a_storage_file_a_run_without_an_address_is_here(monkeypatch):
    monkeypatch.delenv("DAGSTER_DATABASE_URL", raising=False)
    assert is_on_this_machine({})


def test_a_run_of_a_command_names_the_account_that_started_it():
    assert own_run_tags()["user"] == pwd.getpwuid(os.getuid()).pw_name
