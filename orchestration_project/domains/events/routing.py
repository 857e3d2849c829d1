"""Routing rules, and the actions that follow from a delivery by them.

A rule has conditions on a delivery, an action at a target, and mappings of its fields. All rules
that match a delivery apply. They are compiled once, and indexed by source and kind. Planning maps
and types the fields, and stops loops: one action or dead letter per rule.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from pydantic import (
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    field_validator,
    model_validator,
)

from orchestration_project.engine.contracts.matching import (
    HOP_LABEL,
    MAX_PATH,
    MAX_TEXT,
    NAME,
    OPERATORS,
    Condition,
    EditedRule,
    FieldMapping,
    FieldType,
    Operator,
    Paths,
    RuleInEffect,
    RulesInEffect,
    TargetFields,
    convert_json,
    find_member,
    fold_case,
    fold_texts,
    require_one_per_field,
)
from orchestration_project.engine.contracts.rule_edits import Problem, RulesForm
from orchestration_project.engine.contracts.ticks import PlannedRun, TickPlan
from orchestration_project.engine.contracts.webhooks.sources import HOPS_HEADER
from orchestration_project.errors import ConfigurationError, did_you_mean

FIELD_NAME = r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$"

PAYLOAD = "payload."
ATTRIBUTES = ("source", "kind", "delivery_id", "received_at")

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
        return find_member(self.payload, path.split(".")[1:])

    def texts_at(self, path: str) -> Sequence[str]:
        """Return the caseless texts at a path, kept for further rules; of none, an empty one."""
        texts = self._texts.get(path)
        if texts is None:
            try:
                texts = fold_texts(self.value_at(path))
            except LookupError:
                texts = [""]
            self._texts[path] = texts
        return texts


PATHS = Paths(is_path, f"{', '.join(ATTRIBUTES)} or a path payload.<name>.<name>")


class RoutingCondition(Condition):
    """Condition on a part of a delivery."""

    paths_known = PATHS

    @property
    def text(self) -> str:
        """The condition in words."""
        return " ".join(filter(None, (self.field, self.operator, self.value)))


class RoutingMapping(FieldMapping):
    """Source of the value of a target's field.

    Attributes:
        type: Type, where the target does not state one.
    """

    paths_known = PATHS

    target_field: str = Field(pattern=FIELD_NAME)
    value: str | StrictBool | StrictInt | StrictFloat
    type: FieldType | None = None

    @model_validator(mode="after")
    def _has_a_value_of_its_source(self) -> Self:
        if self.source_type != "static" and not isinstance(self.value, str):
            raise ValueError(f"expected a text as value of {self.source_type}")
        if isinstance(self.value, str) and len(self.value) > MAX_TEXT:
            raise ValueError(f"expected a value of at most {MAX_TEXT} characters")
        return self


class RoutingRule(EditedRule):
    """Rule that maps deliveries to an action.

    Attributes:
        source: Source in WEBHOOKS_FILE whose job is events_webhooks.
        kind: Kind of the deliveries; None: all.
        conditions: All must hold; none: it matches every delivery of source and kind.
        action: Name of an action that a domain registers, such as http_request.
        target: Target of the action, such as the name of a declared table.
        mappings: Values of the target's fields.
    """

    source: str = Field(pattern=NAME)
    kind: str | None = Field(default=None, pattern=r"^[!-~]{1,200}$")
    conditions: tuple[RoutingCondition, ...] = Field(default=(), max_length=50)
    action: str = Field(pattern=NAME)
    target: str = Field(pattern=NAME)
    mappings: tuple[RoutingMapping, ...] = Field(default=(), max_length=200)

    @field_validator("mappings")
    @classmethod
    def _fields_differ(cls, mappings: Sequence[RoutingMapping]) -> Sequence[RoutingMapping]:
        return tuple(require_one_per_field(mappings))


@dataclass(frozen=True)
class ActiveRule(RuleInEffect[RoutingRule]):
    """A rule in effect."""

    @cached_property
    def checks(self) -> Sequence[Check]:
        """Its conditions, compiled."""
        return [
            (condition.field, condition.operator, fold_case(condition.value or ""))
            for condition in self.conditions
        ]

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
class RuleSet(RulesInEffect[ActiveRule]):
    """All rules in effect, by name."""

    @classmethod
    def of(cls, rules: Iterable[ActiveRule]) -> Self:
        """Return these rules in their order."""
        return cls(sorted(rules, key=lambda active: active.rule.rule_id))

    @cached_property
    def _index(self) -> Mapping[tuple[str, str | None], _Candidates]:
        index: dict[tuple[str, str | None], _Candidates] = {}
        for rule in self.rules:
            index.setdefault((rule.rule.source, rule.rule.kind), _Candidates()).add(rule)
        return index

    def matching(self, delivery: RoutedDelivery) -> Sequence[ActiveRule]:
        """Return the rules that match a delivery, by name."""
        kinds = (None,) if delivery.kind is None else (None, delivery.kind)
        active_rules = [
            active_rule
            for kind in kinds
            if (candidates := self._index.get((delivery.source, kind)))
            for active_rule in candidates.of(delivery)
            if active_rule.matches(delivery)
        ]
        return sorted(active_rules, key=lambda each: each.rule.rule_id)


FORM = RulesForm(RoutingRule, "routing rules", "docs/how-to/route-webhooks.md")


def target_problems(
    rule: RoutingRule, fields_of: Callable[[RoutingRule], TargetFields]
) -> list[Problem]:
    """Return the problems of a rule with its target, each with its place in the rule."""
    try:
        fields = fields_of(rule)
    except ConfigurationError as error:
        return [((error.context.get("part", "target"),), error.line)]
    problems: list[Problem] = []
    for number, mapping in enumerate(rule.mappings):
        pair = ("mappings", number)
        kind = fields.type_of(mapping.target_field)
        if kind is None:
            known_fields = ", ".join(fields.types) or "no fields"
            hint = did_you_mean(mapping.target_field, fields.types)
            text = f"expected one of {known_fields}, found {mapping.target_field}"
            problems.append(((*pair, "target_field"), "; ".join(filter(None, (text, hint)))))
            continue
        if mapping.type not in (None, kind) and kind != "json":
            problems.append(((*pair, "type"), f"expected {kind}, found {mapping.type}"))
            continue
        if mapping.source_type == "static":
            try:
                convert_json(mapping.value, mapping.type or kind)
            except ValueError as error:
                problems.append(((*pair, "value"), str(error)))
    mapped = {routing_mapping.target_field for routing_mapping in rule.mappings}
    if missing := sorted(fields.required - mapped):
        problems.append((("mappings",), f"expected a mapping of {', '.join(missing)}"))
    return problems


MAX_HOPS = 5
"""Rules that data may go through; the next one is a loop."""

MAX_FIELD_BYTES = 200_000
"""Size of an action's fields as JSON."""

RULE_NAME = re.compile(NAME, re.ASCII)


@dataclass(frozen=True)
class PlannedAction:
    """An action to take.

    Attributes:
        rule: The rule that matched.
        fields: Values of the target's fields.
        hops: Rules that the data went through, this one last.
    """

    rule: ActiveRule
    fields: Mapping[str, Any]
    hops: tuple[str, ...]


@dataclass(frozen=True)
class RefusedAction:
    """An action that cannot be planned: a dead letter.

    Attributes:
        reason_code: loop, missing_path, wrong_type, missing_value, too_large or configuration.
        reason: The reason, without values of the delivery.
    """

    rule: ActiveRule
    reason_code: str
    reason: str


class _RefusalError(Exception):
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def hops_of(headers: Mapping[str, str], payload: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the rules that a delivery went through, by its header and the labels of an issue.

    A name that no rule can have counts as a hop, too: a loop that spoils the header ends as well.
    """
    named = [part.strip() for part in headers.get(HOPS_HEADER, "").split(",")]
    labels = _read_labels(payload)
    names = [*filter(None, named), *labels][: MAX_HOPS + 1]
    return tuple(name if RULE_NAME.fullmatch(name) else "unknown" for name in names)


def _read_labels(payload: Mapping[str, Any]) -> list[str]:
    issue = payload.get("issue")
    fields = issue.get("fields") if isinstance(issue, dict) else None
    labels = fields.get("labels") if isinstance(fields, dict) else None
    return [
        label.removeprefix(HOP_LABEL)
        for label in (labels if isinstance(labels, list) else ())
        if isinstance(label, str) and label.startswith(HOP_LABEL)
    ]


def plan_delivery(
    rules: RuleSet, delivery: RoutedDelivery, fields_of: Callable[[RoutingRule], TargetFields]
) -> list[PlannedAction | RefusedAction]:
    """Return the action of each rule that matches a delivery, or why there is none.

    Args:
        rules: The rules in effect.
        delivery: The delivery.
        fields_of: Returns the fields of a rule's target; raises ConfigurationError if a setting
            that the rule needs is gone.
    """
    return [
        plan_action(active_rule, delivery, fields_of) for active_rule in rules.matching(delivery)
    ]


def plan_action(
    rule: ActiveRule, delivery: RoutedDelivery, fields_of: Callable[[RoutingRule], TargetFields]
) -> PlannedAction | RefusedAction:
    """Return the action of a rule that matches a delivery, or why there is none."""
    try:
        if len(delivery.hops) >= MAX_HOPS:
            way = " > ".join((*delivery.hops[:MAX_HOPS], rule.rule.rule_id))
            reason = f"the delivery went through {len(delivery.hops)} rules before: {way}"
            raise _RefusalError("loop", reason)
        fields = _build_fields(rule.rule, delivery, fields_of(rule.rule))
    except _RefusalError as refusal:
        return RefusedAction(rule, refusal.code, str(refusal))
    except ConfigurationError as error:
        return RefusedAction(rule, "configuration", str(error))
    return PlannedAction(rule, fields, (*delivery.hops, rule.rule.rule_id))


def _build_fields(
    rule: RoutingRule, delivery: RoutedDelivery, target: TargetFields
) -> dict[str, Any]:
    fields = {
        mapping.target_field: _convert_value(mapping, delivery, target) for mapping in rule.mappings
    }
    for name in sorted(target.required):
        if fields.get(name) is None:
            raise _RefusalError("missing_value", f"{name}: expected a value, found null")
    try:
        text = json.dumps(fields, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise _RefusalError("wrong_type", "expected finite numbers, found a larger one") from None
    size = len(text.encode(errors="backslashreplace"))
    if size > MAX_FIELD_BYTES:
        expected = f"expected at most {MAX_FIELD_BYTES} bytes of fields"
        raise _RefusalError("too_large", f"{expected}, found {size}")
    return fields


def _convert_value(mapping: RoutingMapping, delivery: RoutedDelivery, target: TargetFields) -> Any:
    kind = target.type_of(mapping.target_field)
    if kind is None:
        raise _RefusalError("configuration", f"the target takes no field {mapping.target_field}")
    name = mapping.type if kind == "json" and mapping.type else kind
    try:
        return convert_json(_map_value(mapping, delivery), name)
    except LookupError as error:
        reason = f"{mapping.target_field}: the delivery has no {error.args[0]}"
        raise _RefusalError("missing_path", reason) from None
    except ValueError as error:
        raise _RefusalError("wrong_type", f"{mapping.target_field}: {error}") from None


def _map_value(mapping: RoutingMapping, delivery: RoutedDelivery) -> Any:
    if mapping.source_type == "static":
        return mapping.value
    if mapping.source_type == "path":
        return _encode_value(_find_at(delivery, str(mapping.value)))
    return "".join(
        literal + (part.text_of(_find_at(delivery, part.path)) if part else "")
        for literal, part in mapping.parts
    )


def _find_at(delivery: RoutedDelivery, path: str) -> Any:
    try:
        return delivery.value_at(path)
    except LookupError:
        raise LookupError(path) from None


def _encode_value(found: Any) -> Any:
    return found.isoformat() if hasattr(found, "isoformat") else found


def idempotency_key(source: str, delivery_id: str, rule_id: str) -> str:
    """Return the key that a target gets with an action, equal for all of its attempts."""
    content = json.dumps([source, delivery_id, rule_id]).encode()
    return f"routing_{hashlib.sha256(content).hexdigest()[:32]}"


@dataclass(frozen=True)
class RoutingDifference:
    """Difference that edited rules would make for a recorded delivery.

    Attributes:
        before: Action by the rules in effect, as JSON or a refusal; empty: none.
        after: The same by the edited rules.
    """

    source: str
    delivery_id: str
    rule_id: str
    before: str
    after: str


def difference(
    delivery: RoutedDelivery,
    before: Sequence[PlannedAction | RefusedAction],
    after: Sequence[PlannedAction | RefusedAction],
) -> list[RoutingDifference]:
    """Return in what two plans of a delivery differ, by rule."""
    old = {item.rule.rule.rule_id: _render_action(item) for item in before}
    new = {item.rule.rule.rule_id: _render_action(item) for item in after}
    return [
        RoutingDifference(
            delivery.source, delivery.delivery_id, name, old.get(name, ""), new.get(name, "")
        )
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _render_action(planned: PlannedAction | RefusedAction) -> str:
    if isinstance(planned, RefusedAction):
        return f"dead letter ({planned.reason_code}): {planned.reason}"
    rule = planned.rule.rule
    fields = json.dumps(planned.fields, ensure_ascii=False, sort_keys=True)
    return f"{rule.action} {rule.target} {fields}"


def plan_actions(
    requests: Sequence[PlannedRun],
    apply_job: str,
    *,
    is_due: bool,
    is_apply_due: bool,
    running: str,
) -> TickPlan:
    """Return the runs that take due actions.

    Args:
        requests: Runs that rules request.
        apply_job: Job that takes all other actions.
        is_due: Whether any action is due.
        is_apply_due: Whether one of those of that job is.
        running: A sentence about a run of that job that is under way; empty: none is.
    """
    if not is_due:
        return TickPlan(skip_reason="No routed action is due.")
    runs = list(requests)
    if is_apply_due and not running:
        runs.append(PlannedRun(job_name=apply_job))
    reason = "" if runs else "The runs that take what is due are under way."
    return TickPlan(requests=runs, skip_reason=reason)
