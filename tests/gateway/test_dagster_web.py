"""What we count on in Dagster's private parts, and that its own permissions follow the role."""

import asyncio
import json
from typing import Any

import dagster as dg
import pytest
from dagster._core.workspace.permissions import EDITOR_PERMISSIONS, Permissions
from dagster_graphql.schema import create_schema

from orchestration_project.domains.access.roles import (
    ADMIN_PERMISSIONS,
    OPERATOR_PERMISSIONS,
    Principal,
    Role,
)
from orchestration_project.gateway.dagster_web import KEPT_CHARACTERS
from orchestration_project.gateway.request import CURRENT
from tests.gateway.door import Door

CHECKED_BY_NOBODY = {"logTelemetry", "setNuxSeen"}
"""Mutations without a permission of Dagster's: only our rule by name keeps viewers from them."""


def test_each_permission_of_dagsters_has_a_role_but_one_that_open_source_has_not():
    known = {str(each) for each in Permissions}
    assert known == {str(name) for name in EDITOR_PERMISSIONS}
    assert known - OPERATOR_PERMISSIONS - ADMIN_PERMISSIONS == {"edit_app_managed_components"}
    assert known >= OPERATOR_PERMISSIONS | ADMIN_PERMISSIONS


def test_the_pages_are_told_what_the_role_may(door: Door):
    query = """{permissions {permission value disabledReason} canBulkTerminate
      workspaceOrError {... on Workspace {locationEntries {permissions {permission value}}}}}"""
    granted = {}
    for role in Role:
        told = door.graphql(query, key=door.keys[role]).json["data"]
        granted[role] = {each["permission"] for each in told["permissions"] if each["value"]}
        [location] = told["workspaceOrError"]["locationEntries"]
        scoped = {each["permission"] for each in location["permissions"] if each["value"]}
        assert scoped <= granted[role]
        assert told["canBulkTerminate"] == (role is not Role.VIEWER)
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
        given = [each for each in declared["inputFields"] if each["type"]["kind"] == "NON_NULL"]
        written = [f"{each['name']}: {sample(each['type'], types)}" for each in given]
        return "{" + ", ".join(written) + "}"
    return {"Int": "1", "Float": "1.5", "Boolean": "true"}.get(kind["name"], '"work"')


def documents() -> dict[str, str]:
    """Return a valid document of each mutation of Dagster's schema."""
    schema: Any = create_schema().introspect()
    types = {each["name"]: each for each in schema["__schema"]["types"]}
    found = {}
    for field in types["Mutation"]["fields"]:
        needed = [each for each in field["args"] if each["type"]["kind"] == "NON_NULL"]
        written = ", ".join(f"{each['name']}: {sample(each['type'], types)}" for each in needed)
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


def test_dagster_itself_lets_a_viewer_change_nothing(door: Door):
    found = documents()
    before = door.instance.get_runs_count()
    for name in found.keys() - CHECKED_BY_NOBODY:
        told = asyncio.run(asked_as(Role.VIEWER, door.dagster, found[name]))
        data = (told.get("data") or {}).get(name) or {}
        assert data.get("__typename", "Error").endswith(("Error", "RunsResult")), (name, told)
    assert door.instance.get_runs_count() == before


@pytest.mark.parametrize("role", list(Role))
def test_the_stack_of_an_error_is_for_admins_alone(door: Door, role: Role):
    broken = "{capturedLogsMetadata(logKey: []) {stdoutLocation}}"  # which Dagster trips over
    answer = door.graphql(broken, key=door.keys[role])
    [error] = answer.json["errors"]
    assert error["message"]
    assert ("stack" in str(error.get("extensions"))) == (role is Role.ADMIN)


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
    door: Door, query: str, variables: dict[str, Any]
):
    """What is longer than we remember, if only by spaces, Dagster's own method answers."""
    answers = [
        door.graphql(text, variables, key=door.keys[Role.VIEWER])
        for text in (query, query, query + " " * KEPT_CHARACTERS)
    ]
    assert len({(answer.status, answer.body) for answer in answers}) == 1


def test_a_request_of_nobody_has_the_permissions_of_a_viewer(door: Door):
    CURRENT.set(None)
    told = asyncio.run(asked_as(Role.VIEWER, door.dagster, "{permissions {value}}"))
    assert not any(each["value"] for each in told["data"]["permissions"])


def test_the_run_storage_still_makes_runs_by_the_methods_that_we_name_users_in(door: Door):
    storage = door.instance.run_storage
    assert "name_users" in storage.add_run.__qualname__
    assert "name_users" in storage.add_backfill.__qualname__
    assert isinstance(door.instance, dg.DagsterInstance)
