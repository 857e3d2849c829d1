"""One request followed by its spans, from the gateway to the transaction of a load."""

import pytest

from orchestration_project.engine.tracing import spans
from orchestration_project.engine.tracing.traceparent import TraceContext
from tests.collector import collecting
from tests.gateway.api.conftest import FRIDAY, IN_THIS_PROCESS, WEEK, open_api

OURS = {"module": "orchestration_project.instance.storage", "class": "SettingsStorage"}
REQUEST = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """A request that loads a week, and the collector of its spans."""
    with collecting() as collector, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        storage = IN_THIS_PROCESS | {"storage": {"custom": OURS}}
        spans.forget_settings()
        with open_api(tmp_path_factory.mktemp("spans"), storage) as api:
            body = {"tier": "T1", "week_ending": FRIDAY}
            requested = api.post("/pipelines/run/finra_otc_weekly", body, traceparent=str(REQUEST))
            spans.flush(20)
            yield api, requested["execution_id"], collector
        spans.forget_settings()


@pytest.mark.slow
def test_the_spans_of_one_request_are_one_trace_with_parents(followed):
    _, run_id, collector = followed
    own = [span for span in collector.spans if span.trace_id == REQUEST.trace_id]
    names = {own_span.span_id: own_span.name for own_span in own}
    assert len(names) == len(own)  # no span twice

    def path(span) -> list[str]:
        above = [own_span for own_span in own if own_span.span_id == span.parent]
        return [*(path(above[0]) if above else []), span.name]

    paths = {tuple(path(own_span)) for own_span in own}
    run = ("request", "launch", "run")
    assert paths >= {
        ("request",),
        ("request", "launch"),
        ("request", "launch", "queue"),
        run,
        (*run, "step"),
        (*run, "step", "extract", "http"),
        (*run, "step", "batch", "load", "transaction"),
    }
    [request] = [own_span for own_span in own if own_span.name == "request"]
    assert request.parent == REQUEST.span_id
    assert (request.attributes["method"], request.attributes["status"]) == ("POST", 202)
    [made] = [own_span for own_span in own if own_span.name == "run"]
    assert made.attributes["run.id"] == run_id
    load = next(own_span for own_span in own if own_span.name == "load")
    assert (load.attributes["table"], load.attributes["partition"]) == ("finra_otc_weekly", WEEK)
    assert load.attributes["rows_added"] > 0
    assert {own_span.error for own_span in own} == {""}


@pytest.mark.slow
def test_rows_of_the_same_request_lead_to_the_same_trace(followed):
    api, run_id, _ = followed
    found = api.get(f"/traces/{REQUEST.trace_id}")
    assert [run["run_id"] for run in found["runs"]] == [run_id]
    assert {request["outcome"] for request in found["requests"]} == {"done"}
    [week] = [
        partition
        for partition in found["runs"][0]["partitions"]
        if (partition["table"], partition["outcome"]) == ("finra_otc_weekly", "landed")
    ]
    assert week["fetches"]
    with api.services.warehouse.reading() as connection:
        said = connection.exec_driver_sql("SELECT DISTINCT trace_id FROM captures").scalars().all()
    assert said == [REQUEST.trace_id]


def test_no_span_has_a_key(followed):
    api, _, collector = followed
    sent = b"".join(collector.raw)
    assert not [key for key in api.keys.values() if str(key).encode() in sent]
