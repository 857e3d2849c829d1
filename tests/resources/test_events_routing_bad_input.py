"""Bad rules, bad deliveries, and settings that change below rules in effect."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from orchestration_project.domains.events.routing import FORM
from orchestration_project.domains.events.tables import (
    events_routed_rows,
    events_routed_states,
    events_routing_dead_letters,
)
from orchestration_project.engine.contracts.edits import EditConflictError
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.events.routing.rules import (
    edit_rules,
    outcomes_by_rule,
    rules_in_effect,
)
from orchestration_project.resources.events.routing.targets import RoutingTargets
from tests.resources.routing_setup import ORDERS, PARTNER, TICKETS, TOTALS, Router, routing


@pytest.fixture
def router(warehouse, clock, monkeypatch, tmp_path):
    with routing(warehouse, clock, monkeypatch, tmp_path) as router:
        yield router


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"colour": "red"}, "rule 1 (orders): colour: unknown name"),
        ({"conditions": [{"field": "country", "value": "DE"}]}, "expected field source, kind, "),
        ({"action": "mail"}, "action: invalid action 'mail'; expected: one of http_request, "),
        ({"target": "events_routed"}, "target: invalid target 'events_routed'; expected: one of"),
        ({"action": "run_job", "target": "gone"}, "target: invalid job 'no_such_job': expected a"),
        ({"mappings": [{**ORDERS["mappings"][0], "target_field": "numbr"}]}, "did you mean number"),
    ],
)
def test_a_rule_with_an_unknown_name_is_refused_and_those_in_effect_stay(
    router: Router, changes: dict[str, Any], problem: str
):
    router.targets.declared = {
        **router.targets.declared,
        "gone": {"action": "run_job", "job": "no_such_job"},
    }
    router.edit(ORDERS)
    with pytest.raises(ConfigurationError) as caught:
        router.edit(PARTNER, {**ORDERS, "rule_id": "orders", **changes})
    assert problem.replace("rule 1", "rule 2") in caught.value.found
    with router.warehouse.reading() as connection:
        [active] = rules_in_effect(connection).rules
    assert active.reference == "orders@1"


def test_one_delivery_of_the_wrong_type_does_not_hold_up_the_others(router: Router):
    router.edit(ORDERS)
    for number, value in enumerate([1, "two", 3, None, {}, 6]):
        router.deliver(f"d{number}", id=value)
    assert Counter(router.outcomes().values()) == {"done": 3, "dead": 3}
    assert {row.delivery_id for row in router.rows(events_routed_rows)} == {"d0", "d2", "d5"}
    letters = {row.delivery_id: row.reason for row in router.rows(events_routing_dead_letters)}
    assert letters == {
        "d1": "number: expected an integer, e.g. 42, found another text",
        "d3": "number: expected a value, found null",
        "d4": "number: expected an integer, e.g. 42, found an object",
    }
    with router.warehouse.reading() as connection:
        counts = [outcome[:4] for outcome in outcomes_by_rule(connection)]
    assert counts == [("orders", "row", "dead", 3), ("orders", "row", "done", 3)]


def test_of_edits_at_the_same_time_one_is_put_into_effect(router: Router):
    with router.warehouse.reading() as connection:
        version = rules_in_effect(connection).version

    def edit(rule: dict[str, Any]) -> str:
        read = FORM.text_of([rule]).read(router.targets.problems_of)
        now = router.clock.now()
        try:
            edit_rules(router.warehouse, read, based_on=version, by="ada", at=now)
        except EditConflictError:
            return ""
        return str(rule["rule_id"])

    with ThreadPoolExecutor(4) as pool:
        done = [name for name in pool.map(edit, [ORDERS, PARTNER, TICKETS, TOTALS]) if name]
    with router.warehouse.reading() as connection:
        assert [rule.rule.rule_id for rule in rules_in_effect(connection).rules] == done
    assert len(done) == 1


def test_a_target_that_is_not_declared_any_more_waits_until_it_is_again(router: Router):
    router.edit(PARTNER)
    router.deliver("d1")
    declared, router.targets.declared = router.targets.declared, {}
    [result] = router.apply().results
    assert result.outcome == "waiting"
    assert "invalid target 'partner'" in result.detail
    router.targets.declared = declared
    router.clock.at += timedelta(minutes=5)
    assert router.apply().counts == {("http_request", "done"): 1}


def test_a_delivery_that_comes_while_a_target_is_not_declared_is_a_dead_letter(router: Router):
    router.edit(ORDERS)
    whole = router.targets
    router.targets = RoutingTargets(whole.registry, whole.settings, whole.sources, {})
    router.deliver("d1")
    [letter] = router.rows(events_routing_dead_letters)
    assert (letter.stage, letter.reason_code) == ("plan", "configuration")
    router.targets = whole
    assert router.replay() == ["planned"]
    assert router.outcomes() == {("d1", "orders"): "done"}


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    "country", ["\0", "\ud800", "\x1b[31m", "'; DROP TABLE inbox; --", "x" * 9]
)
def test_texts_that_databases_or_json_refuse_are_stored_or_a_dead_letter(
    router: Router, country: str
):
    router.edit(ORDERS, TOTALS, {**PARTNER, "conditions": []})
    router.deliver("d1", country=country)
    router.apply()
    outcomes = {row.rule_id: row.outcome for row in router.rows(events_routed_states)}
    assert (outcomes["orders"], outcomes["partner"]) == ("done", "done")
    assert outcomes["totals"] == ("dead" if country[0] in "\0\ud800\x1b" else "done")
    [row] = router.rows(events_routed_rows)
    assert json.loads(row.data)["number"] == 1
