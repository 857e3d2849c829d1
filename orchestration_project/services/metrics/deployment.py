"""Metrics of the deployment: programs and releases by host, runs by host, and the queues."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import dagster as dg
from prometheus_client.core import Metric

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.hosts import RUN, count_host_runs, is_silent, read_hosts
from orchestration_project.services.metrics.families import gauge
from orchestration_project.services.queues import read_queues


def _sum_values(one: float, other: float) -> float:
    return one + other


def measure_programs(warehouse: Warehouse, now: datetime) -> Iterable[Metric]:
    """Return the heartbeats and releases of the programs that did not stop.

    Run monitoring watches runs in pods of their own, so they have no time of silence.

    Raises:
        OrchestrationError: The database cannot be read.
    """
    programs = [host for host in read_hosts(warehouse, now) if host.stopped_at is None]
    yield gauge(
        "program_silence_seconds",
        "Time since the latest heartbeat of each program that did not stop.",
        ("host", "role"),
        {
            (program.host, program.role): (now - program.last_seen_at).total_seconds()
            for program in programs
            if program.role != RUN
        },
    )
    running = Counter(program.release for program in programs if not is_silent(program, now))
    yield gauge(
        "programs",
        "Programs that send heartbeats, by release; two releases at once: an upgrade.",
        ("release",),
        {(release,): count for release, count in running.items()},
        together=_sum_values,
    )


def measure_queues(instance: dg.DagsterInstance, now: datetime) -> Iterable[Metric]:
    """Return the runs in progress by host, and what waits and runs by queue and priority."""
    yield gauge(
        "host_runs",
        "Runs in progress, by the host that executes them.",
        ("host",),
        {(host,): count for host, count in count_host_runs(instance).items()},
        together=_sum_values,
    )
    counts: dict[tuple[str, ...], float] = {}
    oldest: dict[tuple[str, ...], float] = {}
    for queue in read_queues(instance):
        priority = "" if queue.priority is None else str(queue.priority)
        counts[queue.queue, priority, "waiting"] = queue.waiting_count
        counts[queue.queue, priority, "running"] = queue.running_count
        age = (now - queue.oldest_at).total_seconds() if queue.oldest_at else 0.0
        oldest[(queue.queue,)] = max(age, oldest.get((queue.queue,), 0.0))
    yield gauge(
        "queue_depth",
        "Runs by queue, priority and state: waiting in Dagster's queue, or running.",
        ("queue", "priority", "state"),
        counts,
        together=_sum_values,
    )
    yield gauge(
        "queue_oldest_seconds",
        "Age of the oldest waiting run of each queue; 0: none waits.",
        ("queue",),
        oldest,
    )
