"""Actions of other domains: an MQTT event, and an issue whose project Jira is asked about."""

import json
from datetime import timedelta
from typing import Any, cast

import pytest

from orchestration_project.domains.events.routing import FORM
from orchestration_project.domains.events.tables import (
    events_routed,
    events_routing_dead_letters,
)
from orchestration_project.domains.mqtt.tables import mqtt_metrics, mqtt_mirror
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.resources.events.routing.examining import RuleExaminer
from orchestration_project.tables.spine import outbox
from tests.faulty_server import FaultyServer
from tests.resources.mqtt_syncs import MqttSync
from tests.resources.routing_setup import TICKETS, TOTALS, Receiver, Router


@pytest.fixture
def router(warehouse, clock, monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    receiver = Receiver()
    with FaultyServer(receiver) as server:
        yield Router(warehouse, clock, receiver, f"{server.url}/hooks")


def published(router: Router) -> list[Any]:
    """Return what the bridge finds in the outbox."""
    found = [json.loads(row.payload) for row in router.rows(outbox) if row.topic[:4] == "mqtt"]
    return [(message["topic"], json.loads(message["message"])) for message in found]


@pytest.mark.slow_on_postgresql
def test_a_delivery_becomes_an_event_in_mirror_entity_and_outbox_once(router: Router, tmp_path):
    router.edit(TOTALS)
    router.deliver("d1", hops="earlier", id=12.5)
    assert router.apply().counts == {("mqtt_event", "done"): 1}
    [routed] = router.rows(events_routed)
    [(topic, envelope)] = published(router)
    assert topic == "shop/orders"
    assert envelope["hops"] == ["earlier", "totals"]
    assert envelope["idempotency_key"] == routed.idempotency_key
    assert envelope["trace_id"] == routed.result
    [row] = router.rows(mqtt_mirror)
    assert (row.kind, row.topic, row.ts) == ("metric.recorded", "shop/orders", routed.planned_at)
    assert json.loads(row.payload) == envelope["payload"]
    [metric] = router.rows(mqtt_metrics)
    assert (metric.name, metric.subject_id, metric.value) == ("orders", "DE", 12.5)
    mqtt_sync = MqttSync(router.warehouse, router.clock, tmp_path, arrivals=1)
    mqtt_sync.receive(json.dumps(envelope).encode(), topic=topic)
    assert mqtt_sync.run_and_expect_all_settled().duplicate_count == 1, (
        "it came back from the broker"
    )


@pytest.mark.slow_on_postgresql
def test_an_attempt_after_the_event_was_written_writes_no_second_one(router: Router):
    router.edit(TOTALS)
    router.deliver("d1")
    whole = router.warehouse
    router.warehouse = cast(Warehouse, _Unsettled(whole))
    with pytest.raises(TransientError):
        router.apply()
    router.warehouse = whole
    assert len(router.rows(mqtt_mirror)) == 1
    router.clock.at += timedelta(minutes=10)
    assert router.apply().counts == {("mqtt_event", "done"): 1}
    assert len(router.rows(mqtt_mirror)) == len(published(router)) == 1


class _Unsettled:
    """A database that is away after the claim and the event of an action."""

    def __init__(self, warehouse: Any) -> None:
        self._warehouse, self._rest = warehouse, 2

    def __getattr__(self, name: str) -> Any:
        return getattr(self._warehouse, name)

    def writing(self) -> Any:
        self._rest -= 1
        if self._rest < 0:
            raise TransientError("the database is away")
        return self._warehouse.writing()


@pytest.mark.slow_after_first
def test_a_payload_that_the_kind_refuses_is_a_dead_letter_of_that_delivery(router: Router):
    router.edit(TOTALS)
    router.deliver("d1", country="D|E")
    router.deliver("d2")
    assert router.apply().counts == {("mqtt_event", "dead"): 1, ("mqtt_event", "done"): 1}
    [letter] = router.rows(events_routing_dead_letters)
    assert (letter.delivery_id, letter.stage, letter.reason_code) == ("d1", "apply", "contract")
    assert "subject_id: the value does not match" in letter.reason
    assert "D|E" not in letter.reason


def test_without_a_broker_an_event_waits(router: Router, monkeypatch):
    router.edit(TOTALS)
    router.deliver("d1")
    monkeypatch.setenv("DATA_PROFILE", "real")
    [result] = router.apply().results
    assert result.outcome == "waiting"
    assert "MQTT_SOURCE" in result.detail
    assert published(router) == []


def static(name: str, value: Any) -> dict[str, Any]:
    return {"target_field": name, "source_type": "static", "value": value}


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({**TOTALS, "target": "anything"}, "target: invalid kind 'order.paid': expected a kind of"),
        ({**TOTALS, "target": "wildcard"}, "topic: expected a topic without + and #, e.g. shop/or"),
        (
            {**TOTALS, "mappings": [*TOTALS["mappings"], static("unt", "EUR")]},
            "mappings.4.target_field: expected one of subject_id, name, value, unit, measured_at, "
            "found unt; did you mean unit?",
        ),
        (
            {**TOTALS, "mappings": TOTALS["mappings"][:3]},
            "mappings: expected a mapping of measured_at",
        ),
        (
            {**TOTALS, "mappings": [*TOTALS["mappings"], static("unit", "x" * 41)]},
            "mappings.4.value: the value is longer than 40 characters",
        ),
        (
            {**TICKETS, "mappings": [*TICKETS["mappings"], static("colour", "red")]},
            "mappings.1.value: colour is not a field of these issues",
        ),
        (
            {**TICKETS, "mappings": [*TICKETS["mappings"], static("priority", "Urgent")]},
            "mappings.1.value: priority: ",
        ),
    ],
)
def test_an_edit_is_refused_where_schema_or_jira_would_refuse_every_action(
    router: Router, rule, problem
):
    examiner = RuleExaminer(router.targets, {"jira": router.issues}.get)
    with pytest.raises(ConfigurationError) as caught:
        FORM.text_of([rule]).read(router.targets.problems_of, examiner.problems_of)
    assert problem in caught.value.found
    assert examiner.doubts == {}


def test_an_edit_names_a_project_and_type_that_jira_does_not_offer(router: Router):
    declared = {"action": "jira_issue", "project": "HR", "issue_type": "Epic"}
    router.targets.declared = {"tickets": declared}
    examiner = RuleExaminer(router.targets, {"jira": router.issues}.get)
    [(place, reason)] = examiner.problems_of(
        FORM.text_of([TICKETS]).read(router.targets.problems_of)[0]
    )
    assert place == ("target",)
    assert reason.startswith("Jira ")
    assert "HR" in reason


def test_a_jira_that_cannot_be_reached_leaves_a_doubt_and_is_asked_once(router: Router):
    requested = []

    def open_connection(name: str) -> Any:
        requested.append(name)
        raise TransientError("Jira does not answer")

    examiner = RuleExaminer(router.targets, open_connection)
    rules = [TICKETS, {**TICKETS, "rule_id": "more"}, TOTALS]
    read = FORM.text_of(rules).read(router.targets.problems_of, examiner.problems_of)
    assert len(read) == 3
    assert examiner.doubts == dict.fromkeys(("tickets", "more"), "Jira does not answer")
    assert requested == ["jira"]
