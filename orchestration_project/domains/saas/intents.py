"""Intended issue of a task, and its merge with manual changes.

Fields are merged three ways: our last value shows whether the source changed a value, people
changed it in the target, or both. People's edits stay while the source has its former value;
once it has a new one, that counts, and the audit log keeps what was overwritten.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from orchestration_project.domains.saas.adf import outline
from orchestration_project.domains.saas.records import Issue, Task
from orchestration_project.domains.saas.rules import ActiveRule
from orchestration_project.domains.saas.stored_tasks import canonical
from orchestration_project.domains.saas.transitions import is_cancelled
from orchestration_project.domains.saas.values import time_in
from orchestration_project.engine.contracts.matching import format_value


@dataclass(frozen=True)
class Intent:
    """Intended issue of a task.

    Attributes:
        rule: The rule and version that say so.
        fields: Values by the target's field, before they take its types: HTML, e-mail addresses.
        is_completed: Whether the task is, and so the issue should be.
        cancelled_issue: State of the task of a cancelled issue: completed or open.
        completed_task: State of the issue of a completed task: done or cancelled.
    """

    rule: str
    project: str
    issue_type: str
    fields: Mapping[str, Any]
    is_completed: bool
    cancelled_issue: str = "completed"
    completed_task: str = "done"

    @classmethod
    def read(cls, payload: str) -> Self:
        """Return the intent that was stored."""
        return cls(**json.loads(payload))

    @property
    def payload(self) -> str:
        """The intent as JSON, equal for equal intents."""
        defaults = {"cancelled_issue": "completed", "completed_task": "done"}.items()
        return canonical({item[0]: item[1] for item in vars(self).items() if item not in defaults})

    def ends(self, issue: Issue) -> bool:
        """Whether the state of an issue is that of a completed task."""
        is_over = issue.status_category == "done"
        is_left_open = self.cancelled_issue == "open" and not self.is_completed
        return is_over and not (is_left_open and is_cancelled(issue.status_name))

    def completed(self) -> "Intent":
        """Return it for the task once it is completed."""
        return replace(self, is_completed=True)


def intent_of(task: Task, active: ActiveRule) -> Intent:
    """Return the intended issue of a task by a rule of action sync.

    Raises:
        MissingPathError: A mapping needs a part that the task does not have.
    """
    rule = active.rule
    if rule.target_project is None or rule.issue_type is None:
        raise AssertionError(f"{active.reference} makes no issues")
    fields: dict[str, Any] = {
        "summary": task.title,
        "description": task.description_html,
        "assignee": task.assignee_email,
    }
    fields |= {mapping.target_field: mapping.value_for(task) for mapping in rule.mappings}
    if not format_value(fields["summary"]).strip():
        fields["summary"] = f"({task.entity_type} {task.entity_id} has no title)"
    return Intent(
        active.reference,
        rule.target_project,
        rule.issue_type,
        fields,
        task.is_completed,
        rule.states.cancelled_issue,
        rule.states.completed_task,
    )


@dataclass(frozen=True)
class Merge:
    """Result of merging an issue's fields.

    Attributes:
        writes: Values that are to be written.
        kept: Values that people gave in the target, and that stay.
        overwritten: What stood, by people's hand, where something is to be written.
    """

    writes: Mapping[str, Any]
    kept: Mapping[str, Any]
    overwritten: Mapping[str, Any]


def merged(ours: Mapping[str, Any], before: Mapping[str, Any], theirs: Mapping[str, Any]) -> Merge:
    """Return the writes that give an issue the values of ``ours``.

    Args:
        ours: What the source says now, in the target's types.
        before: What we last wrote; without a field that we never did.
        theirs: What the issue has.
    """
    writes: dict[str, Any] = {}
    values: dict[str, Any] = {}
    overwritten: dict[str, Any] = {}
    for name, value in ours.items():
        value_there = theirs.get(name)
        if agrees(value, value_there):
            continue
        if name in before and agrees(before[name], value):
            values[name] = value_there
            continue
        writes[name] = value
        if not agrees(before.get(name), value_there):
            overwritten[name] = value_there
    return Merge(writes, values, overwritten)


def agrees(ours: Any, theirs: Any) -> bool:
    """Whether a value of a target equals the written one.

    It adds ids and addresses of its own, and says times in a zone of its own.
    """
    if _is_nothing(ours) or _is_nothing(theirs):
        return _is_nothing(ours) and _is_nothing(theirs)
    if isinstance(ours, dict):
        if not isinstance(theirs, dict):
            return False
        if ours.get("type") == "doc":
            return outline(ours) == outline(theirs)
        return all(agrees(value, theirs.get(name)) for name, value in ours.items())
    if isinstance(ours, list):
        return isinstance(theirs, list) and _has_same_items(ours, theirs)
    return ours == theirs or _is_same_time(ours, theirs)


def _is_same_time(ours: Any, theirs: Any) -> bool:
    if not (isinstance(ours, str) and isinstance(theirs, str)):
        return False
    time = time_in(ours)
    return time is not None and time == time_in(theirs)


def _has_same_items(ours: list[Any], theirs: list[Any]) -> bool:
    """Whether two lists have the same items, in whatever order."""
    left = list(theirs)
    for our in ours:
        number = next((at for at, other in enumerate(left) if agrees(our, other)), None)
        if number is None:
            return False
        del left[number]
    return not left


def _is_nothing(value: Any) -> bool:
    is_empty_text = isinstance(value, dict) and value.get("type") == "doc" and not outline(value)
    return is_empty_text or (value is None or value == "" or value == [])


def fields_of(issue: Issue) -> Mapping[str, Any]:
    """Return an issue's fields by id, as they are written."""
    account = issue.assignee_account_id
    return {
        **issue.fields,
        "summary": issue.summary,
        "description": issue.description,
        "assignee": {"accountId": account} if account else None,
    }


Completion = Literal["agreed", "to_target", "to_source", "kept"]
"""Whether both sides say the same of completion, or else whose side is to follow; kept: neither."""


def completion(before: bool | None, *, source: bool, target: bool) -> Completion:
    """Return who follows whom: the side that changed since they agreed is right.

    An issue that people opened again stays open: the source cannot open a task again.
    """
    if source == target:
        return "agreed"
    if before is None:
        return "to_target" if source else "to_source"
    if source != before:
        return "to_target"
    return "to_source" if target else "kept"
