"""Metrics of objectives, domains, hosts and loads; exemplars; answer times as events."""

from datetime import timedelta

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from sqlalchemy import func, select, text
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from orchestration_project.catalog import REGISTRY
from orchestration_project.gateway.counted import LATENCIES, LatencyCounts, RequestCounter
from orchestration_project.gateway.latency import LatencyRecorder
from orchestration_project.gateway.metrics import parts_of, routes
from orchestration_project.services.objectives.rules.objectives import Events
from orchestration_project.tables.operations_objectives import (
    operations_host_samples,
    operations_slo,
    operations_slo_samples,
)
from orchestration_project.tables.operations_runs import operations_control_tower
from orchestration_project.tables.spine import work_items
from tests.gateway.conftest import Client
from tests.gateway.test_metrics import filled, now, values

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SLO = """
objectives:
  - {name: fast, indicator: gateway_latency, target: 0.99, max_seconds: 0.1}
  - {name: slow, indicator: gateway_latency, target: 0.99, max_seconds: 10}
"""


@pytest.fixture
def instance(kept_instance):
    return kept_instance


@pytest.fixture
def client(settings, warehouse, instance):
    return Client(routes(parts_of(settings, warehouse, instance, lambda: REGISTRY)))


def test_an_objective_without_data_has_a_state_and_no_burn_rate(warehouse, client):
    burning = {"state": "burning", "good": 8, "total": 10, "burn_1h": 20.0, "budget_left": -1.0}
    with warehouse.writing() as connection:
        row = {"domain": "finra", "evaluated_at": now() - MINUTE, "events_1h": 10}
        connection.execute(filled(operations_slo, name="a", **row, **burning))
        connection.execute(filled(operations_slo, name="b", **row, state="no_data"))
    found = values(client.get("/metrics").text)
    # the values of labels stand in the order of their names
    assert found["objective_state", "finra", "a", "burning"] == 1
    assert found["objective_state", "finra", "b", "no_data"] == 1
    assert found["objective_state", "finra", "b", "met"] == 0
    assert found["objective_events", "finra", "a", "bad"] == 2
    assert found["objective_budget_left", "finra", "a"] == -1
    assert [key for key in found if key[0] == "objective_burn"] == [
        ("objective_burn", "finra", "a", "1h")
    ]
    assert found["objective_window_events", "finra", "a", "1h"] == 10
    assert found["objective_age_seconds",] == pytest.approx(60, abs=50)


def test_each_domain_has_its_staleness_and_one_state(warehouse, client):
    tower = {"window_hours": 24, "asset": "", "looked_at": now()}
    with warehouse.writing() as connection:
        loaded = {"last_landed_at": now() - 5 * HOUR, "success_share": 0.5}
        connection.execute(
            filled(operations_control_tower, **tower, domain="finra", state="stale", **loaded)
        )
        connection.execute(
            filled(operations_control_tower, **tower, domain="saas", state="healthy")
        )
        connection.execute(filled(work_items, topic="a", state="dead"))
        connection.execute(filled(work_items, topic="a", item_key="y", state="done"))
    found = values(client.get("/metrics").text)
    assert found["domain_staleness_seconds", "finra"] == pytest.approx(5 * 3600, abs=60)
    assert ("domain_staleness_seconds", "saas") not in found
    assert found["domain_state", "finra", "stale"] == 1
    assert sum(found["domain_state", "saas", name] for name in ("healthy", "failing")) == 1
    assert found["domain_success_share", "finra"] == 0.5
    assert found["work_items", "dead", "a"] == 1
    assert {key[1] for key in found if key[0] == "work_items"} == {
        *("ready", "leased", "failed", "dead")
    }


def test_a_scrape_serves_what_is_readable_while_the_tables_are_gone(warehouse, client):
    with warehouse.writing() as connection:
        for table in ("operations_slo", "operations_host_samples", "operations_runs"):
            connection.execute(text(f"DROP TABLE {table}"))
    answer = client.get("/metrics")
    found = values(answer.text)
    assert answer.status_code == 200
    read = {key[1]: value for key, value in found.items() if key[0] == "scrape_ok"}
    assert [read[name] for name in ("objectives", "hosts", "loads", "database")] == [0, 0, 0, 0]
    assert [read[name] for name in ("host", "dagster", "work_items", "health")] == [1, 1, 1, 1]
    assert [key[0] for key in found if key[0] == "host_cores"] == ["host_cores"]


def test_hosts_and_programs_have_their_latest_samples_of_at_most_200_names(warehouse, client):
    with warehouse.writing() as connection:
        rows = [
            {"host": f"h{number:03}", "role": "worker", "at": now() - age, "cpu_share": share}
            for number in range(250)
            for age, share in ((MINUTE, 0.5), (6 * MINUTE, 0.9), (2 * HOUR, 1.0))
        ]
        for row in rows:
            connection.execute(filled(operations_host_samples, **row))
        gone = {"host": "a", "role": "worker", "at": now() - HOUR}
        connection.execute(filled(operations_host_samples, **gone))
    found = values(client.get("/metrics").text)
    cpu = {key[1]: value for key, value in found.items() if key[::2] == ("host_used_share", "cpu")}
    assert len(cpu) == 201
    assert set(cpu.values()) == {0.5}
    assert {"h000", "h199", "other"} <= set(cpu)


def test_openmetrics_has_exemplars_of_valid_traces_only(client):
    answering = Client([Route("/api/x", lambda _: PlainTextResponse("x"))], RequestCounter)
    for parent in ("00-" + "b" * 32 + "-" + "1" * 16 + "-01", "00-" + "0" * 32 + "-x", "x" * 9000):
        answering.get("/api/x", headers={"traceparent": parent})
    answer = client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    exemplars = [
        sample.exemplar.labels
        for sample in families["orchestration_gateway_request_seconds"].samples
        if sample.exemplar
    ]
    assert {"trace_id": "b" * 32} in exemplars
    assert all(set(exemplar) == {"trace_id"} for exemplar in exemplars)
    assert "traceparent" not in answer.text
    assert "exemplar" not in client.get("/metrics").text


def test_requests_are_events_by_their_time_streams_are_none_and_errors_are_never_good():
    counts = LatencyCounts()
    for seconds, status in ((0.05, 200), (0.1, 404), (0.11, 200), (0.01, 500), (90, 200)):
        counts.add(seconds, status)
    assert counts.within(0.1) == Events(2, 5)
    assert counts.within(60) == Events(3, 5)
    assert counts.within(0.005) == Events(0, 5)


def test_a_stream_counts_as_no_request():
    def stream(_):
        return StreamingResponse(iter("x"), media_type="text/event-stream")

    client = Client(
        [Route("/api/s", stream), Route("/api/x", lambda _: PlainTextResponse(""))], RequestCounter
    )
    before = LATENCIES.within(60).total
    client.get("/api/s")
    assert LATENCIES.within(60).total == before
    client.get("/api/x")
    assert LATENCIES.within(60).total == before + 1


@pytest.mark.parametrize(("status", "count"), [(200, 1), (500, 1), (401, 0), (408, 0), (422, 0)])
def test_a_refused_request_does_not_count_for_the_objective(status: int, count: int):
    client = Client(
        [Route("/login", lambda _: PlainTextResponse("", status), methods=["POST"])],
        RequestCounter,
    )
    before = LATENCIES.within(60).total
    client.post("/login")
    assert LATENCIES.within(60).total == before + count


def test_answer_times_are_added_once_and_wait_while_they_cannot_be_recorded(
    settings, warehouse, tmp_path, caplog
):
    def recorded() -> dict[str, tuple[int, int]]:
        samples = operations_slo_samples.c
        wanted = select(samples.name, func.sum(samples.good), func.sum(samples.total))
        with warehouse.reading() as connection:
            found = connection.execute(wanted.group_by(samples.name))
            return {name: (good, total) for name, good, total in found}

    file = tmp_path / "slo.yaml"
    file.write_text(SLO)
    counts = LatencyCounts()
    recorder = LatencyRecorder(settings.model_copy(update={"slo_file": file}), counts)
    for seconds in (0.05, 1.0):
        counts.add(seconds, 200)
    recorder.record()
    recorder.record()
    assert recorded() == {"fast": (1, 2), "slow": (2, 2)}
    file.write_text("objectives: [")
    counts.add(0.05, 200)
    recorder.record()
    assert "failed to record the answer times of the gateway: invalid objectives" in caplog.text
    file.write_text(SLO.replace("slow", "other").replace("10}", "60}"))
    recorder.record()
    counts.add(0.05, 500)
    recorder.record()
    assert recorded() == {"fast": (2, 4), "slow": (2, 2), "other": (0, 1)}
