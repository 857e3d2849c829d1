"""Routed actions as runs: taken as deliveries load, requested by the sensor, edited by the job."""

import json
from typing import Any

import dagster as dg
import pytest
from orchestration_demo.saas.jira import EMAIL, TOKEN
from sqlalchemy import select

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.domains.events.tables import (
    events_routed_rows,
    events_routed_states,
    events_routing_dead_letters,
)
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.resources.events.routing.rules import rules_in_effect
from orchestration_project.resources.events.routing.runs import ROUTING_TAG
from orchestration_project.sensors.events import routing_sensor
from orchestration_project.services.inbox.rows import Inbox, NewDelivery
from orchestration_project.settings import load_settings
from tests.prepared import Prepared, write_default
from tests.saas_demo import SaasDemo
from tests.webhook_runs import load_due

WEBHOOKS = """
sources:
  github: {scheme: github, job: events_webhooks}
  pay: {scheme: stripe, job: events_webhooks}
  people: {scheme: peopleforce, job: events_webhooks}
targets:
  payments: {action: row, columns: {charge: text, euros: number, paid_at: timestamp}}
  issues: {action: row, columns: {title: text, labels: json}}
  rates: {action: run_job, job: fx_rates_daily}
  tickets: {action: jira_issue, project: IT, issue_type: Task}
"""


def mapping(field: str, path: str, kind: str = "path") -> dict[str, str]:
    return {"target_field": field, "source_type": kind, "value": path}


RULES: list[dict[str, Any]] = [
    {
        "rule_id": "payments",
        "source": "pay",
        "kind": "charge.succeeded",
        "conditions": [{"field": "payload.data.object.paid", "value": "true"}],
        "action": "row",
        "target": "payments",
        "mappings": [
            mapping("charge", "payload.data.object.id"),
            mapping("euros", "payload.data.object.amount"),
            mapping("paid_at", "payload.created"),
        ],
    },
    {
        "rule_id": "issues",
        "source": "github",
        "kind": "issues",
        "conditions": [{"field": "payload.action", "value": "opened"}],
        "action": "row",
        "target": "issues",
        "mappings": [
            mapping("title", "{payload.repository.full_name}: {payload.issue.title}", "template"),
            mapping("labels", "payload.issue.labels"),
        ],
    },
    {
        "rule_id": "rates",
        "source": "people",
        "action": "run_job",
        "target": "rates",
        "mappings": [mapping("partition", "payload.data.attributes.due_on")],
    },
]
DELIVERIES = {
    ("github", "issues"): {
        "action": "opened",
        "issue": {"number": 1, "title": "Broken", "labels": [{"name": "bug"}]},
        "repository": {"full_name": "octo/demo"},
    },
    ("pay", "charge.succeeded"): {
        "id": "evt_1",
        "type": "charge.succeeded",
        "created": 1_793_620_800,
        "data": {"object": {"id": "ch_1", "amount": 1250, "paid": True}},
    },
    ("people", "task_created"): {
        "action": "task_created",
        "data": {"id": 7, "type": "task", "attributes": {"due_on": "2026-01-05"}},
    },
}
SENSOR = routing_sensor(REGISTRY)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    file = tmp_path / "webhooks.yaml"
    file.write_text(WEBHOOKS)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("WEBHOOKS_FILE", str(file))
    monkeypatch.setenv("DISK_HEADROOM_MIB", "0")
    return write_default(load_settings())


def run_job(name: str, op: str, instance: dg.DagsterInstance, **config: Any) -> Any:
    return defs.resolve_job_def(name).execute_in_process(
        instance=instance,
        run_config={"ops": {op: {"config": config}}} if config else None,
        tags={"user": "ada"},
    )


def metadata(result: Any) -> dict[str, Any]:
    [event] = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


@pytest.mark.slow
def test_deliveries_of_three_systems_become_rows_and_a_run(settings):
    sensor = SENSOR
    assert sensor is not None
    with (
        dg.instance_for_test() as instance,
        open_warehouse(settings) as warehouse,
    ):
        clock = Clock()
        with warehouse.reading() as connection:
            version = rules_in_effect(connection).version
        # Rules are put into effect.
        edited = metadata(
            run_job(
                "events_edit_routing",
                "edit_routing_rules",
                instance,
                rules=RULES,
                based_on=version,
            )
        )
        assert edited["added"] == "issues, payments, rates"
        # Deliveries become rows.
        for (source, kind), payload in DELIVERIES.items():
            body = json.dumps(payload).encode()
            Inbox(warehouse, clock).take([NewDelivery(source, "d1", kind, body, {}, 3)])
            assert load_due(warehouse, clock, open_store(settings), source).success
        with warehouse.reading() as connection:
            rows = connection.execute(select(events_routed_rows)).all()
            rules = rules_in_effect(connection)
        assert {row.table_name: json.loads(row.data) for row in rows} == {
            "issues": {"title": "octo/demo: Broken", "labels": [{"name": "bug"}]},
            "payments": {"charge": "ch_1", "euros": 1250, "paid_at": "2026-11-02T12:00:00+00:00"},
        }
        assert [rule.rule.rule_id for rule in rules.rules] == ["issues", "payments", "rates"]

        def tick() -> Any:
            context = dg.build_sensor_context(
                instance=instance, repository_def=defs.get_repository_def()
            )
            return sensor(context, clock=clock, settings=settings, warehouse=warehouse)

        # One of them requests a run, until the run exists.
        [request] = tick().run_requests
        [again] = tick().run_requests
        assert request.run_key == again.run_key
        assert (request.job_name, request.partition_key) == ("fx_rates_daily", "2026-01-05")
        run = instance.create_run_for_job(defs.resolve_job_def("fx_rates_daily"), tags=request.tags)
        assert run.tags[ROUTING_TAG] == request.run_key
        assert isinstance(tick(), dg.SkipReason)
        with warehouse.reading() as connection:
            routed = connection.execute(
                select(events_routed_states).order_by(events_routed_states.c.rule_id)
            ).all()
        outcomes = {action.rule_id: (action.outcome, action.result) for action in routed}
        assert outcomes["rates"] == ("done", run.run_id)


@pytest.mark.slow
def test_a_run_of_a_day_that_is_no_partition_is_refused_with_one_nearby(settings):
    assert SENSOR is not None
    clock = Clock()
    proposals = {"2026-01-04": "2026-01-05", "2126-01-08": "e.g. 20", "soon": "e.g. 20"}
    with dg.instance_for_test() as instance, open_warehouse(settings) as warehouse:
        with warehouse.reading() as connection:
            version = rules_in_effect(connection).version
        edit = {"rules": RULES, "based_on": version}
        run_job("events_edit_routing", "edit_routing_rules", instance, **edit)
        for written in proposals:
            payload = {"action": "task_created", "data": {"attributes": {"due_on": written}}}
            body = json.dumps(payload).encode()
            delivery = NewDelivery("people", written, "task_created", body, {}, 3)
            Inbox(warehouse, clock).take([delivery])
        assert load_due(warehouse, clock, open_store(settings), "people").success
        context = dg.build_sensor_context(
            instance=instance, repository_def=defs.get_repository_def()
        )
        skipped = SENSOR(context, clock=clock, settings=settings, warehouse=warehouse)
        assert isinstance(skipped, dg.SkipReason)
        columns = events_routing_dead_letters.c
        with warehouse.reading() as connection:
            rows = connection.execute(select(columns.delivery_id, columns.reason)).all()
    reasons = {row.delivery_id: row.reason for row in rows}
    assert reasons.keys() == proposals.keys()
    for written, proposed in proposals.items():
        assert proposed in reasons[written]
        assert "9999" not in reasons[written]


@pytest.mark.slow
def test_an_edit_based_on_an_earlier_version_fails_and_dry_runs_write_nothing(settings):
    with dg.instance_for_test() as instance:
        tried = metadata(run_job("events_try_routing", "try_routing_rules", instance, rules=RULES))
        assert tried["differences_count"] == 0
        with pytest.raises(Exception, match="the routing rules changed since they were read"):
            run_job(
                "events_edit_routing",
                "edit_routing_rules",
                instance,
                rules=RULES,
                based_on="0" * 16,
            )
        replayed = metadata(
            run_job("events_replay_routing", "replay_routing_letters", instance, dry_run=False)
        )
        assert replayed["letters_count"] == 0
        applied = metadata(run_job("events_apply_routing", "apply_routing", instance))
        assert applied["done_count"] == 0


@pytest.mark.slow
def test_jira_is_asked_before_rules_are_tried_and_a_rule_it_cannot_verify_is_named(
    settings, monkeypatch, prepared: Prepared, tmp_path
):
    rule = {
        "rule_id": "tickets",
        "source": "github",
        "action": "jira_issue",
        "target": "tickets",
        "mappings": [mapping("summary", "payload.issue.title")],
    }
    wrong = {**rule, "mappings": [*rule["mappings"], mapping("colour", "red", "static")]}

    def tried(rule: dict[str, Any]) -> str:
        result = run_job("events_try_routing", "try_routing_rules", instance, rules=[rule])
        return str(metadata(result)["not_known"])

    with dg.instance_for_test() as instance, SaasDemo() as jira:
        for name, value in {
            "DATA_PROFILE": "real",
            "DEMO_CLOCK_NOW": "",
            "DATABASE_URL": prepared.sqlite(tmp_path / "tables.sqlite"),
            "SAAS_SOURCE": "api",
            "PEOPLEFORCE_API_KEY": "0123456789abcdef",
            "JIRA_URL": f"{jira.url}/jira",
            "JIRA_EMAIL": EMAIL,
            "JIRA_TOKEN": TOKEN,
        }.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(Exception, match="colour is not a field of these issues"):
            tried(wrong)
        assert tried(rule) == ""
        monkeypatch.delenv("SAAS_SOURCE")
        assert tried(wrong).startswith("tickets: ")
