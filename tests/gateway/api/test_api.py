"""Common behaviour of the API: its document, its problems, allowed callers and origins."""

import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.gateway.api.app import operations_of
from orchestration_project.gateway.limits import HEADER_BYTES
from orchestration_project.services.access.rules.credentials import KEY_LIMIT
from tests.gateway.api.conftest import ALLOWED, HOURS

OTHER = "https://elsewhere.example"

OPERATIONS = operations_of(REGISTRY)


@pytest.mark.slow
def test_the_document_has_every_operation_with_its_models(api):
    document = api.get("/openapi.json")
    named = {(method.upper(), path) for path, each in document["paths"].items() for method in each}
    assert named == {(operation.method, operation.path) for operation in OPERATIONS}
    launch = document["paths"]["/runs"]["post"]
    assert launch["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/NewRun"
    }
    assert [parameter["name"] for parameter in launch["parameters"]] == ["Idempotency-Key"]
    assert set(launch["responses"]) >= {"202", "403", "422"}
    reading = document["paths"]["/tables/{name}"]["get"]
    assert [(parameter["name"], parameter["in"]) for parameter in reading["parameters"]][:2] == [
        ("name", "path"),
        ("columns", "query"),
    ]


READ_BY_OPERATORS = {"list_log_lines", "follow_log_lines", "list_approvals"}
"""Log lines and parameters of actions may have more than data: viewers do not read them."""

READ_BY_ADMINS = {"list_access_entries"}
"""Who was refused what, and from where."""


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.name)
def test_who_has_not_the_role_is_refused_before_anything_is_looked_at(api, each):
    lower = {"viewer": [], "operator": ["viewer"], "admin": ["viewer", "operator"]}
    for role in lower[each.role]:
        problem = api.expect_problem(each.method, each.path, role, content=b"{")
        assert (problem["status"], problem["expected"]) == (403, f"the role {each.role}")
        assert api.audited() == (f"{each.method} {each.path}", "refused", f"the {role}")
    changes = each.method != "GET"
    is_closed = each.name in READ_BY_OPERATORS | READ_BY_ADMINS
    assert (changes or is_closed) == (each.role != "viewer")


def test_a_problem_names_the_trace_of_its_request(api):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    named = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    assert api.expect_problem("GET", "/runs/none", headers=named)["trace_id"] == trace


def test_a_body_that_cannot_be_taken_is_a_problem(api):
    def problem(content: bytes, kind: str = "application/json"):
        headers = {"content-type": kind}
        return api.expect_problem("POST", "/runs", content=content, headers=headers)

    assert problem(b"{}", "text/plain")["status"] == 415
    assert problem(b"{")["status"] == 422
    assert problem(b" " * 300_000)["status"] == 413
    missing = problem(b"{}")
    assert missing["errors"] == [{"field": "job", "problem": "Field required"}]
    assert problem(b'{"job": 1}')["errors"][0]["field"] == "job"
    unknown = problem(b'{"job": "x", "key": "s3cret"}')
    assert "s3cret" not in str(unknown)


def test_a_time_of_a_body_is_a_text_with_its_zone(api):
    path, body = "/runs/retry-failed-items", {"dry_run": True, "domain": "fx"}
    assert api.post(path, {**body, "since": "2026-11-02T12:00:00+02:00"})["run_id"]
    for since in ("2026-11-02T12:00:00", "20261102", "now:", 5, True):
        problem = api.expect_problem("POST", path, json={**body, "since": since})
        assert (problem["status"], problem["errors"][0]["field"]) == (422, "since")


def test_a_path_or_method_that_there_is_not_is_a_problem(api):
    assert api.expect_problem("DELETE", "/runs")["status"] == 405
    assert api.expect_problem("GET", "/")["status"] == 404


def test_an_unknown_client_is_refused_with_a_problem(api):
    problem = api.expect_problem("GET", "/runs", role="")
    assert (problem["status"], problem["category"]) == (401, "access")


@pytest.mark.slow
def test_pages_of_allowed_origins_may_call_with_a_key_and_no_others_at_all(api):
    def ask_and_expect_no_credentials(
        origin: str, method: str = "POST", role: str = "operator", **headers: str
    ):
        path, body = "/runs/retry-failed-items", {"dry_run": True}
        crossing = {"Origin": origin, "Sec-Fetch-Site": "cross-site", **headers}
        found = api.ask(method, path, role, json=body, headers=crossing)
        assert "access-control-allow-credentials" not in found.headers
        return found.status_code, found.headers.get("access-control-allow-origin")

    asking = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key",
    }
    assert ask_and_expect_no_credentials(ALLOWED, "OPTIONS", "", **asking) == (200, ALLOWED)
    assert ask_and_expect_no_credentials(OTHER, "OPTIONS", "", **asking) == (401, None)
    assert ask_and_expect_no_credentials(ALLOWED) == (202, ALLOWED)
    assert ask_and_expect_no_credentials(OTHER) == (403, None)
    assert ask_and_expect_no_credentials(ALLOWED, role="", Cookie="session=any")[0] == 401


def test_a_page_of_an_allowed_origin_may_read_why_the_door_refuses_it(api):
    def expect_refusal(origin: str, path: str = "/runs", **headers: str):
        crossing = {"Origin": origin, "Sec-Fetch-Site": "cross-site", **headers}
        found = api.ask("GET", path, role="", headers=crossing)
        assert found.headers["content-type"] == "application/problem+json"
        assert found.headers["x-request-id"]
        assert "access-control-allow-credentials" not in found.headers
        return found.status_code, found.headers.get("access-control-allow-origin")

    key = api.ring.create(owner="x", role=Role.VIEWER, lasts=HOURS)
    wrong = {"X-API-Key": f"op_{key.key_id}_{'A' * 43}"}
    for origin, allowed in ((ALLOWED, ALLOWED), (OTHER, None)):
        assert expect_refusal(origin) == (401, allowed)
        assert expect_refusal(origin, "/tables/a//b") == (400, allowed)
        assert expect_refusal(origin, X_Long="x" * HEADER_BYTES) == (431, allowed)
        assert expect_refusal(origin, Host="elsewhere.example") == (421, allowed)
    for _ in range(KEY_LIMIT):
        assert expect_refusal(ALLOWED, **wrong) == (401, ALLOWED)
    assert expect_refusal(ALLOWED, **wrong) == (429, ALLOWED)
    assert expect_refusal(OTHER, **wrong) == (429, None)


@pytest.mark.parametrize("each", REGISTRY.pipelines.values(), ids=lambda each: each.job)
def test_a_pipeline_is_a_job_and_takes_the_parts_of_its_partitions(each):
    partitions = defs.resolve_job_def(each.job).partitions_def
    key = partitions.get_first_partition_key() if partitions else None
    parts = key.split("|") if key else []
    assert len(each.parameters) == len(parts)


@pytest.mark.slow
def test_presets_are_listed_previewed_and_applied(api):
    presets = {preset["name"]: preset for preset in api.get("/presets")["presets"]}
    assert presets["full"]["values"] == {"full": True}
    assert presets["full"]["in_force"] is None
    run = api.post("/presets/full/apply", {"why": "a trial"})["run_id"]
    assert api.get(f"/runs/{run}")["status"] == "SUCCESS"
    applied = api.get("/presets/full")["preset"]["in_force"]
    assert (applied["preset"], applied["user"], applied["reason"]) == (
        "full",
        "the operator",
        "a trial",
    )
    [change] = [
        change for change in api.get("/presets/standard")["changes"] if change["field"] == "full"
    ]
    assert (change["now"], change["is_changed"]) == ("True", True)
    assert api.expect_problem("GET", "/presets/none")["status"] == 404
    assert api.expect_problem("POST", "/presets/full/apply", json={})["status"] == 422
    api.post("/presets/standard/apply", {"why": "it was a trial"})


def skip_ticks(instance, name, *reasons):
    """Have a sensor that was switched before look, and start nothing."""
    [state] = [each for each in instance.all_instigator_state() if each.instigator_name == name]
    for number, reason in enumerate(reasons):
        instance.create_tick(
            TickData(
                instigator_origin_id=state.instigator_origin_id,
                instigator_name=name,
                instigator_type=InstigatorType.SENSOR,
                status=TickStatus.SKIPPED,
                timestamp=1_900_000_000.0 + number,
                selector_id=state.selector_id,
                skip_reason=reason,
            )
        )


@pytest.mark.slow
def test_schedules_and_sensors_are_listed_with_their_last_ticks_and_switched(api):
    for kind, name in (("schedules", "finra_otc_weekly_mondays"), ("sensors", "finra_on_landing")):

        def is_on(kind=kind, name=name) -> bool:
            found = {
                automation["name"]: automation for automation in api.get(f"/{kind}")["automations"]
            }
            return found[name]["is_on"]

        assert not is_on()
        assert api.post(f"/{kind}/{name}/start") == {"name": name, "is_on": True}
        assert is_on()
        assert api.post(f"/{kind}/{name}/stop") == {"name": name, "is_on": False}
        assert not is_on()
        assert api.expect_problem("POST", f"/{kind}/none/start")["status"] == 404
        assert api.expect_problem("POST", f"/{kind}/{name}/wipe")["status"] == 422
    [schedule] = [
        automation
        for automation in api.get("/schedules")["automations"]
        if automation["name"] == "finra_otc_weekly_mondays"
    ]
    assert (schedule["jobs"], schedule["timezone"]) == (["finra_otc_weekly"], "America/New_York")
    skip_ticks(api.services.instance, "finra_on_landing", "an earlier look", "nothing is new")
    sensors = {
        automation["name"]: automation for automation in api.get("/sensors?ticks=1")["automations"]
    }
    [tick] = sensors["finra_on_landing"]["ticks"]
    assert (tick["at"], tick["run_ids"]) == ("2030-03-17T17:46:41Z", [])
    assert (tick["status"], tick["said"]) == ("SKIPPED", "nothing is new")


@pytest.mark.slow
def test_how_the_installation_is_can_be_asked_for(api, loaded):
    readiness = api.get("/readiness")
    assert readiness["is_ready"]
    assert {finding["dependency"] for finding in readiness["findings"]} >= {"finra", "disk"}
    config = api.get("/config")
    assert (
        config["config_hash"]
        == api.services.instance.get_run_by_id(loaded).tags[".dagster/config_hash"]
    )
    entries = {entry["name"]: entry for entry in config["entries"]}
    assert entries["STATE_DIR"]["origin"] == "environment"
    api.run("operations_checks")
    [session] = [
        session for session in api.get("/sessions")["sessions"] if session["session"] == loaded
    ]
    assert session["state"] == "COMPLETED"
    assert {row["domain"] for row in api.get("/control-tower")["rows"]} >= {"finra"}
