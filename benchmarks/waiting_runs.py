"""Runs that wait for a slow source, launched by Celery; `measures/workers.py` counts workers."""

import time
import urllib.request
from collections.abc import Sequence
from statistics import median

import dagster as dg
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.remote_origin import RemoteJobOrigin
from dagster._grpc.client import DagsterGrpcClient

from orchestration_project.engine.dagster_private.definitions import load_repository
from orchestration_project.instance.storage import open_instance
from orchestration_project.instance.stored import repository_origin
from orchestration_project.settings import PROJECT_ROOT

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
POLL_SECONDS = 0.1
MAX_SECONDS = 1200


@dg.asset
def requested(context: dg.AssetExecutionContext) -> None:
    """Ask the source one time after the other, as its tags say."""
    tags = context.run.tags
    for _ in range(int(tags["requests"])):
        urllib.request.urlopen(tags["source"]).close()  # noqa: S310 - our own server


defs = dg.Definitions(assets=[requested], executor=dg.in_process_executor)


def launched(source: str, run_count: int, requests: int) -> dict[str, float]:
    """Launch runs at once and wait for all of them.

    Args:
        source: URL that is asked.
        run_count: How many runs.
        requests: How often each run asks.

    Returns:
        Seconds from the first launch to the last end, and how many runs succeeded.
    """
    with open_instance() as instance:
        runs = [_starting(instance, source, requests) for _ in range(run_count)]
        begun = time.perf_counter()
        for run in runs:
            instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
        succeeded = _await_ends(instance, runs)
        seconds = time.perf_counter() - begun
    return {"seconds": seconds, "succeeded": succeeded}


def started(run_count: int, code_server_port: int | None) -> dict[str, float]:
    """Launch runs one after the other.

    Args:
        run_count: How many runs; the first is not counted.
        code_server_port: Port of the code server that executes them; None: the launcher of the
            settings does.

    Returns:
        The median of the seconds from a launch to the start of its run.
    """
    taken = []
    with open_instance() as instance:
        for _ in range(run_count + 1):
            run = _starting(instance, "", 0)
            begun = time.time()
            if code_server_port is None:
                instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
            else:
                server = DagsterGrpcClient(port=code_server_port, host="127.0.0.1")
                dg.DefaultRunLauncher.launch_run_from_grpc_client(instance, run, server)
            _await_ends(instance, [run])
            [start] = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_START)
            taken.append(start.timestamp - begun)
    return {"seconds": median(taken[1:])}


def _starting(instance: dg.DagsterInstance, source: str, requests: int) -> dg.DagsterRun:
    repository = load_repository("benchmarks.waiting_runs", "defs", PROJECT_ROOT)
    job = repository.get_reconstructable_job("__ASSET_JOB")
    return instance.create_run_for_job(
        job.get_definition(),
        job_code_origin=job.get_python_origin(),
        remote_job_origin=RemoteJobOrigin(repository_origin(), "__ASSET_JOB"),
        status=dg.DagsterRunStatus.STARTING,
        tags={"source": source, "requests": str(requests)},
    )


def _await_ends(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun]) -> int:
    """Return how many of the runs succeeded, when all have ended."""
    ended = dg.RunsFilter(run_ids=[run.run_id for run in runs], statuses=FINISHED)
    begun = time.perf_counter()
    while instance.get_runs_count(ended) < len(runs):
        if time.perf_counter() - begun > MAX_SECONDS:
            raise RuntimeError(f"{instance.get_runs_count(ended)} of {len(runs)} runs ended")
        time.sleep(POLL_SECONDS)
    return sum(run.status == FINISHED[0] for run in instance.get_runs(ended))
