"""Metrics of all processes about their sources: requests, retries, circuit breakers."""

from pathlib import Path

from prometheus_client.core import Metric

from orchestration_project.connections.http.shared_state import read_systems
from orchestration_project.services.metrics.families import counter, gauge


def system_families(state_path: Path) -> list[Metric]:
    """Return how requests to sources went.

    Raises:
        ConfigurationError: A state file cannot be read.
    """
    systems = read_systems(state_path)
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
