"""Four eyes through the API and Dagster's GraphQL: every way in, by role."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import delete, select

from orchestration_project.client import ApiError, Client
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.services.access.approvals import read_person
from orchestration_project.services.erasure.requests import ErasureRequests
from orchestration_project.tables.access import access_approvals
from orchestration_project.tables.erasures import operations_erasures
from tests.gateway.api.conftest import HOME, WEEK, Api
from tests.gateway.api.test_backfills import daemon as daemon
from tests.gateway.api.test_backfills import only_run_of
from tests.gateway.api.test_plugins import ARCHIVE
from tests.gateway.api.test_plugins import admin as admin
from tests.gateway.api.test_run_config import REPOSITORY

ERASE, LOAD = "operations_erase", "finra_otc_weekly"

LAUNCH = """mutation ($p: ExecutionParams!) { %s(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
BACKFILL = """mutation ($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
RELAUNCH = """mutation ($p: ReexecutionParams!) { %s(reexecutionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""


@pytest.fixture(autouse=True)
def four_eyes(api: Api, monkeypatch):
    monkeypatch.setenv("FOUR_EYES", "erase,accept,grant")
    yield
    with api.services.warehouse.writing() as connection:
        connection.execute(delete(access_approvals))


def client_of(api: Api, owner: str, role: Role) -> Client:
    key = api.ring.create(owner=owner, role=role, lasts=timedelta(hours=1))
    return Client(HOME, str(key), transport=api)


@pytest.fixture
def bob(api: Api) -> Client:
    """Another admin than `the admin`."""
    return client_of(api, "bob", Role.ADMIN)


def status_of(raised: pytest.ExceptionInfo[ApiError]) -> int:
    return raised.value.problem.status


def test_a_grant_takes_effect_only_after_another_admin_confirmed_it(api, admin: Client, bob):
    admin.add_plugin(ARCHIVE, allow_unsigned=True)
    grant: dict[str, Any] = {"permissions": {"hosts": []}, "reason": "news"}
    with pytest.raises(ApiError, match="grant needs a second person") as raised:
        admin.grant_plugin("rss", **grant)
    assert status_of(raised) == 422
    [waiting] = admin.approvals()
    assert (waiting.state, waiting.requested_by, waiting.reason) == (
        *("requested", "the admin"),
        "news",
    )
    assert waiting.parameters["permissions"]["hosts"] == []
    one, sha256 = waiting.approval_id, waiting.sha256
    operator, viewer = (
        Client(HOME, str(api.keys[role]), transport=api) for role in ("operator", "viewer")
    )
    for who, given, status in (
        (admin, sha256, 422),
        (operator, sha256, 422),
        (viewer, sha256, 403),
        (bob, "0" * 64, 422),
    ):
        with pytest.raises(ApiError) as raised:
            who.confirm_approval(one, sha256=given)
        assert status_of(raised) == status
    with pytest.raises(ApiError):
        viewer.approvals()
    assert bob.confirm_approval(one, sha256=sha256).decided_by == "bob"
    assert api.audited() == ("POST /approvals", "done", "bob")
    with pytest.raises(ApiError, match="second person"):  # other parameters
        admin.grant_plugin("rss", permissions={}, reason="news")
    assert admin.grant_plugin("rss", **grant).state == "granted"
    assert [approval.state for approval in admin.approvals()] == ["requested", "used"]
    with pytest.raises(ApiError, match="second person"):  # it held once
        admin.grant_plugin("rss", **grant)


def test_a_refused_grant_does_not_take_effect(admin: Client, bob):
    admin.add_plugin(ARCHIVE, allow_unsigned=True)
    with pytest.raises(ApiError, match="second person"):
        admin.grant_plugin("rss", reason="news")
    [waiting] = bob.approvals()
    assert bob.refuse_approval(waiting.approval_id, reason="not now").decision_reason == "not now"
    with pytest.raises(ApiError):
        bob.confirm_approval(waiting.approval_id, sha256=waiting.sha256)
    with pytest.raises(ApiError):
        bob.request_approval(waiting.approval_id)
    with pytest.raises(ApiError, match="second person"):
        admin.grant_plugin("rss", reason="news")


def graphql(api: Api, document: str, variables: Any, role: str = "admin") -> Any:
    headers = {"origin": HOME, "x-api-key": str(api.keys[role])}
    body = {"query": document, "variables": variables}
    request = httpx.Request("POST", f"{HOME}/graphql", json=body, headers=headers)
    return api.handle_request(request).json()


def erasure(api: Api) -> dict[str, Any]:
    requests = ErasureRequests(api.services.warehouse, Clock())
    request_id = requests.add(
        "saas/person", ["ann.planted@example.com"], user_name="root", reason="asked for"
    )
    config = {"request_id": request_id, "dry_run": False}
    return {"ops": {"erase_subject": {"config": config}}}


def load() -> dict[str, Any]:
    config = {"accept_sha256": uuid4().hex * 2, "accept_reason": "compared"}
    return {"ops": {"finra_otc_weekly_load": {"config": config}}}


def launch(api: Api, way: str, job: str, config: dict[str, Any], role: str, **tags: str) -> str:
    """Launch a run by the API, or by a mutation of the pages; return its ID: it has ended."""
    partition = {"partition": WEEK} if job == LOAD else {}
    if way == "/runs":
        body = {"job": job, "config": config, **partition}
        return api.post("/runs", body, role)["run_id"]
    tags |= {f"dagster/{name}": value for name, value in partition.items()}
    params = {
        "selector": {**REPOSITORY, "pipelineName": job},
        "mode": "default",
        "runConfigData": config,
        "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in tags.items()]},
    }
    return launched(api, way, params, role)


def relaunch(api: Api, way: str, run_id: str, role: str) -> str:
    """Launch an ended run again."""
    if way == "retry":
        return api.post(f"/runs/{run_id}/retry", {"what": "all"}, role)["run_id"]
    return launched(api, way, {"parentRunId": run_id, "strategy": "ALL_STEPS"}, role)


def launched(api: Api, mutation: str, params: dict[str, Any], role: str) -> str:
    document = RELAUNCH if "Reexecution" in mutation else LAUNCH
    answer = graphql(api, document % mutation, {"p": params}, role)["data"][mutation]
    return answer["run"]["runId"]


def check_end_and_success(api: Api, run_id: str) -> bool:
    run = api.services.instance.get_run_by_id(run_id)
    assert run
    assert run.is_finished
    return run.is_success


LAUNCHES = ("launchRun", "launchPipelineExecution", "/runs")
RELAUNCHES = ("launchRunReexecution", "launchPipelineReexecution", "retry")


@pytest.mark.slow
def test_an_erasure_waits_whichever_way_it_is_launched(api, admin: Client):
    config = erasure(api)
    runs = [launch(api, way, ERASE, config, "admin") for way in LAUNCHES]
    runs += [relaunch(api, way, runs[0], "admin") for way in RELAUNCHES]
    [waiting] = admin.approvals()
    assert (waiting.requested_by, waiting.reason) == ("the admin", "asked for")
    with pytest.raises(ApiError):
        admin.confirm_approval(waiting.approval_id, sha256=waiting.sha256)
    runs += [launch(api, "launchRun", ERASE, config, "admin")]
    assert not any(check_end_and_success(api, run_id) for run_id in runs)
    with api.services.warehouse.reading() as connection:
        assert connection.execute(select(operations_erasures)).all() == []
    [waiting] = admin.approvals()
    assert waiting.state == "requested"


@pytest.mark.slow
def test_a_load_accepts_a_delivery_only_after_another_operator_confirmed_it(api):
    config, eve = load(), client_of(api, "eve", Role.OPERATOR)
    runs = [launch(api, way, LOAD, config, "operator") for way in LAUNCHES]
    runs += [relaunch(api, way, runs[0], "operator") for way in RELAUNCHES]
    assert not any(check_end_and_success(api, run_id) for run_id in runs)
    [waiting] = eve.approvals()
    assert (waiting.state, waiting.requested_by) == ("requested", "the operator")
    eve.confirm_approval(waiting.approval_id, sha256=waiting.sha256)
    assert not check_end_and_success(api, launch(api, "launchRun", LOAD, load(), "operator"))
    assert check_end_and_success(api, relaunch(api, "launchRunReexecution", runs[0], "operator"))
    assert [approval.state for approval in eve.approvals()] == ["requested", "used"]


@pytest.mark.slow
def test_a_confirmed_erasure_launched_by_a_mutation_erases_once(api, admin: Client, bob):
    config = erasure(api)
    assert not check_end_and_success(api, launch(api, "launchRun", ERASE, config, "admin"))
    [waiting] = admin.approvals()
    bob.confirm_approval(waiting.approval_id, sha256=waiting.sha256)
    assert check_end_and_success(api, launch(api, "launchRun", ERASE, config, "admin"))
    assert [approval.state for approval in admin.approvals()] == ["used"]
    with api.services.warehouse.writing() as connection:
        erased = connection.execute(select(operations_erasures.c.erasure_id)).scalars().all()
        assert erased == [config["ops"]["erase_subject"]["config"]["request_id"]]
        connection.execute(delete(operations_erasures))


def backfill(api: Api, config: dict[str, Any]) -> str:
    """Launch a backfill of a week as a page of Dagster does; return its ID."""
    params = {
        "partitionNames": [WEEK],
        "runConfigData": config,
        "selector": {"partitionSetName": f"{LOAD}_partition_set", "repositorySelector": REPOSITORY},
    }
    answer = graphql(api, BACKFILL, {"p": params}, "operator")["data"]["launchPartitionBackfill"]
    return answer["backfillId"]


@pytest.mark.slow
def test_a_backfill_accepts_a_delivery_only_after_another_operator_confirmed_it(api, daemon):
    config, eve = load(), client_of(api, "eve", Role.OPERATOR)

    def loaded() -> bool:
        backfill_id = backfill(api, config)
        daemon()
        return check_end_and_success(api, only_run_of(api, backfill_id).run_id)

    assert not loaded()
    [waiting] = eve.approvals()
    assert (waiting.state, waiting.requested_by) == ("requested", "the operator")
    assert not loaded()
    eve.confirm_approval(waiting.approval_id, sha256=waiting.sha256)
    assert loaded()
    assert [approval.state for approval in eve.approvals()] == ["used"]
    assert not loaded()  # it held for one backfill


def test_a_caller_cannot_name_another_requester_by_a_tag(api, admin: Client):
    tags = {"user": "bob", "launched_by": "cli"}
    run_id = launch(api, "launchRun", ERASE, erasure(api), "admin", **tags)
    run = api.services.instance.get_run_by_id(run_id)
    assert run
    assert read_person(run.tags) == "the admin"
    assert [approval.requested_by for approval in admin.approvals()] == ["the admin"]


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_a_lower_role_launches_no_erasure_and_requests_none(api, admin: Client, role: str):
    with pytest.raises((KeyError, TypeError)):
        launch(api, "launchRun", ERASE, erasure(api), role)
    assert admin.approvals() == []
