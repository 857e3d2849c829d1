"""Dagster's daemon: whether it is heard, and what would wait for it."""

from collections.abc import Mapping

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorStatus
from dagster._daemon.controller import get_daemon_statuses

from orchestration_project.connections.clock import Clock

HEARTBEAT_SECONDS = 30
"""How often Dagster's daemon says that it lives."""

PATIENCE_SECONDS = 150
"""Without a word of it, five times that, for a machine that is busy."""

NEVER_HEARD = "never heard"


def silent_daemons(instance: dg.DagsterInstance, clock: Clock) -> Mapping[str, str]:
    """Return by part of the daemon that was not heard lately when it was."""
    now = clock.now().timestamp()
    statuses = get_daemon_statuses(
        instance,
        instance.get_required_daemon_types(),
        curr_time_seconds=now,
        ignore_errors=True,  # of a sensor or schedule: alerts tell of those
        heartbeat_interval_seconds=HEARTBEAT_SECONDS,
        heartbeat_tolerance_seconds=PATIENCE_SECONDS - HEARTBEAT_SECONDS,
    )
    return {
        name: f"heard {now - status.last_heartbeat.timestamp:.0f} s ago"
        if status.last_heartbeat
        else NEVER_HEARD
        for name, status in statuses.items()
        if not status.healthy
    }


def waiting_for_it(instance: dg.DagsterInstance) -> str:
    """Return what only the daemon can start, empty if there is nothing."""
    queued = instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
    started = [
        state.name
        for state in instance.all_instigator_state()
        if state.status == InstigatorStatus.RUNNING
    ]
    return ", ".join([f"{queued} queued runs"] * bool(queued) + sorted(started))
