"""Dagster's daemon: whether it is heard, and what would wait for it."""

from collections.abc import Mapping

import dagster as dg

from orchestration_project.connections.clock import Clock
from orchestration_project.engine.dagster_private import instigators_switched_on

PATIENCE_SECONDS = 150
"""Without a word of it; it sends one each 30 s, and a machine may be busy."""

NEVER_HEARD = "never heard"


def silent_daemons(instance: dg.DagsterInstance, clock: Clock) -> Mapping[str, str]:
    """Return by part of the daemon that was not heard lately when it was."""
    now = clock.now().timestamp()
    beats = instance.get_daemon_heartbeats()
    ages = {
        name: now - beats[name].timestamp if name in beats else None
        for name in instance.get_required_daemon_types()
    }
    return {
        name: NEVER_HEARD if age is None else f"heard {age:.0f} s ago"
        for name, age in ages.items()
        if age is None or age > PATIENCE_SECONDS
    }


def waiting_for_it(instance: dg.DagsterInstance) -> str:
    """Return what only the daemon can start, empty if there is nothing."""
    queued = instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
    started = sorted(instigators_switched_on(instance))
    return ", ".join([f"{queued} queued runs"] * bool(queued) + started)
