"""A simulated queue of runs: how long runs wait, and from which load on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush, merge
from math import ceil, inf
from statistics import median
from typing import NamedTuple

MAX_FACTOR = 1_024.0
"""Times as long as now: a queue that this does not fill is not a limit."""

BACKFILL = "(backfill)"
"""In the place of a job, in the results: the runs of a backfill."""

STEPS = 6
"""Halvings of the range between a factor without waiting and one with it: it is found to 2 %."""


@dataclass(frozen=True)
class Workload:
    """Runs of a job.

    Attributes:
        job: The job.
        due: When its runs are requested, in seconds from the start of the simulation, ascending.
        run_seconds: Duration of a run.
        priority: Runs with a higher one leave the queue before; equal ones in their order.
    """

    job: str
    due: Sequence[float]
    run_seconds: float
    priority: int = 0


class QueueLimits(NamedTuple):
    """Limits of a queue.

    Attributes:
        concurrent_runs: Runs that execute at the same time.
        dequeue_seconds: Time between two looks at the queue.
    """

    concurrent_runs: int
    dequeue_seconds: float


class Waits(NamedTuple):
    """Times that the runs of a job waited in the queue.

    Attributes:
        job: The job.
        run_count: Its runs.
        median_seconds: Half of them waited at most so long.
        p95_seconds: 19 of 20 waited at most so long.
        longest_seconds: The longest wait.
        longest_at: When that run was asked for, in seconds from the start; 0: there is none.
    """

    job: str
    run_count: int
    median_seconds: float
    p95_seconds: float
    longest_seconds: float
    longest_at: float


def simulate(workloads: Sequence[Workload], limits: QueueLimits) -> Sequence[Waits]:
    """Return how long the runs of each workload wait in a queue, in the order of the workloads.

    The queue is looked at each ``dequeue_seconds``, and then starts as many runs as may execute.
    The time from there to the start of a run's process counts as part of the run.
    """
    waits: list[list[tuple[float, float]]] = [[] for _ in workloads]
    for number, due, started in _simulate_starts(workloads, limits):
        waits[number].append((started - due, due))
    return [
        _summarize_waits(workload.job, found)
        for workload, found in zip(workloads, waits, strict=True)
    ]


def add_backfill(
    workloads: Sequence[Workload], run_count: int, run_seconds: float
) -> Sequence[Workload]:
    """Return workloads beside a backfill of so many runs, all of which are requested at once."""
    if not run_count:
        return workloads
    return [*workloads, Workload(BACKFILL, [0.0] * run_count, run_seconds, priority=-1)]


def compute_busy_share(workloads: Sequence[Workload], limits: QueueLimits, seconds: float) -> float:
    """Return the share of the time of all places that runs take: 1 is all of it."""
    busy_seconds = sum(len(workload.due) * workload.run_seconds for workload in workloads)
    return busy_seconds / (limits.concurrent_runs * seconds)


def estimate_headroom(
    workloads: Sequence[Workload], limits: QueueLimits, allowed_seconds: float
) -> float:
    """Return how many times as long runs may take until a run in 20 of a job waits too long.

    Args:
        workloads: The runs; those of one priority or another all count.
        limits: The queue.
        allowed_seconds: Wait that is not too long.

    Returns:
        The factor, to 2 %; below 1: runs wait too long already; infinite: above `MAX_FACTOR`.
    """
    low, high = 0.0, 1.0
    while not _is_wait_too_long(workloads, limits, allowed_seconds, high):
        low, high = high, high * 2
        if high > MAX_FACTOR:
            return inf
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _is_wait_too_long(workloads, limits, allowed_seconds, middle):
            high = middle
        else:
            low = middle
    return low


def _is_wait_too_long(
    workloads: Sequence[Workload], limits: QueueLimits, allowed_seconds: float, factor: float
) -> bool:
    longer = [
        replace(workload, run_seconds=workload.run_seconds * factor) for workload in workloads
    ]
    return any(waits.p95_seconds > allowed_seconds for waits in simulate(longer, limits))


def _simulate_starts(
    workloads: Sequence[Workload], limits: QueueLimits
) -> Iterator[tuple[int, float, float]]:
    """Yield the workload, the due time and the start of each run, in the order of the starts."""
    requested_pairs = merge(
        *([(due, number) for due in workload.due] for number, workload in enumerate(workloads))
    )
    coming = next(requested_pairs, None)
    queued: list[tuple[int, int, float, int]] = []
    ends: list[float] = []
    name, now = 0, 0.0
    while coming is not None or queued:
        if not queued and coming is not None:
            now = max(now, coming[0])
        if len(ends) == limits.concurrent_runs:
            now = max(now, ends[0])
        now = ceil(now / limits.dequeue_seconds) * limits.dequeue_seconds
        while ends and ends[0] <= now:
            heappop(ends)
        while coming is not None and coming[0] <= now:
            due, number = coming
            heappush(queued, (-workloads[number].priority, name, due, number))
            name, coming = name + 1, next(requested_pairs, None)
        while queued and len(ends) < limits.concurrent_runs:
            _, _, due, number = heappop(queued)
            heappush(ends, now + workloads[number].run_seconds)
            yield number, due, now


def _summarize_waits(job: str, found: Sequence[tuple[float, float]]) -> Waits:
    if not found:
        return Waits(job, 0, 0.0, 0.0, 0.0, 0.0)
    ordered = sorted(found)
    p95, (longest, at) = ordered[ceil(len(ordered) * 0.95) - 1][0], ordered[-1]
    return Waits(job, len(ordered), median(wait for wait, _ in ordered), p95, longest, at)
