"""The probe of Dagster's queue: whether runs that wait get to start."""

from collections.abc import Callable
from datetime import timedelta

import dagster as dg
from dagster import DagsterRunStatus as Status

from orchestration_project.connections.clock import Clock
from orchestration_project.errors import TransientError
from orchestration_project.registry import Answer, Probe

STILL = timedelta(hours=1)
"""A queue out of which nothing came for so long is stuck; the control tower speaks up then, too."""

MOVED = [each for each in Status if each not in (Status.QUEUED, Status.NOT_STARTED)]


def queue_probe(open_instance: Callable[[], dg.DagsterInstance], clock: Clock) -> Probe:
    """Return the probe of the queue. A long queue is none that is stuck: it moves."""

    def run() -> Answer:
        instance, since = open_instance(), clock.now() - STILL
        queued = dg.RunsFilter(statuses=[Status.QUEUED])
        first = instance.get_run_records(queued, limit=1, ascending=True)
        if not first or first[0].create_timestamp > since:
            return Answer("no run has waited for long")
        moved = dg.RunsFilter(statuses=MOVED, updated_after=since)
        if instance.get_run_records(moved, limit=1):
            return Answer("runs wait, and others start or end meanwhile")
        raise TransientError(
            "the queue of runs is stuck",
            expected=f"a run that starts or ends within {STILL}",
            found=f"{instance.get_runs_count(queued)} runs wait, the first since "
            f"{first[0].create_timestamp:%Y-%m-%d %H:%M} UTC, and none started or ended",
            remedy="look at the runs in progress and at Deployment > Daemons and > Concurrency: "
            "end a run that hangs, free a pool's slots, or start the daemon again",
        )

    return Probe("queue", (), "asked Dagster's storage what waits and what moved", run)
