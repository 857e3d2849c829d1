"""Runs in the queue while a pause holds them, whatever launched them, and after it."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.run_coordinator import SubmitRunContext

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.pauses import Pause
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.instance.daemon import ALIVE, MAX_IDLE_SECONDS, PausableQueue
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.pauses import Pauses, find_paused_runs
from orchestration_project.settings import PROJECT_ROOT, load_settings
from tests.instance.test_run_claims import launched

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
WAYS = {
    "schedule": {"dagster/schedule_name": "finra_daily"},
    "sensor": {"dagster/sensor_name": "finra_on_landing"},
    "backfill": {"dagster/backfill": "b"},
    "retry": {"dagster/retry_number": "1"},
    "launched before the pause": {},
}


@pytest.fixture
def warehouse(demo_settings) -> Iterator[Warehouse]:
    with open_warehouse(demo_settings) as opened:
        yield opened


@pytest.fixture
def instance(demo_settings, new_files: Path) -> Iterator[dg.DagsterInstance]:
    shutil.copytree(new_files, demo_settings.state_path / "dagster")
    with open_instance() as opened:
        yield opened


def at(warehouse: Warehouse, now: datetime = NINE) -> Pauses:
    return Pauses(warehouse, Clock(now))


def submit(instance: dg.DagsterInstance, domain: str, **tags: str) -> str:
    nowhere: Any = None  # no launch requests a workspace
    run = launched(instance, dg.DagsterRunStatus.NOT_STARTED, {"domain": domain, **tags})
    return instance.run_coordinator.submit_run(SubmitRunContext(run, nowhere)).run_id


def started(instance: dg.DagsterInstance, queue: PausableQueue) -> set[str]:
    """Return the runs that an iteration would launch."""
    queue.read_instance(instance)
    limits = instance.get_concurrency_config()
    runs = queue._get_runs_to_dequeue(instance, limits, fixed_iteration_time=None)
    return {run.run_id for run in runs}


def queue_at(warehouse: Warehouse, now: datetime = NINE) -> PausableQueue:
    return PausableQueue(1, pauses=at(warehouse, now))


def messages(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    return [str(entry.get_dagster_event().message) for entry in entries]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("way", WAYS)
def test_a_paused_run_waits_with_the_reason_and_starts_once_resumed(
    warehouse: Warehouse, instance: dg.DagsterInstance, way: str
):
    run_id = submit(instance, "finra", **WAYS[way])
    at(warehouse).pause(REGISTRY, "finra", "the database moves", by="ada")
    queue = queue_at(warehouse)
    assert [started(instance, queue) for _ in range(2)] == [set(), set()]
    assert messages(instance, run_id) == [
        "The run waits in the queue: finra is paused by ada: the database moves"
    ]
    at(warehouse).resume("finra", by="bob")
    assert started(instance, queue) == {run_id}


def test_paused_runs_take_no_slot_of_the_others(warehouse: Warehouse, instance):
    for _ in range(3):  # MAX_CONCURRENT_RUNS is 2
        submit(instance, "finra")
    at(warehouse).pause(REGISTRY, "finra", "move", by="ada")
    other = submit(instance, "fx")
    assert started(instance, queue_at(warehouse)) == {other}


def test_a_pause_survives_a_restart_and_ends_by_itself(warehouse: Warehouse, instance):
    run_id = submit(instance, "finra")
    end = NINE + timedelta(hours=1)
    at(warehouse).pause(REGISTRY, "all", "move", by="ada", until=end)
    with open_warehouse(load_settings()) as reopened:
        assert started(instance, queue_at(reopened, end - timedelta(seconds=10))) == set()
        assert started(instance, queue_at(reopened, end)) == {run_id}


def test_the_latest_pause_of_a_subject_replaces_the_earlier_one(warehouse: Warehouse):
    at(warehouse).pause(REGISTRY, "finra", "move", by="ada")
    later = at(warehouse, NINE + timedelta(minutes=5))
    later.pause(REGISTRY, "finra", "longer move", by="bob", until=NINE + timedelta(hours=9))
    [pause] = later.list_in_effect()
    assert (pause.reason, pause.paused_by) == ("longer move", "bob")


def test_an_empty_queue_is_read_less_often_until_a_run_is_queued(warehouse: Warehouse, instance):
    context: Any = SimpleNamespace(instance=instance)
    queue = queue_at(warehouse)
    assert list(queue.run_iteration(context)) == []
    assert queue.interval_seconds == MAX_IDLE_SECONDS
    at(warehouse).pause(REGISTRY, "finra", "move", by="ada")
    submit(instance, "finra")
    list(queue.run_iteration(context))
    assert queue.interval_seconds == 1


def test_a_part_of_the_daemon_sleeps_for_its_whole_interval_and_ends_at_once(
    warehouse: Warehouse, instance
):
    context: Any = SimpleNamespace(instance=instance)
    end = Event()
    loop = queue_at(warehouse).core_loop(context, end)
    began = time.monotonic()
    for _ in range(3):  # begin and end of an iteration, and the wait after it
        next(loop)
    assert time.monotonic() - began >= MAX_IDLE_SECONDS
    end.set()
    next(loop)
    began = time.monotonic()
    for _ in range(3):
        next(loop)
    assert time.monotonic() - began < MAX_IDLE_SECONDS


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("subject", "held"),
    [
        ("finra", {"finra"}),
        ("all", {"finra", "fx"}),
        ("counted", {"finra", "fx"}),
        ("prices", set()),
    ],
)
def test_queued_runs_that_a_pause_of_a_domain_or_asset_holds_are_found(
    instance, subject: str, held: set[str]
):
    runs = {submit(instance, domain): domain for domain in ("finra", "fx")}
    pause = Pause(subject, "move", "ada", NINE)
    assert {runs[run_id] for run_id in find_paused_runs([pause], instance)} == held
    assert find_paused_runs([], instance) == frozenset()


def is_alive(state: Path) -> bool:
    """Return what the probe of containers says."""
    probe = ["/bin/sh", str(PROJECT_ROOT / "deploy" / "daemon_alive.sh")]
    return subprocess.run(probe, env={"STATE_DIR": str(state)}, check=False).returncode == 0  # noqa: S603 - ours


def test_each_iteration_sends_a_heartbeat_to_the_container_probe(
    instance, warehouse, demo_settings
):
    file = demo_settings.state_path / ALIVE

    class Watched(PausableQueue):
        alive_file = file

    workspace: Any = SimpleNamespace(instance=instance)
    assert not is_alive(demo_settings.state_path)
    list(Watched(1, pauses=at(warehouse)).run_iteration(workspace))
    assert is_alive(demo_settings.state_path)
    four_minutes_ago = time.time() - 240
    os.utime(file, (four_minutes_ago, four_minutes_ago))
    assert not is_alive(demo_settings.state_path)
