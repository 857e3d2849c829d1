"""What a pause refuses through the API and GraphQL, and who may pause."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from orchestration_project.client import Client
from tests.gateway.api.conftest import HOME, Api
from tests.gateway.api.test_run_config import REPOSITORY

PATH = "/operations/pauses"
JOB = "operations_checks"
LAUNCH = """mutation ($p: ExecutionParams!) { %s(executionParams: $p) {
  __typename ... on PythonError { message className } } }"""


@pytest.fixture(scope="module")
def ended(api: Api) -> str:
    """A run that has ended."""
    return api.run(JOB)


@pytest.fixture
def paused(api: Api) -> Iterator[None]:
    """A pause of operations."""
    api.post(PATH, {"subject": "operations", "reason": "the database moves"})
    yield
    api.post(f"{PATH}/resume", {"subject": "operations"})


def run_count(api: Api) -> int:
    return api.services.instance.get_runs_count()


@pytest.mark.parametrize("path", ["/runs", "/runs/{ended}/retry"])
def test_a_launch_and_a_retry_are_refused_with_reason_and_remedy(api, ended, paused, path):
    before = run_count(api)
    body = {"what": "all"} if "retry" in path else {"job": JOB}
    problem = api.expect_problem("POST", path.format(ended=ended), json=body)
    assert problem["status"] == 409
    assert "operations is paused by the operator: the database moves" in problem["detail"]
    assert "`resume operations`" in problem["detail"]
    assert run_count(api) == before


@pytest.mark.parametrize("mutation", ["launchRun", "launchPipelineExecution"])
def test_a_launch_of_the_pages_is_refused_with_the_reason(api, paused, mutation: str):
    before = run_count(api)
    params: dict[str, Any] = {
        "selector": {**REPOSITORY, "pipelineName": JOB},
        "mode": "default",
    }
    answer = graphql(api, LAUNCH % mutation, {"p": params})[mutation]
    assert (answer["__typename"], answer["className"]) == ("PythonError", "PausedError")
    assert "operations is paused by the operator: the database moves" in answer["message"]
    assert run_count(api) == before


@pytest.mark.slow
def test_materializing_an_asset_of_a_paused_source_is_refused_and_another_is_not(api):
    api.post(PATH, {"subject": "source:fx", "reason": "maintenance"})
    answers = [materialize(api, "fx", "rates_daily"), materialize(api, "operations", "runs")]
    api.post(f"{PATH}/resume", {"subject": "source:fx"})
    assert answers == ["PythonError", "LaunchRunSuccess"]


def test_a_backfill_is_accepted_as_its_runs_wait_in_the_queue(api):
    body = {"job": "finra_otc_weekly", "from": "2026-01-05", "to": "2026-01-05"}
    api.post(PATH, {"subject": "finra", "reason": "move"})
    answer = api.ask("POST", "/backfills", json=body)
    api.post(f"{PATH}/resume", {"subject": "finra"})
    assert answer.is_success, answer.text


def test_a_freshness_check_runs_while_paused(api):
    api.post(PATH, {"subject": "fx", "reason": "move"})
    answer = api.ask("POST", "/runs", json={"job": "fx_daily"})
    api.post(f"{PATH}/resume", {"subject": "fx"})
    assert answer.is_success, answer.text


def test_a_pause_is_listed_until_it_is_resumed_and_both_are_in_the_audit(api):
    client = Client(HOME, str(api.keys["operator"]), transport=api)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)  # noqa: TID251 - its end
    made = client.pause("finra", reason="the source moves", until=until)
    assert api.audited() == (f"POST {PATH}", "done", "the operator")
    assert (made.paused_by, made.until) == ("the operator", until)
    assert client.pauses() == [made]
    assert client.resume("finra") == made
    assert client.pauses() == []
    assert api.expect_problem("POST", f"{PATH}/resume", json={"subject": "finra"})["status"] == 422


def test_a_viewer_pauses_nothing_and_an_unknown_subject_is_named(api):
    body = {"subject": "finr", "reason": "move"}
    assert api.expect_problem("POST", PATH, "viewer", json=body)["status"] == 403
    problem = api.expect_problem("POST", PATH, json=body)
    assert problem["status"] == 422
    assert "did you mean finra?" in json.dumps(problem)
    assert api.get(PATH) == {"pauses": []}


def materialize(api: Api, *path: str) -> str:
    selection = {"assetSelection": [{"path": list(path)}]}
    tags = [{"key": "dagster/partition", "value": "2026-01-05"}] if path[0] == "fx" else []
    params = {
        "selector": {**REPOSITORY, "pipelineName": "__ASSET_JOB", **selection},
        "mode": "default",
        "executionMetadata": {"tags": tags},
    }
    return graphql(api, LAUNCH % "launchRun", {"p": params})["launchRun"]["__typename"]


def graphql(api: Api, query: str, variables: Any) -> Any:
    headers = {"origin": HOME, "x-api-key": str(api.keys["operator"])}
    request = httpx.Request(
        "POST", f"{HOME}/graphql", json={"query": query, "variables": variables}, headers=headers
    )
    return api.handle_request(request).json()["data"]
