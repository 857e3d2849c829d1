"""Routing rules: which deliveries they match, what they map, and what they refuse."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestration_project.domains.events.routing import (
    FORM,
    MAX_HOPS,
    ActiveRule,
    PlannedAction,
    RefusedAction,
    RoutedDelivery,
    RoutingRule,
    RuleSet,
    difference,
    hops_of,
    idempotency_key,
    plan_delivery,
    target_problems,
)
from orchestration_project.engine.contracts.matching import TargetFields, convert_json
from orchestration_project.engine.contracts.rule_edits import Problem
from orchestration_project.engine.contracts.webhooks.sources import HOPS_HEADER
from orchestration_project.errors import ConfigurationError

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
ORDERS = TargetFields(
    {"number": "integer", "total": "number", "note": "text", "paid_at": "timestamp"},
    frozenset({"number"}),
)
RULE: dict[str, Any] = {
    "rule_id": "orders",
    "source": "shop",
    "kind": "order.paid",
    "conditions": [{"field": "payload.customer.country", "value": "DE"}],
    "action": "row",
    "target": "orders",
    "mappings": [
        {"target_field": "number", "source_type": "path", "value": "payload.id"},
        {
            "target_field": "note",
            "source_type": "template",
            "value": "{payload.customer.name} {payload.gift|a gift,no gift} of {kind}",
        },
    ],
}


def fields_of(rule: RoutingRule) -> TargetFields:
    known = {"orders": ORDERS, "anything": TargetFields({}, others="json")}
    if rule.target not in known:
        raise ConfigurationError(f"invalid target {rule.target!r}: expected orders, e.g. orders")
    return known[rule.target]


def delivery(kind: str | None = "order.paid", **payload: Any) -> RoutedDelivery:
    body = {"id": 7, "gift": True, "customer": {"name": "Ada", "country": "de"}, **payload}
    return RoutedDelivery("shop", "d1", kind, NOON, body)


def problems_of(rule: RoutingRule) -> Sequence[Problem]:
    return target_problems(rule, fields_of)


def rule_set(*given: dict[str, Any]) -> RuleSet:
    rules = FORM.text_of(given or (RULE,)).read(problems_of)
    return RuleSet.of(ActiveRule(rule, 1) for rule in rules)


def changed(**values: Any) -> dict[str, Any]:
    return {**RULE, **values}


def mapped(*mappings: dict[str, Any], **values: Any) -> dict[str, Any]:
    number = {"target_field": "number", "source_type": "static", "value": 1}
    return changed(mappings=[number, *mappings], **values)


def test_a_delivery_that_matches_is_mapped_to_typed_fields():
    [planned] = plan_delivery(rule_set(), delivery(), fields_of)
    assert isinstance(planned, PlannedAction)
    assert planned.fields == {"number": 7, "note": "Ada a gift of order.paid"}
    assert planned.hops == ("orders",)


@pytest.mark.parametrize(
    ("given", "is_matched"),
    [
        ({"kind": None}, True),
        ({"kind": "order.sent"}, False),
        ({"source": "other"}, False),
        ({"conditions": []}, True),
        ({"conditions": [{"field": "payload.gift", "value": "TRUE"}]}, True),
        ({"conditions": [{"field": "payload.gone", "operator": "is_empty"}]}, True),
        ({"conditions": [{"field": "payload.tags", "value": "new"}]}, True),
        ({"conditions": [{"field": "payload.tags.1", "value": "big"}]}, True),
        ({"conditions": [{"field": "delivery_id", "operator": "starts_with", "value": "D"}]}, True),
        ({"conditions": [{"field": "payload.id", "operator": "is_not", "value": "7"}]}, False),
    ],
)
def test_conditions_are_about_source_kind_and_parts(given, is_matched):
    rules = rule_set(changed(**given))
    assert bool(rules.matching(delivery(tags=["new", "big"]))) is is_matched


def test_all_rules_that_match_apply_in_the_order_of_their_names():
    rules = rule_set(changed(rule_id="b"), changed(rule_id="c", kind=None), changed(rule_id="a"))
    assert [matched_rule.reference for matched_rule in rules.matching(delivery())] == [
        "a@1",
        "b@1",
        "c@1",
    ]


def test_a_delivery_is_compared_with_the_rules_of_its_source_and_kind_alone():
    others = [changed(rule_id=f"r{number}", source=f"s{number}") for number in range(1_000)]
    rules, found = rule_set(*others, RULE), delivery()
    assert [matched_rule.rule.rule_id for matched_rule in rules.matching(found)] == ["orders"]
    many = rule_set(*(changed(rule_id=f"r{number}") for number in range(1_000)))
    assert len(many.matching(found)) == 1_000
    assert list(found._texts) == ["payload.customer.country"], "each part is read once"


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        ({"id": "seven"}, "wrong_type", "number: expected an integer, e.g. 42, found another text"),
        ({"id": {}}, "wrong_type", "number: expected an integer, e.g. 42, found an object"),
        ({"id": None}, "missing_value", "number: expected a value, found null"),
        ({"customer": {"country": "DE"}}, "missing_path", "has no payload.customer.name"),
        ({"gift": "perhaps"}, "wrong_type", "expected true or false"),
        ({"customer": {"country": "DE", "name": "x" * 200_000}}, "too_large", "found 200"),
        ({"id": float("inf")}, "wrong_type", "number: expected an integer"),
    ],
)
def test_a_delivery_that_does_not_fit_is_a_dead_letter_of_its_own(payload, code, reason):
    planned = [
        plan_delivery(rule_set(), sent_delivery, fields_of)
        for sent_delivery in (delivery(**payload), delivery())
    ]
    [[refused], [other]] = planned
    assert isinstance(refused, RefusedAction)
    assert refused.reason_code == code
    assert reason in refused.reason
    assert isinstance(other, PlannedAction)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("integer", "-12", -12),
        ("integer", 3.0, 3),
        ("integer", 3.5, None),
        ("integer", True, None),
        ("integer", 2**63, None),
        ("integer", "٣", None),
        ("number", "1e3", 1000.0),
        ("number", "nan", None),
        ("number", "1_0", None),
        ("boolean", "false", False),
        ("boolean", 1, None),
        ("text", 12, "12"),
        ("text", [1], None),
        ("timestamp", 1_793_620_800, "2026-11-02T12:00:00+00:00"),
        ("timestamp", "2026-11-02T13:00:00+01:00", "2026-11-02T12:00:00+00:00"),
        ("timestamp", "2026-11-02T12:00:00", None),
        ("timestamp", "0001-01-01T00:00:00+14:00", None),
        ("timestamp", 10**20, None),
        ("json", [{"a": 1}], [{"a": 1}]),
    ],
)
def test_values_are_read_as_the_type_of_the_field(kind, value, expected):
    if expected is None:
        with pytest.raises(ValueError, match=r"^expected "):
            convert_json(value, kind)
    else:
        found = convert_json(value, kind)
        assert (found, type(found)) == (expected, type(expected))
    assert convert_json(None, kind) is None


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (changed(colour="red"), "rule 1 (orders): colour: unknown name"),
        (changed(target="ordres"), "rule 1 (orders): target: invalid target 'ordres'"),
        (changed(rule_id="No"), "rule 1 (No): rule_id: "),
        (
            changed(conditions=[{"field": "body.id", "value": "1"}]),
            "conditions.0: expected field source, kind, delivery_id, received_at or a path",
        ),
        (
            changed(conditions=[{"field": "payload.x", "operator": "is_empty", "value": "1"}]),
            "expected no value with is_empty",
        ),
        (
            mapped({"target_field": "totl", "source_type": "path", "value": "payload.t"}),
            "mappings.1.target_field: expected one of number, total, note, paid_at, found totl; "
            "did you mean total?",
        ),
        (
            mapped({"target_field": "total", "source_type": "static", "value": "much"}),
            "mappings.1.value: expected a number, e.g. 4.2, found another text",
        ),
        (
            mapped({"target_field": "total", "source_type": "static", "value": 1, "type": "text"}),
            "mappings.1.type: expected number, found text",
        ),
        (
            mapped({"target_field": "note", "source_type": "template", "value": "{kind"}),
            "mappings.1: ",
        ),
        (changed(mappings=[]), "mappings: expected a mapping of number"),
        ("text", "rule 1: "),
    ],
)
def test_rules_that_cannot_be_used_are_refused_with_their_place(given, problem):
    with pytest.raises(ConfigurationError) as caught:
        FORM.text_of([given]).read(problems_of)
    assert problem in caught.value.found


def test_rules_as_yaml_are_refused_with_the_line():
    text = """
- rule_id: fine
  source: shop
  action: row
  target: anything
- rule_id: orders
  source: shop
  action: row
  target: orders
  mappings:
    - target_field: numbr
      source_type: static
      value: 1
"""
    with pytest.raises(ConfigurationError) as caught:
        FORM.text_of(text).read(problems_of)
    assert "line 11: rule 2 (orders): mappings.0.target_field: " in caught.value.found
    assert "line 10: rule 2 (orders): mappings: expected a mapping of number" in caught.value.found


@pytest.mark.parametrize("text", ["a: 1", "[", "", "&a [*a, *a]", "- 1"])
def test_yaml_that_is_no_list_of_rules_is_refused(text):
    with pytest.raises(ConfigurationError, match="problem"):
        FORM.text_of(text).read(problems_of)


def test_two_rules_of_one_name_are_refused():
    with pytest.raises(ConfigurationError) as caught:
        FORM.text_of([RULE, RULE]).read(problems_of)
    assert "rule 2 (orders): rule_id: expected a name of its own" in caught.value.found


def test_a_loop_is_stopped_and_named():
    hops = ["a", "b", "a", "b", "a"]
    header = {HOPS_HEADER: ", ".join(hops)}
    found = delivery()
    found.hops = hops_of(header, found.payload)
    [refused] = plan_delivery(rule_set(), found, fields_of)
    assert isinstance(refused, RefusedAction)
    assert refused.reason_code == "loop"
    assert refused.reason.endswith("a > b > a > b > a > orders")
    found.hops = found.hops[1:]
    [planned] = plan_delivery(rule_set(), found, fields_of)
    assert isinstance(planned, PlannedAction)
    assert len(planned.hops) == MAX_HOPS


def test_hops_are_read_of_the_labels_of_an_issue_and_of_spoiled_headers():
    issue = {"issue": {"fields": {"labels": ["urgent", "routed-by-orders", 3]}}}
    assert hops_of({}, issue) == ("orders",)
    assert hops_of({HOPS_HEADER: "a,<script>,"}, {"issue": []}) == ("a", "unknown")
    assert len(hops_of({HOPS_HEADER: "a," * 5_000}, {})) == MAX_HOPS + 1


def test_the_difference_of_two_rule_sets_is_by_rule():
    found = delivery()
    edited = changed(mappings=[{**RULE["mappings"][0], "value": "payload.gift"}])
    before = plan_delivery(rule_set(), found, fields_of)
    assert difference(found, before, before) == []
    after = plan_delivery(rule_set(edited, changed(rule_id="more")), found, fields_of)
    [more, orders] = difference(found, before, after)
    assert orders.rule_id == "orders"
    assert orders.before == 'row orders {"note": "Ada a gift of order.paid", "number": 7}'
    assert orders.after.startswith("dead letter (wrong_type): number: ")
    assert (more.before, more.rule_id) == ("", "more")


def test_the_version_of_rules_follows_their_content():
    assert rule_set().version == rule_set().version
    assert rule_set().version != rule_set(changed(kind=None)).version


def test_idempotency_keys_belong_to_one_rule_and_delivery():
    keys = {
        idempotency_key(*parts)
        for parts in [("a", "b", "c"), ("a", "b", "d"), ("a", "c", "c"), ("ab", "", "c")]
    }
    assert len(keys) == 4
    assert all(json.dumps(key) for key in keys)
