"""Clients of servers that a test runs: without patience, so that a fault costs no time."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.http import (
    AnswerLimits,
    BreakerPolicy,
    Hooks,
    HttpClient,
    Network,
    RetryPolicy,
)
from orchestration_project.engine.http.shared_state import SqliteState

USUAL = {
    "retries": RetryPolicy(max_attempts=2, wait_seconds=0.001),
    "breaker": BreakerPolicy(),
    "limits": AnswerLimits(),
    "hooks": Hooks(),
    "network": Network(),
}
POLICY_OF = {name: policy for policy, value in USUAL.items() for name in vars(value)}


def make_client(folder: Path, system: str = "test", **changes: Any) -> HttpClient:
    """Return a client; ``changes`` name its arguments, or attributes of its policies."""
    arguments: dict[str, Any] = {
        "state": SqliteState(folder),
        "now": Clock().now,
        "user_agent": "tests",
    }
    of_policies: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in changes.items():
        if name in POLICY_OF:
            of_policies[POLICY_OF[name]][name] = value
        else:
            arguments[name] = value
    policies = {name: replace(value, **of_policies[name]) for name, value in USUAL.items()}
    return HttpClient(system=system, **(policies | arguments))
