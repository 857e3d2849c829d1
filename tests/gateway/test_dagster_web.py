"""Assumptions about Dagster's private parts, and that its own permissions follow the role."""

import asyncio
import json
from typing import Any

import dagster as dg
import pytest
from dagster._core.workspace.permissions import EDITOR_PERMISSIONS, Permissions
from dagster_graphql.schema import create_schema

from orchestration_project.engine.contracts.roles import (
    ADMIN_PERMISSIONS,
    OPERATOR_PERMISSIONS,
    Principal,
    Role,
)
from orchestration_project.gateway.dagster_web.webserver import MAX_KEPT_CHARACTERS
from orchestration_project.gateway.request import CURRENT
from tests.gateway.login_client import LoginClient

CHECKED_BY_NOBODY = {"logTelemetry", "setNuxSeen"}
"""Mutations without a permission of Dagster's: only our rule by name keeps viewers from them."""


def test_each_permission_of_dagsters_has_a_role_but_one_that_open_source_has_not():
    known = {str(permission) for permission in Permissions}
    assert known == {str(name) for name in EDITOR_PERMISSIONS}
    assert known - OPERATOR_PERMISSIONS - ADMIN_PERMISSIONS == {"edit_app_managed_components"}
    assert known >= OPERATOR_PERMISSIONS | ADMIN_PERMISSIONS


@pytest.mark.slow
def test_the_pages_get_the_permissions_of_the_role(login_client: LoginClient):
    query = """{permissions {permission value disabledReason} canBulkTerminate
      workspaceOrError {... on Workspace {locationEntries {permissions {permission value}}}}}"""
    granted = {}
    for role in Role:
        data = login_client.graphql(query, key=login_client.keys[role]).json["data"]
        granted[role] = {
            permission["permission"] for permission in data["permissions"] if permission["value"]
        }
        [location] = data["workspaceOrError"]["locationEntries"]
        scoped = {
            permission["permission"]
            for permission in location["permissions"]
            if permission["value"]
        }
        assert scoped <= granted[role]
        assert data["canBulkTerminate"] == (role is not Role.VIEWER)
    assert granted == {
        Role.VIEWER: set(),
        Role.OPERATOR: OPERATOR_PERMISSIONS,
        Role.ADMIN: OPERATOR_PERMISSIONS | ADMIN_PERMISSIONS,
    }


def sample(kind: Any, types: dict[str, Any]) -> str:
    """Return a value of a type of the schema, as it is written in a document."""
    if kind["kind"] == "NON_NULL":
        return sample(kind["ofType"], types)
    if kind["kind"] == "LIST":
        return f"[{sample(kind['ofType'], types)}]"
    declared = types[kind["name"]]
    if declared["kind"] == "ENUM":
        return declared["enumValues"][0]["name"]
    if declared["kind"] == "INPUT_OBJECT":
        given = [
            input_field
            for input_field in declared["inputFields"]
            if input_field["type"]["kind"] == "NON_NULL"
        ]
        written = [f"{argument['name']}: {sample(argument['type'], types)}" for argument in given]
        return "{" + ", ".join(written) + "}"
    return {"Int": "1", "Float": "1.5", "Boolean": "true"}.get(kind["name"], '"work"')


def documents() -> dict[str, str]:
    """Return a valid document of each mutation of Dagster's schema."""
    schema: Any = create_schema().introspect()
    types = {graphql_type["name"]: graphql_type for graphql_type in schema["__schema"]["types"]}
    found = {}
    for field in types["Mutation"]["fields"]:
        needed = [arg for arg in field["args"] if arg["type"]["kind"] == "NON_NULL"]
        written = ", ".join(
            f"{argument['name']}: {sample(argument['type'], types)}" for argument in needed
        )
        arguments = f"({written})" if written else ""
        is_leaf = types[(field["type"]["ofType"] or field["type"])["name"]]["kind"] == "SCALAR"
        inside = "" if is_leaf else " {__typename}"
        found[field["name"]] = f"mutation {{{field['name']}{arguments}{inside}}}"
    return found


async def asked_as(role: Role, dagster: Any, query: str) -> dict[str, Any]:
    """Ask Dagster's web server itself, past our rules by name."""
    CURRENT.set(Principal("me", role, "key"))
    body, received = json.dumps({"query": query}).encode(), []
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/graphql",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"host", b"x")],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        received.append(message.get("body", b""))

    await dagster(scope, receive, send)
    return json.loads(b"".join(received))


def test_dagster_itself_lets_a_viewer_change_nothing(login_client: LoginClient):
    found = documents()
    before = login_client.instance.get_runs_count()
    for name in found.keys() - CHECKED_BY_NOBODY:
        answer = asyncio.run(asked_as(Role.VIEWER, login_client.dagster, found[name]))
        data = (answer.get("data") or {}).get(name) or {}
        assert data.get("__typename", "Error").endswith(("Error", "RunsResult")), (name, answer)
    assert login_client.instance.get_runs_count() == before


@pytest.mark.parametrize("role", list(Role))
def test_the_stack_of_an_error_is_for_admins_alone(login_client: LoginClient, role: Role):
    broken = """query ($s: ScheduleSelector!) {scheduleOrError(scheduleSelector: $s) {
      ... on Schedule {futureTicks(cursor: 1e300, limit: 1) {results {timestamp}}}}}"""
    where = {"repositoryLocationName": "here", "repositoryName": "__repository__"}
    wanted = {"s": where | {"scheduleName": "nightly"}}
    answer = login_client.graphql(broken, wanted, key=login_client.keys[role])
    [error] = answer.json["errors"]
    assert error["message"]
    assert ("stack" in str(error.get("extensions"))) == (role is Role.ADMIN)


ERRORS = """fragment P on PythonError {message className s: stack causes {message stack}
    cause {...Q} errorChain {error {...Q}}}
  fragment Q on PythonError {message stack}
  fragment M on DagsterRunEvent {__typename ... on MessageEvent {message}
    ... on ErrorEvent {error {...P}} ... on ExecutionStepFailureEvent {errorSource}}"""
LOGS = "query ($id: ID!) {logsForRun(runId: $id) {... on EventConnection {events {...M}}}}"
WATCH = """subscription ($id: ID!) {pipelineRunLogs(runId: $id) {
  ... on PipelineRunLogsSubscriptionSuccess {messages {...M}}}}"""
TRY = """mutation ($s: SensorSelector!) {sensorDryRun(selectorData: $s, cursor: "1") {__typename
  ... on DryRunInstigationTick {evaluationResult {error {...P}}}}}"""
LINE_OF_A_STACK = '  File \\"'


@dg.op
def breaks() -> None:
    try:
        raise ValueError("the cause")
    except ValueError as error:
        raise RuntimeError("the end") from error


@dg.job
def breaking() -> None:
    breaks()


@pytest.fixture(scope="module")
def failed(login_client: LoginClient) -> str:
    """The id of a run that failed."""
    result = breaking.execute_in_process(instance=login_client.instance, raise_on_error=False)
    quoted = 'it failed\n\nStack Trace:\n  File "x.py", line 1, in f\n    g()\n'
    run = login_client.instance.get_run_by_id(result.run_id)
    assert run
    login_client.instance.report_engine_event(quoted, run)
    return result.run_id


MESSAGES = ["the end", "the cause", "it failed"]


def find_messages(answer: str) -> list[str]:
    """Return the messages of the failed run that an answer has, and the line of a stack."""
    return [text for text in (*MESSAGES, LINE_OF_A_STACK) if text in answer]


@pytest.mark.parametrize("role", list(Role))
def test_the_stacks_of_a_failed_run_are_for_admins_alone(
    login_client: LoginClient, failed: str, role: Role
):
    answer = login_client.graphql(f"{LOGS} {ERRORS}", {"id": failed}, key=login_client.keys[role])
    expected = [*MESSAGES, LINE_OF_A_STACK] if role is Role.ADMIN else MESSAGES
    assert find_messages(answer.text) == expected
    payload = {"query": f"{WATCH} {ERRORS}", "variables": {"id": failed}}
    with login_client.websocket(X_API_Key=str(login_client.keys[role])) as websocket:
        websocket.send(json.dumps({"type": "start", "id": "1", "payload": payload}))
        assert find_messages(str(websocket.recv(timeout=20))) == expected


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN])
def test_a_stack_that_a_message_quotes_is_for_admins_alone(login_client: LoginClient, role: Role):
    """Dagster quotes what a code location raised, its stack and all."""
    where = {"repositoryLocationName": "here", "repositoryName": "__repository__"}
    wanted = {"s": where | {"sensorName": "on_trouble"}}
    answer = login_client.graphql(
        f"{TRY} {ERRORS.partition('fragment M')[0]}", wanted, key=login_client.keys[role]
    )
    assert "the reason" in answer.text
    assert (LINE_OF_A_STACK in answer.text) == (role is Role.ADMIN)


@pytest.mark.parametrize("role", list(Role))
def test_a_debug_file_which_holds_stacks_is_for_admins_alone(
    login_client: LoginClient, failed: str, role: Role
):
    path = f"/download_debug/{failed}"
    answer = login_client.ask("GET", path, key=login_client.keys[role])
    assert answer.status == (200 if role is Role.ADMIN else 403)
    refused = login_client.audit(answer.headers["x-request-id"])
    assert [row["outcome"] for row in refused] == ([] if role is Role.ADMIN else ["refused"])


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("query ($limit: Int) {runsOrError(limit: $limit) {__typename}}", {"limit": 1}),
        ("query ($limit: Int) {runsOrError(limit: $limit) {__typename}}", {"limit": "x"}),
        ("query ($id: ID!) {runOrError(runId: $id) {__typename}}", {}),
        ("query A {version} query B {canBulkTerminate}", {}),
        ("{capturedLogsMetadata(logKey: []) {stdoutLocation}}", {}),
        ("{assetOrError(assetKey: {path: [1]}) {__typename}}", {}),
        ("{version nothing}", {}),
        ("{...F} fragment F on Run {id}", {}),
    ],
)
def test_a_query_that_was_read_before_is_answered_as_dagster_reads_it(
    login_client: LoginClient, query: str, variables: dict[str, Any]
):
    """Dagster's own method answers queries longer than the cache's limit, if only by spaces."""
    answers = [
        login_client.graphql(text, variables, key=login_client.keys[Role.VIEWER])
        for text in (query, query, query + " " * MAX_KEPT_CHARACTERS)
    ]
    assert len({(answer.status, answer.body) for answer in answers}) == 1


def test_an_anonymous_request_has_the_permissions_of_a_viewer(login_client: LoginClient):
    CURRENT.set(None)
    answer = asyncio.run(asked_as(Role.VIEWER, login_client.dagster, "{permissions {value}}"))
    assert not any(permission["value"] for permission in answer["data"]["permissions"])


def test_the_run_storage_still_makes_runs_by_the_methods_that_we_name_users_in(
    login_client: LoginClient,
):
    storage = login_client.instance.run_storage
    assert "name_users" in storage.add_run.__qualname__
    assert "name_users" in storage.add_backfill.__qualname__
    assert isinstance(login_client.instance, dg.DagsterInstance)
