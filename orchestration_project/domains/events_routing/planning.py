"""Actions that follow from a delivery: fields mapped and typed, loops stopped, one per rule."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration_project.contracts.matching import HOP_LABEL, HOPS_HEADER, TargetFields, typed
from orchestration_project.domains.events_routing.rules import (
    NAME,
    ActiveRule,
    RoutedDelivery,
    RoutingMapping,
    RoutingRule,
    RuleSet,
)
from orchestration_project.errors import ConfigurationError

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
    named = [each.strip() for each in headers.get(HOPS_HEADER, "").split(",")]
    labels = _labels(payload)
    found = [*filter(None, named), *labels][: MAX_HOPS + 1]
    return tuple(each if RULE_NAME.fullmatch(each) else "unknown" for each in found)


def _labels(payload: Mapping[str, Any]) -> list[str]:
    issue = payload.get("issue")
    fields = issue.get("fields") if isinstance(issue, dict) else None
    labels = fields.get("labels") if isinstance(fields, dict) else None
    return [
        each.removeprefix(HOP_LABEL)
        for each in (labels if isinstance(labels, list) else ())
        if isinstance(each, str) and each.startswith(HOP_LABEL)
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
    return [plan_action(each, delivery, fields_of) for each in rules.matching(delivery)]


def plan_action(
    rule: ActiveRule, delivery: RoutedDelivery, fields_of: Callable[[RoutingRule], TargetFields]
) -> PlannedAction | RefusedAction:
    """Return the action of a rule that matches a delivery, or why there is none."""
    try:
        if len(delivery.hops) >= MAX_HOPS:
            way = " > ".join((*delivery.hops[:MAX_HOPS], rule.rule.rule_id))
            reason = f"the delivery went through {len(delivery.hops)} rules before: {way}"
            raise _RefusalError("loop", reason)
        fields = _fields(rule.rule, delivery, fields_of(rule.rule))
    except _RefusalError as refusal:
        return RefusedAction(rule, refusal.code, str(refusal))
    except ConfigurationError as error:
        return RefusedAction(rule, "configuration", str(error))
    return PlannedAction(rule, fields, (*delivery.hops, rule.rule.rule_id))


def _fields(rule: RoutingRule, delivery: RoutedDelivery, target: TargetFields) -> dict[str, Any]:
    found = {each.target_field: _value(each, delivery, target) for each in rule.mappings}
    for name in sorted(target.required):
        if found.get(name) is None:
            raise _RefusalError("missing_value", f"{name}: expected a value, found null")
    try:
        text = json.dumps(found, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise _RefusalError("wrong_type", "expected finite numbers, found a larger one") from None
    size = len(text.encode(errors="backslashreplace"))
    if size > MAX_FIELD_BYTES:
        expected = f"expected at most {MAX_FIELD_BYTES} bytes of fields"
        raise _RefusalError("too_large", f"{expected}, found {size}")
    return found


def _value(mapping: RoutingMapping, delivery: RoutedDelivery, target: TargetFields) -> Any:
    kind = target.type_of(mapping.target_field)
    if kind is None:
        raise _RefusalError("configuration", f"the target takes no field {mapping.target_field}")
    stated = mapping.type if kind == "json" and mapping.type else kind
    try:
        return typed(_mapped(mapping, delivery), stated)
    except LookupError as error:
        reason = f"{mapping.target_field}: the delivery has no {error.args[0]}"
        raise _RefusalError("missing_path", reason) from None
    except ValueError as error:
        raise _RefusalError("wrong_type", f"{mapping.target_field}: {error}") from None


def _mapped(mapping: RoutingMapping, delivery: RoutedDelivery) -> Any:
    if mapping.source_type == "static":
        return mapping.value
    if mapping.source_type == "path":
        return _json_value(_at(delivery, str(mapping.value)))
    return "".join(
        literal + (part.text_of(_at(delivery, part.path)) if part else "")
        for literal, part in mapping.parts
    )


def _at(delivery: RoutedDelivery, path: str) -> Any:
    try:
        return delivery.value_at(path)
    except LookupError:
        raise LookupError(path) from None


def _json_value(found: Any) -> Any:
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
    old = {each.rule.rule.rule_id: _shown(each) for each in before}
    new = {each.rule.rule.rule_id: _shown(each) for each in after}
    return [
        RoutingDifference(
            delivery.source, delivery.delivery_id, name, old.get(name, ""), new.get(name, "")
        )
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _shown(planned: PlannedAction | RefusedAction) -> str:
    if isinstance(planned, RefusedAction):
        return f"dead letter ({planned.reason_code}): {planned.reason}"
    rule = planned.rule.rule
    fields = json.dumps(planned.fields, ensure_ascii=False, sort_keys=True)
    return f"{rule.action} {rule.target} {fields}"
