"""A probe: how one dependency is looked at."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from orchestration_project.connections.clock import Clock
from orchestration_project.domains.operations.readiness import Finding, said_by
from orchestration_project.errors import OrchestrationError


@dataclass(frozen=True)
class Answer:
    """What came of a probe that went well, or that does not apply here."""

    got: str
    is_applicable: bool = True


@dataclass(frozen=True)
class Probe:
    """How a dependency is looked at.

    Attributes:
        dependency: Its name, a plain word.
        needed_by: The resources that open only while it is ready, or `ANY_WORK`, `QUEUED_RUNS`;
            nothing where it refuses nobody.
        tried: What ``run`` does, for people; without secrets.
        run: Does it. One of our errors means: not ready, and what to do.
    """

    dependency: str
    needed_by: tuple[str, ...]
    tried: str
    run: Callable[[], Answer]


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
