"""Routing from delivery to target: planned as deliveries load, taken once, retried, replayed."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from standardwebhooks import Webhook

from orchestration_project.domains.events.routing import FORM
from orchestration_project.domains.events.tables import (
    events_routed,
    events_routed_rows,
    events_routing_dead_letters,
    events_routing_rules,
)
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.contracts.attempts import MAX_ATTEMPTS, REQUEST_LEASE
from orchestration_project.engine.contracts.edits import EditConflictError
from orchestration_project.engine.contracts.webhooks.sources import HOPS_HEADER
from orchestration_project.engine.outbox import claim
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.registry import Domain, DomainDefinitions
from orchestration_project.resources.events.routing.applying import due_actions
from orchestration_project.resources.events.routing.planning import ROW, RoutedKey, enqueue
from orchestration_project.resources.events.routing.rules import (
    rules_in_effect,
    try_rules,
)
from orchestration_project.services.inbox.rows import Content
from orchestration_project.tables.spine import outbox
from tests.expecting import expect_present
from tests.resources.routing_setup import ORDERS, PARTNER, SECRET, TICKETS, Router, routing
from tests.webhook_runs import load_content


@pytest.fixture
def router(warehouse, clock, monkeypatch, tmp_path):
    with routing(warehouse, clock, monkeypatch, tmp_path) as router:
        yield router


@pytest.mark.slow_on_postgresql
def test_deliveries_become_rows_and_signed_requests_once(router: Router):
    router.edit(ORDERS, PARTNER)
    for _ in range(2):  # loaded again, nothing is planned again
        router.deliver("d1", id=7)
        router.deliver("d2", id=8, country="FR")
    assert router.apply().counts == {("http_request", "done"): 1}
    assert router.apply().counts == {}
    rows = {row.delivery_id: json.loads(row.data) for row in router.rows(events_routed_rows)}
    assert rows == {"d1": {"number": 7, "country": "DE"}, "d2": {"number": 8, "country": "FR"}}
    [request] = router.receiver.requests
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers[HOPS_HEADER] == "partner"
    message = json.loads(request.body)
    assert message["data"] == {"order": 7}
    verified = Webhook(SECRET).verify(request.body, headers)
    assert verified == message
    [_, routed, _] = router.rows(events_routed)
    assert headers["webhook-id"] == routed.idempotency_key
    assert (routed.rule_id, routed.result) == ("partner", "HTTP 200")


def test_one_delivery_of_the_wrong_type_is_a_dead_letter_and_replayed_by_an_edited_rule(
    router: Router,
):
    router.edit(ORDERS)
    router.deliver("d1", id="seven")
    router.deliver("d2")
    router.apply()
    assert router.outcomes() == {("d1", "orders"): "dead", ("d2", "orders"): "done"}
    [letter] = router.rows(events_routing_dead_letters)
    assert (letter.stage, letter.reason_code, letter.version_number) == ("plan", "wrong_type", 1)
    assert "seven" not in letter.reason
    assert router.replay() == ["dead"]
    static = {"target_field": "number", "source_type": "static", "value": 0}
    router.edit({**ORDERS, "mappings": [static]})
    assert router.replay(reason_code="loop") == []
    assert router.replay(rule_id="orders") == ["planned"]
    assert router.replay() == []
    router.apply()
    assert router.outcomes()["d1", "orders"] == "done"
    letters = [row.ended_at is not None for row in router.rows(events_routing_dead_letters)]
    assert letters == [True, True]


def test_a_loop_is_a_dead_letter_that_names_the_rules(router: Router):
    router.edit(PARTNER)
    router.deliver("d1", hops="a,partner,a,partner")
    router.deliver("d2", hops="a,partner,a,partner,a")
    router.apply()
    [request] = router.receiver.requests
    assert request.headers[HOPS_HEADER] == "a,partner,a,partner,partner"
    [letter] = router.rows(events_routing_dead_letters)
    assert letter.reason_code == "loop"
    assert letter.reason.endswith("a > partner > a > partner > a > partner")


def test_a_receiver_that_is_down_is_asked_later_under_the_same_key(router: Router):
    router.edit(PARTNER)
    router.deliver("d1")
    router.receiver.status = 503
    assert router.apply().counts == {("http_request", "waiting"): 1}
    assert router.apply().counts == {}, "it waits"
    router.receiver.status = 204
    router.clock.at += timedelta(minutes=2)
    assert router.apply().counts == {("http_request", "done"): 1}
    [first, second] = router.receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


@pytest.mark.slow_after_first
@pytest.mark.parametrize(("status", "earlier_count"), [(422, 0), (404, MAX_ATTEMPTS - 1)])
def test_what_a_receiver_refuses_is_a_dead_letter_that_can_be_replayed(
    router: Router, status: int, earlier_count: int
):
    router.edit(PARTNER)
    router.deliver("d1")
    router.receiver.status = status
    with router.warehouse.writing() as connection:
        connection.execute(update(outbox).values(attempt_count=earlier_count))
    router.apply()
    assert router.outcomes()["d1", "partner"] == "dead"
    [letter] = router.rows(events_routing_dead_letters)
    assert letter.stage == "apply"
    assert f"HTTP {status}" in letter.reason
    router.receiver.status = 200
    assert router.replay() == ["planned"]
    router.apply()
    assert router.outcomes()["d1", "partner"] == "done"
    assert len({request.headers["webhook-id"] for request in router.receiver.requests}) == 1


def test_an_issue_whose_creation_was_not_answered_is_found_and_not_made_again(router: Router):
    router.edit(TICKETS)
    router.deliver("d1", id=5)
    router.issues.is_silent, router.issues.index_lag = True, timedelta(hours=1)
    assert router.apply().counts == {("jira_issue", "waiting"): 1}
    router.issues.is_silent = False
    router.clock.at += timedelta(minutes=5)
    assert router.apply().counts == {("jira_issue", "done"): 1}
    [issue] = router.issues.rows.values()
    assert issue.summary == "Order 5"
    assert "routed-by-tickets" in str(issue)
    [routed] = router.rows(events_routed)
    assert routed.result == issue.key


def test_an_issue_that_jira_refuses_is_a_dead_letter(router: Router):
    field = {"target_field": "colour", "source_type": "static", "value": "red"}
    router.edit({**TICKETS, "mappings": [*TICKETS["mappings"], field]})
    router.deliver("d1")
    assert router.apply().counts == {("jira_issue", "dead"): 1}
    [letter] = router.rows(events_routing_dead_letters)
    assert (letter.stage, letter.reason_code) == ("apply", "contract")
    assert "colour: the issue type has no such field" in letter.reason


def test_a_row_that_fails_is_a_dead_letter_and_undoes_nothing(router: Router):
    router.edit(ORDERS)
    whole = router.targets

    def write_and_fail(*arguments: Any) -> str:
        expect_present(ROW.write)(*arguments)
        raise ContractError("the row is refused")

    def define(domain: Domain) -> DomainDefinitions:
        registrations = [
            replace(ROW, write=write_and_fail) if entry is ROW else entry
            for entry in domain.definitions.registrations
        ]
        return replace(domain.definitions, registrations=registrations)

    domains = [replace(domain, define=partial(define, domain)) for domain in whole.registry.domains]
    router.targets = replace(whole, registry=replace(whole.registry, domains=domains))
    router.deliver("d1")
    router.targets = whole
    router.deliver("d2")
    assert router.outcomes() == {("d1", "orders"): "dead", ("d2", "orders"): "done"}
    assert [row.delivery_id for row in router.rows(events_routed_rows)] == ["d2"]
    [letter] = router.rows(events_routing_dead_letters)
    assert (letter.stage, letter.reason_code) == ("apply", "contract")
    assert router.replay() == ["planned"]
    assert [row.delivery_id for row in router.rows(events_routed_rows)] == ["d1", "d2"]
    assert router.rows(outbox) == []


def test_a_row_that_an_earlier_release_planned_is_written(router: Router):
    router.edit(ORDERS)
    router.deliver("d1")
    [routed] = router.rows(events_routed)
    key = RoutedKey(routed.source, routed.delivery_id, routed.rule_id)
    with router.warehouse.writing() as connection:
        connection.execute(delete(events_routed_rows))
        connection.execute(update(events_routed).values(outcome=None, intention_number=1))
        enqueue(connection, [(key, "row", 1)], cause="source", now=router.clock.now(), run_id="r")
    assert router.apply().counts == {("row", "done"): 1}
    assert router.outcomes() == {("d1", "orders"): "done"}
    assert [row.delivery_id for row in router.rows(events_routed_rows)] == ["d1"]


@pytest.mark.slow_on_postgresql
def test_one_target_that_fails_leaves_the_others_alone(router: Router):
    router.edit(ORDERS, PARTNER)
    for number in range(6):
        router.deliver(f"d{number}")
    router.receiver.status = 503
    counts = router.apply().counts
    assert len(router.rows(events_routed_rows)) == 6
    assert counts["http_request", "waiting"] == 3 == len(router.receiver.requests)


def test_a_secret_that_is_missing_or_weak_is_named_and_not_quoted(router: Router, monkeypatch):
    router.edit(PARTNER)
    router.deliver("d1")
    monkeypatch.setenv("ROUTING_SECRET_PARTNER", "c2hvcnQ=")
    [result] = router.apply().results
    assert result.outcome == "waiting"
    assert "invalid ROUTING_SECRET_PARTNER: expected whsec_" in result.detail
    assert "c2hvcnQ" not in result.detail
    assert router.receiver.requests == []


def test_an_address_that_is_not_global_is_refused(router: Router):
    router.edit(PARTNER)
    router.deliver("d1")
    private = {"action": "http_request", "url": "https://192.168.0.1/hooks"}
    router.targets.declared = {"partner": private}
    [result] = router.apply().results
    assert "its address is not global" in result.detail
    assert router.receiver.requests == []


def test_a_claim_of_a_process_that_ended_expires(router: Router):
    router.edit(PARTNER)
    router.deliver("d1")

    [due] = due_actions(router.warehouse, router.clock, ["http_request"], limit=9)
    with router.warehouse.writing() as connection:
        claim(connection, due, now=router.clock.now(), run_id="killed")
    assert router.apply().counts == {}
    router.clock.at += REQUEST_LEASE + timedelta(seconds=1)
    assert router.apply().counts == {("http_request", "done"): 1}
    assert len(router.receiver.requests) == 1


def test_of_two_edits_at_once_the_second_sees_the_version_changed(router: Router):
    with router.warehouse.reading() as connection:
        empty = rules_in_effect(connection).version
    first, version = router.edit(ORDERS, based_on=empty)
    assert (first.added, first.changed, first.ended) == (["orders"], [], [])
    with pytest.raises(EditConflictError, match="changed since they were read") as caught:
        router.edit(PARTNER, based_on=empty)
    assert version in caught.value.expected
    second, _ = router.edit(PARTNER, {**ORDERS, "kind": "order"}, based_on=version)
    assert (second.added, second.changed, second.ended) == (["partner"], ["orders"], [])
    third, _ = router.edit(PARTNER)
    assert third.ended == ["orders"]
    again, _ = router.edit(ORDERS, PARTNER)
    versions = [
        (r.rule_id, r.version_number, r.is_active) for r in router.rows(events_routing_rules)
    ]
    assert versions == [
        ("orders", 1, False),
        ("orders", 2, False),
        ("orders", 3, True),
        ("partner", 1, True),
    ]
    assert again.added == ["orders"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"source": "hr"}, "source: invalid source 'hr'; expected: a source with the job "),
        ({"source": "shp"}, "what to do: did you mean shop?"),
        ({"action": "rowe"}, "action: invalid action 'rowe'; expected: one of http_request, "),
        (
            {"target": "partner"},
            "target: invalid target 'partner'; expected: one of broken, orders",
        ),
        ({"target": "events_webhooks"}, "target: invalid target 'events_webhooks'"),
        ({"target": "broken"}, "target: invalid target broken: expected a declaration of row"),
        ({"action": "run_job", "target": "prices"}, "mappings.0.target_field: expected one of "),
    ],
)
def test_rules_that_name_what_is_not_declared_are_refused(router: Router, changes, problem):
    with pytest.raises(ConfigurationError) as caught:
        router.edit({**ORDERS, **changes})
    assert problem in caught.value.found


def test_an_erased_delivery_is_not_routed(router: Router):
    router.edit(PARTNER)
    router.deliver("d1")
    with router.warehouse.writing() as connection:
        connection.execute(delete(events_routed))
    assert router.apply().counts == {("http_request", "superseded"): 1}
    assert router.receiver.requests == []


def test_nothing_of_a_delivery_is_in_the_outbox(router: Router):
    router.edit(ORDERS)
    router.deliver("d1", country="Absurdistan")
    assert all("Absurdistan" not in str(row) for row in router.rows(outbox))


@pytest.mark.slow_after_first
def test_a_dry_run_shows_the_difference_and_writes_nothing(router: Router, write_batch: Callable):
    router.edit(ORDERS)
    for number in range(3):
        write_batch(f"d{number}", {"id": number, "country": "DE" if number else "FR"})
    rules = FORM.text_of([{**ORDERS, "mappings": ORDERS["mappings"][:1]}, PARTNER])
    trial = try_rules(
        router.warehouse, router.targets, rules.read(router.targets.problems_of), delivery_count=2
    )
    assert trial.delivery_count == 2
    assert trial.planned == {"orders": 2, "partner": 2}
    assert trial.difference_count == 4
    first = trial.differences[0]
    assert first.before.startswith('row orders {"country": "DE", "number": ')
    assert '"country"' not in first.after
    with router.warehouse.reading() as connection:
        count = select(func.count()).select_from(events_routed)
        assert connection.execute(count).scalar_one() == 0


@pytest.fixture
def write_batch(router: Router, tmp_path) -> Callable[[str, dict[str, Any]], None]:
    store = FolderStore(tmp_path / "artifacts")

    def write_batch(delivery_id: str, payload: dict[str, Any]) -> None:
        router.clock.at += timedelta(seconds=1)
        body = json.dumps(payload).encode()
        content = Content("shop", delivery_id, "order", body, {}, router.clock.now())
        load_content(router.warehouse, router.clock, store, content)

    return write_batch
