"""Rules: which tasks become which issues; the first that matches counts, by priority.

A task that no rule matches is dropped, and can be counted. A rule that the target proved wrong
still matches, and holds its tasks back: the next one would make other issues of them.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from orchestration_project.contracts.matching import (
    OPERATORS,
    WITHOUT_VALUE,
    Operator,
    TemplatePart,
    caseless,
    caseless_texts,
    template_parts,
)
from orchestration_project.domains.saas.lookup import (
    MissingPathError,
    is_path,
    lookup,
)
from orchestration_project.domains.saas.records import Task
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.yaml import reason_of

Action = Literal["sync", "drop", "hold"]

ALWAYS_USED = ("title", "description_html", "is_completed", "assignee_email")
"""Base mappings of every issue."""

NAME = r"^[a-z][a-z0-9_]{0,62}$"
PATHS = "title, assignee_email, assignee_name, associated_name … or a path fields.<name>.<name>"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RuleCondition(_Strict):
    """Condition on a part of a task, case-insensitive.

    Of a list, it must hold of one of its items. A part that a task lacks is empty.
    """

    field: str
    operator: Operator = "is"
    value: str | None = None

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if not is_path(self.field):
            raise ValueError(f"field: {self.field!r} is none of {PATHS}")
        if (self.value is None) != (self.operator in WITHOUT_VALUE):
            takes = "no value" if self.operator in WITHOUT_VALUE else "a value"
            raise ValueError(f"{self.operator} takes {takes}")
        return self

    def holds_for(self, task: Task) -> bool:
        """Whether it holds for a task."""
        try:
            found = lookup(task, self.field)
        except MissingPathError:
            found = None
        return OPERATORS[self.operator](caseless_texts(found), caseless(self.value or ""))


class FieldMapping(_Strict):
    """Source of the value of an issue's field.

    Attributes:
        value: Of static the value itself; of path a part of the task; of template text in which
            ``{path}`` stands for a part of the task, ``{path|yes,no}`` for the first text where
            that part is true and for the second where it is false, and ``{{`` for a brace.
    """

    target_field: str = Field(min_length=1)
    source_type: Literal["static", "path", "template"]
    value: str

    @model_validator(mode="after")
    def _names_parts_of_tasks(self) -> Self:
        for path in self.paths:
            if not is_path(path):
                raise ValueError(f"{self.target_field}: {path!r} is none of {PATHS}")
        return self

    @property
    def paths(self) -> Sequence[str]:
        """The parts of a task that it needs."""
        if self.source_type == "static":
            return ()
        if self.source_type == "path":
            return (self.value,)
        return [part.path for _, part in template_parts(self.value) if part]

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
            literal + (_text_for(task, part) if part else "")
            for literal, part in template_parts(self.value)
        )


class StateMapping(_Strict):
    """Mapping of the states of tasks and issues.

    A task is open or completed. An issue is open, done, or cancelled: its status ends it without
    its work, such as Cancelled or Won't do.

    Attributes:
        cancelled_issue: State of the task of a cancelled issue.
        completed_task: State of the issue of a completed task.
    """

    cancelled_issue: Literal["completed", "open"] = "completed"
    completed_task: Literal["done", "cancelled"] = "done"


class SyncRule(_Strict):
    """Rule that maps tasks to issues.

    Attributes:
        priority: The lowest is asked first; of equal ones the first by name.
        conditions: All must hold; none: it matches everything.
        mappings: Fields of the issue beside summary, description and assignee, or in their place.
        states: States of tasks and issues, both ways.
    """

    rule_id: str = Field(pattern=NAME)
    priority: int = Field(ge=0, le=1_000_000, strict=True)
    conditions: tuple[RuleCondition, ...] = ()
    action: Literal["sync", "drop"]
    target_project: str | None = None
    issue_type: str | None = None
    mappings: tuple[FieldMapping, ...] = ()
    states: StateMapping = StateMapping()

    @field_validator("mappings")
    @classmethod
    def _fields_differ(cls, mappings: Sequence[FieldMapping]) -> Sequence[FieldMapping]:
        names = [each.target_field for each in mappings]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"several mappings fill {', '.join(twice)}")
        return tuple(sorted(mappings, key=lambda each: each.target_field))

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
        return all(each.holds_for(task) for each in self.conditions)


@dataclass(frozen=True)
class ActiveRule:
    """A rule in effect; ``disabled_reason`` is what the target proved wrong with it."""

    rule: SyncRule
    version_number: int
    disabled_reason: str | None = None

    @property
    def reference(self) -> str:
        """Its name and version."""
        return f"{self.rule.rule_id}@{self.version_number}"


@dataclass(frozen=True)
class RoutingDecision:
    """Decision about a task, and its rule; None: no rule matches."""

    action: Action
    rule: ActiveRule | None


@dataclass(frozen=True)
class RuleSet:
    """All rules in effect, in the order in which they are asked."""

    rules: Sequence[ActiveRule]

    @classmethod
    def of(cls, rules: Iterable[ActiveRule]) -> Self:
        """Return these rules in their order."""
        return cls(sorted(rules, key=lambda each: each.rule.order))

    @cached_property
    def version(self) -> str:
        """A digest that differs once any rule does."""
        content = [
            [each.reference, each.rule.as_json(), each.disabled_reason] for each in self.rules
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def used(self) -> Sequence[str]:
        """The parts of a task on which decisions and issues depend, sorted."""
        conditions = (one.field for each in self.rules for one in each.rule.conditions)
        mapped = (
            path for each in self.rules for mapping in each.rule.mappings for path in mapping.paths
        )
        return sorted({*ALWAYS_USED, *conditions, *mapped})

    def decide(self, task: Task) -> RoutingDecision:
        """Return what the first rule that matches says."""
        for each in self.rules:
            if each.rule.matches(task):
                is_held = each.disabled_reason is not None and each.rule.action == "sync"
                return RoutingDecision("hold" if is_held else each.rule.action, each)
        return RoutingDecision("drop", None)


def read_rules(given: Sequence[Any]) -> list[SyncRule]:
    """Return rules as somebody wrote them.

    Raises:
        ConfigurationError: Some cannot be used, or no task could ever reach them; says which.
    """
    found: list[SyncRule] = []
    problems: list[str] = []
    for number, each in enumerate(given, start=1):
        try:
            found.append(SyncRule.model_validate(each))
        except ValidationError as error:
            problems += [
                f"rule {number}: {'.'.join(map(str, problem['loc'])) or 'the rule'}: "
                f"{reason_of(problem)}"
                for problem in error.errors()
            ]
    names = [rule.rule_id for rule in found]
    problems += [f"two rules are called {name}" for name in sorted(_twice(names))]
    problems += unreachable(found)
    if problems:
        raise ConfigurationError(
            f"{len(problems)} problem(s) with the rules",
            expected="rules as in docs/how-to/sync-peopleforce-and-jira.md",
            found="; ".join(problems),
            remedy="correct them; those in effect stay as they are",
        )
    return found


def unreachable(rules: Sequence[SyncRule]) -> list[str]:
    """Return which rules no task could ever reach, because one before them matches everything."""
    in_order = sorted(rules, key=lambda rule: rule.order)
    for number, rule in enumerate(in_order):
        if not rule.conditions:
            hidden = [each.rule_id for each in in_order[number + 1 :]]
            return [f"{rule.rule_id} matches everything: {name} is never asked" for name in hidden]
    return []


def _twice(names: Sequence[str]) -> set[str]:
    return {name for name in names if names.count(name) > 1}


def _text_for(task: Task, part: TemplatePart) -> str:
    found = lookup(task, part.path)
    try:
        return part.text_of(found)
    except ValueError:
        raise MissingPathError(f"true or false in {part.path}") from None
