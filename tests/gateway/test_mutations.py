"""Mutations: roles and origins that may execute them, and their audit log."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import dagster as dg
import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from sqlalchemy import func, select
from websockets.exceptions import ConnectionClosed

from orchestration_project.engine.contracts.roles import (
    ADMIN_MUTATIONS,
    OPERATOR_MUTATIONS,
    Role,
)
from orchestration_project.gateway.mutations import MAX_SUBSCRIPTIONS
from orchestration_project.tables.access import access_audit
from tests.expecting import expect_present
from tests.gateway.login_client import LoginClient

SELECTOR = {
    "repositoryLocationName": "here",
    "repositoryName": "__repository__",
    "pipelineName": "work",
}
LAUNCH = """mutation Launch($p: ExecutionParams!) {launchRun(executionParams: $p) {__typename
  ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"""
NAMES = "{__schema{mutationType{fields{name}}}}"
SCHEDULE = {
    "repositoryLocationName": "here",
    "repositoryName": "__repository__",
    "scheduleName": "nightly",
}
START = """mutation S($s: ScheduleSelector!) {startSchedule(scheduleSelector: $s) {__typename}}"""


def params(job: str = "work", tags: list[dict[str, str]] | None = None) -> dict[str, Any]:
    selector = SELECTOR | {"pipelineName": job}
    metadata = {"tags": tags or []}
    return {"p": {"selector": selector, "mode": "default", "executionMetadata": metadata}}


def launched(login_client: LoginClient, answer: Any) -> dg.DagsterRun:
    return expect_present(
        login_client.instance.get_run_by_id(answer.json["data"]["launchRun"]["run"]["runId"])
    )


@pytest.fixture(scope="module")
def mutations(login_client: LoginClient) -> list[str]:
    """Every mutation of Dagster's schema, also those of a Dagster to come."""
    answer = login_client.graphql(NAMES, key=login_client.keys[Role.ADMIN])
    return [field["name"] for field in answer.json["data"]["__schema"]["mutationType"]["fields"]]


@pytest.mark.slow
def test_each_mutation_of_dagsters_has_a_role_and_no_other_has(mutations: list[str]):
    nobodys = {"setAppManagedComponent", "deleteAppManagedComponent"}  # not in open source
    assert set(mutations) == OPERATOR_MUTATIONS | ADMIN_MUTATIONS | nobodys
    assert not OPERATOR_MUTATIONS & ADMIN_MUTATIONS


@pytest.mark.slow
def test_a_viewer_may_ask_for_no_mutation_that_there_is(
    login_client: LoginClient, mutations: list[str]
):
    assert len(mutations) > 40
    for name in [*mutations, "somethingNew", "__typename"]:
        for query in (
            f"mutation {{{name}}}",
            f"mutation {{harmless: {name}}}",
            f"query A {{version}} mutation B {{{name}}}",
            f"mutation {{...F}} fragment F on Mutation {{... on Mutation {{{name}}}}}",
        ):
            answer = login_client.graphql(query, key=login_client.keys[Role.VIEWER])
            assert answer.status == 403, name
            assert name in answer.json["errors"][0]["message"]


def test_an_operator_may_ask_for_none_of_an_admins(login_client: LoginClient, mutations: list[str]):
    of_admins = set(mutations) - OPERATOR_MUTATIONS
    assert len(of_admins) > 10
    for name in of_admins:
        both = f"mutation {{launchRun {name}}}"
        for query in (f"mutation {{{name}}}", both):
            assert (
                login_client.graphql(query, key=login_client.keys[Role.OPERATOR]).status == 403
            ), name


def test_an_unknown_mutation_is_refused(login_client: LoginClient):
    for name in ("somethingNew", "setAppManagedComponent"):
        assert (
            login_client.graphql(f"mutation {{{name}}}", key=login_client.keys[Role.ADMIN]).status
            == 403
        )


def test_a_run_bears_the_name_of_who_launched_it_whatever_tag_was_given(login_client: LoginClient):
    spoofed = params(tags=[{"key": "user", "value": "somebody else"}])
    answer = login_client.graphql(LAUNCH, spoofed, key=login_client.keys[Role.OPERATOR])
    assert launched(login_client, answer).tags["user"] == "the operator"


def test_a_run_bears_no_mark_by_which_the_api_would_take_it_for_its_own(login_client: LoginClient):
    spoofed = params(tags=[{"key": "idempotency_key", "value": "the admin:k"}])
    answer = login_client.graphql(LAUNCH, spoofed, key=login_client.keys[Role.OPERATOR])
    assert "idempotency_key" not in launched(login_client, answer).tags


def test_of_several_runs_that_are_launched_at_once_each_bears_the_name(login_client: LoginClient):
    query = """mutation M($all: [ExecutionParams!]!) {launchMultipleRuns(executionParamsList: $all)
      {__typename ... on LaunchMultipleRunsResult {launchMultipleRunsResult {
        ... on LaunchRunSuccess {run {runId}}}}}}"""
    answer = login_client.graphql(
        query, {"all": [params()["p"]] * 2}, key=login_client.keys[Role.OPERATOR]
    )
    several = answer.json["data"]["launchMultipleRuns"]["launchMultipleRunsResult"]
    runs = [login_client.instance.get_run_by_id(launch["run"]["runId"]) for launch in several]
    assert [run and run.tags["user"] for run in runs] == ["the operator"] * 2
    [requested, answered] = login_client.audit(answer.headers["x-request-id"])
    assert (requested["operation"], answered["outcome"]) == ("launchMultipleRuns", "done")


@pytest.mark.slow
def test_a_run_that_is_tried_again_bears_the_name_of_who_tries_it(login_client: LoginClient):
    first = launched(
        login_client, login_client.graphql(LAUNCH, params(), key=login_client.keys[Role.OPERATOR])
    )
    again = """mutation R($p: ReexecutionParams) {launchRun: launchRunReexecution(
      reexecutionParams: $p) {__typename ... on LaunchRunSuccess {run {runId}}}}"""
    wanted = {"p": {"parentRunId": first.run_id, "strategy": "ALL_STEPS"}}
    second = launched(
        login_client, login_client.graphql(again, wanted, key=login_client.keys[Role.ADMIN])
    )
    assert (second.parent_run_id, second.tags["user"]) == (first.run_id, "the admin")


def test_a_backfill_bears_the_name_of_who_asked_for_it(login_client: LoginClient):
    query = """mutation B($b: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $b)
      {__typename ... on LaunchBackfillSuccess {backfillId}}}"""
    wanted = {"assetSelection": [{"path": ["parts"]}], "partitionNames": ["a"]}
    answer = login_client.graphql(query, {"b": wanted}, key=login_client.keys[Role.OPERATOR])
    backfill = login_client.instance.get_backfill(
        answer.json["data"]["launchPartitionBackfill"]["backfillId"]
    )
    assert backfill
    assert backfill.tags["user"] == "the operator"


def test_what_the_gateways_process_makes_by_itself_bears_no_name(login_client: LoginClient):
    run = login_client.instance.create_run_for_job(job_def=empty)
    assert "user" not in run.tags


@dg.job
def empty(): ...


def test_an_operator_launches_no_job_that_deletes_and_an_admin_does(login_client: LoginClient):
    wanted = params("operations_cleanup")
    refused = login_client.graphql(LAUNCH, wanted, key=login_client.keys[Role.OPERATOR])
    assert refused.json["data"]["launchRun"]["__typename"] == "UnauthorizedError"
    [_, answered] = login_client.audit(refused.headers["x-request-id"])
    assert (answered["outcome"], answered["reason"]) == ("refused", "UnauthorizedError")
    done = login_client.graphql(LAUNCH, wanted, key=login_client.keys[Role.ADMIN])
    assert launched(login_client, done).job_name == "operations_cleanup"


REMOVALS = {"path": ["operations", "removals"]}


def materialize(*assets: dict[str, list[str]]) -> dict[str, Any]:
    """Return the params with which the page of an asset launches it."""
    wanted = params("__ASSET_JOB")
    wanted["p"]["selector"]["assetSelection"] = [*assets] or None
    return wanted


@pytest.mark.slow
def test_an_operator_makes_no_asset_that_is_a_deletion_by_no_other_way(login_client: LoginClient):
    operator, admin = login_client.keys[Role.OPERATOR], login_client.keys[Role.ADMIN]
    done = launched(login_client, login_client.graphql(LAUNCH, materialize(REMOVALS), key=admin))
    thing = {"path": ["thing"]}
    assert launched(login_client, login_client.graphql(LAUNCH, materialize(thing), key=operator))
    before = login_client.instance.get_runs_count()
    again = """mutation R($p: ReexecutionParams) {launchRun: launchRunReexecution(
      reexecutionParams: $p) {__typename}}"""
    backfill = """mutation B($p: LaunchBackfillParams!) {launchRun: launchPartitionBackfill(
      backfillParams: $p) {__typename}}"""
    several = {"assetSelection": [{"path": ["parts"]}, REMOVALS], "allPartitions": True}
    for query, wanted in (
        (LAUNCH, materialize(REMOVALS)),
        (LAUNCH, materialize(thing, REMOVALS)),
        (LAUNCH, materialize()),
        (again, {"p": {"parentRunId": done.run_id, "strategy": "ALL_STEPS"}}),
        (backfill, {"p": several}),
    ):
        answer = login_client.graphql(query, wanted, key=operator)
        assert answer.json["data"]["launchRun"]["__typename"] == "UnauthorizedError"
        [_, answered] = login_client.audit(answer.headers["x-request-id"])
        assert answered["outcome"] == "refused"
    assert login_client.instance.get_runs_count() == before
    assert login_client.graphql(backfill, {"p": several}, key=admin).json["data"]["launchRun"] == {
        "__typename": "LaunchBackfillSuccess"
    }


def test_the_audit_has_a_mutation_before_and_after_it_with_what_it_was_about(
    login_client: LoginClient,
):
    cookie = login_client.log_in_without_failure(login_client.keys[Role.OPERATOR])
    answer = login_client.graphql(LAUNCH, params(), cookie=cookie, address="203.0.113.4")
    requested, answered = login_client.audit(answer.headers["x-request-id"])
    assert requested == answered | {
        "step_number": 1,
        "outcome": "asked",
        "happened_at": requested["happened_at"],
    }
    assert answered == {
        "request_id": answer.headers["x-request-id"],
        "step_number": 2,
        "happened_at": answered["happened_at"],
        "user_name": "the operator",
        "role": "operator",
        "key_id": login_client.keys[Role.OPERATOR].key_id,
        "address": "203.0.113.4",
        "operation": "launchRun",
        "target": '{"pipelineName": "work", "repositoryLocationName": "here", '
        '"repositoryName": "__repository__"}',
        "outcome": "done",
        "reason": None,
        "trace_id": answer.headers["x-trace-id"],
    }


def test_the_audit_has_refusals_and_failures_and_why(login_client: LoginClient):
    refused = login_client.graphql(START, {"s": SCHEDULE}, key=login_client.keys[Role.VIEWER])
    [row] = login_client.audit(refused.headers["x-request-id"])
    assert (row["outcome"], row["reason"]) == ("refused", "viewer may not")
    assert json.loads(row["target"])["scheduleName"] == "nightly"
    failed = login_client.graphql(LAUNCH, params("none"), key=login_client.keys[Role.OPERATOR])
    _, row = login_client.audit(failed.headers["x-request-id"])
    assert (row["outcome"], row["reason"]) == ("failed", "PipelineNotFoundError")
    malformed = login_client.graphql(
        "mutation {launchRun {__typename x}}", key=login_client.keys[Role.OPERATOR]
    )
    _, row = login_client.audit(malformed.headers["x-request-id"])
    assert row["outcome"] == "failed"
    assert "Cannot query field 'x'" in row["reason"]


@pytest.mark.parametrize(
    "requested",
    [
        "{... on RunNotFoundError {message}}",
        "{t: __typename}",
        "{__typename @skip(if: true) ... on RunNotFoundError {message}}",
        "{... on RunNotFoundError {__typename}}",
    ],
)
def test_a_mutation_whose_answer_would_not_say_what_came_of_it_is_refused(
    login_client: LoginClient, requested: str
):
    query = f'mutation {{terminateRun(runId: "none") {requested}}}'
    answer = login_client.graphql(query, key=login_client.keys[Role.OPERATOR])
    assert answer.status == 400
    assert "Ask for __typename" in answer.json["errors"][0]["message"]
    [row] = login_client.audit(answer.headers["x-request-id"])
    assert (row["outcome"], row["reason"]) == ("refused", "no __typename of terminateRun")


def test_dagster_reads_what_was_judged_however_the_type_of_the_body_is_written(
    login_client: LoginClient,
):
    shut_down = 'mutation{shutdownRepositoryLocation(repositoryLocationName:"here"){__typename}}'
    for content_type in ("application/JSON", "Application/Json; charset=utf-8"):
        answer = login_client.ask(
            *("POST", f"/graphql?{urlencode({'query': shut_down})}", '{"query": "{version}"}'),
            key=login_client.keys[Role.OPERATOR],
            Origin=login_client.origin,
            Content_Type=content_type,
        )
        assert list(answer.json["data"]) == ["version"]


def test_what_people_write_into_a_form_is_not_in_the_audit(login_client: LoginClient):
    secret = "hunter2hunter2"
    query = f"""mutation {{launchRun(executionParams: {{runConfigData: "{secret}",
      selector: {{pipelineName: "work", repositoryLocationName: "here", repositoryName: "r"}},
      executionMetadata: {{tags: [{{key: "k", value: "{secret}"}}]}}}}) {{__typename}}}}"""
    answer = login_client.graphql(query, key=login_client.keys[Role.OPERATOR])
    rows = login_client.audit(answer.headers["x-request-id"])
    assert [json.loads(row["target"])["pipelineName"] for row in rows] == ["work", "work"]
    assert secret not in str(rows)


def test_a_query_is_in_no_audit(login_client: LoginClient):
    answer = login_client.graphql("{version}", key=login_client.keys[Role.VIEWER])
    assert (answer.status, login_client.audit(answer.headers["x-request-id"])) == (200, [])


FOREIGN = [
    {"Origin": "http://evil.example.org"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": ""},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_site_can_change_nothing(
    login_client: LoginClient, headers: dict[str, str]
):
    cookie = login_client.log_in_without_failure(login_client.keys[Role.ADMIN])
    before = login_client.instance.get_runs_count()
    answer = login_client.graphql(LAUNCH, params(), cookie=cookie, **headers)
    [row] = login_client.audit(answer.headers["x-request-id"])
    assert (answer.status, login_client.instance.get_runs_count()) == (403, before)
    assert (row["user_name"], row["operation"]) == ("the admin", "POST /graphql")
    assert (row["outcome"], row["reason"]) == ("refused", "another site")


def test_a_cookie_alone_that_does_not_say_which_page_asks_can_change_nothing(
    login_client: LoginClient,
):
    cookie = login_client.log_in_without_failure(login_client.keys[Role.ADMIN])
    body = json.dumps({"query": "mutation {launchRun}"})
    answer = login_client.ask(
        "POST", "/graphql", body, cookie=cookie, Content_Type="application/json"
    )
    assert answer.status == 403


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain; application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "application/graphql",
        "application/json-patch+json",
        "",
    ],
)
def test_what_a_form_could_send_is_not_taken(login_client: LoginClient, content_type: str):
    query = "mutation {launchRun}"
    for path in ("/graphql", "/graphql?query=mutation{launchRun}", "/report_asset_check/a"):
        answer = login_client.ask(
            *("POST", path, json.dumps({"query": query})),
            key=login_client.keys[Role.ADMIN],
            Origin=login_client.origin,
            Content_Type=content_type,
        )
        assert answer.status == 415


def test_a_get_asks_for_no_graphql(login_client: LoginClient):
    for query in ("mutation{launchRun}", "{version}"):
        path = f"/graphql?query={query}"
        assert login_client.ask("GET", path, key=login_client.keys[Role.ADMIN]).status == 405
        assert login_client.ask("HEAD", path, key=login_client.keys[Role.ADMIN]).status == 405
    page = login_client.ask(
        "GET", "/graphql", key=login_client.keys[Role.ADMIN], Accept="text/html"
    )
    assert page.status == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_no_other_method_reaches_dagster(login_client: LoginClient, method: str):
    for path in ("/", "/graphql", "/runs"):
        assert login_client.ask(method, path, key=login_client.keys[Role.ADMIN]).status == 405
    post = login_client.ask(
        "POST", "/runs", key=login_client.keys[Role.ADMIN], Content_Type="application/json"
    )
    assert post.status == 405


@pytest.mark.parametrize(
    "body",
    [
        "",
        "x",
        "[]",
        '[{"query": "{version}"}]',
        "null",
        "{}",
        '{"query": 1}',
        '{"query": "{version}", "variables": 1}',
        '{"query": "{version}", "variables": "[]"}',
        '{"query": "{"}',
        '{"query": "subscription {x}"}',
        "[" * 100_000,
    ],
)
def test_a_body_that_is_no_single_query_is_refused(login_client: LoginClient, body: str):
    answer = login_client.ask(
        *("POST", "/graphql", body),
        key=login_client.keys[Role.ADMIN],
        Content_Type="application/json",
    )
    assert answer.status == 400


def test_a_report_without_a_run_is_an_admins_and_in_the_audit(login_client: LoginClient):
    path = "/report_asset_materialization/thing"
    for role, status in {Role.VIEWER: 403, Role.OPERATOR: 403, Role.ADMIN: 200}.items():
        answer = login_client.ask(
            *("POST", path, "{}"), key=login_client.keys[role], Content_Type="application/json"
        )
        assert answer.status == status
        rows = login_client.audit(answer.headers["x-request-id"])
        assert rows[-1]["operation"] == "POST /report_asset_materialization"
        assert rows[-1]["target"] == '{"asset": "thing"}'
        assert rows[-1]["outcome"] == ("done" if status == 200 else "refused")


def test_a_file_of_the_machine_is_named_by_an_admin_alone(login_client: LoginClient):
    for path in ("/notebook", "/dagit/notebook"):
        requested = f"{path}?repoLocName=here&path=/etc/passwd.ipynb"
        for role in (Role.VIEWER, Role.OPERATOR):
            refused = login_client.ask("GET", requested, key=login_client.keys[role])
            assert refused.status == 403
            [row] = login_client.audit(refused.headers["x-request-id"])
            assert (row["operation"], row["outcome"]) == (f"GET {path}", "refused")
        assert login_client.ask("HEAD", requested, key=login_client.keys[Role.VIEWER]).status == 403
        assert login_client.ask("GET", requested, key=login_client.keys[Role.ADMIN]).status == 200


LOGS = """query L($key: [String!]!) {
  capturedLogs(logKey: $key) {stdout stderr} capturedLogsMetadata(logKey: $key) {stderrLocation}}"""


def test_logs_are_read_below_their_folder_alone(login_client: LoginClient, tmp_path: Path):
    logs = login_client.instance.compute_log_manager
    assert isinstance(logs, LocalComputeLogManager)
    with logs.open_log_stream(["a run", "a step"], ComputeIOType.STDERR) as log:
        assert log
        log.write("of a step")
    outside = Path(logs.get_captured_local_path(["x"], "err")).parent.parent / "secret.err"
    outside.write_text("s3cret")
    (tmp_path / "secret.err").write_text("s3cret")
    viewer = login_client.keys[Role.VIEWER]
    own = login_client.graphql(LOGS, {"key": ["a run", "a step"]}, key=viewer).json["data"]
    assert own["capturedLogs"]["stderr"] == "of a step"
    for key in (
        ["..", "secret"],
        ["a run", "..", "..", "secret"],
        ["a run", "../../secret"],
        [str(outside.with_suffix(""))],
        [str(tmp_path), "secret"],
        ["/", *tmp_path.parts[1:], "secret"],
        [],
        [""],
        ["a run", ""],
        ["a run", "x" * 300],
        ["x"] * 100,
    ):
        answer = login_client.graphql(LOGS, {"key": key}, key=viewer)
        assert (answer.status, answer.json["data"]) == (400, None), key
        assert "s3cret" not in answer.text
    down = login_client.ask("GET", "/logs/a%20run/a%20step/err", key=viewer)
    assert (down.status, down.text) == (200, "of a step")
    for path in ("../secret/err", "%2e%2e/secret/err", "a%20run/..%2f..%2fsecret/err"):
        assert login_client.ask("GET", f"/logs/{path}", key=viewer).status == 400
    outside.with_suffix(".complete").touch()  # its end would be reported at once
    query = "subscription L($key: [String!]!) {capturedLogs(logKey: $key) {stderr}}"
    payload = {"query": query, "variables": {"key": ["..", "secret"]}}
    with login_client.websocket(X_API_Key=str(viewer)) as websocket:
        websocket.send(json.dumps({"type": "start", "id": "1", "payload": payload}))
        with suppress(ConnectionClosed):
            assert "s3cret" not in str(websocket.recv(timeout=10))
    rooted = login_client.ask("GET", f"/logs/%2f{str(tmp_path)[1:]}/secret/err", key=viewer)
    assert rooted.status == 400
    of_run = """query ($id: ID!, $key: String!) {runOrError(runId: $id) {
      ... on Run {capturedLogs(fileKey: $key) {stderr}}}}"""
    run = launched(
        login_client, login_client.graphql(LAUNCH, params(), key=login_client.keys[Role.OPERATOR])
    )
    strange = {"id": run.run_id, "key": "../../secret"}
    assert login_client.graphql(of_run, strange, key=viewer).status == 400


@pytest.mark.parametrize(
    "path",
    ["x", "none/out", "none/compute_logs/x/err", "none/compute_logs/x/zip", "x" * 300 + "/err"],
)
def test_a_log_that_there_is_not_is_not_found(login_client: LoginClient, path: str):
    assert (
        login_client.ask("GET", f"/logs/{path}", key=login_client.keys[Role.VIEWER]).status == 404
    )


def test_the_debug_file_of_a_run_that_there_is_not_is_not_found(login_client: LoginClient):
    for run_id in ("x", "00000000-0000-0000-0000-000000000000"):
        answer = login_client.ask(
            "GET", f"/download_debug/{run_id}", key=login_client.keys[Role.ADMIN]
        )
        assert answer.status == 404


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "a\udfffb"])
def test_a_text_that_no_database_can_hold_is_refused(login_client: LoginClient, text: str):
    run = "query ($id: ID!) {runOrError(runId: $id) {__typename}}"
    nested = "query ($f: RunsFilter) {runsOrError(filter: $f) {__typename}}"
    filters = {"f": {"tags": [{"key": "k", "value": text}]}}
    written = f"{{runOrError(runId: {json.dumps(text)}) {{__typename}}}}"
    for query, variables in ((run, {"id": text}), (nested, filters), (written, {})):
        answer = login_client.graphql(query, variables, key=login_client.keys[Role.VIEWER])
        assert answer.status == 400, answer.text
    terminate = "mutation ($id: String!) {terminateRun(runId: $id) {__typename}}"
    answer = login_client.graphql(terminate, {"id": text}, key=login_client.keys[Role.OPERATOR])
    assert (answer.status, login_client.audit(answer.headers["x-request-id"])) == (400, [])


@pytest.mark.parametrize(
    "query",
    [
        "mutation {launchRun}",
        "query {version}",
        "subscription A {x} mutation B {launchRun}",
        "{",
    ],
)
def test_a_websocket_that_asks_for_more_than_a_subscription_ends(
    login_client: LoginClient, query: str
):
    with login_client.websocket(X_API_Key=str(login_client.keys[Role.ADMIN])) as websocket:
        websocket.send(json.dumps({"type": "start", "id": "1", "payload": {"query": query}}))
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=10)
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 4400


def test_a_binary_frame_ends_a_websocket_with_one_line_in_the_log(
    login_client: LoginClient, caplog: pytest.LogCaptureFixture
):
    with login_client.websocket(X_API_Key=str(login_client.keys[Role.VIEWER])) as websocket:
        websocket.send(b'{"type": "connection_init"}')
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=10)
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1003
    said = [record for record in caplog.records if record.name != "orchestration_project.access"]
    assert [record.getMessage() for record in said] == [
        "the viewer sent a binary frame by websocket"
    ]


def test_a_websocket_that_asks_for_too_many_subscriptions_ends(login_client: LoginClient):
    payload = {"query": "subscription {locationStateChangeEvents {__typename}}"}
    with login_client.websocket(X_API_Key=str(login_client.keys[Role.VIEWER])) as websocket:
        for number in range(3 * MAX_SUBSCRIPTIONS):  # one at a time
            websocket.send(json.dumps({"type": "start", "id": str(number), "payload": payload}))
            websocket.send(json.dumps({"type": "stop", "id": str(number)}))
        websocket.send('{"type": "connection_init"}')
        assert "connection_ack" in str(websocket.recv(timeout=10))
        for number in range(MAX_SUBSCRIPTIONS + 1):
            websocket.send(json.dumps({"type": "start", "id": str(number), "payload": payload}))
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=10)
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 4429


@pytest.mark.slow
def test_subscriptions_that_came_to_their_end_do_not_count(login_client: LoginClient):
    payload = {"query": 'subscription {pipelineRunLogs(runId: "none") {__typename}}'}
    with login_client.websocket(X_API_Key=str(login_client.keys[Role.VIEWER])) as websocket:
        for number in range(2 * MAX_SUBSCRIPTIONS):
            websocket.send(json.dumps({"type": "start", "id": str(number), "payload": payload}))
            kinds = [json.loads(websocket.recv(timeout=10))["type"] for _ in range(2)]
            assert kinds == ["data", "complete"]


def test_a_viewer_watches_a_run_by_websocket(login_client: LoginClient):
    run = launched(
        login_client, login_client.graphql(LAUNCH, params(), key=login_client.keys[Role.OPERATOR])
    )
    query = """subscription L($id: ID!) {pipelineRunLogs(runId: $id) {__typename
      ... on PipelineRunLogsSubscriptionSuccess {messages {__typename}}}}"""
    start = {
        "type": "start",
        "id": "1",
        "payload": {"query": query, "variables": {"id": run.run_id}},
    }
    with login_client.websocket(
        Cookie=login_client.log_in_without_failure(login_client.keys[Role.VIEWER])
    ) as websocket:
        websocket.send(json.dumps(start))
        message = json.loads(websocket.recv(timeout=10))
    assert message["type"] == "data"
    messages = message["payload"]["data"]["pipelineRunLogs"]["messages"]
    assert "RunEnqueuedEvent" in [message["__typename"] for message in messages]


def test_a_mutation_that_the_audit_cannot_keep_is_not_asked_for(login_client: LoginClient):
    before = login_client.instance.get_runs_count()
    with login_client.warehouse.writing() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON access_audit "
            "BEGIN SELECT RAISE(FAIL, 'full'); END"
        )
    answer = login_client.graphql(LAUNCH, params(), key=login_client.keys[Role.OPERATOR])
    with login_client.warehouse.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER full")
        assert connection.execute(select(func.count()).select_from(access_audit)).scalar_one()
    assert (answer.status, login_client.instance.get_runs_count()) == (500, before)
