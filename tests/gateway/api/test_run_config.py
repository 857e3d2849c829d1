"""Run configs that the model of an op refuses, by every way that launches through the gateway."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from orchestration_project.assets.finra import SPECS
from orchestration_project.definitions import defs
from orchestration_project.engine.contracts.job_kinds import LIST_SESSIONS
from tests.expecting import expect_status
from tests.gateway.api.conftest import DEFINITIONS, HOME, WEEK

OP, JOB = "finra_otc_weekly_load", "finra_otc_weekly"
SENTENCE = (
    "invalid max_reject_ratio in the config of finra_otc_weekly_load: expected 0 to 1, found 5; "
    "what to do: correct it in the run config"
)
INVALID = {"ops": {OP: {"config": {"max_reject_ratio": 5}}}}
REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": DEFINITIONS}
SELECTOR = {**REPOSITORY, "jobName": JOB}
TAGS = [{"key": "dagster/partition", "value": WEEK}]
ASSETS = [{"path": list(spec.key.path)} for spec in SPECS]

ANSWER = "{__typename ... on RunConfigValidationInvalid {pipelineName errors {message}}}"
RUN = {
    "selector": SELECTOR,
    "runConfigData": json.dumps(INVALID),
    "executionMetadata": {"tags": TAGS},
}
BACKFILL = {"partitionNames": [WEEK], "runConfigData": json.dumps(INVALID)}
PARTITIONS = {
    "partitionSetName": f"{JOB}_partition_set",
    "repositorySelector": REPOSITORY,
}
LAUNCHES = {
    "launchRun": ("executionParams: ExecutionParams", RUN),
    "launchPipelineExecution": ("executionParams: ExecutionParams", RUN),
    "launchRun of assets": (
        "executionParams: ExecutionParams",
        RUN | {"selector": {**REPOSITORY, "jobName": "__ASSET_JOB", "assetSelection": ASSETS}},
    ),
    "launchPartitionBackfill": (
        "backfillParams: LaunchBackfillParams",
        BACKFILL | {"selector": PARTITIONS},
    ),
    "launchPartitionBackfill of assets": (
        "backfillParams: LaunchBackfillParams",
        BACKFILL | {"assetSelection": ASSETS},
    ),
}


def made(api) -> tuple[int, int]:
    """Return how many runs and backfills there are."""
    instance = api.services.instance
    return instance.get_runs_count(), len(instance.get_backfills())


def answer_to(api, mutation: str, argument: str, params: Any, fields: str = ANSWER) -> Any:
    name, _, kind = argument.partition(": ")
    query = f"mutation M($p: {kind}!) {{{mutation}({name}: $p) {fields}}}"
    return requested(api, query, {"p": params})[mutation]


def requested(api, query: str, variables: Mapping[str, Any]) -> Any:
    request = httpx.Request(
        "POST",
        f"{HOME}/graphql",
        headers={"x-api-key": str(api.keys["operator"]), "origin": HOME},
        json={"query": query, "variables": variables},
    )
    answer = api.handle_request(request)
    expect_status(answer)
    return answer.json()["data"]


def require_refusal(answer: Mapping[str, Any]) -> None:
    assert answer["__typename"] == "RunConfigValidationInvalid"
    assert [error["message"] for error in answer["errors"]] == [SENTENCE]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("way", sorted(LAUNCHES))
def test_a_launch_with_an_invalid_config_is_refused_with_the_field(api, way):
    before = made(api)
    require_refusal(answer_to(api, way.partition(" ")[0], *LAUNCHES[way]))
    assert made(api) == before


@pytest.mark.parametrize("way", ["launchRun", "isPipelineConfigValid"])
@pytest.mark.parametrize("config", [{}, {"loggers": {}}])
def test_a_job_of_operations_without_ops_is_refused_with_its_kinds(api, way, config):
    before = made(api)
    selector = {**REPOSITORY, "pipelineName": LIST_SESSIONS.job}
    if way == "launchRun":
        params = {"selector": selector, "runConfigData": config, "mode": "default"}
        answer = answer_to(api, way, "executionParams: ExecutionParams", params)
    else:
        query = (
            "query Q($s: PipelineSelector!, $c: RunConfigData) "
            f'{{{way}(pipeline: $s, runConfigData: $c, mode: "default") '
            "{__typename ... on RunConfigValidationInvalid {errors {message}}}}"
        )
        answer = requested(api, query, {"s": selector, "c": config})[way]
    assert answer["__typename"] == "RunConfigValidationInvalid"
    [message] = [error["message"] for error in answer["errors"]]
    assert message.startswith(
        "invalid config of handle_runs: it selects no kind of operations_runs; "
        "expected: one of list_sessions, retry_failures, replay_webhook"
    )
    assert made(api) == before


def test_an_option_of_a_replay_is_refused_in_a_load(api):
    before = made(api)
    config = {"ops": {OP: {"config": {"allow_older": True}}}}
    problem = api.expect_problem(
        "POST", "/runs", json={"job": JOB, "partition": WEEK, "config": config}
    )
    assert problem["status"] == 422
    expected = "invalid allow_older: expected no option of a replay in a load; found: replay: false"
    assert problem["errors"][0]["problem"].startswith(expected)
    assert made(api) == before


def test_of_several_launches_each_with_an_invalid_config_is_refused(api):
    before = made(api)
    fields = f"{{__typename ... on LaunchMultipleRunsResult {{launchMultipleRunsResult {ANSWER}}}}}"
    found = answer_to(
        api, "launchMultipleRuns", "executionParamsList: [ExecutionParams!]", [RUN, RUN], fields
    )
    for launch in found.get("launchMultipleRunsResult", [found]):
        require_refusal(launch)
    assert made(api) == before


def test_a_run_with_an_invalid_config_is_not_executed_again(api):
    job = defs.resolve_job_def(JOB)
    tags = {tag["key"]: tag["value"] for tag in TAGS}
    run = api.services.instance.create_run_for_job(job, tags=tags)
    api.services.instance.report_run_failed(run)
    before = made(api)
    parent = {"parentRunId": run.run_id, "rootRunId": run.run_id}
    params = {**RUN, "executionMetadata": {"tags": TAGS, **parent}}
    argument = "executionParams: ExecutionParams"
    require_refusal(answer_to(api, "launchRunReexecution", argument, params))
    assert made(api) == before


def test_the_api_refuses_an_invalid_config_with_the_field(api):
    before = made(api)
    body = {"job": JOB, "partition": WEEK, "config": INVALID}
    problem = api.expect_problem("POST", "/runs", json=body)
    assert problem["status"] == 422
    assert problem["errors"] == [{"field": "config", "problem": SENTENCE}]
    assert made(api) == before
