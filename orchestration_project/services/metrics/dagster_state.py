"""Metrics from Dagster's storage: queued runs, heartbeats of the daemon, ticks."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import dagster as dg
from prometheus_client.core import Metric

from orchestration_project.engine.dagster_private.automation import (
    TickStatus,
    find_ticks,
    iterate_running_states,
)
from orchestration_project.engine.run_statuses import RUNNING_STATUSES
from orchestration_project.services.metrics.families import gauge

MAX_FAILURES = 100
"""Failed ticks that are counted, of each sensor and schedule: more are as bad."""

FAILURES_WITHIN = timedelta(days=1)


def measure_dagster(instance: dg.DagsterInstance, now: datetime) -> list[Metric]:
    """Return the metrics of Dagster's storage at the machine's time ``now``."""
    return [
        gauge(
            "queue_runs",
            "Runs that are queued or in progress, by Dagster's status.",
            ("status",),
            {
                (status.value,): instance.get_runs_count(dg.RunsFilter(statuses=[status]))
                for status in (dg.DagsterRunStatus.QUEUED, *RUNNING_STATUSES)
            },
        ),
        gauge(
            "daemon_heartbeat_age_seconds",
            "Time since the last heartbeat of each part of Dagster's daemon.",
            ("daemon",),
            {
                (name,): now.timestamp() - beat.timestamp
                for name, beat in instance.get_daemon_heartbeats().items()
            },
        ),
        *_measure_ticks(instance, now),
    ]


def _measure_ticks(instance: dg.DagsterInstance, now: datetime) -> Iterable[Metric]:
    ages: dict[tuple[str, ...], float] = {}
    failures: dict[tuple[str, ...], float] = {}
    since = (now - FAILURES_WITHIN).timestamp()
    for state in iterate_running_states(instance):
        labels = (state.instigator_type.value.lower(), state.instigator_name)
        latest = find_ticks(instance, state, limit=1)
        failed = find_ticks(
            instance, state, limit=MAX_FAILURES, after=since, statuses=[TickStatus.FAILURE]
        )
        if latest:
            ages[labels] = now.timestamp() - latest[0].timestamp
        failures[labels] = len(failed)
    yield gauge(
        "tick_age_seconds",
        "Time since the latest tick of each running sensor and schedule.",
        ("kind", "name"),
        ages,
    )
    yield gauge(
        "tick_failures",
        f"Failed ticks within a day of running sensors and schedules, {MAX_FAILURES} at most.",
        ("kind", "name"),
        failures,
    )
