"""Whether the gateway runs, and is ready."""

import dagster as dg
import pytest

from orchestration_project.errors import TransientError
from orchestration_project.gateway.health import Readiness, probes_of, routes
from orchestration_project.registry import Answer, Probe
from tests.gateway.conftest import SECRET, Client


def failing() -> Answer:
    raise TransientError("no answer from db.internal:5432")


def test_a_running_process_reports_so_whatever_else_fails():
    client = Client(routes(Readiness([Probe("database", (), lambda: "", failing)])))
    answer = client.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok")


def test_what_is_missing_is_named_and_the_reason_is_in_the_log_alone(caplog):
    probes = [
        Probe("database", (), lambda: "", failing),
        Probe("disk", (), lambda: "", lambda: Answer("free")),
        Probe("daemon", (), lambda: "", lambda: Answer("none", is_applicable=False)),
    ]
    answer = Client(routes(Readiness(probes))).get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "is_ready": False,
        "database": "failed",
        "disk": "passed",
        "daemon": "not_applicable",
    }
    assert "not ready, database: no answer from db.internal:5432" in caplog.text


def test_it_looks_every_five_seconds_at_most():
    looks, now = [], [0.0]
    probe = Probe("disk", (), lambda: "", lambda: looks.append(1) or Answer("free"))
    readiness = Readiness([probe], monotonic=lambda: now[0])
    for at, count in ((0.0, 1), (4.9, 1), (5.0, 2)):
        now[0] = at
        assert readiness.found() == {"disk": "passed"}
        assert len(looks) == count


def test_a_source_without_its_secret_leaves_the_gateway_ready(settings, warehouse, monkeypatch):
    with dg.instance_for_test() as instance:
        client = Client(routes(Readiness(probes_of(settings, instance))))
        found = client.get("/readyz")
        assert (found.status_code, found.json()) == (
            200,
            {
                "is_ready": True,
                "database": "passed",
                "disk": "passed",
                "artifacts": "passed",
                "daemon": "not_applicable",
                "webhooks": "failed",
            },
        )
        monkeypatch.setenv("WEBHOOK_SECRET_BARE", SECRET)
        client = Client(routes(Readiness(probes_of(settings, instance))))
        assert client.get("/readyz").json()["webhooks"] == "passed"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_asked_for_and_not_posted(path):
    assert Client(routes(Readiness([]))).post(path).status_code == 405
