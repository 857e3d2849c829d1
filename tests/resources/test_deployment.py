"""Heartbeats of hosts, the one daemon, and the age of backups: what operators see of them."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import datetime, timedelta
from functools import partial

import dagster as dg
import psutil
import pytest
from dagster._core.remote_origin import RemoteJobOrigin
from sqlalchemy import insert

from orchestration_project.assets.operations.deployment import check_releases, describe_deployment
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.daemon import (
    LEASE_SECONDS,
    holder_name,
    is_gone,
    take_daemon_lease,
)
from orchestration_project.instance.stored import repository_origin
from orchestration_project.services.backup_state import build_age_probe, restore_probe
from orchestration_project.services.gate import examine
from orchestration_project.services.hosts import (
    HostReport,
    build_host_probes,
    build_worker_role,
    count_host_runs,
    list_releases,
    read_hosts,
    record_heartbeat,
)
from orchestration_project.services.metrics.deployment import measure_programs
from orchestration_project.services.queues import read_queues
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_deployment import operations_backups
from tests.resources.weeks import NOON

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def heartbeat(host: str, role: str, at: datetime, **changes: object) -> dict[str, object]:
    usual = {
        "host": host,
        "role": role,
        "release": "1.0.0",
        "tables_version": "0045",
        "started_at": NOON,
        "last_seen_at": at,
        "stopped_at": None,
        "cores": 2,
        "memory_bytes": 4 * 2**30,
        "disk_bytes": 100,
        "disk_free_bytes": 3 * 2**30,
    }
    return usual | changes


def backup(backup_id: str, started_at: datetime, verified_at: datetime | None = None):
    return {
        "backup_id": backup_id,
        "location": "file:///backups",
        "started_at": started_at,
        "ended_at": started_at,
        "release": "1.0.0",
        "database_bytes": 1,
        "blob_count": 1,
        "blob_bytes": 1,
        "missing_count": 0,
        "manifest_sha256": "0" * 64,
        "verified_at": verified_at,
    }


def run_of(
    run_id: str, status: dg.DagsterRunStatus, tags: Mapping[str, str] | None = None
) -> dg.DagsterRun:
    origin = RemoteJobOrigin(repository_origin(), "load")
    return dg.DagsterRun(
        "load", run_id=run_id, status=status, tags=dict(tags or {}), remote_job_origin=origin
    )


def outcome(probe, clock) -> tuple[str, str]:
    finding = examine(probe, clock, "").finding
    return finding.outcome, finding.got


def test_a_program_that_did_not_stop_and_sends_no_heartbeat_is_silent(warehouse, clock):
    for at in (NOON, NOON + MINUTE):  # the later one replaces the earlier one
        record_heartbeat(warehouse, heartbeat("one", "gateway", at))
    record_heartbeat(warehouse, heartbeat("one", "daemon", NOON, stopped_at=NOON))
    record_heartbeat(warehouse, heartbeat("removed", "daemon", NOON - 8 * DAY))

    def probes():
        return build_host_probes(lambda: nullcontext(warehouse), clock)

    clock.at = NOON + 3 * MINUTE
    assert outcome(probes()["one"], clock)[0] == "passed"
    clock.at = NOON + 4 * MINUTE
    state, found = outcome(probes()["one"], clock)
    assert state == "failed"
    assert "the host one is silent" in found
    assert "gateway: last heartbeat 2026-01-05 12:01 UTC" in found
    assert "daemon" not in found
    assert outcome(probes()["removed"], clock)[0] == "passed"


def test_a_silent_daemon_does_not_make_its_host_silent(warehouse, clock):
    def probe():
        return build_host_probes(lambda: nullcontext(warehouse), clock)["one"]

    record_heartbeat(warehouse, heartbeat("one", "gateway", NOON + 4 * MINUTE))
    record_heartbeat(warehouse, heartbeat("one", "daemon", NOON))
    clock.at = NOON + 5 * MINUTE
    assert outcome(probe(), clock)[0] == "passed"  # "Dagster's daemon does not run" is the alert
    record_heartbeat(warehouse, heartbeat("one", "code_server", NOON))
    state, found = outcome(probe(), clock)
    assert state == "failed"
    assert "code_server: last heartbeat" in found
    assert "daemon" not in found
    clock.at = NOON + 10 * MINUTE
    state, found = outcome(probe(), clock)  # nothing on it sends heartbeats
    assert "daemon: last heartbeat" in found


def test_a_silent_worker_is_a_silent_host_and_a_silent_run_of_a_pod_is_none(warehouse, clock):
    for role in ("worker", "worker-2", "run"):
        record_heartbeat(warehouse, heartbeat("node", role, NOON))
    record_heartbeat(warehouse, heartbeat("pods", "run", NOON))
    clock.at = NOON + 3 * MINUTE
    record_heartbeat(warehouse, heartbeat("node", "worker", clock.at))
    probes = build_host_probes(lambda: nullcontext(warehouse), clock)
    assert sorted(probes) == ["", "node"]
    state, found = outcome(probes["node"], clock)
    assert state == "failed"
    assert "worker-2: last heartbeat" in found
    assert "run:" not in found
    [silence] = [
        family
        for family in measure_programs(warehouse, clock.at)
        if family.name == "orchestration_program_silence_seconds"
    ]
    assert {sample.labels["role"]: sample.value for sample in silence.samples} == {
        "worker": 0,
        "worker-2": 180,
    }


@pytest.mark.parametrize(
    ("name", "role"), [("worker", "worker"), ("worker-2", "worker-2"), ("daemon", "worker-daemon")]
)
def test_workers_of_a_host_differ_by_their_names(name, role):
    assert build_worker_role(name) == role


def test_two_releases_at_once_are_reported(warehouse, instance):
    record_heartbeat(warehouse, heartbeat("one", "gateway", NOON))
    assert describe_deployment(warehouse, instance, NOON)["releases"] == "1.0.0 (tables 0045)"
    record_heartbeat(warehouse, heartbeat("two", "gateway", NOON, release="1.1.0"))
    record_heartbeat(warehouse, heartbeat("three", "bridge", NOON - DAY, release="0.9.0"))
    found = describe_deployment(warehouse, instance, NOON)
    assert found["releases"] == (
        "2 releases run at once, finish the upgrade: 1.0.0 (tables 0045), 1.1.0 (tables 0045)"
    )
    assert check_releases(warehouse, NOON).passed  # an upgrade may take 15 minutes
    late = check_releases(warehouse, NOON + 16 * MINUTE)
    assert late.passed  # nothing runs: both are silent by then
    for host, release in (("one", "1.0.0"), ("two", "1.1.0")):
        at = NOON + 16 * MINUTE
        record_heartbeat(warehouse, heartbeat(host, "gateway", at, release=release))
    late = check_releases(warehouse, NOON + 16 * MINUTE)
    assert not late.passed
    assert late.metadata["found"].value == "1.0.0 (tables 0045), 1.1.0 (tables 0045)"
    shown = [record.data for record in found["hosts"].records]
    assert [(each["host"], each["state"]) for each in shown] == [
        ("one", "running"),
        ("three", "silent"),
        ("two", "running"),
    ]
    assert (shown[0]["memory_gib"], shown[0]["disk_free_gib"]) == (4.0, 3.0)


def test_runs_in_progress_are_counted_by_host(kept_instance):
    for run_id in "abc":
        kept_instance.add_run(
            dg.DagsterRun("load", run_id=run_id, status=dg.DagsterRunStatus.STARTED)
        )
    kept_instance.daemon_cursor_storage.set_cursor_values(
        {f"orchestration_project/alive/{run_id}": f"far.example {1.5}" for run_id in "ab"}
    )
    counted = count_host_runs(kept_instance)
    assert (counted["far.example"], sum(counted.values())) == (2, 3)


def test_queues_show_what_waits_and_runs_by_priority(kept_instance):
    def add(run_id: str, status: dg.DagsterRunStatus, **tags: str) -> None:
        given = {name.replace("__", "/"): value for name, value in tags.items()}
        kept_instance.add_run(run_of(run_id, status, given))

    queued, started = dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED
    add("a", queued, domain="finra", dagster__priority="5")
    add("b", queued, domain="finra", dagster__priority="none")
    add("c", started, domain="finra")
    add("d", dg.DagsterRunStatus.CANCELING)
    add("e", dg.DagsterRunStatus.SUCCESS, domain="finra")
    add("f", queued, domain="Not a queue")
    found = read_queues(kept_instance)
    assert [sample[:4] for sample in found] == [
        ("dagster", 0, 1, 1),
        ("finra", 5, 1, 0),
        ("finra", 0, 1, 1),
    ]
    assert [sample.oldest_at is not None for sample in found] == [True, True, True]


def test_runs_beyond_those_that_are_read_are_counted(kept_instance):
    for run_id in "abcde":
        kept_instance.add_run(run_of(run_id, dg.DagsterRunStatus.QUEUED))
    assert [queue[:4] for queue in read_queues(kept_instance, max_runs=2)] == [
        ("dagster", 0, 2, 0),
        ("other", None, 3, 0),
    ]


@pytest.mark.slow
def test_a_program_reports_itself_from_its_start_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        report = HostReport(settings, "gateway")
        report.start()
        report.stop()
        [program] = read_hosts(warehouse, Clock().now())
        assert (program.role, program.cores) == ("gateway", os.cpu_count())
        assert program.stopped_at is not None
        assert list_releases([program], Clock().now()) == []


def test_an_old_backup_is_reported_only_where_one_was_made_or_is_required(warehouse, clock):
    probe = partial(build_age_probe, lambda: nullcontext(warehouse), clock)
    assert outcome(probe(None), clock) == ("not_applicable", "no backup was made")
    state, found = outcome(probe(12), clock)
    assert (state, "no backup" in found) == ("failed", True)
    with warehouse.writing() as connection:
        connection.execute(insert(operations_backups), [backup("a", NOON)])
    clock.at = NOON + DAY
    assert outcome(probe(None), clock)[0] == "passed"
    clock.at += MINUTE
    assert "the latest of 2026-01-05 12:00 UTC" in outcome(probe(None), clock)[1]
    assert outcome(probe(48), clock)[0] == "passed"


def test_a_restore_that_was_never_tried_is_reported_a_week_after_the_first_backup(warehouse, clock):
    probe = restore_probe(lambda: nullcontext(warehouse), clock)
    with warehouse.writing() as connection:
        connection.execute(insert(operations_backups), [backup("a", NOON)])
    clock.at = NOON + 7 * DAY
    assert outcome(probe, clock)[0] == "passed"
    clock.at += MINUTE
    assert outcome(probe, clock)[0] == "failed"
    with warehouse.writing() as connection:
        connection.execute(insert(operations_backups), [backup("b", NOON, clock.at)])
    assert outcome(probe, clock)[0] == "passed"


def test_a_second_daemon_is_refused_until_the_lease_of_the_first_ends(warehouse):
    first = take_daemon_lease(warehouse, "far.example 7 1700000000", NOON)
    later = NOON + timedelta(seconds=LEASE_SECONDS - 1)
    with pytest.raises(ConfigurationError) as refused:
        take_daemon_lease(warehouse, holder_name(), later)
    assert "another daemon of this installation runs" in str(refused.value)
    assert "process 7 on far.example" in refused.value.found
    second = take_daemon_lease(warehouse, holder_name(), NOON + timedelta(seconds=LEASE_SECONDS))
    assert second.token == first.token + 1


def test_the_lease_of_a_killed_daemon_of_this_host_is_over_at_once(warehouse):
    host, _, _ = holder_name().partition(" ")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    killed = f"{host} {child.pid} {psutil.Process(child.pid).create_time():.0f}"
    assert not is_gone(killed)
    take_daemon_lease(warehouse, killed, NOON)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    take_daemon_lease(warehouse, holder_name(), NOON)
    assert is_gone(f"{host} {os.getpid()} 1000000000")  # another process got its number
