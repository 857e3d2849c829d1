"""Routing rules through the API: listed, tried and edited, by roles."""

import pytest

from orchestration_project.domains.events.routing import RoutingRule
from orchestration_project.resources.events.routing.rules import edit_rules, rules_in_effect

RULE = {
    "rule_id": "orders",
    "source": "shop",
    "action": "row",
    "target": "orders",
    "mappings": [{"target_field": "number", "source_type": "path", "value": "payload.id"}],
}
RULES, DRY_RUN = "/events/routing-rules", "/events/routing-rules/dry-run"


@pytest.fixture(scope="module")
def version(api) -> str:
    """Version of the rules in effect, which are one."""
    warehouse = api.services.warehouse
    with warehouse.reading() as connection:
        empty = rules_in_effect(connection).version
    rules = [RoutingRule.model_validate(RULE)]
    now = api.services.clock.now()
    _, version = edit_rules(warehouse, rules, based_on=empty, by="ada", at=now)
    return version


def test_the_rules_in_effect_are_listed_with_their_version(api, version):
    found = api.get(RULES)
    assert found["version"] == version
    [rule] = found["rules"]
    assert (rule["rule_id"], rule["version"]) == ("orders", 1)
    assert RoutingRule.model_validate(rule["rule"]) == RoutingRule.model_validate(RULE)
    assert api.get("/events/routing-dead-letters") == {"letters": []}


def test_rules_are_tried_by_operators(api, version):
    tried = api.post(DRY_RUN, {"rules": []})
    assert (tried["version"], tried["delivery_count"]) == (version, 0)
    assert api.ask("POST", DRY_RUN, "viewer", json={"rules": []}).status_code == 403


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"rules": [RULE]}, "rule 1 (orders): source: invalid source 'shop'"),
        ({"rules": "- rule_id: orders\n  colour: red\n"}, "line 2: rule 1 (orders): colour"),
        ({"rules": "{"}, "line 1"),
    ],
)
def test_invalid_rules_are_refused_with_their_place(api, body, problem):
    answer = api.ask("POST", DRY_RUN, json=body)
    assert answer.status_code == 422
    assert problem in answer.text


def test_rules_are_edited_by_admins_on_the_present_version(api, version):
    body = {"rules": [], "based_on": version}
    assert api.ask("POST", RULES, "operator", json=body).status_code == 403
    stale = api.ask("POST", RULES, "admin", json={**body, "based_on": "0" * 16})
    assert stale.status_code == 409
    assert version in stale.text
    assert api.ask("POST", RULES, "admin", json={"based_on": version}).status_code == 422
    launched = api.post(RULES, body, role="admin")
    run = api.services.instance.get_run_by_id(launched["run_id"])
    assert run.job_name == "events_edit_routing"
    config = run.run_config["ops"]["edit_routing_rules"]["config"]
    assert config == {"rules": [], "based_on": version, "who": "the admin"}
