"""What a probe finds, with the time that it takes."""

import time
from dataclasses import dataclass

from orchestration_project.connections.clock import Clock
from orchestration_project.domains.operations.readiness import Finding, said_by
from orchestration_project.errors import OrchestrationError
from orchestration_project.registry import Probe


@dataclass(frozen=True)
class Examined:
    """What was found of a dependency, with the error of one that is not ready."""

    finding: Finding
    error: OrchestrationError | None = None


def examine(probe: Probe, clock: Clock, config_hash: str) -> Examined:
    """Look at a dependency now."""
    checked_at, started = clock.now(), time.monotonic()
    error = None
    try:
        answer = probe.run()
    except OrchestrationError as raised:
        error = raised
        outcome, got, remedy = "failed", said_by(raised), raised.remedy
    else:
        outcome = "passed" if answer.is_applicable else "not_applicable"
        got, remedy = answer.got, ""
    seconds = time.monotonic() - started
    return Examined(
        Finding(
            probe.dependency, outcome, probe.tried, got, remedy, seconds, checked_at, config_hash
        ),
        error,
    )
