"""Requests continue the trace that they name, or begin one; what they start belongs to it."""

import json

import pytest

from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.tracing.traceparent import trace_of_tags
from tests.gateway.login_client import LoginClient
from tests.gateway.test_mutations import LAUNCH, launched, params

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.slow
def test_a_launch_belongs_to_the_trace_that_its_request_names(login_client: LoginClient):
    forged = [
        {"key": "traceparent", "value": f"00-{'a' * 32}-{'b' * 16}-01"},
        {"key": ".dagster/traceparent", "value": f"00-{'a' * 32}-{'b' * 16}-01"},
        {"key": "trace_id", "value": "a guess"},
        {"key": "traceparent_rejected", "value": "anything"},
    ]
    key = login_client.keys[Role.OPERATOR]
    answer = login_client.graphql(LAUNCH, params(tags=forged), key=key, traceparent=HEADER)
    assert answer.headers["x-trace-id"] == TRACE
    tags = launched(login_client, answer).tags
    trace = trace_of_tags(tags)
    assert trace is not None
    assert (trace.trace_id, tags["trace_id"], trace.span_id == SPAN) == (TRACE, TRACE, False)
    assert tags.keys().isdisjoint({"traceparent", "traceparent_rejected"})
    assert {row["trace_id"] for row in login_client.audit(answer.headers["x-request-id"])} == {
        TRACE
    }


@pytest.mark.slow
def test_a_malformed_header_begins_a_trace_and_is_noted_on_the_run(login_client: LoginClient):
    key = login_client.keys[Role.OPERATOR]
    answer = login_client.graphql(LAUNCH, params(), key=key, traceparent="00-" + "0" * 32 + "-x")
    tags = launched(login_client, answer).tags
    assert tags["trace_id"] == answer.headers["x-trace-id"] != "0" * 32
    assert tags["traceparent_rejected"] == "00-" + "0" * 32 + "-x"


def test_each_request_without_a_trace_begins_one(login_client: LoginClient):
    found = {login_client.ask("GET", "/healthz").headers["x-trace-id"] for _ in range(3)}
    assert len(found) == 3


@pytest.mark.slow
def test_a_trace_id_is_no_key(login_client: LoginClient):
    run = login_client.graphql(
        LAUNCH, params(), key=login_client.keys[Role.OPERATOR], traceparent=HEADER
    )
    assert run.status == 200
    refused = login_client.ask("GET", "/session", traceparent=HEADER)
    assert (refused.status, refused.headers["x-trace-id"]) == (401, TRACE)
    assert "errors" in json.loads(refused.body)
