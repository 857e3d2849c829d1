"""Stores in Dagster's instance what only its daemon stores: ticks, queued runs, heartbeats."""

import time
from datetime import datetime

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from orchestration_project.engine.dagster_private.automation import (
    iterate_running_states,
    switch_automation,
)


def add_tick(
    instance: dg.DagsterInstance,
    definition: dg.SensorDefinition,
    origin: RemoteRepositoryOrigin,
    *,
    error: str | None = None,
) -> None:
    """Store a tick of a sensor, which is switched on: skipped, or with ``error`` failed."""
    switch_automation(instance, definition, origin, on=True)
    [state] = [
        state
        for state in iterate_running_states(instance)
        if state.instigator_name == definition.name
    ]
    instance.create_tick(
        TickData(
            state.instigator_origin_id,
            state.instigator_name,
            InstigatorType.SENSOR,
            TickStatus.FAILURE if error else TickStatus.SKIPPED,
            time.time(),
            selector_id=state.selector_id,
            error=SerializableErrorInfo(error, [], None) if error else None,
        )
    )


def add_queued_run(
    instance: dg.DagsterInstance, job: str, origin: RemoteRepositoryOrigin, at: datetime
) -> str:
    """Store a run that has been in the queue since ``at``; return its id."""
    place = RemoteJobOrigin(origin, job)
    run = dg.DagsterRun(job, status=dg.DagsterRunStatus.QUEUED, remote_job_origin=place)
    instance.run_storage.add_historical_run(run, at)
    return run.run_id


def add_heartbeats(instance: dg.DagsterInstance, at: datetime) -> None:
    """Store a heartbeat of each part of the daemon."""
    for name in instance.get_required_daemon_types():
        instance.add_daemon_heartbeat(DaemonHeartbeat(at.timestamp(), name, "trial", None))
