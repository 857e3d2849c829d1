"""The simulated queue: known waits, a model that looks at each second, and where waiting begins."""

from math import inf
from random import Random

import pytest

from orchestration_project.services.schedules.rules.capacity import (
    QueueLimits,
    Waits,
    Workload,
    compute_busy_share,
    estimate_headroom,
    simulate,
)

TWO = QueueLimits(2, 1)


def test_runs_wait_when_more_are_due_than_may_execute():
    found = simulate([Workload("load", [0, 0, 0, 100], 10)], TWO)
    assert found == [Waits("load", 4, 0, 10, 10, 0)]


@pytest.mark.slow
def test_no_run_waits_for_the_runs_of_a_backfill_but_for_one():
    weekly = Workload("weekly", [1_000], 60)
    backfill = Workload("backfill", [0] * 10_000, 30, priority=-1)
    first, second = simulate([weekly, backfill], TWO)
    assert first.longest_seconds <= backfill.run_seconds + TWO.dequeue_seconds
    assert second.run_count == 10_000
    alike, _ = simulate([weekly, Workload("backfill", [0] * 10_000, 30)], TWO)
    assert alike.longest_seconds == 10_000 / 2 * 30 - 1_000


def test_a_run_waits_until_the_queue_is_looked_at():
    [found] = simulate([Workload("load", [3, 11], 1)], QueueLimits(2, 10))
    assert (found.median_seconds, found.longest_seconds, found.longest_at) == (8, 9, 11)


def test_nothing_is_due():
    assert simulate([Workload("load", [], 1)], TWO) == [Waits("load", 0, 0, 0, 0, 0)]
    assert simulate([], TWO) == []


def by_seconds(workloads: list[Workload], limits: QueueLimits) -> list[list[float]]:
    """Return the sorted waits of each workload, from a simulation of each second."""
    requested = sorted(
        (due, number) for number, workload in enumerate(workloads) for due in workload.due
    )
    queued: list[tuple[float, int]] = []
    running: list[int] = []
    waits: list[list[float]] = [[] for _ in workloads]
    second = 0
    while requested or queued:
        running = [end for end in running if end > second]
        if second % limits.dequeue_seconds == 0:
            while requested and requested[0][0] <= second:
                queued.append(requested.pop(0))
            queued.sort(key=lambda each: -workloads[each[1]].priority)
            while queued and len(running) < limits.concurrent_runs:
                due, number = queued.pop(0)
                running.append(second + int(workloads[number].run_seconds))
                waits[number].append(second - due)
        second += 1
    return [sorted(wait) for wait in waits]


@pytest.mark.parametrize("seed", range(30))
def test_the_queue_agrees_with_a_simulation_of_each_second(seed):
    random = Random(seed)  # noqa: S311 - to be repeated
    workloads = [
        Workload(
            f"job{number}",
            sorted(random.randrange(200) for _ in range(random.randrange(30))),
            random.randrange(1, 20),
            random.randrange(-1, 2),
        )
        for number in range(4)
    ]
    limits = QueueLimits(random.randrange(1, 5), random.randrange(1, 8))
    waits = by_seconds(workloads, limits)
    for found, expected in zip(simulate(workloads, limits), waits, strict=True):
        assert found.run_count == len(expected)
        assert found.longest_seconds == max(expected, default=0)


def test_waiting_begins_where_runs_take_as_long_as_the_time_between_them():
    daily = [day * 86_400 for day in range(365)]
    workloads = [Workload("a", daily, 60), Workload("b", daily, 60), Workload("c", daily, 60)]
    assert compute_busy_share(workloads, TWO, 365 * 86_400) == pytest.approx(3 * 60 / (2 * 86_400))
    assert estimate_headroom(workloads, TWO, 120) == pytest.approx(2, rel=0.02)
    assert estimate_headroom(workloads, TWO, 30) == pytest.approx(0.5, rel=0.04)
    assert estimate_headroom(workloads[:2], TWO, 0) == inf
    assert estimate_headroom([], TWO, 0) == inf
