"""Notifications of Alertmanager: each alert is stored once, shown, and ended by its resolution."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete, select

from orchestration_project.client import Client
from orchestration_project.engine.contracts.problems import Problem
from orchestration_project.services.alerts.inbox import build_wording, is_always_open
from orchestration_project.services.alerts.rules.messages import Message
from orchestration_project.services.probes import open_alerts
from orchestration_project.tables.operations_alerts import operations_alerts, operations_evaluations
from tests.gateway.api.conftest import HOME, Api, open_api

BEGUN = "2026-11-30T08:41:04.123456789Z"
LATER = "2026-11-30T09:00:00Z"
PATH = "/alerts/alertmanager"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with open_api(tmp_path_factory.mktemp("alertmanager")) as api:
        yield api


@pytest.fixture
def api(opened: Api) -> Api:
    with opened.services.warehouse.writing() as connection:
        for table in (operations_alerts, operations_evaluations):
            connection.execute(delete(table))
    return opened


def fired(number: int = 1, **labels: str) -> dict[str, Any]:
    """Return a firing alert, as Alertmanager 0.25 writes it."""
    return {
        "status": "firing",
        "labels": {"alertname": "GatewayAway", "severity": "error", **labels},
        "annotations": {
            "summary": "The gateway a:3000 does not answer",
            "description": "Start it again.",
        },
        "startsAt": BEGUN,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://127.0.0.1:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
        "fingerprint": f"{number:016x}",
    }


def resolved(alert: dict[str, Any]) -> dict[str, Any]:
    return {**alert, "status": "resolved", "endsAt": "2026-11-30T08:51:04.123456789Z"}


def notification(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "receiver": "gateway",
        "status": "firing",
        "alerts": list(alerts),
        "groupLabels": {"alertname": "GatewayAway"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://127.0.0.1:9093",
        "version": "4",
        "groupKey": '{}:{alertname="GatewayAway"}',
        "truncatedAlerts": 0,
        **more,
    }


def send(api: Api, *alerts: dict[str, Any]) -> dict[str, int]:
    """Send alerts; return the outcomes that are not zero."""
    answer = api.post(PATH, notification(*alerts))
    return {name.removesuffix("_count"): count for name, count in answer.items() if count}


def entries(api: Api) -> list[dict[str, Any]]:
    return api.get("/attention?kind=alert")["entries"]


def test_a_firing_alert_is_an_entry_until_it_is_resolved(api):
    assert send(api, fired()) == {"raised": 1}
    [entry] = entries(api)
    assert entry["title"] == "The gateway a:3000 does not answer"
    assert entry["expectations"][0] == {
        "name": "prometheus",
        "expected": "no alert",
        "found": "Start it again.",
    }
    assert api.audited() == (f"POST {PATH}", "done", "the operator")
    assert send(api, resolved(fired())) == {"recovered": 1}
    assert entries(api) == []


def test_the_alert_of_a_rule_shows_the_runbook_that_the_rule_names(api):
    alert = fired()
    alert["annotations"]["runbook"] = "docs/how-to/runbooks/gateway-away.md"
    assert send(api, alert) == {"raised": 1}
    with api.services.warehouse.reading() as connection:
        body = connection.execute(select(operations_alerts.c.body)).scalar_one()
    assert body.splitlines()[-1] == "runbook: docs/how-to/runbooks/gateway-away.md"


def test_the_same_alert_is_stored_once_however_often_it_is_delivered(api):
    first, another = fired(), fired(2, instance="b")
    assert send(api, first, another, first) == {"raised": 2, "known": 1}
    assert send(api, first) == {"known": 1}
    assert len(entries(api)) == 2
    assert send(api, resolved(first)) == {"recovered": 1}
    assert send(api, resolved(first), first) == {"known": 2}
    assert len(entries(api)) == 1
    again = {**first, "startsAt": LATER}
    assert send(api, again) == {"raised": 1}
    assert send(api, resolved(first)) == {"known": 1}
    assert len(entries(api)) == 2


def test_an_alert_that_comes_after_its_resolution_raises_nothing(api):
    assert send(api, resolved(fired())) == {"known": 1}
    assert send(api, fired()) == {"known": 1}
    assert entries(api) == []


def test_a_closed_alert_stays_closed_while_it_is_sent_again(api):
    send(api, fired())
    [entry] = entries(api)
    api.post(f"/attention/{entry['entry_id']}/actions", {"action": "close"})
    assert send(api, fired()) == {"known": 1}
    assert entries(api) == []


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ({"covered_by": "daemon_silent", "daemon": "SENSOR"}, Problem("daemon_silent", "")),
        (
            {"covered_by": "host_silent", "host": "far", "role": "worker-1"},
            Problem("host_silent", "far"),
        ),
        (
            {"covered_by": "host_silent", "host": "far", "role": "daemon"},
            Problem("daemon_silent", ""),
        ),
        (
            {"covered_by": "objective_burning", "objective": "loads", "window": "1h"},
            Problem("objective_burning", "loads"),
        ),
    ],
)
@pytest.mark.parametrize("is_own_first", [True, False])
def test_a_state_that_prometheus_and_the_project_report_is_one_entry(
    api, labels, problem, is_own_first
):
    def report_own() -> None:
        message = Message(problem.kind, "error", "own", "own", frozenset([problem]))
        with open_alerts(api.services.settings).inbox() as inbox:
            inbox.observe(message.problems, is_always_open, build_wording(message))

    if is_own_first:
        report_own()
        assert send(api, fired(1, **labels)) == {"known": 1}
    else:
        assert send(api, fired(1, **labels)) == {"raised": 1}
        report_own()
    assert send(api, fired(2, **labels, part="other")) == {"known": 1}
    assert send(api, resolved(fired(1, **labels))) == {"covered": 1}
    [entry] = entries(api)
    assert entry["expectations"][0]["name"] == problem.kind
    assert (entry["title"] == "own") == is_own_first
    with open_alerts(api.services.settings).inbox() as inbox:
        inbox.observe(frozenset(), problem.__eq__, lambda _: [])
    assert entries(api) == []
    assert send(api, fired(1, **labels)) == {"known": 1}
    assert entries(api) == []


@pytest.mark.slow_after_first
@pytest.mark.parametrize("covered_by", ["late", "failed_run", "failed_item", "tick_failed"])
def test_what_the_project_reports_as_other_entries_makes_no_alert(api, covered_by):
    alert = fired(covered_by=covered_by, asset="finra/otc_weekly")
    assert send(api, alert, resolved(alert)) == {"covered": 2}
    assert entries(api) == []


@pytest.mark.slow_after_first
@pytest.mark.parametrize("covered_by", ["deamon_silent", "alert", "prometheus", "Late"])
def test_an_alert_whose_label_names_no_such_kind_is_shown(api, covered_by):
    alert = fired(covered_by=covered_by)
    assert send(api, alert) == {"raised": 1}
    assert len(entries(api)) == 1
    assert send(api, resolved(alert)) == {"recovered": 1}
    assert entries(api) == []


@pytest.mark.parametrize(
    ("severity", "stored"),
    [("critical", "error"), ("warning", "warning"), ("info", "info"), ("", "error")],
)
def test_the_severity_is_that_of_the_label(api, severity, stored):
    send(api, fired(severity=severity))
    with api.services.warehouse.reading() as connection:
        assert connection.execute(select(operations_alerts.c.severity)).scalar_one() == stored


def test_texts_are_cut_and_unknown_fields_are_ignored(api):
    alert = fired()
    alert["labels"] |= {f"label{number:02}": "x" * 5000 for number in range(40)}
    alert["annotations"] = {"summary": "s\n" * 4000, "description": "d" * 9000, "other": "o"}
    body = notification({**alert, "newField": {"a": 1}}, truncatedAlerts=3, another=[1])
    answer = api.post(PATH, body)
    assert (answer["raised_count"], answer["truncated_count"]) == (1, 3)
    [entry] = entries(api)
    assert (len(entry["title"]), "\n" in entry["title"]) == (200, False)
    with api.services.warehouse.reading() as connection:
        assert len(connection.execute(select(operations_alerts.c.body)).scalar_one()) <= 3500


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"version": "5"}, 422, "version"),
        ({"alerts": None}, 422, "alerts"),
        ({"alerts": [fired()] * 501}, 422, "alerts"),
        ({"alerts": [{**fired(), "status": "unknown"}]}, 422, "alerts"),
        ({"alerts": [{**fired(), "fingerprint": "x"}]}, 422, "fingerprint"),
        ({"alerts": [{**fired(), "startsAt": "yesterday"}]}, 422, "startsAt"),
        ({"alerts": [{**fired(), "labels": {"a": 1}}]}, 422, "labels"),
        ({"alerts": [fired(evil="nul\0")]}, 422, "NUL"),
        ({"alerts": [fired(), {}]}, 422, "status"),
        ({"padding": "x" * 300_000}, 413, "262144 bytes"),
    ],
)
def test_a_malformed_notification_is_refused_as_a_whole(api, change, status, text):
    problem = api.expect_problem("POST", PATH, json=notification(fired()) | change)
    assert problem["status"] == status
    assert text in json.dumps(problem)
    assert entries(api) == []


@pytest.mark.parametrize(("role", "status"), [("", 401), ("viewer", 403)])
def test_a_key_of_an_operator_is_needed(api, role, status):
    assert api.expect_problem("POST", PATH, role, json=notification(fired()))["status"] == status
    assert entries(api) == []


def test_the_client_sends_a_notification_and_alertmanager_its_key_as_bearer(api):
    with Client(HOME, str(api.keys["operator"]), transport=api) as client:
        assert client.receive_alerts(notification(fired())).raised_count == 1
    bearer = {"authorization": f"Bearer {api.keys['operator']}"}
    answer = api.ask("POST", PATH, "", json=notification(fired()), headers=bearer)
    assert (answer.status_code, answer.json()["known_count"]) == (200, 1)
