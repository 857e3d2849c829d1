"""Metric families whose labels are bounded: the host's, and those of requests to sources."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from orchestration_project.engine.http.shared_state import SystemState
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.program_logs.losses import read_losses

if TYPE_CHECKING:  # what reads no metric imports no client of Prometheus
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

MAX_LABEL_VALUES = 200
"""Values of a label; those after them, by name, are `other`: a series for each costs memory."""

Values = Mapping[tuple[str, ...], float]
"""Values of a metric, by its labels."""


@dataclass(frozen=True)
class MetricsReader:
    """Registers a reader of a domain's metrics at a time; used where the domain has a source."""

    open: Callable[[Warehouse], Callable[[datetime], Iterable[Metric]]]


def counter(name: str, what: str, labels: tuple[str, ...], values: Values) -> Metric:
    """Return a family of counters; what falls together as `other` is added up."""
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(f"orchestration_{name}", what, labels=labels)
    return _fill_family(family, values, lambda one, other: one + other)


def gauge(
    name: str,
    what: str,
    labels: tuple[str, ...],
    values: Values,
    together: Callable[[float, float], float] = max,
) -> Metric:
    """Return a family of gauges; of what falls together as `other`, the greatest counts."""
    from prometheus_client.core import GaugeMetricFamily

    return _fill_family(
        GaugeMetricFamily(f"orchestration_{name}", what, labels=labels), values, together
    )


def _fill_family(
    family: CounterMetricFamily | GaugeMetricFamily,
    values: Values,
    together: Callable[[float, float], float],
) -> Metric:
    entries = [set(sorted(set(each))[:MAX_LABEL_VALUES]) for each in zip(*values, strict=True)]
    counts: dict[tuple[str, ...], float] = {}
    for labels, value in values.items():
        key = tuple(
            name if name in names else "other" for name, names in zip(labels, entries, strict=True)
        )
        counts[key] = together(counts[key], value) if key in counts else value
    for labels, value in counts.items():
        family.add_metric(labels, value)
    return family


def measure_host(state_path: Path) -> Iterable[Metric]:
    """Yield the metrics of this machine and this process; each with the label host."""
    host = socket.gethostname()
    cpu, memory = psutil.cpu_times(), psutil.virtual_memory()
    disk, process = psutil.disk_usage(str(state_path)), psutil.Process()
    yield counter(
        "host_cpu_seconds",
        "CPU time of the machine, by mode.",
        ("host", "mode"),
        {(host, mode): getattr(cpu, mode) for mode in ("user", "system", "idle")},
    )
    yield gauge(
        "host_cores", "CPU cores of the machine.", ("host",), {(host,): psutil.cpu_count() or 1}
    )
    yield gauge(
        "host_memory_bytes",
        "Memory of the machine.",
        ("host", "kind"),
        {(host, "total"): memory.total, (host, "available"): memory.available},
    )
    yield gauge(
        "host_disk_bytes",
        "Disk of STATE_DIR.",
        ("host", "kind"),
        {(host, "total"): disk.total, (host, "free"): disk.free},
    )
    yield gauge(
        "process_open_files",
        "Open files of this process.",
        ("host",),
        {(host,): process.num_fds()},
    )
    yield gauge(
        "process_memory_bytes",
        "Memory of this process.",
        ("host",),
        {(host,): process.memory_info().rss},
    )


def measure_logs(folder: Path) -> Iterable[Metric]:
    """Return the lost log lines of the programs of this machine, below their folder."""
    losses = read_losses(folder)
    yield counter(
        "log_lines_lost",
        "Log lines that were lost: unwritten, or deleted before a collector accepted them.",
        ("service", "cause"),
        {
            **{(name, "unwritten"): count for name, count in losses.unwritten.items()},
            **{(name, "unsent"): count for name, count in losses.unsent.items()},
        },
    )


def measure_systems(systems: Mapping[str, SystemState]) -> list[Metric]:
    """Return how requests to sources went, by system."""
    return [
        counter(
            "source_requests",
            "Requests to sources, each attempt, by status.",
            ("system", "status"),
            {
                (name, outcome): count
                for name, system in systems.items()
                for outcome, count in system.requests.items()
            },
        ),
        counter(
            "source_retries",
            "Retried attempts.",
            ("system",),
            {(name,): system.retries for name, system in systems.items()},
        ),
        gauge(
            "source_breaker_open",
            "Circuit breaker: 1 while it is open, as the source failed too often.",
            ("system",),
            {(name,): float(system.is_open) for name, system in systems.items()},
        ),
    ]
