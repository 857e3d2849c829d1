"""Shared part of all sensors and schedules: description, and runs in progress."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import dagster as dg

from orchestration_project.engine.loads import partition_keys
from orchestration_project.errors import ConfigurationError


def sensor(**options: Any) -> Callable[[Callable[..., Any]], dg.SensorDefinition]:
    """Do what `dg.sensor` does, whose ``options`` these are."""
    return lambda decide: dg.sensor(**options, description=_first_doc_line(decide))(decide)


def schedule(**options: Any) -> Callable[[Callable[..., Any]], dg.ScheduleDefinition]:
    """Do what `dg.schedule` does, whose ``options`` these are."""
    return lambda decide: dg.schedule(**options, description=_first_doc_line(decide))(decide)


def _first_doc_line(decide: Callable[..., Any]) -> str:
    return str(decide.__doc__).partition("\n")[0]


UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def while_under_way(instance: dg.DagsterInstance, job: str) -> dg.SkipReason | None:
    """Return what a tick says while a run of the job is under way; None: none is."""
    running = instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNDER_WAY), limit=1)
    return dg.SkipReason(f"The run {running[0].run_id} of {job} is under way.") if running else None


RUN_KEY = "dagster/run_key"
ONCE_A_DAY = "a run that brings nothing is asked for again the day after."


def keys_under_way(
    instance: dg.DagsterInstance,
    job: str,
    asset: dg.AssetKey,
    definition: dg.PartitionsDefinition | None,
) -> frozenset[str]:
    """Return the partitions that a run of the job, or of a backfill of the asset, loads or will."""
    runs = [
        run
        for run in instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))
        if run.job_name == job or asset in (run.asset_selection or ())
    ]
    keys: set[str] = set()
    for run in runs:
        with suppress(ConfigurationError):  # such a run fails before it loads anything
            keys.update(partition_keys(run.tags, definition))
    return frozenset(keys)


def not_yet_asked(
    instance: dg.DagsterInstance, requests: Iterable[dg.RunRequest]
) -> Sequence[dg.RunRequest]:
    """Return the requests whose run key no run has: for the others Dagster starts none."""
    return [
        request
        for request in requests
        if not instance.get_runs(dg.RunsFilter(tags={RUN_KEY: str(request.run_key)}), limit=1)
    ]
