"""Runs that wait for a slow source, launched by Celery; `measures/workers.py` counts workers."""

import time
import urllib.request

import dagster as dg
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.remote_origin import RemoteJobOrigin

from orchestration_project.engine.dagster_private import load_repository
from orchestration_project.instance.redacting import repository_origin
from orchestration_project.instance.storage import open_instance
from orchestration_project.settings import PROJECT_ROOT

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
POLL_SECONDS = 0.1
LONGEST_SECONDS = 1200


@dg.asset
def asked(context: dg.AssetExecutionContext) -> None:
    """Ask the source one time after the other, as its tags say."""
    tags = context.run.tags
    for _ in range(int(tags["requests"])):
        urllib.request.urlopen(tags["source"]).close()  # noqa: S310 - our own server


defs = dg.Definitions(assets=[asked], executor=dg.in_process_executor)


def launched(source: str, run_count: int, requests: int) -> dict[str, float]:
    """Launch runs at once and wait for all of them.

    Args:
        source: URL that is asked.
        run_count: How many runs.
        requests: How often each run asks.

    Returns:
        Seconds from the first launch to the last end, and how many runs succeeded.
    """
    repository = load_repository(__name__, "defs", PROJECT_ROOT)
    job = repository.get_reconstructable_job("__ASSET_JOB")
    with open_instance() as instance:
        runs = [
            instance.create_run_for_job(
                job.get_definition(),
                job_code_origin=job.get_python_origin(),
                remote_job_origin=RemoteJobOrigin(repository_origin(), "__ASSET_JOB"),
                status=dg.DagsterRunStatus.STARTING,
                tags={"source": source, "requests": str(requests)},
            )
            for _ in range(run_count)
        ]
        begun = time.perf_counter()
        for run in runs:
            instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
        ended = dg.RunsFilter(run_ids=[run.run_id for run in runs], statuses=FINISHED)
        while instance.get_runs_count(ended) < run_count:
            if time.perf_counter() - begun > LONGEST_SECONDS:
                raise RuntimeError(f"{instance.get_runs_count(ended)} of {run_count} runs ended")
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - begun
        succeeded = sum(run.status == FINISHED[0] for run in instance.get_runs(ended))
    return {"seconds": seconds, "succeeded": succeeded}
