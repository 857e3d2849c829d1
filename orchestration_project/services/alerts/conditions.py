"""Conditions outside of runs: a silent daemon, a stuck queue, a full disk, invalid rules.

Looked at by a sensor while the daemon works, and by `alerts watch` from outside of it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from operator import eq

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.problems import Problem
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.registry import AlertCondition, Answer, Probe
from orchestration_project.services.alerts.inbox import (
    Inbox,
    build_recovery_wording,
    build_wording,
    is_always_open,
)
from orchestration_project.services.alerts.policy import Links
from orchestration_project.services.alerts.rules.messages import Message, build_condition_failure
from orchestration_project.services.alerts.rules.notification import (
    Names,
    Policy,
    find_unknown_names,
)
from orchestration_project.services.gate.gate import examine
from orchestration_project.services.gate.rules import Finding


@dataclass(frozen=True)
class ConditionResult:
    """One look at a condition."""

    problem: Problem
    finding: Finding

    @property
    def is_bad(self) -> bool:
        """Whether it does not hold."""
        return self.finding.outcome == "failed"


def build_daemon_condition(error: OrchestrationError) -> AlertCondition:
    """Return the condition that the daemon works, which it cannot because of ``error``."""

    def run() -> Answer:
        raise error

    return AlertCondition(
        "daemon_silent", Probe("daemon", (), lambda: "saw what happened to it", run)
    )


def build_rules_condition(policy: Policy, names: Names | None) -> AlertCondition:
    """Return the condition that the rules can be used, and match ``names`` that there are."""

    def run() -> Answer:
        if policy.problem:
            raise policy.problem
        unknown = find_unknown_names(policy.rules, names) if names else []
        if unknown:
            raise ConfigurationError(
                "rules of alerts are never applied",
                found="; ".join(unknown),
                remedy="correct the names; `alerts check` reads them again",
            )
        return Answer(f"{len(policy.rules)} rules")

    return AlertCondition(
        "alert_rules", Probe("alert_rules", (), lambda: "read the rules of alerts", run)
    )


def see(conditions: Sequence[AlertCondition], clock: Clock) -> list[ConditionResult]:
    """Look at each condition."""
    return [
        ConditionResult(condition.problem, examine(condition.probe, clock, "").finding)
        for condition in conditions
    ]


def apply_conditions(seen: Sequence[ConditionResult], inbox: Inbox, links: Links) -> list[Message]:
    """Store the conditions that fail, and those that hold again; return the messages."""
    known_problems = inbox.open_problems(
        {condition_result.problem.kind for condition_result in seen}
    )
    messages: list[Message] = []
    for condition_result in seen:
        if condition_result.is_bad:
            message = build_condition_failure(
                condition_result.problem, condition_result.finding, links
            )
            messages += inbox.observe(message.problems, is_always_open, build_wording(message))
        elif condition_result.problem in known_problems:
            is_it, words = (
                partial(eq, condition_result.problem),
                build_recovery_wording("meanwhile"),
            )
            messages += inbox.observe(frozenset(), is_it, words)
    return messages


def split_suspects(
    seen: Sequence[ConditionResult], before: Collection[str]
) -> tuple[list[ConditionResult], list[str]]:
    """Return the sure results, and the bad kinds: one that is bad in one poll only may pass.

    A daemon that was just started has no heartbeat yet.
    """
    bad = [condition_result.problem.kind for condition_result in seen if condition_result.is_bad]
    sure = [
        condition_result
        for condition_result in seen
        if not condition_result.is_bad or condition_result.problem.kind in before
    ]
    return sure, bad
