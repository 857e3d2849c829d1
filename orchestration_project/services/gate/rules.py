"""Findings about dependencies, and their maximum age."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from orchestration_project.errors import OrchestrationError

Outcome = Literal["passed", "failed", "not_applicable"]
"""The last: the probe does not apply, such as alerts without a channel."""

ANY_WORK = "any work"
"""Said by a dependency without which no work of a gate's can be done."""

QUEUED_RUNS = "queued runs"
"""Said by a dependency that counts for runs from the queue only."""


@dataclass(frozen=True)
class Finding:
    """Finding about one dependency.

    Attributes:
        dependency: Its name, such as `finra` or `database`.
        tried: What was done to find out; without secrets, like ``got`` and ``remedy``.
        got: What came of it.
        remedy: What to do; empty where nothing is.
        seconds: How long it took.
        checked_at: When it was done.
        config_hash: Of the settings under which it was done.
    """

    dependency: str
    outcome: Outcome
    tried: str
    got: str
    remedy: str
    seconds: float
    checked_at: datetime
    config_hash: str


def is_needed(needed_by: Iterable[str], work: str, *, is_queued: bool) -> bool:
    """Whether ``work`` depends on what is ``needed_by`` these; queued runs on the queue as well."""
    return bool({work, ANY_WORK, *([QUEUED_RUNS] if is_queued else [])}.intersection(needed_by))


def is_reusable(
    finding: Finding | None, *, now: datetime, max_age: timedelta, config_hash: str
) -> bool:
    """Whether work may go by a finding without looking again.

    One that failed never does, so that a dependency mended meanwhile refuses no work. Nor does one
    that was made under other settings, or, where a clock was set back, later than now.
    """
    return (
        finding is not None
        and finding.outcome != "failed"
        and finding.config_hash == config_hash
        and timedelta(0) <= now - finding.checked_at <= max_age
    )


def format_error(error: OrchestrationError) -> str:
    """Return in one line what failed, what was expected and what came."""
    expected = f"expected {error.expected}" if error.expected else ""
    text = f"found {error.found}" if error.found else ""
    return "; ".join(" ".join(part.split()) for part in (error.what, expected, text) if part)


def build_refusal(
    errors: Mapping[str, OrchestrationError], tried: Mapping[str, str]
) -> OrchestrationError:
    """Return the error that refuses work: that of the first dependency, which names the others.

    It stays of its kind, so that transient errors are retried.
    """
    first, *remaining = errors
    also = {"also_not_ready": ", ".join(remaining)} if remaining else {}
    return errors[first].within(
        refused_by="the preflight check, before any request for data",
        dependency=first,
        tried=tried[first],
        **also,
        override="resources.gate.config.force: true in the run's config",
    )


def are_ready(findings: Sequence[Finding]) -> bool:
    """Whether no dependency failed."""
    return all(finding.outcome != "failed" for finding in findings)
