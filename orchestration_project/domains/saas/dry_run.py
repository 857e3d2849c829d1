"""Dry run of edited rules on the recorded tasks; nothing is written."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from orchestration_project.domains.saas.intents import intent_of
from orchestration_project.domains.saas.lookup import MissingPathError
from orchestration_project.domains.saas.records import Task
from orchestration_project.domains.saas.rules import RuleSet
from orchestration_project.domains.saas.stored_tasks import canonical

SHOWN_CHARACTERS = 500


@dataclass(frozen=True)
class DryRunDifference:
    """A task that edited rules would treat otherwise: field by field, before and after."""

    entity_id: str
    title: str
    field: str
    before: str
    after: str


@dataclass
class DryRun:
    """Effect of edited rules.

    Attributes:
        by_rule: Tasks by the rule that would match; "" where none would.
        differences: At most ``most`` of them; ``changed_count`` is of all tasks that differ.
        refused: Why mappings cannot be filled, by task.
    """

    most: int
    task_count: int = 0
    changed_count: int = 0
    by_rule: dict[str, int] = field(default_factory=dict)
    differences: list[DryRunDifference] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def dry_run(tasks: Iterable[Task], before: RuleSet, after: RuleSet, *, most: int) -> DryRun:
    """Return the outcomes of tasks that differ between the rules ``before`` and ``after``."""
    run = DryRun(most)
    for task in tasks:
        run.task_count += 1
        was, would = _decide_outcome(task, before), _decide_outcome(task, after)
        rule = would.get("rule") or ""
        run.by_rule[rule] = run.by_rule.get(rule, 0) + 1
        if "refused" in would:
            run.refused[task.entity_id] = would["refused"]
        changed = sorted(name for name in {*was, *would} if was.get(name) != would.get(name))
        if not changed:
            continue
        run.changed_count += 1
        for name in changed[: max(0, most - len(run.differences))]:
            values = _render_value(was.get(name)), _render_value(would.get(name))
            run.differences.append(
                DryRunDifference(task.entity_id, task.title or "", name, *values)
            )
    return run


def _decide_outcome(task: Task, rules: RuleSet) -> dict[str, Any]:
    decision = rules.decide(task)
    outcome: dict[str, Any] = {
        "action": decision.action,
        "rule": decision.rule.rule.rule_id if decision.rule else None,
    }
    if decision.rule is None or decision.action != "sync":
        return outcome
    try:
        intent = intent_of(task, decision.rule)
    except MissingPathError as error:
        return outcome | {"refused": str(error)}
    return outcome | {"project": intent.project, "type": intent.issue_type} | dict(intent.fields)


def _render_value(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else canonical(value)
    return text[:SHOWN_CHARACTERS]
