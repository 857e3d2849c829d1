"""Whatever the OpenAPI document allows, and what it forbids, is answered as the document says."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from orchestration_project.catalog import REGISTRY
from orchestration_project.gateway.api.app import operations_of
from orchestration_project.gateway.api.openapi import document
from tests.gateway.api.conftest import streams_that_end

REFUSALS = [400, 401, 403, 404, 405, 406, 409, 415, 422, 428, 429, 431, "5xx"]
"""Answers to data that the document forbids; to the default, 431 of long addresses is added."""

CONFIG = SchemathesisConfig.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}}
)
SCHEMA = schemathesis.openapi.from_dict(document(operations_of(REGISTRY)), config=CONFIG)
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def short_streams(api):
    """Streams that end soon, as a response is read whole."""
    with streams_that_end(api):
        yield


@pytest.mark.parametrize("role", ["admin"])  # with it each operation has a test ID of its own
@SCHEMA.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_an_operation_answers_as_the_document_says(case, role, api, loaded):
    sent = case.as_transport_kwargs(base_url="http://127.0.0.1/api/v1")
    request = httpx.Request(
        sent["method"],
        sent["url"],
        params=sent.get("params"),
        json=sent.get("json"),
        content=sent.get("data"),
        headers=[
            (name.encode(), value.encode("utf-8", "surrogatepass"))
            for name, value in sent["headers"].items()
        ],
    )
    request.headers["x-api-key"] = str(api.keys[role])
    answer = api.handle_request(request)
    answer.request, answer.elapsed = request, timedelta()
    case.validate_response(answer, checks=CHECKS)
