"""Rules: which tasks become which issues; the first that matches counts, by priority.

A task that no rule matches is dropped, and can be counted. A rule that the target proved wrong
still matches, and holds its tasks back: the next one would make other issues of them.
"""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from string import Formatter
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from orchestration_project.domains.saas.lookup import (
    MissingPathError,
    as_text,
    is_path,
    lookup,
)
from orchestration_project.domains.saas.records import Task
from orchestration_project.errors import ConfigurationError

Action = Literal["sync", "drop", "hold"]
Operator = Literal["is", "is_not", "contains", "starts_with", "is_empty", "is_present"]

WITHOUT_VALUE = ("is_empty", "is_present")

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
        parts = found if isinstance(found, list) else [found]
        texts = [_caseless(as_text(each)) for each in parts]
        return OPERATORS[self.operator](texts, _caseless(self.value or ""))


OPERATORS: Mapping[Operator, Callable[[Sequence[str], str], bool]] = {
    "is": lambda texts, wanted: wanted in texts,
    "is_not": lambda texts, wanted: wanted not in texts,
    "contains": lambda texts, wanted: any(wanted in each for each in texts),
    "starts_with": lambda texts, wanted: any(each.startswith(wanted) for each in texts),
    "is_empty": lambda texts, _: not any(texts),
    "is_present": lambda texts, _: any(texts),
}


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
            literal + (part.text_for(task) if part else "")
            for literal, part in template_parts(self.value)
        )


@dataclass(frozen=True)
class TemplatePart:
    """A part of a task in a template; ``words`` are its texts for true and false, if any."""

    path: str
    words: tuple[str, str] | None

    @classmethod
    def read(cls, text: str) -> Self:
        """Return what stands within braces.

        Raises:
            ValueError: It is neither a path nor a path with two texts.
        """
        path, bar, words = text.partition("|")
        if not bar:
            return cls(path, None)
        if words.count(",") != 1:
            raise ValueError(
                f"invalid {{{text}}}: expected a path and two texts, e.g. {{is_completed|yes,no}}"
            )
        if_true, _, if_false = words.partition(",")
        return cls(path, (if_true, if_false))

    def text_for(self, task: Task) -> str:
        """Return its text for a task; null is empty, a boolean without words true or false.

        Raises:
            MissingPathError: As `FieldMapping.value_for` does.
        """
        found = lookup(task, self.path)
        if self.words is None or found is None:
            return as_text(found)
        if not isinstance(found, bool):
            raise MissingPathError(f"true or false in {self.path}")
        return self.words[0] if found else self.words[1]


def template_parts(template: str) -> Sequence[tuple[str, TemplatePart | None]]:
    """Return the texts of a template, each with the part of a task that follows it.

    Raises:
        ValueError: It is none: a brace alone, or more within braces than a path and two texts.
    """
    found: list[tuple[str, TemplatePart | None]] = []
    for literal, text, form, conversion in Formatter().parse(template):
        if form or conversion:
            raise ValueError(f"{{{text}}} has more than a path")
        found.append((literal, None if text is None else TemplatePart.read(text)))
    return found


class SyncRule(_Strict):
    """Rule that maps tasks to issues.

    Attributes:
        priority: The lowest is asked first; of equal ones the first by name.
        conditions: All must hold; none: it matches everything.
        mappings: Fields of the issue beside summary, description and assignee, or in their place.
    """

    rule_id: str = Field(pattern=NAME)
    priority: int = Field(ge=0, le=1_000_000, strict=True)
    conditions: tuple[RuleCondition, ...] = ()
    action: Literal["sync", "drop"]
    target_project: str | None = None
    issue_type: str | None = None
    mappings: tuple[FieldMapping, ...] = ()

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
        if self.action == "drop" and (any(says) or self.mappings):
            raise ValueError("drop makes no issue: no target_project, issue_type or mappings")
        return self

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
            [each.reference, each.rule.model_dump(mode="json"), each.disabled_reason]
            for each in self.rules
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
                f"rule {number}: {'.'.join(map(str, one['loc']))}: {one['msg']}"
                for one in error.errors()
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


def _caseless(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
