"""Rules: which tasks become which issues; the first that matches counts, by priority.

A task that no rule matches is dropped, and can be counted. A rule that the target proved wrong
still matches, and holds its tasks back: the next one would make other issues of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from orchestration_project.domains.saas.lookup import (
    MissingPathError,
    is_path,
    lookup,
)
from orchestration_project.domains.saas.records import Task
from orchestration_project.engine.contracts.matching import (
    OPERATORS,
    Condition,
    EditedRule,
    FieldMapping,
    Paths,
    RuleInEffect,
    RulePart,
    RulesInEffect,
    TemplatePart,
    fold_case,
    fold_texts,
    require_one_per_field,
)
from orchestration_project.engine.contracts.rule_edits import RulesForm

Action = Literal["sync", "drop", "hold"]

ALWAYS_USED = ("title", "description_html", "is_completed", "assignee_email")
"""Base mappings of every issue."""

PATHS = Paths(
    is_path,
    "title, assignee_email, assignee_name, associated_name … or a path fields.<name>.<name>",
)


class RuleCondition(Condition):
    """Condition on a part of a task."""

    paths_known = PATHS

    def holds_for(self, task: Task) -> bool:
        """Whether it holds for a task."""
        try:
            part = lookup(task, self.field)
        except MissingPathError:
            part = None
        return OPERATORS[self.operator](fold_texts(part), fold_case(self.value or ""))


class IssueMapping(FieldMapping):
    """Source of the value of an issue's field."""

    paths_known = PATHS

    value: str

    def value_for(self, task: Task) -> Any:
        """Return the value for a task; in a template null is empty.

        Raises:
            MissingPathError: The task has no such part, or one that is neither true nor false
                where the template has texts for these.
        """
        if self.source_type == "static":
            return self.value
        if self.source_type == "path":
            return lookup(task, self.value)
        return "".join(
            literal + (_render_part(task, part) if part else "") for literal, part in self.parts
        )


class StateMapping(RulePart):
    """Mapping of the states of tasks and issues.

    A task is open or completed. An issue is open, done, or cancelled: its status ends it without
    its work, such as Cancelled or Won't do.

    Attributes:
        cancelled_issue: State of the task of a cancelled issue.
        completed_task: State of the issue of a completed task.
    """

    cancelled_issue: Literal["completed", "open"] = "completed"
    completed_task: Literal["done", "cancelled"] = "done"


class SyncRule(EditedRule):
    """Rule that maps tasks to issues.

    Attributes:
        priority: The lowest is asked first; of equal ones the first by name.
        conditions: All must hold; none: it matches everything.
        mappings: Fields of the issue beside summary, description and assignee, or in their place.
        states: States of tasks and issues, both ways.
    """

    priority: int = Field(ge=0, le=1_000_000, strict=True)
    conditions: tuple[RuleCondition, ...] = ()
    action: Literal["sync", "drop"]
    target_project: str | None = None
    issue_type: str | None = None
    mappings: tuple[IssueMapping, ...] = ()
    states: StateMapping = StateMapping()

    @field_validator("mappings")
    @classmethod
    def _fields_differ(cls, mappings: Sequence[IssueMapping]) -> Sequence[IssueMapping]:
        by_field = sorted(mappings, key=lambda mapping: mapping.target_field)
        return tuple(require_one_per_field(by_field))

    @model_validator(mode="after")
    def _says_where_to(self) -> Self:
        says = (self.target_project, self.issue_type)
        if self.action == "sync" and not all(says):
            raise ValueError("sync needs target_project and issue_type")
        if self.action == "drop" and (any(says) or self.mappings or self.has_states):
            raise ValueError(
                "drop makes no issue: no target_project, issue_type, mappings or states"
            )
        return self

    @property
    def has_states(self) -> bool:
        """Whether its mapping of states is another than the default."""
        return self.states != StateMapping()

    def shown(self) -> dict[str, Any]:
        """Return its fields for people, without what is not set."""
        hidden = None if self.has_states else {"states"}
        return self.model_dump(mode="json", exclude_none=True, exclude=hidden)

    def as_json(self) -> dict[str, Any]:
        """Return its fields; a default mapping of states is left out, as in older versions."""
        return self.model_dump(mode="json", exclude=None if self.has_states else {"states"})

    @property
    def order(self) -> tuple[int, str]:
        """Sort key of rules."""
        return self.priority, self.rule_id

    def matches(self, task: Task) -> bool:
        """Whether all conditions hold for a task."""
        return all(condition.holds_for(task) for condition in self.conditions)


@dataclass(frozen=True)
class ActiveRule(RuleInEffect[SyncRule]):
    """A rule in effect; ``disabled_reason`` is what the target proved wrong with it."""

    disabled_reason: str | None = None

    @property
    def content(self) -> list[Any]:
        """All that makes it differ from another one, as JSON."""
        return [*super().content, self.disabled_reason]

    def is_as(self, rule: SyncRule) -> bool:
        """Whether it is in effect as a rule says; one that is disabled is not."""
        return self.disabled_reason is None and self.rule == rule


@dataclass(frozen=True)
class RoutingDecision:
    """Decision about a task, and its rule; None: no rule matches."""

    action: Action
    rule: ActiveRule | None


@dataclass(frozen=True)
class RuleSet(RulesInEffect[ActiveRule]):
    """All rules in effect, by priority and name."""

    @classmethod
    def of(cls, rules: Iterable[ActiveRule]) -> Self:
        """Return these rules in their order."""
        return cls(sorted(rules, key=lambda active: active.rule.order))

    @cached_property
    def used(self) -> Sequence[str]:
        """The parts of a task on which decisions and issues depend, sorted."""
        conditions = (one.field for rule in self.rules for one in rule.rule.conditions)
        mapped = (
            path for rule in self.rules for mapping in rule.rule.mappings for path in mapping.paths
        )
        return sorted({*ALWAYS_USED, *conditions, *mapped})

    def decide(self, task: Task) -> RoutingDecision:
        """Return the decision of the first rule that matches."""
        for rule in self.rules:
            if rule.rule.matches(task):
                is_held = rule.disabled_reason is not None and rule.rule.action == "sync"
                return RoutingDecision("hold" if is_held else rule.rule.action, rule)
        return RoutingDecision("drop", None)


FORM = RulesForm(SyncRule, "sync rules", "docs/how-to/sync-peopleforce-and-jira.md")


def read_rules(given: Sequence[Any]) -> list[SyncRule]:
    """Return rules as somebody wrote them.

    Raises:
        ConfigurationError: Some cannot be used, or no task could ever reach them; says which.
    """
    rules = FORM.text_of(given).read()
    if problems := unreachable(rules):
        raise FORM.refuse(problems)
    return rules


def unreachable(rules: Sequence[SyncRule]) -> list[str]:
    """Return which rules no task could ever reach, because one before them matches everything."""
    in_order = sorted(rules, key=lambda rule: rule.order)
    for number, rule in enumerate(in_order):
        if not rule.conditions:
            hidden = [sync_rule.rule_id for sync_rule in in_order[number + 1 :]]
            return [f"{rule.rule_id} matches everything: {name} is never asked" for name in hidden]
    return []


def _render_part(task: Task, part: TemplatePart) -> str:
    value = lookup(task, part.path)
    try:
        return part.text_of(value)
    except ValueError:
        raise MissingPathError(f"true or false in {part.path}") from None
