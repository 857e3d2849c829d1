"""Queues of runs: which queue a run is in, and what waits and runs in each, by priority."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import dagster as dg
from dagster import DagsterRunStatus as Status

from orchestration_project.engine.run_statuses import RUNNING_STATUSES

DEFAULT_QUEUE = "dagster"
"""Queue of runs whose assets belong to no single domain."""

QUEUE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,59}")

QUEUE_TAG, PRIORITY_TAG = "dagster-celery/queue", "dagster/priority"

MAX_READ_RUNS = 1000
"""Runs that are read of each state, the oldest first; the others are counted as `OTHERS`."""

OTHERS = "other"


class QueueState(NamedTuple):
    """Runs of one priority in one queue.

    Attributes:
        queue: Name of the queue; `OTHERS`: runs beyond the first 1,000.
        priority: By the tag `dagster/priority`; None: unknown.
        waiting_count: Runs in Dagster's queue, which no worker has got.
        running_count: Runs that were sent to the broker or are in progress.
        oldest_at: UTC time at which the oldest waiting run was made; None: none waits.
    """

    queue: str
    priority: int | None
    waiting_count: int
    running_count: int
    oldest_at: datetime | None


def find_queue(tags: Mapping[str, str]) -> str:
    """Return the queue of a run: its tag `dagster-celery/queue`, else that of its domain.

    A tag that cannot be the name of a queue counts as none.
    """
    pair = (tags.get(QUEUE_TAG, ""), tags.get("domain", ""))
    return next((name for name in pair if QUEUE_NAME.fullmatch(name)), DEFAULT_QUEUE)


def run_priority(tags: Mapping[str, str]) -> int:
    """Return the priority of a run as Dagster reads it: 0 without a valid tag."""
    try:
        return int(tags.get(PRIORITY_TAG, "0"))
    except ValueError:
        return 0


def read_queues(
    instance: dg.DagsterInstance, max_runs: int = MAX_READ_RUNS
) -> Sequence[QueueState]:
    """Return waiting and running runs, by queue and falling priority; ``max_runs`` of each."""
    waiting, running = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    oldest: dict[tuple[str, int], datetime] = {}
    beyond: list[int] = []
    for counted, statuses in ((waiting, [Status.QUEUED]), (running, RUNNING_STATUSES)):
        runs_filter = dg.RunsFilter(statuses=statuses)
        run_records = instance.get_run_records(runs_filter, limit=max_runs, ascending=True)
        for record in run_records:
            tags = record.dagster_run.tags
            key = (find_queue(tags), run_priority(tags))
            counted[key] += 1
            if counted is waiting:
                oldest.setdefault(key, record.create_timestamp)
        is_whole = len(run_records) < max_runs
        beyond.append(0 if is_whole else instance.get_runs_count(runs_filter) - len(run_records))
    keys = sorted({*waiting, *running}, key=lambda key: (key[0], -key[1]))
    states = [QueueState(*key, waiting[key], running[key], oldest.get(key)) for key in keys]
    if any(beyond):
        waiting_count, running_count = (max(0, number) for number in beyond)
        states.append(QueueState(OTHERS, None, waiting_count, running_count, None))
    return states
