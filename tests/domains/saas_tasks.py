"""Tasks and rules as tests of reconciliation write them."""

from datetime import UTC, datetime
from typing import Any

from orchestration_project.domains.saas.records import Task
from orchestration_project.domains.saas.rules import ActiveRule, RuleSet, SyncRule

WHOLE: dict[str, Any] = {
    "rule_id": "all",
    "priority": 9,
    "action": "sync",
    "target_project": "HR",
    "issue_type": "Task",
}


def task(**changes: Any) -> Task:
    """Return a task that has everything."""
    usual: dict[str, Any] = {
        "system": "peopleforce",
        "entity_type": "task",
        "entity_id": "1",
        "title": "Order a laptop",
        "description_html": "<p>14 inch</p>",
        "is_completed": False,
        "created_at": datetime(2026, 3, 2, 9, tzinfo=UTC),
        "assignee_email": "ana@example.org",
        "assignee_name": "Ana",
        "associated_name": "Bob Newcomer",
        "fields": {"id": 1, "team": {"name": "Payroll"}, "tags": ["IT", "new"], "views": 7},
    }
    return Task(**usual | changes)


def rule(**changes: Any) -> SyncRule:
    """Return a rule that makes an issue of everything."""
    return SyncRule.model_validate({**WHOLE, **changes})


def rules(*given: SyncRule, version: int = 1) -> RuleSet:
    """Return rules in effect."""
    return RuleSet.of(ActiveRule(each, version) for each in given)
