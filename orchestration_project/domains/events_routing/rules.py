"""Routing rules: conditions on a delivery, an action at a target, and mappings of its fields.

All rules that match a delivery apply. They are compiled once, and indexed by source and kind.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationError,
    field_validator,
    model_validator,
)
from yaml import YAMLError

from orchestration_project.contracts.matching import (
    OPERATORS,
    WITHOUT_VALUE,
    FieldType,
    Operator,
    TargetFields,
    TemplatePart,
    caseless,
    caseless_texts,
    member_at,
    template_parts,
    typed,
)
from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.settings.yaml import located, read_yaml, reason_of, syntax_problem

NAME = r"^[a-z][a-z0-9_]{0,62}$"
FIELD_NAME = r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$"

PAYLOAD = "payload."
ATTRIBUTES = ("source", "kind", "delivery_id", "received_at")
PATHS = f"{', '.join(ATTRIBUTES)} or a path payload.<name>.<name>"

MAX_RULES = 5_000
MAX_PROBLEMS = 20
MAX_PATH = 200
MAX_TEXT = 4_000
"""Longest value of a condition or a mapping, in characters."""

Place = tuple[int | str, ...]

Problem = tuple[Place, str]
"""Place in a rule, and what is wrong there."""

Check = tuple[str, Operator, str]
"""Path, operator and caseless value of a condition."""


def is_path(path: str) -> bool:
    """Whether a text names a part of a delivery, which a particular one may lack."""
    names = path.split(".")
    return path in ATTRIBUTES or (
        path.startswith(PAYLOAD) and all(names) and len(path) <= MAX_PATH and _are_plain(names)
    )


def _are_plain(names: Iterable[str]) -> bool:
    return all(len(name) < 10 or not name.isdecimal() for name in names)


@dataclass
class RoutedDelivery:
    """A delivery as rules see it.

    Attributes:
        payload: Its body, a JSON object.
        hops: Rules that it went through before it came, the first one first.
    """

    source: str
    delivery_id: str
    kind: str | None
    received_at: datetime
    payload: Mapping[str, Any]
    hops: tuple[str, ...] = ()
    _texts: dict[str, Sequence[str]] = field(default_factory=dict, repr=False)

    def value_at(self, path: str) -> Any:
        """Return the part at a path.

        Raises:
            LookupError: There is none; one that is null is there.
        """
        if path in ATTRIBUTES:
            return getattr(self, path)
        return member_at(self.payload, path.split(".")[1:])

    def texts_at(self, path: str) -> Sequence[str]:
        """Return the caseless texts at a path, kept for further rules; of none, an empty one."""
        texts = self._texts.get(path)
        if texts is None:
            try:
                texts = caseless_texts(self.value_at(path))
            except LookupError:
                texts = [""]
            self._texts[path] = texts
        return texts


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RoutingCondition(_Strict):
    """Condition on a part of a delivery, case-insensitive.

    Of a list, it must hold of one of its items. A part that a delivery lacks is empty.
    """

    field: str
    operator: Operator = "is"
    value: str | None = Field(default=None, max_length=MAX_TEXT)

    @property
    def text(self) -> str:
        """The condition in words."""
        return " ".join(filter(None, (self.field, self.operator, self.value)))

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if not is_path(self.field):
            raise ValueError(f"expected field {PATHS}, found {self.field[:MAX_PATH]!r}")
        if (self.value is None) != (self.operator in WITHOUT_VALUE):
            takes = "no value" if self.operator in WITHOUT_VALUE else "a value"
            raise ValueError(f"expected {takes} with {self.operator}")
        return self


class RoutingMapping(_Strict):
    """Source of the value of a target's field.

    Attributes:
        target_field: Name of the field, such as a column.
        value: Of static the value itself; of path a part of the delivery; of template text in
            which ``{path}`` stands for a part, ``{path|yes,no}`` for the first text where that is
            true and for the second where it is false, and ``{{`` for a brace.
        type: Type, where the target does not state one.
    """

    target_field: str = Field(pattern=FIELD_NAME)
    source_type: Literal["static", "path", "template"]
    value: str | StrictBool | StrictInt | StrictFloat
    type: FieldType | None = None

    @model_validator(mode="after")
    def _names_parts_of_deliveries(self) -> Self:
        if self.source_type != "static" and not isinstance(self.value, str):
            raise ValueError(f"expected a text as value of {self.source_type}")
        if isinstance(self.value, str) and len(self.value) > MAX_TEXT:
            raise ValueError(f"expected a value of at most {MAX_TEXT} characters")
        for path in self.paths:
            if not is_path(path):
                raise ValueError(f"expected {PATHS}, found {path[:MAX_PATH]!r}")
        return self

    @cached_property
    def parts(self) -> Sequence[tuple[str, TemplatePart | None]]:
        """Texts and paths of a template."""
        return template_parts(str(self.value))

    @property
    def paths(self) -> Sequence[str]:
        """The parts of a delivery that it needs."""
        if self.source_type == "static":
            return ()
        if self.source_type == "path":
            return (str(self.value),)
        return [part.path for _, part in self.parts if part]


class RoutingRule(_Strict):
    """Rule that maps deliveries to an action.

    Attributes:
        source: Source in WEBHOOKS_FILE whose job is events_webhooks.
        kind: Kind of the deliveries; None: all.
        conditions: All must hold; none: it matches every delivery of source and kind.
        action: Name of an action that a domain registers, such as http_request.
        target: Target of the action, such as the name of a declared table.
        mappings: Values of the target's fields.
    """

    rule_id: str = Field(pattern=NAME)
    source: str = Field(pattern=NAME)
    kind: str | None = Field(default=None, pattern=r"^[!-~]{1,200}$")
    conditions: tuple[RoutingCondition, ...] = Field(default=(), max_length=50)
    action: str = Field(pattern=NAME)
    target: str = Field(pattern=NAME)
    mappings: tuple[RoutingMapping, ...] = Field(default=(), max_length=200)

    @field_validator("mappings")
    @classmethod
    def _fields_differ(cls, mappings: Sequence[RoutingMapping]) -> Sequence[RoutingMapping]:
        names = [each.target_field for each in mappings]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"expected one mapping per field, found several of {twice[0]}")
        return tuple(mappings)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON, without what is not given."""
        return self.model_dump(mode="json", exclude_none=True)


@dataclass(frozen=True)
class ActiveRule:
    """A rule in effect."""

    rule: RoutingRule
    version_number: int

    @property
    def reference(self) -> str:
        """Its name and version."""
        return f"{self.rule.rule_id}@{self.version_number}"

    @cached_property
    def checks(self) -> Sequence[Check]:
        """Its conditions, compiled."""
        return [(each.field, each.operator, caseless(each.value or "")) for each in self.conditions]

    @property
    def conditions(self) -> Sequence[RoutingCondition]:
        """Its conditions; those that an index answers come first."""
        return sorted(self.rule.conditions, key=lambda each: each.operator != "is")

    def matches(self, delivery: RoutedDelivery) -> bool:
        """Whether all conditions hold for a delivery of its source and kind."""
        return all(
            OPERATORS[operator](delivery.texts_at(path), value)
            for path, operator, value in self.checks
        )


@dataclass
class _Candidates:
    """Rules of a source and kind by their first condition: a path with a text, or another one."""

    by_text: dict[str, dict[str, list[ActiveRule]]] = field(default_factory=dict)
    by_check: dict[Check, list[ActiveRule]] = field(default_factory=dict)
    others: list[ActiveRule] = field(default_factory=list)

    def add(self, rule: ActiveRule) -> None:
        if not rule.checks:
            self.others.append(rule)
            return
        path, operator, value = rule.checks[0]
        if operator == "is":
            self.by_text.setdefault(path, {}).setdefault(value, []).append(rule)
        else:
            self.by_check.setdefault(rule.checks[0], []).append(rule)

    def of(self, delivery: RoutedDelivery) -> Iterator[ActiveRule]:
        for path, rules in self.by_text.items():
            for text in set(delivery.texts_at(path)):
                yield from rules.get(text, ())
        for (path, operator, value), rules in self.by_check.items():
            if OPERATORS[operator](delivery.texts_at(path), value):
                yield from rules
        yield from self.others


@dataclass(frozen=True)
class RuleSet:
    """All rules in effect, by name."""

    rules: Sequence[ActiveRule]

    @classmethod
    def of(cls, rules: Iterable[ActiveRule]) -> Self:
        """Return these rules in their order."""
        return cls(sorted(rules, key=lambda each: each.rule.rule_id))

    @cached_property
    def version(self) -> str:
        """A digest that differs once any rule does; an edit names the one that it is based on."""
        content = [[each.reference, each.rule.as_json()] for each in self.rules]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def _index(self) -> Mapping[tuple[str, str | None], _Candidates]:
        index: dict[tuple[str, str | None], _Candidates] = {}
        for each in self.rules:
            index.setdefault((each.rule.source, each.rule.kind), _Candidates()).add(each)
        return index

    def matching(self, delivery: RoutedDelivery) -> Sequence[ActiveRule]:
        """Return the rules that match a delivery, by name."""
        kinds = (None,) if delivery.kind is None else (None, delivery.kind)
        found = [
            each
            for kind in kinds
            if (candidates := self._index.get((delivery.source, kind)))
            for each in candidates.of(delivery)
            if each.matches(delivery)
        ]
        return sorted(found, key=lambda each: each.rule.rule_id)


@dataclass(frozen=True)
class RulesText:
    """Rules as a list or as YAML; problems of YAML name the line."""

    given: Sequence[Any]
    yaml: str = ""

    @classmethod
    def of_yaml(cls, text: str) -> Self:
        """Return the rules of a YAML or JSON text: a list.

        Raises:
            ConfigurationError: It is not a list.
        """
        try:
            given = read_yaml(text)
        except YAMLError as error:
            raise invalid_rules([syntax_problem(error)]) from None
        if not isinstance(given, list):
            raise invalid_rules(["expected a list of rules, e.g. - rule_id: big_orders"])
        return cls(given, text)

    def problem(self, place: Place, reason: str) -> str:
        """Return a problem with the rule, the part of it and the line."""
        number, rest = int(place[0]), place[1:]
        given = self.given[number]
        name = given.get("rule_id") if isinstance(given, dict) else None
        shown = f"rule {number + 1}" + (f" ({str(name)[:63]})" if name else "")
        text = ": ".join(filter(None, (shown, ".".join(map(str, rest)), reason)))
        return located(self.yaml, tuple(map(str, place)), text) if self.yaml else text

    def read(
        self,
        fields_of: Callable[[RoutingRule], TargetFields],
        examine: Callable[[RoutingRule], Sequence[Problem]] = lambda _: (),
    ) -> list[RoutingRule]:
        """Return the rules.

        Args:
            fields_of: Returns the fields of a rule's target; raises ConfigurationError if its
                source, action or target is not known.
            examine: Returns further problems of a rule without any, each with its place in it.

        Raises:
            ConfigurationError: Some cannot be used; names each problem with its place.
        """
        if len(self.given) > MAX_RULES:
            raise invalid_rules([f"expected at most {MAX_RULES} rules, found {len(self.given)}"])
        found: list[RoutingRule] = []
        problems: list[Problem] = []
        names: set[str] = set()
        for number, each in enumerate(self.given):
            try:
                rule = RoutingRule.model_validate(each)
            except ValidationError as error:
                problems += [((number, *one["loc"]), reason_of(one)) for one in error.errors()]
                continue
            if rule.rule_id in names:
                problems.append(((number, "rule_id"), "expected a name of its own"))
            names.add(rule.rule_id)
            found.append(rule)
            own = target_problems(rule, fields_of) or examine(rule)
            problems += [((number, *place), reason) for place, reason in own]
        if problems:
            shown = [self.problem(*each) for each in problems[:MAX_PROBLEMS]]
            raise invalid_rules(shown, count=len(problems))
        return found


def target_problems(
    rule: RoutingRule, fields_of: Callable[[RoutingRule], TargetFields]
) -> list[Problem]:
    """Return what of a rule its target does not take, each with its place in the rule."""
    try:
        fields = fields_of(rule)
    except ConfigurationError as error:
        return [((error.context.get("part", "target"),), error.line)]
    problems: list[Problem] = []
    for number, mapping in enumerate(rule.mappings):
        place = ("mappings", number)
        kind = fields.type_of(mapping.target_field)
        if kind is None:
            known = ", ".join(fields.types) or "no fields"
            hint = did_you_mean(mapping.target_field, fields.types)
            text = f"expected one of {known}, found {mapping.target_field}"
            problems.append(((*place, "target_field"), "; ".join(filter(None, (text, hint)))))
            continue
        if mapping.type not in (None, kind) and kind != "json":
            problems.append(((*place, "type"), f"expected {kind}, found {mapping.type}"))
            continue
        if mapping.source_type == "static":
            try:
                typed(mapping.value, mapping.type or kind)
            except ValueError as error:
                problems.append(((*place, "value"), str(error)))
    mapped = {each.target_field for each in rule.mappings}
    if missing := sorted(fields.required - mapped):
        problems.append((("mappings",), f"expected a mapping of {', '.join(missing)}"))
    return problems


def invalid_rules(problems: Sequence[str], *, count: int | None = None) -> ConfigurationError:
    """Return the error of rules that cannot be used; ``count``: of all their problems."""
    count = len(problems) if count is None else count
    more = [f"and {count - len(problems)} more"] if count > len(problems) else []
    return ConfigurationError(
        f"{count} problem(s) with the routing rules",
        expected="rules as in docs/how-to/route-webhooks.md",
        found="; ".join([*problems, *more]),
        remedy="correct them; those in effect stay as they are",
    )
