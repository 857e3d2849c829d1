"""One of several runs that clean up or prune at the same time does it, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from orchestration_project.assets.operations import catalogue, clean_up_job
from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.contracts.job_kinds import DELETE_ARTIFACTS, PRUNE_RUN_LOGS
from orchestration_project.engine.leases import acquire_for_run, is_at_work
from orchestration_project.errors import TransientError
from orchestration_project.settings import settings_class
from tests.runs import run_kind, set_worker_health

WORK, OTHER = dg.AssetKey(["operations", "run_logs"]), dg.AssetKey(["operations", "removals"])


@dg.op
def rest():
    pass


@dg.job
def idle():
    rest()


@pytest.fixture
def begun(instance):
    """Begin a run, and give its id."""

    def begin() -> str:
        return instance.create_run_for_job(idle, status=dg.DagsterRunStatus.STARTED).run_id

    return begin


def test_work_is_claimed_until_the_run_that_does_it_has_ended(warehouse, instance, begun):
    first, second = begun(), begun()
    acquire_for_run(warehouse, instance, WORK, run_id=first)
    acquire_for_run(warehouse, instance, WORK, run_id=first)  # another attempt of its step
    acquire_for_run(warehouse, instance, OTHER, run_id=second)
    with pytest.raises(TransientError, match=f"(?s)operations/run_logs.*the run {first} has not"):
        acquire_for_run(warehouse, instance, WORK, run_id=second)
    instance.report_run_failed(instance.get_run_by_id(first), "its process is gone")
    acquire_for_run(warehouse, instance, WORK, run_id=second)
    instance.delete_run(second)
    acquire_for_run(warehouse, instance, WORK, run_id=begun())


@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_work_of_a_killed_run_is_claimed_by_the_next(warehouse, instance, begun, monkeypatch):
    killed, second = begun(), begun()
    acquire_for_run(warehouse, instance, WORK, run_id=killed)
    set_worker_health(monkeypatch, instance, WorkerStatus.RUNNING)
    with pytest.raises(TransientError, match=killed):
        acquire_for_run(warehouse, instance, WORK, run_id=second)
    set_worker_health(monkeypatch, instance, WorkerStatus.FAILED)
    acquire_for_run(warehouse, instance, WORK, run_id=second)


def test_of_runs_that_claim_at_once_one_does_the_work(warehouse, instance, begun):
    earlier, *runs = (begun() for _ in range(5))
    acquire_for_run(warehouse, instance, WORK, run_id=earlier)
    instance.report_run_canceled(instance.get_run_by_id(earlier))

    together = Barrier(4)

    def claimed(run_id: str) -> bool:
        with warehouse.reading():  # a connection of its own
            together.wait()
        try:
            acquire_for_run(warehouse, instance, WORK, run_id=run_id)
        except TransientError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(claimed, runs)) == [False, False, False, True]


@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("kind", "lease"),
    [(DELETE_ARTIFACTS, catalogue.REMOVALS), (PRUNE_RUN_LOGS, catalogue.RUN_LOGS)],
)
def test_a_clean_up_or_prune_deletes_nothing_while_another_runs_and_may_still_measure(
    partition_loader, clock, instance, begun, kind, lease
):
    other = begun()
    acquire_for_run(partition_loader.warehouse, instance, lease, run_id=other)

    def run(*, dry_run: bool) -> bool:
        return run_kind(
            clean_up_job,
            kind,
            {
                "artifacts": FolderStore(partition_loader.folder),
                "clock": clock,
                "registry": REGISTRY,
                "settings": settings_class()(),  # pyright: ignore[reportCallIssue] - pydantic fills the fields
                "warehouse": partition_loader.warehouse,
            },
            instance,
            dry_run=dry_run,
        ).success

    with pytest.raises(TransientError, match=other):
        run(dry_run=False)
    if kind is DELETE_ARTIFACTS:  # run logs of an instance in memory cannot be measured
        assert run(dry_run=True)


def test_a_run_is_at_work_until_it_has_ended_or_its_process_is_gone(instance, begun, monkeypatch):
    run = begun()
    assert is_at_work(instance, run)
    for health, answer in ((WorkerStatus.RUNNING, True), (WorkerStatus.FAILED, False)):
        set_worker_health(monkeypatch, instance, health)
        assert is_at_work(instance, run) is answer
    assert not is_at_work(instance, "unknown")
