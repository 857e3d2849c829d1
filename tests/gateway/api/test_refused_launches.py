"""Requests that start a job: what the job would refuse is refused before there is a run."""

import asyncio
import json
from typing import Any

import dagster as dg
import httpx
import pytest

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.contracts.api.models import Asked
from orchestration_project.engine.contracts.api.pipelines import Execution
from orchestration_project.engine.contracts.api.runs import Launched
from orchestration_project.engine.contracts.job_kinds import REPAIR_ARTIFACTS, RETRY_FAILURES
from orchestration_project.gateway.api.app import operations_of
from orchestration_project.gateway.api.once import IDEMPOTENCY_HEADER
from tests.gateway.api.conftest import HOME

NOON, YEAR_3000 = "2026-02-01T12:00:00Z", "3000-01-01T00:00:00Z"
RULE = {"rule_id": "all", "priority": 1, "action": "drop"}
STALE = "0" * 16

REFUSED: dict[str, list[tuple[str, Any, int, str]]] = {
    "/runs": [
        ("/runs", {"job": "nope"}, 404, "job not found"),
        ("/runs", {"job": "operations_prune"}, 404, "is now a kind of another job"),
        ("/runs", {"job": "operations_clean_up"}, 422, "it selects no kind"),
        ("/runs", {"job": "finra_otc_weekly", "partition": "T9|2026-02-02"}, 422, "no partition"),
        ("/runs", {"job": "finra_otc_weekly", "preset": "nope"}, 422, "preset not found"),
        (
            "/runs",
            {
                "job": "operations_clean_up",
                "config": REPAIR_ARTIFACTS.run_config({"sha256": ["zz"]}),
            },
            422,
            "invalid repair_artifacts.sha256 in the config of clean_up: expected 64 hex",
        ),
        (
            "/runs",
            {
                "job": "operations_runs",
                "config": RETRY_FAILURES.run_config({"since": "noon"}),
            },
            422,
            "invalid retry_failures.since in the config of handle_runs: expected a time",
        ),
        (
            "/runs",
            {
                "job": "operations_runs",
                "config": RETRY_FAILURES.run_config({"kinds": ["bad"]}),
            },
            422,
            "unknown failure category: bad",
        ),
    ],
    "/pipelines/run/{name}": [
        ("/pipelines/run/nope", {}, 404, "pipeline not found"),
        (
            "/pipelines/run/finra_otc_weekly",
            {"tier": "T1", "week_ending": "2026-02-07"},
            422,
            "2026-02-07",
        ),
    ],
    "/artifacts/cleanup": [("/artifacts/cleanup", {"dry_run": "no"}, 422, "dry_run")],
    "/artifacts/repair": [
        ("/artifacts/repair", {"sha256": ["zz"]}, 422, "invalid sha256 'zz'"),
        ("/artifacts/repair", {"sha256": ["0f" * 32]}, 422, "invalid sha256 '0f0f"),
        ("/artifacts/repair", {"dataset": "nope"}, 422, "invalid dataset 'nope'"),
    ],
    "/evidence": [
        ("/evidence", {"run_id": "nope"}, 422, "does not know the run nope"),
        ("/evidence", {"session": "nope"}, 422, "does not know the session nope"),
        ("/evidence", {"partition": "T1|1999-01-04", "at": NOON}, 422, "nothing was delivered"),
        ("/evidence", {"partition": "T1|2026-02-02", "at": YEAR_3000}, 422, "not known yet"),
    ],
    "/presets/{name}/apply": [
        ("/presets/nope/apply", {"why": "a test"}, 404, "preset not found"),
        ("/presets/full/apply", {"why": "  "}, 422, "why"),
    ],
    "/runs/retry-failed-items": [
        ("/runs/retry-failed-items", {"domain": "nope"}, 422, "invalid domain 'nope'"),
        ("/runs/retry-failed-items", {"topics": ["nope"]}, 422, "invalid topic 'nope'"),
        ("/runs/retry-failed-items", {"kinds": ["nope"]}, 422, "unknown failure category"),
        ("/runs/retry-failed-items", {"reason_codes": ["nope"]}, 422, "invalid reason code"),
    ],
    "/runs/{run_id}/retry": [
        ("/runs/nope/retry", {"what": "failed_items"}, 404, "run not found"),
    ],
    "/backfills": [
        ("/backfills", {"job": "nope", "from": "2026-02-02", "to": "2026-02-02"}, 404, "nope"),
        (
            "/backfills",
            {"job": "finra_otc_weekly", "from": "2026-02-09", "to": "2026-02-02"},
            422,
            "the first day is after the last",
        ),
    ],
    "/events/routing-rules": [
        ("/events/routing-rules", {"rules": [], "based_on": STALE}, 409, "changed since"),
        ("/events/routing-rules", {"rules": "{", "based_on": STALE}, 422, "line 1"),
    ],
    "/saas/rules": [
        ("/saas/rules", {"rules": [], "based_on": STALE}, 409, "changed since"),
        ("/saas/rules", {"rules": [{**RULE, "priority": "x"}], "based_on": STALE}, 422, "rule 1"),
    ],
    "/mqtt/dead-letters/replay": [
        ("/mqtt/dead-letters/replay", {"arrival_ids": [987654]}, 422, "invalid arrival 987654"),
        (
            "/mqtt/dead-letters/replay",
            {"since": "2026-02-02T00:00:00Z", "until": "2026-02-01T00:00:00Z"},
            422,
            "expected since before until",
        ),
    ],
    "/finra/gold/{name}/exports": [
        ("/finra/gold/nope/exports", {"partition": "all", "as_of": NOON}, 404, "gold table"),
        (
            "/finra/gold/finra_symbol_week/exports",
            {"partition": "T9", "as_of": NOON},
            422,
            "T9",
        ),
        (
            "/finra/gold/prices_returns/exports",
            {"partition": "NOPE", "as_of": NOON},
            422,
            "prices_returns of NOPE cannot be derived",
        ),
    ],
}
"""Per route that starts a job: requests that it refuses, with status and a part of the problem."""

OPERATIONS = operations_of(REGISTRY)
LAUNCHING = sorted(
    operation.path for operation in OPERATIONS if operation.headers is IDEMPOTENCY_HEADER
)


def test_each_route_that_starts_a_job_has_requests_that_it_refuses():
    answers = (Launched, Execution, Asked)
    by_answer = [
        operation.path for operation in OPERATIONS if issubclass(operation.answer or dict, answers)
    ]
    assert sorted(REFUSED) == LAUNCHING == sorted(by_answer)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [case for path in LAUNCHING for case in REFUSED[path]],
    ids=lambda value: value if isinstance(value, str) and value.startswith("/") else "",
)
def test_an_invalid_request_is_answered_before_there_is_a_run(api, path, body, status, text):
    instance = api.services.instance
    before = instance.get_runs_count()
    answer = api.ask("POST", path, "admin", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert text in json.dumps(answer.json(), ensure_ascii=False)
    assert instance.get_runs_count() == before


EDITS = {
    "/saas/rules": ("saas_edit_rules", {"rules": [RULE]}),
    "/events/routing-rules": ("events_edit_routing", {"rules": []}),
}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("path", EDITS)
def test_an_edit_is_refused_until_the_one_before_it_has_ended(api, path):
    job, rules = EDITS[path]
    body = {**rules, "based_on": api.get(path)["version"]}
    first = api.services.instance.add_run(dg.DagsterRun(job, status=dg.DagsterRunStatus.STARTED))
    try:
        problem = api.expect_problem("POST", path, "admin", json=body)
    finally:
        api.services.instance.delete_run(first.run_id)
    assert (problem["status"], problem["run_id"]) == (409, first.run_id)
    assert f"another edit of {job} has not ended" in problem["detail"]


@pytest.mark.slow
def test_the_second_of_two_edits_at_once_is_a_conflict(api):
    before = api.get("/saas/rules")
    rules = [{**RULE, "rule_id": f"edit_{number}"} for number in (1, 2)]

    async def edit(rule: Any) -> httpx.Response:
        transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"{HOME}/api/v1") as client:
            body = {"rules": [rule], "based_on": before["version"]}
            key = {"x-api-key": str(api.keys["admin"])}
            return await client.post("/saas/rules", json=body, headers=key, timeout=60)

    async def edit_at_once() -> list[httpx.Response]:
        return await asyncio.gather(*map(edit, rules))

    answers = api.runner.run(edit_at_once())
    assert sorted(answer.status_code for answer in answers) == [202, 409]
    [rule] = api.get("/saas/rules")["rules"]
    [accepted] = [
        rule["rule_id"]
        for rule, answer in zip(rules, answers, strict=True)
        if answer.status_code == 202
    ]
    assert rule["rule_id"] == accepted


def test_the_same_edit_again_is_the_run_that_made_it(api):
    body = {"rules": [{**RULE, "rule_id": "same"}], "based_on": api.get("/saas/rules")["version"]}
    key = {"idempotency-key": "the-same-edit"}
    first, second = (api.post("/saas/rules", body, "admin", **key) for _ in range(2))
    assert first["run_id"] == second["run_id"]
    assert second["is_repeated"]
