"""Sensors and schedules that say what they do, and wait while their job is under way."""

from collections.abc import Callable
from typing import Any

import dagster as dg


def sensor(**options: Any) -> Callable[[Callable[..., Any]], dg.SensorDefinition]:
    """Do what `dg.sensor` does, whose ``options`` these are."""
    return lambda decide: dg.sensor(**options, description=_said_of(decide))(decide)


def schedule(**options: Any) -> Callable[[Callable[..., Any]], dg.ScheduleDefinition]:
    """Do what `dg.schedule` does, whose ``options`` these are."""
    return lambda decide: dg.schedule(**options, description=_said_of(decide))(decide)


def _said_of(decide: Callable[..., Any]) -> str:
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
