"""The real job in a real run with storage that lasts, in a process that may be killed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg

from orchestration_project.assets.finra import SPECS
from orchestration_project.cli.execution import execute
from orchestration_project.definitions import defs
from orchestration_project.instance.storage import open_instance
from tests.faults.loads import MAX_REJECT_RATIO, NOW, Job, Process
from tests.faults.points import Points, watch_dagster

ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)


def as_settings(job: Job, dagster_url: str) -> Job:
    """Return the same load, set by the environment; ``dagster_url`` is empty for SQLite."""
    environment = {
        "STATE_DIR": str(job.folder),
        "DATABASE_URL": job.database_url,
        "FINRA_SOURCE": "api",
        "FINRA_API_URL": job.source_url,
        "FINRA_REQUESTS_PER_SECOND": "500",
        "FINRA_MAX_REJECT_RATIO": str(MAX_REJECT_RATIO),
        "DEMO_CLOCK_NOW": NOW.isoformat(),
        "NO_PROXY": "127.0.0.1",
    }
    if dagster_url:
        environment["DAGSTER_DATABASE_URL"] = dagster_url
    return replace(job, environment=environment)


def run_job(job: Job, points: Points) -> Iterator[str]:
    """Run the job over each of the weeks, as the command line does."""
    if not defs.jobs:
        raise RuntimeError("the project has no job")
    watch_dagster(points)
    with open_instance() as instance:
        for key in job.keys:
            result = execute(instance, "finra_otc_weekly", between=(key, key))
            yield "success" if result.success else "failure"


def look_at_runs(_: Job, __: Points) -> Iterator[str]:
    """Yield the health of unfinished runs, what is materialized, and what was announced.

    A new week's load is a notice: its partition is listed as often as it was announced.
    """
    with open_instance() as instance:
        runs = [run for run in instance.get_runs() if run.status not in ENDED]
        launcher = instance.run_launcher
        health = [launcher.check_run_worker_health(run).status.name for run in runs]
        materialized = {
            spec.key.to_user_string(): sorted(instance.get_materialized_partitions(spec.key))
            for spec in SPECS
        }
        announced = [
            record.partition_key
            for run in instance.get_runs()
            for record in instance.get_records_for_run(
                run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
            ).records
            if record.asset_materialization and "notice" in record.asset_materialization.metadata
        ]
        found = {
            "unfinished": health,
            "materialized": materialized,
            "announced": sorted(map(str, announced)),
        }
        yield json.dumps(found)


def runs_of(job: Job) -> Mapping[str, Any]:
    """Return what `look_at_runs` finds."""
    (found,) = Process(look_at_runs, job).wait_and_check_answer()
    return json.loads(found)


def materialized(keys: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return what is materialized where all assets of the job are, for these partitions."""
    return {spec.key.to_user_string(): sorted(keys) for spec in SPECS}
