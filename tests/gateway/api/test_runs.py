"""Runs and pipelines through the API."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import httpx
import pytest
from dagster_postgres.utils import create_pg_engine, retry_pg_connection_fn
from sqlalchemy import delete
from starlette.applications import Starlette

from orchestration_project.definitions import defs
from orchestration_project.engine.contracts.job_kinds import DELETE_ARTIFACTS, LIST_SESSIONS
from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.engine.contracts.work_items import ItemSettlement, NewItem
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import ContractError, OrchestrationError, TransientError
from orchestration_project.gateway.api.app import routes
from orchestration_project.gateway.api.feeds import FeedLimits
from orchestration_project.resources.prices.universe import most_traded
from orchestration_project.services.inbox.rows import Inbox, NewDelivery, open_delivery_items
from orchestration_project.tables.spine import inbox, work_items
from tests.gateway.api.conftest import DEFINITIONS, FRIDAY, HOME, HOURS, SOMEBODY, WEEK

DEAD = "webhooks/api"


@pytest.mark.slow
def test_a_pipeline_is_run_for_the_week_that_ends_on_a_friday(api, loaded):
    status = api.get(f"/pipelines/status/{loaded}")
    assert (status["pipeline"], status["status"], status["error"]) == (
        "finra_otc_weekly",
        "completed",
        None,
    )
    assert status["metrics"]["rows_landed"] > 0
    assert status["outcome"] == "loaded"
    run = api.get(f"/runs/{loaded}")
    assert run["outcome"] == "loaded"
    assert (run["partition"], run["status"], run["trigger_kind"]) == (WEEK, "SUCCESS", "person")
    [step] = run["steps"]
    assert step["name"] == "finra_otc_weekly_load"
    assert (step["status"], step["attempts"]) == ("SUCCESS", 1)
    assert step["duration_seconds"] > 0
    assert step["rows"] == run["rows"] == status["metrics"]["rows_landed"]
    assert status["steps"] == run["steps"]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"tier": "T1", "week_ending": "2026-02-05"}, "week_ending 2026-02-05 is a Thursday"),
        ({"tier": "T1", "week_ending": "soon"}, "invalid week_ending"),
        ({"tier": "T1"}, "finra_otc_weekly needs week_ending"),
        ({"tier": "T9", "week_ending": FRIDAY}, "the job finra_otc_weekly has no partition"),
        ({"tier": "T1", "week_ending": FRIDAY, "force": 1}, "invalid request: force"),
    ],
)
def test_a_pipeline_is_not_run_for_what_it_has_not(api, body, detail):
    problem = api.expect_problem("POST", "/pipelines/run/finra_otc_weekly", json=body)
    assert (problem["status"], problem["category"]) in [(422, "request"), (422, "configuration")]
    assert problem["detail"].startswith(detail)


def test_every_pipeline_takes_the_parameters_that_it_is_listed_with(api):
    listed = {
        pipeline["name"]: pipeline["parameters"] for pipeline in api.get("/pipelines")["pipelines"]
    }
    taking = {name: parameters for name, parameters in listed.items() if parameters}
    for name, parameters in taking.items():
        body = dict.fromkeys(parameters, "none")
        problem = api.expect_problem("POST", f"/pipelines/run/{name}", json=body)
        detail = re.sub(r"^\w+ has no partition ", "", problem["detail"])
        day = "invalid day 'none': expected a date, e.g. 2026-11-02"
        assert detail in ("invalid week_ending", "month is none", "none", day), name
    assert taking["finra_bond_trade_activity"] == ["tier", "week_ending"]
    assert taking["finra_otc_monthly"] == ["tier", "partition"]
    tables = {"prices_daily", "finra_otc_weekly", "finra_short_interest", "fx_rates_daily"}
    assert tables <= taking.keys()


def test_what_does_not_exist_is_not_found(api):
    for method, path in [
        ("POST", "/pipelines/run/finra"),
        ("GET", "/runs/none"),
        ("GET", "/pipelines/status/none"),
        ("GET", "/runs/none/events"),
        ("POST", "/runs/none/cancel"),
        ("GET", "/tables/none"),
        ("GET", "/nowhere"),
    ]:
        problem = api.expect_problem(method, path)
        assert (problem["status"], problem["category"]) == (404, "not_found")
    problem = api.expect_problem("POST", "/runs", json={"job": "finra_otc_wekly"})
    assert problem["remedy"] == "did you mean finra_otc_weekly?"


SESSIONS = LIST_SESSIONS.run_config({})
BODY = {"job": "operations_runs", "config": SESSIONS}
KEY = {"Idempotency-Key": "monday-1"}


@pytest.fixture(scope="module")
def keyed(api):
    """A run that was launched with a key, as it was answered."""
    return api.post("/runs", BODY, **KEY)


def test_the_same_request_with_a_key_launches_one_run_and_another_is_refused(api, keyed):
    body, key = BODY, KEY
    again = api.post("/runs", body, **key)
    assert (keyed["is_repeated"], again["is_repeated"]) == (False, True)
    assert keyed["run_id"] == again["run_id"]
    other = {"job": "finra_daily"}
    problem = api.expect_problem("POST", "/runs", json=other, headers=key)
    assert (problem["status"], problem["run_id"]) == (409, keyed["run_id"])
    assert api.expect_problem("POST", "/runs", json=body, headers={"Idempotency-Key": " "})


@pytest.mark.slow
def test_a_run_is_tried_again_once_for_a_key_and_what_follows_has_not_its_key(api, keyed):
    path, key = f"/runs/{keyed['run_id']}/retry", {"Idempotency-Key": "again"}
    again = api.post(path, {"what": "all"}, **key)
    repeated = api.post(path, {"what": "all"}, **key)
    assert (again["is_repeated"], repeated["is_repeated"]) == (False, True)
    assert repeated["run_id"] == again["run_id"] != keyed["run_id"]
    instance = api.services.instance
    tags = instance.get_run_by_id(again["run_id"]).tags  # as a run has that Dagster tries again
    later = instance.create_run_for_job(defs.resolve_job_def("fx_daily"), tags=tags)
    assert api.post(path, {"what": "all"}, **key)["run_id"] == again["run_id"]
    instance.report_run_canceled(later)
    items = api.expect_problem("POST", path, json={"what": "failed_items"}, headers=key)
    assert (items["status"], items["run_id"]) == (409, again["run_id"])
    unkeyed = api.post(f"/runs/{again['run_id']}/retry", {"what": "all"})
    tags = api.services.instance.get_run_by_id(unkeyed["run_id"]).tags
    assert tags.keys().isdisjoint({"idempotency_key", ".dagster/idempotency_body"})


@pytest.mark.slow
def test_a_run_takes_a_preset_or_a_config_and_says_what_is_wrong_with_one(api, loaded):
    job, run = "finra_otc_weekly", {"job": "finra_otc_weekly", "partition": WEEK}
    read_again = api.run(job, partition=WEEK, preset="full", force=True)
    assert api.services.instance.get_run_by_id(read_again).run_config == {
        "ops": {"finra_otc_weekly_load": {"config": {"full": True}}},
        "resources": {"gate": {"config": {"force": True}}},
    }
    both = api.expect_problem("POST", "/runs", json={**run, "preset": "full", "config": {}})
    assert both["detail"] == "give a preset or a config, not both"
    others = api.expect_problem("POST", "/runs", json={**run, "preset": "backfill_quarter"})
    assert others["detail"].startswith("the preset backfill_quarter is not for the job")
    wrong = api.expect_problem("POST", "/runs", json={**run, "config": {"ops": {"x": {}}}})
    assert (wrong["status"], wrong["errors"][0]["field"]) == (422, "config")
    whole = api.expect_problem("POST", "/runs", json={"job": job})
    assert (whole["status"], whole["detail"]) == (
        422,
        "a run of finra_otc_weekly needs a partition",
    )
    tagged = api.expect_problem("POST", "/runs", json={**run, "tags": {"user": "eve"}})
    assert tagged["detail"] == "these tags are not a caller's: user"


@pytest.mark.slow
def test_runs_are_listed_by_page_and_by_what_they_are(api, loaded):
    for _ in range(2):
        api.run("finra_daily")
    everything = api.get("/runs?limit=1000")["runs"]
    assert everything == sorted(everything, key=lambda run: run["created_at"], reverse=True)
    paged, cursor = [], ""
    while cursor is not None:
        page = api.get(f"/runs?limit=2{cursor and '&cursor='}{cursor}")
        assert len(page["runs"]) <= 2
        paged, cursor = paged + page["runs"], page["next_cursor"]
    assert paged == everything
    loads = api.get("/runs?job=finra_otc_weekly&status=SUCCESS&status=FAILURE")["runs"]
    assert loaded in [run["run_id"] for run in loads]
    assert {run["job"] for run in loads} == {"finra_otc_weekly"}
    assert api.get("/runs?status=CANCELED&job=finra_daily")["runs"] == []
    history = api.get("/history/runs?status=completed&limit=3")["runs"]
    assert [run["status"] for run in history] == ["completed"] * 3
    assert api.get("/history/runs?status=pending")["runs"] == []


def test_a_run_that_has_just_ended_has_its_figures_before_the_ledger_has_them(api, loaded):
    [listed] = [
        run
        for run in api.get("/history/runs?status=completed&limit=100")["runs"]
        if run["execution_id"] == loaded
    ]
    status = api.get(f"/pipelines/status/{loaded}")
    assert listed == {
        name: value for name, value in status.items() if name not in ("steps", "outcome")
    }
    assert listed["metrics"]["rows_landed"] > 1000


@pytest.mark.slow
def test_a_run_that_succeeded_is_not_tried_again_from_its_failure_but_may_be_as_a_whole(
    api, loaded
):
    path = f"/runs/{loaded}/retry"
    assert api.expect_problem("POST", path, json={})["detail"] == "the run did not fail"
    again = api.post(path, {"what": "all"})
    assert api.get(f"/runs/{again['run_id']}")["retry_of"] == loaded
    items = api.post(path, {"what": "failed_items", "kinds": ["contract"]})
    assert items["job"] == "operations_runs"
    config = api.services.instance.get_run_by_id(items["run_id"]).run_config
    assert config["ops"]["handle_runs"]["config"]["retry_failures"]["run_id"] == loaded


def test_a_run_that_has_ended_cannot_be_ended(api, loaded):
    problem = api.expect_problem("POST", f"/runs/{loaded}/cancel")
    assert problem["status"] in (409, 500)


def test_a_backfill_names_its_partitions_and_launches_the_missing_ones(api, loaded):
    body = {"job": "finra_otc_weekly", "from": "2026-01-19", "to": "2026-02-02", "part": "T1"}
    weeks = [f"T1|2026-01-{day}" for day in (19, 26)]
    dry = api.post("/backfills", {**body, "dry_run": True})
    assert dry == {
        "backfill_id": None,
        "job": "finra_otc_weekly",
        "partitions": [*weeks, WEEK],
        "requested_range": "T1|2026-01-19 to T1|2026-02-02",
        "loaded_range": "T1|2026-01-19 to T1|2026-02-02",
        "notes": [],
        "is_repeated": False,
    }
    key = {"Idempotency-Key": "two-weeks"}
    requested = api.post("/backfills", {**body, "only_missing": True}, **key)
    assert requested["partitions"] == weeks
    again = api.post("/backfills", {**body, "only_missing": True}, **key)
    assert again == requested | {"is_repeated": True}
    for path, other in (("/backfills", body), ("/runs", {"job": "finra_daily"})):
        assert api.expect_problem("POST", path, json=other, headers=key)["status"] == 409
    status = api.get(f"/backfills/{requested['backfill_id']}")
    assert (status["status"], status["partition_count"]) == ("REQUESTED", 2)
    ended = api.post(f"/backfills/{requested['backfill_id']}/cancel")
    assert ended["status"] in ("CANCELING", "CANCELED")
    none = api.expect_problem("POST", "/backfills", json={**body, "job": "finra_daily"})
    assert none["detail"] == "the job finra_daily has no partitions"


@pytest.mark.slow
def test_a_month_is_missing_until_each_wanted_symbol_is_loaded(
    api, loaded, monkeypatch: pytest.MonkeyPatch
):
    [symbol, *_] = most_traded(api.services.warehouse, weeks=1, size=1)
    monkeypatch.setenv("PRICES_SYMBOLS", symbol)
    month = "2026-01-01"
    body = {"job": "prices_daily", "from": month, "to": month, "only_missing": True}
    assert api.post("/backfills", {**body, "dry_run": True})["partitions"] == [month]
    api.run("prices_daily", partition=month)
    others = api.post("/backfills", {**body, "dry_run": True})["partitions"]
    assert others == [month]  # it is materialized, and the other wanted symbols are not loaded
    settings = api.services.settings.model_copy(update={"prices_symbols": (symbol,)})
    operator = Principal("ada", Role.OPERATOR, "open")
    services = replace(api.services, settings=settings, caller=lambda: operator)
    alone = replace(api, app=Starlette(routes=routes(services)))
    assert alone.post("/backfills", {**body, "dry_run": True})["partitions"] == []


def test_a_viewer_may_read_and_launch_nothing_and_that_is_written_down(api):
    problem = api.expect_problem("POST", "/runs", "viewer", json={"job": "finra_daily"})
    assert (problem["status"], problem["category"]) == (403, "access")
    assert api.audited() == ("POST /runs", "refused", "the viewer")
    assert api.expect_problem("POST", "/artifacts/cleanup", "operator", json={})["status"] == 403


def test_the_log_of_a_run_is_sent_as_events_and_goes_on_where_it_broke_off(api, loaded):
    answer = api.ask("GET", f"/runs/{loaded}/logs")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    opening, *events = [part.split("\n") for part in answer.text.strip().split("\n\n")]
    assert opening == ["id: 0", ": open"]
    assert events[-1][0] == "event: end"
    first, second = events[0][0], events[1][0]
    assert first.startswith("id: ")
    rest = api.ask(
        "GET", f"/runs/{loaded}/logs", headers={"Last-Event-ID": first.removeprefix("id: ")}
    )
    assert rest.text.split("\n\n")[1].split("\n")[0] == second
    assert api.expect_problem("GET", f"/runs/{loaded}/logs", headers={"Last-Event-ID": "x"})


@pytest.mark.parametrize("path", ["/runs", "/runs/{}", "/runs/{}/logs", "/runs/{}/events"])
def test_an_outage_of_dagsters_database_is_answered_as_passing(api, loaded, monkeypatch, path):
    def unreachable(*_: object, **__: object) -> object:
        retry_pg_connection_fn(create_pg_engine("postgresql://127.0.0.1:1/x").connect, 0)

    for name in ("get_run_records", "get_run_by_id", "get_runs_count"):
        monkeypatch.setattr(api.services.instance, name, unreachable)
    answer = api.ask("GET", path.format(loaded))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    problem = answer.json()
    assert problem["category"] == "transient"
    assert problem["detail"] == "Dagster's database does not respond"


def test_the_events_of_a_run_are_its_life_by_page(api, loaded):
    found, page = [], {"next": 0}
    while page["next"] is not None:
        page = api.get(f"/runs/{loaded}/events?limit=10&after={page['next']}")
        found += page["events"]
    assert page["is_finished"]
    types = [event["type"] for event in found]
    assert {"RUN_START", "STEP_SUCCESS", "RUN_SUCCESS"} <= set(types)
    assert "LOG" not in types
    assert [event["id"] for event in found] == sorted({event["id"] for event in found})
    made = [event for event in found if event["type"] == "ASSET_MATERIALIZATION"]
    assert {
        (materialization["asset"], materialization["partition"]) for materialization in made
    } >= {("finra/otc_weekly", WEEK)}


class Reading:
    """An instance that notes which events of runs are read of it."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance, self.read = instance, list[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._instance, name)

    def get_records_for_run(self, *args: Any, **options: Any) -> Any:
        """Read events."""
        found = self._instance.get_records_for_run(*args, **options)
        self.read += [record.storage_id for record in found.records]
        return found


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "requested",
    [{"path": "events?after={}"}, {"path": "logs", "headers": {"Last-Event-ID": "{}"}}],
    ids=["events", "logs"],
)
def test_what_is_before_an_event_is_not_read_again(api, loaded, requested):
    middle = api.get(f"/runs/{loaded}/events?limit=10")["next"]
    reading = Reading(api.services.instance)
    services: Any = replace(api.services, instance=reading, caller=lambda: SOMEBODY)
    headers = {name: text.format(middle) for name, text in requested.get("headers", {}).items()}
    url = f"{HOME}/api/v1/runs/{loaded}/{requested['path'].format(middle)}"
    app = Starlette(routes=routes(services))
    answer = replace(api, app=app).handle_request(httpx.Request("GET", url, headers=headers))
    assert answer.status_code == 200
    assert min(reading.read) > middle
    problem = api.expect_problem("GET", f"/runs/{loaded}/events?after={2**63}")
    assert problem["detail"] == "invalid request: after"


def test_unknown_kinds_of_failure_are_refused_before_a_run_is_launched(api, loaded):
    before = api.services.instance.get_runs_count()
    retry = {"what": "failed_items", "kinds": ["contract", "bad luck"]}
    for path, body in (
        ("/runs/retry-failed-items", {"kinds": ["bad luck"], "dry_run": True}),
        (f"/runs/{loaded}/retry", retry),
    ):
        problem = api.expect_problem("POST", path, json=body)
        assert problem["status"] == 422
        assert "bad luck" in problem["detail"]
        assert "contract" in problem["expected"]
    assert api.services.instance.get_runs_count() == before


@pytest.fixture
def dead(api) -> Iterator[dict[str, OrchestrationError]]:
    """Two dead deliveries of the source `api`, by key with why they failed."""
    errors = {"busy": TransientError("the disk is full"), "wrong": ContractError("a rule")}
    warehouse, clock = api.services.warehouse, api.services.clock
    received = [NewDelivery("api", error, "push", b"{}", {}, 1) for error in errors]
    Inbox(warehouse, clock).take(received)
    items, until = open_delivery_items(warehouse, clock), clock.now() + HOURS
    claimed = items.claim(DEAD, limit=9, run_id="earlier", until=until)
    with warehouse.writing() as connection:
        results = [ItemSettlement.of_error(item, errors[item.key]) for item in claimed]
        items.settle(connection, results)
    yield errors
    with warehouse.writing() as connection:
        connection.execute(delete(inbox).where(inbox.c.source == "api"))
        connection.execute(delete(work_items).where(work_items.c.topic == DEAD))


def state_of(api) -> dict[str, str]:
    rows = api.get(f"/items?topic={DEAD}")["rows"]
    return {row["item_key"]: row["state"] for row in rows}


@pytest.mark.slow
def test_a_dry_run_lists_the_work_items_that_would_be_retried_and_changes_none(api, dead):
    answer = api.post("/runs/retry-failed-items", {"topics": [DEAD], "dry_run": True})
    assert (answer["job"], answer["is_repeated"]) == ("operations_runs", False)
    items = answer["items"]
    assert items["topics"] == [{"topic": DEAD, "due_count": 1, "left_out_count": 1}]
    assert items["missing_keys"] == []
    busy, wrong = items["first"]
    assert (busy["item_key"], busy["state"], busy["attempt_count"]) == ("busy", "dead", 1)
    assert (busy["reason_code"], busy["left_out_because"]) == ("transient", "")
    assert (wrong["item_key"], wrong["reason_code"]) == ("wrong", "contract")
    assert wrong["left_out_because"] == "the data, or the rule that it breaks, has to change"
    assert api.get(f"/runs/{answer['run_id']}")["status"] == "SUCCESS"
    assert state_of(api) == dict.fromkeys(dead, "dead")


@pytest.mark.slow
def test_work_items_are_retried_beside_partitions_and_permanent_failures_on_request(api, dead):
    first = api.post("/runs/retry-failed-items", {"domain": "events"})
    assert api.get(f"/runs/{first['run_id']}")["status"] == "SUCCESS"
    assert state_of(api) == {"busy": "ready", "wrong": "dead"}
    again = api.post("/runs/retry-failed-items", {"item_keys": ["wrong", "busy"]})
    assert again["items"]["missing_keys"] == ["busy"]  # it is ready
    assert state_of(api) == {"busy": "ready", "wrong": "ready"}


FILES = "documents/2026-11-02"


@pytest.fixture
def failed_files(api) -> Iterator[None]:
    """Two files that failed, of which one needs a password."""
    warehouse = api.services.warehouse
    items = WorkItems(warehouse, api.services.clock)
    items.enqueue(FILES, [NewItem(name, "1") for name in ("encrypted", "vanished")])
    until = api.services.clock.now() + HOURS
    with warehouse.writing() as connection:
        claimed = items.claim(FILES, limit=9, run_id="r", until=until, connection=connection)
        ended = [
            ItemSettlement(
                item, "failed", reason_code=item.key, is_retryable=item.key == "vanished"
            )
            for item in claimed
        ]
        items.settle(connection, ended)
    yield
    with warehouse.writing() as connection:
        connection.execute(delete(work_items).where(work_items.c.topic == FILES))


@pytest.mark.slow
def test_failed_files_are_retried_and_by_reason_those_that_need_a_setting(api, failed_files):
    def states() -> dict[str, str]:
        rows = api.get(f"/items?topic={FILES}")["rows"]
        return {row["item_key"]: row["state"] for row in rows}

    assert states() == {"encrypted": "dead", "vanished": "failed"}
    answer = api.post("/runs/retry-failed-items", {"topics": [FILES]})
    [left_out] = [item for item in answer["items"]["first"] if item["left_out_because"]]
    assert left_out["left_out_because"] == (
        "the file needs a password; add its password to DOCUMENTS_PASSWORDS, or deliver it without"
    )
    assert api.get(f"/runs/{answer['run_id']}")["status"] == "SUCCESS"
    assert states() == {"encrypted": "dead", "vanished": "ready"}
    api.post("/runs/retry-failed-items", {"reason_codes": ["encrypted"]})
    assert states() == {"encrypted": "ready", "vanished": "ready"}
    body = {"reason_codes": ["encripted"]}
    problem = api.expect_problem("POST", "/runs/retry-failed-items", json=body)
    assert problem["status"] == 422
    assert problem["detail"] == "invalid reason code 'encripted'"


def test_an_unknown_topic_is_refused_with_the_known_ones_before_a_run_is_launched(api, dead):
    before = api.services.instance.get_runs_count()
    body = {"topics": ["webhooks/unknown"], "dry_run": True}
    problem = api.expect_problem("POST", "/runs/retry-failed-items", json=body)
    assert (problem["status"], problem["category"]) == (422, "configuration")
    assert problem["detail"] == "invalid topic 'webhooks/unknown'"
    assert DEAD in problem["expected"]
    assert api.services.instance.get_runs_count() == before


def test_a_viewer_retries_no_work_item(api, dead):
    body = {"item_keys": ["busy"]}
    problem = api.expect_problem("POST", "/runs/retry-failed-items", "viewer", json=body)
    assert (problem["status"], problem["category"]) == (403, "access")
    assert state_of(api) == dict.fromkeys(dead, "dead")


def test_the_events_of_a_run_quote_no_stack(api, loaded):
    instance = api.services.instance
    quoted = 'it broke\n\nStack Trace:\n  File "x.py", line 1, in f\n    g()\n'
    instance.report_engine_event(quoted, instance.get_run_by_id(loaded))
    events = str(api.get(f"/runs/{loaded}/events?limit=1000"))
    assert "it broke" in events
    assert "x.py" not in events


@pytest.mark.slow
def test_what_is_launched_is_in_the_audit_and_bears_the_caller_s_name(api):
    run_id = api.run("operations_runs", config=SESSIONS, tags={"ticket": "x-1"})
    assert api.audited() == ("launchRun", "done", "the operator")
    tags = api.services.instance.get_run_by_id(run_id).tags
    assert (tags["user"], tags["ticket"]) == ("the operator", "x-1")
    assert run_id in [run["run_id"] for run in api.get("/runs?user=the operator")["runs"]]


DELETION = {"job": "operations_clean_up", "config": DELETE_ARTIFACTS.run_config({})}


@pytest.mark.slow
def test_an_operator_may_not_launch_a_kind_that_deletes(api):
    problem = api.expect_problem("POST", "/runs", json=DELETION)
    assert (problem["status"], problem["category"]) == (403, "access")


ADMINS_LAUNCH = """mutation ($p: ExecutionParams!) {launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess {run {runId}}}}"""


@pytest.mark.slow
def test_an_operator_may_not_try_an_admins_run_again(api):
    """A run of a job that operators may launch, of which an admin selected a kind that deletes."""
    where = {
        "pipelineName": "operations_clean_up",
        "repositoryName": "__repository__",
        "repositoryLocationName": DEFINITIONS,
    }
    launch = {"selector": where, "mode": "default", "runConfigData": DELETION["config"]}
    headers = {"x-api-key": str(api.keys["admin"]), "content-type": "application/json"}
    body = {"query": ADMINS_LAUNCH, "variables": {"p": launch}}
    request = httpx.Request("POST", f"{HOME}/graphql", headers=headers, json=body)
    launched = api.handle_request(request).json()["data"]["launchRun"]
    path = f"/runs/{launched['run']['runId']}/retry"
    problem = api.expect_problem("POST", path, json={"what": "all"})
    assert (problem["status"], problem["category"]) == (403, "access")
    assert api.post(path, {"what": "all"}, "admin")["job"] == "operations_clean_up"


@pytest.mark.slow
def test_a_reader_of_a_waiting_run_gets_keepalives(api):
    job = defs.resolve_job_def("fx_daily")
    run = api.services.instance.create_run_for_job(job)
    patient = replace(
        api.services, heartbeat_seconds=0.0, caller=lambda: SOMEBODY, recheck_seconds=3600
    )
    app = Starlette(routes=routes(patient))

    def cancel(message) -> None:
        if b": still here" in message.get("body", b""):
            api.services.instance.report_run_canceled(run)

    sent = api.runner.run(_streamed(app, run, then=cancel))
    assert b"\n: still here\n\n" in sent
    assert b'event: end\ndata: {"status": "CANCELED"}\n\n' in sent


@pytest.mark.slow
def test_a_log_that_breaks_off_again_and_again_has_each_event_once(api):
    instance = api.services.instance
    run = instance.create_run_for_job(defs.resolve_job_def("fx_daily"))
    services = replace(
        api.services,
        feeds={},
        caller=lambda: SOMEBODY,
        feed_limits=FeedLimits(kept_bytes=2_000, sent_bytes=500, longest_seconds=0.05),
    )
    app = replace(api, app=Starlette(routes=routes(services)))
    numbers, is_ended, headers = list[int](), False, dict[str, str]()
    while not is_ended:
        if len(numbers) < 40:
            for number in range(10):
                instance.report_engine_event(f"event {number}", run)
        elif not instance.get_run_by_id(run.run_id).is_finished:
            instance.report_run_canceled(run)
        text = app.ask("GET", f"/runs/{run.run_id}/logs", headers=headers).text
        events = [part.split("\n") for part in text.strip().split("\n\n")]
        numbers += [int(event[0][4:]) for event in events if "event: log" in event]
        is_ended = events[-1][0] == "event: end"
        headers = {"Last-Event-ID": str(numbers[-1])}
    records = instance.get_records_for_run(run.run_id).records
    assert numbers == [record.storage_id for record in records]
    assert services.feeds[f"runs/{run.run_id}"].stream_count == 0


def test_who_may_no_more_does_not_go_on_following_a_log(api):
    run = api.services.instance.create_run_for_job(defs.resolve_job_def("fx_daily"))
    key = api.ring.create(owner="who leaves", role=Role.VIEWER, lasts=HOURS)

    def leave(message) -> None:
        if message["type"] == "http.response.start":
            api.ring.revoke(key.key_id)

    sent = api.runner.run(_streamed(api.app, run, then=leave, key=key))
    assert b"event: end" not in sent
    assert not api.services.instance.get_run_by_id(run.run_id).is_finished
    api.services.instance.report_run_canceled(run)


async def _streamed(app, run, *, then, key="") -> bytes:
    """Return what is sent of a run's log until that ends; ``then`` is called with each message."""
    path = f"/api/v1/runs/{run.run_id}/logs"
    sent, requested = bytearray(), [{"type": "http.request"}]

    async def receive() -> Any:
        return requested.pop() if requested else await asyncio.Event().wait()

    async def send(message) -> None:
        sent.extend(message.get("body", b""))
        await asyncio.to_thread(then, message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "scheme": "http",
        "headers": [(b"host", b"127.0.0.1"), (b"x-api-key", str(key).encode())],
    }
    async with asyncio.timeout(60):
        await app(scope, receive, send)
    return bytes(sent)


def test_two_requests_with_one_key_at_once_launch_one_run(api):
    body, key = BODY, {"Idempotency-Key": "at-once"}

    async def both():
        request = {"method": "POST", "url": f"{HOME}/api/v1/runs", "json": body}
        headers = {"x-api-key": str(api.keys["operator"]), **key}
        transport = httpx.ASGITransport(api.app)
        async with httpx.AsyncClient(transport=transport, headers=headers) as client:
            return await asyncio.gather(*(client.request(**request) for _ in range(3)))

    launched = [answer.json() for answer in api.runner.run(both())]
    assert len({launch["run_id"] for launch in launched}) == 1
    assert sorted(launch["is_repeated"] for launch in launched) == [False, True, True]


@pytest.mark.slow
def test_the_outcome_of_a_run_is_the_word_of_the_commands_status(api):
    body = {"job": "finra_otc_weekly", "partition": "T2|2026-02-09"}  # published on 2026-03-16
    run_id = api.post("/runs", body)["run_id"]
    run = api.get(f"/runs/{run_id}")
    assert (run["status"], run["outcome"]) == ("SUCCESS", "not_published")
    status = api.get(f"/pipelines/status/{run_id}")
    assert (status["status"], status["outcome"]) == ("completed", "not_published")
