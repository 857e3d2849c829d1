"""The typed client against the API itself."""

import io
import json
import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from sqlalchemy import delete

from orchestration_project.catalog import REGISTRY
from orchestration_project.client import ApiError, Client, RunFailedError
from orchestration_project.client.runs import line_of
from orchestration_project.client.transport import LOG_ATTEMPTS
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
)
from orchestration_project.engine.contracts.api.runs import Event
from orchestration_project.engine.contracts.job_kinds import LIST_SESSIONS
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse.frames import insert_frame, match_scope
from orchestration_project.gateway.api.app import operations_of
from orchestration_project.gateway.api.openapi import document
from orchestration_project.services.evidence.verifying import verify
from orchestration_project.services.export import write_parquet
from tests.gateway.api.conftest import FRIDAY, HOME, WEEK, Api
from tests.programs import free_port
from tests.resources.weeks import MONDAY, frame, row


@pytest.fixture
def client(api):
    with Client(HOME, str(api.keys["operator"]), transport=api) as client:
        yield client


class Unsteady(httpx.BaseTransport):
    """A way to the gateway on which the first answers are lost, after they were given."""

    def __init__(self, api: Api, *, lost: int) -> None:
        self.api, self.lost, self.keys = api, lost, []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers.get("idempotency-key"))
        answer = self.api.handle_request(request)
        if self.lost:
            self.lost -= 1
            raise httpx.ReadError("the connection broke off")
        return answer

    def client(self) -> Client:
        key = str(self.api.keys["operator"])
        return Client(HOME, key, transport=self, sleep=lambda _: None)


NOON, NOWHERE = datetime(2026, 1, 1, 12, tzinfo=UTC), Path("/nowhere")
BY_PAGE = {"cursor", "limit"}
"""Behaviour of the client without a gateway."""

OPERATIONS = operations_of(REGISTRY)


EMPTY = Path(os.devnull)
MQTT_FIELDS: dict[Any, dict[str, Any]] = {
    "projects": dict.fromkeys(("name", "description", "status", "owner_id", "metadata")),
    "components": dict.fromkeys(("project_id", "name", "status", "progress", "position")),
    "tasks": dict.fromkeys(
        ("project_id", "component_id", "title", "status", "assignee_id", "due_at", "completed_at")
    ),
}


SCHEDULE: dict[str, Any] = {
    **dict.fromkeys(("job", "cron", "timezone", "partitions", "preset", "catch_up"), "x"),
    **dict.fromkeys(("flag", "owner"), "x"),
    "days_before": 1,
    "max_catch_up": 1,
    "is_enabled": True,
    "partition_values": {},
    "run_config": {},
}

FLAG: dict[str, Any] = {"share": 0.5, "listed_keys": ["k"], "owner": "x", "expires_at": "t"}


def ask_for_all(client: Client) -> list[Any]:
    """Return what requests all that there is, with all that can be said."""
    again: dict[str, Any] = {"kinds": ["source"], "dry_run": True}
    items: dict[str, Any] = {"topics": ["t"], "item_keys": ["k"], "include_permanent": True}
    rows: dict[str, Any] = {"columns": ["tier"], "where": ["tier=T1"], "as_of": NOON}
    rows["published_by"] = "2026-03-02"
    of_groups = {name: rows[name] for name in ("where", "as_of", "published_by")}
    chosen: dict[str, Any] = {"columns": ["tier"], "where": ["tier=T1"]}
    times: dict[str, Any] = {"since": NOON, "until": NOON}
    days = {"part": "T1", "only_missing": True, "dry_run": True}
    named = {"partition": "p", "preset": "full", "config": {}, "tags": {"a": "b"}}
    session = {"since": NOON, "domain": "finra", "state": "FAILED"}
    version: dict[str, Any] = {"expected_version": 1}
    of_runs = {"job": "j", "status": ["QUEUED"], "partition": "p", "user": "u"}
    return [
        lambda: client.launch("j", **named, force=True),
        lambda: list(client.runs(**of_runs, since=NOON, until=NOON)),
        lambda: client.runs_frame(**of_runs, since=NOON, until=NOON),
        lambda: client.status("r"),
        lambda: client.plugin_endpoint("p", "e"),
        lambda: list(client.events("r")),
        lambda: list(client.logs("r")),
        lambda: client.retry("r", **again),
        lambda: client.retry_failed_items(domain="finra", since=NOON, **again, **items),
        lambda: client.cancel("r"),
        lambda: client.backfill("j", NOON.date(), NOON.date(), **days),
        lambda: client.backfill_status("b"),
        lambda: client.cancel_backfill("b"),
        lambda: client.pipelines(),
        lambda: client.run_pipeline("p", tier="T1", week_ending=FRIDAY),
        lambda: client.run_pipeline("p", month="2025-01"),
        lambda: client.run_pipeline("p", partition="2026-01-05"),
        lambda: client.pipeline_status("r"),
        lambda: client.history(status="failed"),
        lambda: client.history_frame(status="failed"),
        lambda: client.tables(),
        lambda: list(client.rows("t", **rows)),
        lambda: client.frame("t", **rows),
        lambda: client.frame("t", order_by=["-a"], limit=3),
        lambda: client.groups("t", ["sum(a)"], by=["b"], **of_groups),
        lambda: list(client.items(topic="t", state="ready")),
        lambda: client.save_csv("t", NOWHERE, **rows, escape_formulas=True),
        lambda: client.document("d"),
        lambda: client.document_text("d"),
        lambda: client.document_timeline("d"),
        lambda: list(client.document_rows("d", "pages")),
        lambda: list(client.document_rows("d", "chunks")),
        lambda: client.save_document("d", NOWHERE, part="pages", format="csv"),
        lambda: client.save_document("d", NOWHERE, part="chunks", format="text"),
        lambda: list(client.diff("t", **times, **chosen)),
        lambda: list(client.diff("t", published_from=NOON.date(), published_by=NOON.date())),
        lambda: list(client.changes("t", after="1.a", columns=["tier"])),
        lambda: next(client.follow("t", after="1.a")),
        lambda: client.explain("t", "T1|2026-10-05|A", "vwap"),
        lambda: client.diff_frame("t", **times, **chosen, order_by=["a"]),
        lambda: client.save_diff("t", NOWHERE, **times, **chosen, escape_formulas=True),
        lambda: client.sql("SELECT 1", limit=1, as_of=NOON),
        lambda: client.gold_frame("t", "p", as_of=NOON, published_by=NOON.date()),
        lambda: client.export_gold("t", "p", as_of=NOON, published_by=NOON.date()),
        lambda: client.missing("t", published_by=NOON.date(), as_of=NOON, where=["tier=T1"]),
        lambda: list(client.trade_activity(NOON.date(), "T1", symbol="A")),
        lambda: client.artifacts(where=["run_id=r"]),
        lambda: client.download("a", NOWHERE),
        lambda: client.download_file("plots/a.svg", NOWHERE),
        lambda: client.upload("inbox", EMPTY),
        lambda: client.clean_up(dry_run=False, only_database=True),
        lambda: client.repair_artifacts(sha256=["0"], dataset="d", dry_run=False),
        lambda: client.export_evidence(run_id="r", session="s", partition="p", at=NOON),
        lambda: client.archives(),
        lambda: list(
            client.access_audit(user="u", operation="o", outcome="done", since=NOON, until=NOON)
        ),
        lambda: client.download_archive("a.zip", NOWHERE),
        lambda: client.attention(kind="alert", domain="finra", ignored=True, page=2),
        lambda: client.attention_entry("e"),
        lambda: client.act_on_attention("e", "ignore", reason="known", until=NOON),
        lambda: client.retry_attention("failed_run", domain="finra"),
        lambda: client.schedules(),
        lambda: client.create_schedule("s", **SCHEDULE),
        lambda: client.change_schedule("s", expected_version=1, **SCHEDULE),
        lambda: client.delete_schedule("s", expected_version=1),
        lambda: client.try_schedule("s", expected_version=1, **SCHEDULE),
        lambda: client.pauses(),
        lambda: client.pause("finra", reason="r", until=NOON),
        lambda: client.resume("finra"),
        lambda: client.approvals(),
        lambda: client.request_approval("a"),
        lambda: client.confirm_approval("a", sha256="0" * 64),
        lambda: client.refuse_approval("a", reason="r"),
        lambda: client.flags(),
        lambda: client.create_flag("f", **FLAG),
        lambda: client.change_flag("f", expected_version=1, **FLAG),
        lambda: client.delete_flag("f", expected_version=1),
        lambda: client.try_flag("f", expected_version=1, **FLAG),
        lambda: client.plugins(),
        lambda: client.plugin("p"),
        lambda: client.add_plugin(b"", sha256="0" * 64, allow_unsigned=True, dry_run=True),
        lambda: client.grant_plugin("p", permissions={"hosts": []}, folders={}, **version),
        lambda: client.enable_plugin("p", share=0.1, listed_keys=["k"], **version),
        lambda: client.disable_plugin("p", "why", **version),
        lambda: client.refuse_plugin("p", "why", **version),
        lambda: client.remove_plugin("p"),
        lambda: client.trust_publisher("p", "k"),
        lambda: client.revoke_publisher("p"),
        lambda: client.routing_rules(),
        lambda: client.try_routing_rules([], delivery_count=1),
        lambda: client.edit_routing_rules([], based_on="v"),
        lambda: client.routing_dead_letters(limit=1),
        lambda: client.presets(),
        lambda: client.preview_preset("p"),
        lambda: client.apply_preset("p", why="a trial"),
        lambda: client.automations("schedule"),
        lambda: client.automations("sensor"),
        lambda: client.switch("schedule", "s", on=True),
        lambda: client.switch("sensor", "s", on=False),
        lambda: client.readiness(),
        lambda: client.config(),
        lambda: client.sessions(**session),
        lambda: client.trace("0af7651916cd43dd8448eb211c80319c"),
        lambda: client.control_tower(),
        lambda: client.mqtt_events(topic="#", kind="k", trace="t", since=NOON, until=NOON),
        lambda: client.mqtt_dead_letters(
            topic="#", kind="k", reason="r", state="dead", since=NOON, until=NOON
        ),
        lambda: client.mqtt_bridges(),
        lambda: client.mqtt_projects(status="s", owner_id="o"),
        lambda: client.mqtt_components(project_id="p", status="s"),
        lambda: client.mqtt_dependencies(component_id="c", depends_on_id="d"),
        lambda: client.mqtt_tasks(project_id="p", component_id="c", status="s", assignee_id="a"),
        lambda: client.mqtt_metrics(subject_id="s", name="n"),
        lambda: client.mqtt_entity("projects", "p"),
        lambda: client.mqtt_entity("components", "c"),
        lambda: client.mqtt_entity("tasks", "t"),
        *(
            partial(each, kind, *given)
            for kind, fields in MQTT_FIELDS.items()
            for each, given in (
                (client.mqtt_create, [{f"{kind[:-1]}_id": "i", **fields}]),
                (client.mqtt_update, ["i", fields]),
                (client.mqtt_delete, ["i"]),
            )
        ),
        lambda: client.mqtt_replay_dead_letters(
            arrival_ids=[1], reason="schema", since=NOON, until=NOON, dry_run=True
        ),
        lambda: list(client.mqtt_stream("#")),
        lambda: client.log_lines(service="run", level="INFO", run="r", trace="t", since=NOON),
        lambda: list(client.log_stream(service="run", level="INFO", run="r", trace="t")),
        lambda: client.receive_alerts({"version": "4", "alerts": [], "truncatedAlerts": 0}),
        lambda: client.saas_rules(),
        lambda: client.try_saas_rules([{"rule_id": "r"}]),
        lambda: client.edit_saas_rules([{"rule_id": "r"}], based_on="v"),
        lambda: list(client.saas_audit(entity="1", issue="HR-1", operation="created", text="x")),
    ]


def test_every_operation_has_a_method_by_which_all_can_be_said_that_it_takes():
    requested: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        requested.append(request)
        problem = {"title": "Not Found", "status": 404, "detail": "no", "category": "not_found"}
        return httpx.Response(404, json=problem)

    with Client(HOME, "key", transport=httpx.MockTransport(refuse)) as client:
        for call in ask_for_all(client):
            with suppress(ApiError):
                call()
    paths = document(OPERATIONS)["paths"]
    for operation in OPERATIONS:
        documented = paths[operation.path][operation.method.lower()]["parameters"]
        places = {parameter["name"]: parameter["in"] for parameter in documented}
        form = re.compile("/api/v1" + re.sub(r"\{\w+\}", "[^/]+", operation.path))
        found = [
            each
            for each in requested
            if each.method == operation.method and form.fullmatch(each.url.path)
        ]
        assert found, operation.name
        takes = {name for name, place in places.items() if place == "query"}
        said = {name for each in found for name in each.url.params}
        assert said <= takes <= said | BY_PAGE, operation.name
        fields = operation.body.model_fields if operation.body else {}
        wanted = {field.alias or name for name, field in fields.items()}
        assert {name for each in found for name in json.loads(each.content or "{}")} == wanted
        has_key = all("idempotency-key" in each.headers for each in found)
        assert has_key == ("Idempotency-Key" in places), operation.name


def test_times_days_and_sequences_are_sent_as_the_api_reads_them():
    sent: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(404)

    with Client(HOME, "key", transport=httpx.MockTransport(refuse)) as client:
        for call in (
            lambda: list(client.runs(status=("QUEUED", "STARTED"), since=NOON)),
            lambda: list(client.runs(status="QUEUED")),
            lambda: client.backfill("j", NOON.date(), NOON.date()),
            lambda: client.create_flag("f", listed_keys={"k"}, expires_at=NOON, owner=None),
            lambda: client.mqtt_update("tasks", "t", {"due_at": NOON, "assignee_id": None}),
        ):
            with pytest.raises(ApiError):
                call()
    queries = [list(request.url.params.multi_items()) for request in sent[:2]]
    noon = "2026-01-01T12:00:00+00:00"
    assert queries == [
        [("status", "QUEUED"), ("status", "STARTED"), ("since", noon)],
        [("status", "QUEUED")],
    ]
    days, flag, task = (json.loads(request.content) for request in sent[2:])
    assert (days["from"], days["to"]) == ("2026-01-01", "2026-01-01")
    assert flag == {"name": "f", "listed_keys": ["k"], "expires_at": noon}
    assert task == {"due_at": noon, "assignee_id": None}


SESSIONS = LIST_SESSIONS.run_config({})


def test_a_run_is_launched_and_waited_for_with_its_progress(client, capsys):
    status = client.run_and_wait("operations_runs", config=SESSIONS, progress=True)
    assert (status.status, status.job, len(status.steps)) == ("SUCCESS", "operations_runs", 1)
    lines = capsys.readouterr().err.splitlines()
    assert any("asset materialization operations/runs" in line for line in lines)
    assert lines[-1].endswith("run success")


@pytest.mark.slow
def test_a_run_that_fails_raises_with_what_failed(client):
    options = {"preset": "full", "dry_run": False}
    config = {"ops": {"edit_definitions": {"config": {"apply_preset": options}}}}
    with pytest.raises(RunFailedError, match="nothing was applied") as raised:
        client.run_and_wait("operations_definitions_edit", config=config)
    assert raised.value.status.status == "FAILURE"
    failed_run = client.pipeline_status(raised.value.status.run_id)
    assert (failed_run.status, failed_run.completed_at is None) == ("failed", False)
    assert failed_run.error
    assert (failed_run.error.category, failed_run.steps[0].status) == ("configuration", "FAILURE")
    assert "nothing was applied" in failed_run.error.message
    again = client.retry(raised.value.status.run_id)
    status = client.wait(again.run_id, check=False)
    assert (status.status, status.retry_of) == ("FAILURE", raised.value.status.run_id)


def test_a_launch_whose_answer_was_lost_is_made_once(api):
    way = Unsteady(api, lost=2)
    with way.client() as client:
        launched = client.launch("operations_runs", config=SESSIONS)
    assert launched.is_repeated
    assert len(way.keys) == 3
    assert len(set(way.keys)) == 1


EVENT = {
    "id": 7,
    "at": NOON.isoformat(),
    "type": "LOG",
    "level": "INFO",
    "step": None,
    "asset": None,
    "partition": None,
    "message": "x",
}


def test_a_log_is_taken_up_where_it_was_however_it_broke_off():
    line = f"id: 7\nevent: log\ndata: {json.dumps(EVENT)}\n\n"
    answers = iter(
        [
            httpx.ConnectError("no"),
            httpx.Response(503, headers={"retry-after": "1"}),
            httpx.Response(200),
            httpx.Response(200, text=line),
            httpx.Response(200, text=": still here\n\n"),
            *[httpx.ConnectError("no")] * (LOG_ATTEMPTS - 2),
            httpx.Response(200, text="event: end\ndata: {}\n\n"),
        ]
    )
    requested, slept = list[str | None](), list[float]()

    def answer(request: httpx.Request) -> httpx.Response:
        requested.append(request.headers.get("last-event-id"))
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    way = httpx.MockTransport(answer)
    with Client(HOME, "key", transport=way, sleep=slept.append) as client:
        assert [log.id for log in client.logs("r")] == [7]
    assert requested == [None] * 4 + ["7"] * LOG_ATTEMPTS
    assert slept == [0.5, 1, 2, 0.5, 0.5, 1, 2, 4, 8, 16, 30]


@pytest.mark.parametrize(
    ("answer", "error", "times"),
    [
        (httpx.Response(200), httpx.TransportError, LOG_ATTEMPTS),
        (httpx.Response(502), ApiError, LOG_ATTEMPTS),
        (httpx.Response(404), ApiError, 1),
    ],
)
def test_a_log_that_says_nothing_is_not_asked_for_for_ever(answer, error, times):
    requested = list[httpx.Request]()

    def refuse(request: httpx.Request) -> httpx.Response:
        requested.append(request)
        return answer

    way = httpx.MockTransport(refuse)
    with Client(HOME, "key", transport=way, sleep=lambda _: None) as client, pytest.raises(error):
        next(client.logs("r"))
    assert len(requested) == times


def test_a_key_in_clear_goes_to_no_proxy(monkeypatch):
    with closing(socket.create_server(("127.0.0.1", 0))) as proxy:
        proxy.settimeout(0.01)
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        with (
            Client(
                f"http://127.0.0.1:{free_port()}",
                "key",
                timeout_seconds=1,
                sleep=lambda _: None,
            ) as client,
            pytest.raises(httpx.ConnectError),
        ):
            client.tables()
        with pytest.raises(TimeoutError):
            proxy.accept()


@pytest.mark.slow
def test_what_cannot_be_repeated_is_asked_for_once(api, loaded):
    way = Unsteady(api, lost=1)
    with (
        way.client() as client,
        pytest.raises(httpx.ReadError),
    ):
        client.cancel(loaded)
    assert way.keys == [None]


def test_a_problem_is_an_error_that_says_what_to_do(client):
    with pytest.raises(ApiError, match="did you mean finra_daily") as raised:
        client.launch("finra_dayly")
    assert raised.value.problem.status == 404


def test_an_answer_that_is_no_problem_is_an_error_all_the_same():
    way = httpx.MockTransport(lambda request: httpx.Response(418, text="<html>"))
    with Client(HOME, "key", transport=way) as client, pytest.raises(ApiError, match="418"):
        client.tables()


def test_a_key_goes_nowhere_in_clear_and_into_no_log(api, caplog):
    with pytest.raises(ValueError, match="begins with https"):
        Client("http://gateway.example", "key")
    caplog.set_level(logging.DEBUG)
    key = str(api.keys["viewer"])
    with Client(HOME, key, transport=api) as client:
        client.tables()
    assert key not in caplog.text


@pytest.mark.slow
def test_a_table_is_read_row_by_row_or_as_a_frame_with_its_types(client, loaded):
    where = ["tier=T1", "market=ATS"]
    rows = list(client.rows("finra_otc_weekly", columns=["symbol", "week_start"], where=where))
    frame = client.frame("finra_otc_weekly", columns=["symbol", "week_start"], where=where)
    assert len(rows) > 1000
    read = frame.itertuples(index=False, name=None)
    assert rows == [{"symbol": symbol, "week_start": str(day.date())} for symbol, day in read]
    assert frame["week_start"][0].date() == date(2026, 2, 2)


def test_a_frame_has_more_rows_than_a_file_and_the_log_says_so(client, loaded, monkeypatch, caplog):
    whole = client.frame("finra_otc_weekly")
    monkeypatch.setattr("orchestration_project.client.data.FILE_ROWS", len(whole) // 2)
    with caplog.at_level("INFO", logger="orchestration_project.client.data"):
        in_files = client.frame("finra_otc_weekly")
    assert in_files.equals(whole)
    assert f"finra_otc_weekly: {len(whole) // 2} rows so far" in caplog.text
    assert client.frame("finra_otc_weekly", limit=7).equals(whole.head(7))


@pytest.mark.slow
def test_a_frame_takes_alternatives_ranges_and_times_as_texts_or_values(client, loaded):
    whole = client.frame("finra_otc_weekly")
    symbols = list(whole["symbol"].unique()[:3])
    alternatives = f"(symbol in ({','.join(symbols[:2])})) or (symbol={symbols[2]})"
    found = client.frame(
        "finra_otc_weekly", where=[alternatives, "share_quantity between 9 and 99999"]
    )
    wanted = whole[whole["symbol"].isin(symbols) & whole["share_quantity"].between(9, 99999)]
    assert 0 < len(found) < len(whole)
    assert found.equals(wanted.reset_index(drop=True))
    assert len(client.frame("finra_otc_weekly", where=alternatives, columns="symbol")) >= len(found)
    now, day = datetime(2999, 1, 1, tzinfo=UTC), date(2999, 1, 1)
    for moment in (now, now.isoformat()):
        assert len(client.frame("finra_otc_weekly", as_of=moment)) == len(whole)
    for published in (now, day, "2999-01-01"):
        assert len(client.frame("finra_otc_weekly", published_by=published)) == len(whole)


def test_rows_are_sorted_and_added_up_by_the_gateway(client, loaded):
    top = client.frame("finra_otc_weekly", order_by=["-share_quantity", "symbol"], limit=3)
    whole = client.frame("finra_otc_weekly")
    assert list(top["share_quantity"]) == list(
        whole["share_quantity"].sort_values(ascending=False).head(3)
    )
    groups = client.groups("finra_otc_weekly", ["sum(share_quantity)"], by=["tier"])
    sums = whole.groupby("tier")["share_quantity"].sum()
    assert {group["tier"]: Decimal(group["share_quantity_sum"]) for group in groups} == dict(sums)


DTYPES = {
    "BIGINT": "Int64",
    "BOOLEAN": "boolean",
    "DATE": "datetime64[s]",
    "DATETIME": "datetime64[us, UTC]",
    "DOUBLE": "float64",
    "NUMERIC(19, 6)": "decimal128(19, 6)[pyarrow]",
    "NUMERIC(38, 6)": "decimal128(38, 6)[pyarrow]",
    "TEXT": "str",
}
"""The pandas type of a column, by the type that the API says that it has."""


@pytest.mark.slow
def test_every_table_is_a_frame_of_the_types_that_the_api_describes_also_without_a_row(client):
    tables = client.tables()
    for table in tables:
        frame = client.frame(table.name)
        assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
            column.name: DTYPES[column.type] for column in table.columns
        }
    kinds = {column.type for table in tables for column in table.columns}
    assert kinds == set(DTYPES)
    empty = client.frame("finra_otc_weekly", where=["symbol=nowhere"])
    assert len(empty) == 0
    assert str(empty.dtypes["notional_usd"]) == "Int64"


MANY = 2**53 + 1
"""A whole number that a float cannot hold."""


def test_a_frame_keeps_what_numpy_would_round_and_what_is_null():
    import pandas as pd

    known = NOON.replace(microsecond=123456)
    rows = {
        "whole": [MANY, None],
        "dollars": [Decimal("9223372036854.775807"), None],
        "flag": [True, None],
        "day": [date(2026, 2, 2), None],
        "known_from": [known, None],
        "text": ["NA", None],
        "ratio": [0.1, None],
    }
    kinds = {
        "dollars": pl.Decimal(19, 6),
        "known_from": pl.Datetime("us", "UTC"),
        "ratio": pl.Float64(),
    }
    content = io.BytesIO()
    write_parquet([pl.DataFrame(rows, schema_overrides=kinds)], content)
    way = httpx.MockTransport(lambda request: httpx.Response(200, content=content.getvalue()))
    with Client(HOME, "key", transport=way) as client:
        frame = client.frame("t")
    [first, second] = frame.to_dict("records")
    assert first == {name: values[0] for name, values in rows.items()} | {
        "day": pd.Timestamp("2026-02-02")
    }
    assert all(map(pd.isna, second.values()))
    sums = [frame[name].sum() for name in ("whole", "dollars")]
    assert sums == [MANY, Decimal("9223372036854.775807")]
    assert frame["known_from"].dt.tz_convert("America/New_York")[0] == known


@pytest.mark.slow
def test_runs_and_executions_are_frames_with_the_types_of_their_models(client, loaded):
    import pandas as pd

    client.run_and_wait("operations_checks")
    runs = client.runs_frame(job="finra_otc_weekly").set_index("run_id")
    [run] = [run for run in client.runs(job="finra_otc_weekly") if run.run_id == loaded]
    assert dict(runs.loc[loaded, ["status", "started_at"]]) == {
        "status": "SUCCESS",
        "started_at": run.started_at,
    }
    assert runs.loc[loaded, "duration_seconds"] == run.duration_seconds
    history = client.history_frame(status="completed", limit=1000).set_index("execution_id")
    executed = {
        execution.execution_id: execution
        for execution in client.history(status="completed", limit=1000)
    }
    assert set(history.index) == set(executed)
    assert history.loc[loaded, "metrics_rows_in"] == executed[loaded].metrics.rows_in > 1000
    assert history["error_category"].isna().all()
    for some, none in (
        (runs, client.runs_frame(job="web_showroom").set_index("run_id")),
        (history, client.history_frame(status="pending").set_index("execution_id")),
    ):
        assert (len(some) > 0, len(none)) == (True, 0)
        assert dict(some.dtypes) == dict(none.dtypes)
    times = {str(history.dtypes[name]) for name in ("started_at", "completed_at")}
    assert (times, str(history.dtypes["metrics_bytes_processed"])) == (
        {"datetime64[us, UTC]"},
        "Int64",
    )
    assert isinstance(history.dtypes["pipeline"], pd.StringDtype)


@pytest.mark.slow
def test_the_rest_of_the_api_has_typed_results(client, loaded, tmp_path):
    assert loaded in [run.run_id for run in client.runs(job="finra_otc_weekly")]
    assert client.pipeline_status(loaded).status == "completed"
    again = client.run_pipeline("finra_otc_weekly", tier="T1", week_ending=FRIDAY)
    assert client.wait(again.execution_id).rows_in == 0
    requested = client.backfill(
        "finra_otc_weekly", date(2026, 2, 2), date(2026, 2, 8), dry_run=True
    )
    assert WEEK in requested.partitions
    [capture] = client.artifacts(where=[f"run_id={loaded}"])
    assert client.download(capture.capture_id, tmp_path / "page") == capture.sha256
    assert (tmp_path / "page").stat().st_size == capture.bytes
    assert client.preview_preset("standard").preset.name == "standard"
    assert "full" in [preset.name for preset in client.presets()]
    assert client.switch("sensor", "finra_on_gold", on=False).is_on is False
    assert len(client.automations("schedule")) > 1
    assert client.readiness().is_ready
    assert client.api_version() == "1"
    assert client.config().config_hash
    assert client.sessions().sessions is not None
    assert client.control_tower().rows is not None
    assert loaded in [run.execution_id for run in client.history(status="completed", limit=1000)]
    assert "finra_otc_weekly" in [pipeline.name for pipeline in client.pipelines()]
    kinds = [event.type for event in client.events(loaded)]
    assert (kinds[-1], "LOG" in kinds) == ("RUN_SUCCESS", False)
    activity = client.trade_activity(date.fromisoformat(FRIDAY), "T1")
    assert next(activity)["week_start"] == "2026-02-02"


@pytest.mark.slow
def test_evidence_is_exported_and_downloaded_by_its_printed_name(client, loaded, tmp_path):
    requested = client.export_evidence(run_id=loaded)
    assert client.wait(requested.run_id).status == "SUCCESS"
    assert requested.file in [archive.file for archive in client.archives()]
    file = tmp_path / requested.file
    client.download_archive(requested.file, file)
    found = verify(file)
    assert (found.manifest.about, found.problems) == ({"run": loaded}, [])


def test_an_event_is_a_line_where_it_is_worth_one():
    def line(kind: str, level: str = "DEBUG", **more: str) -> str:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        fields = {"step": None, "asset": None, "partition": None, "message": "said\nmore"}
        return line_of(Event(id=1, at=at, type=kind, level=level, **(fields | more)), 1.5)

    assert line("LOG", "INFO") == "     1.5 s  said"
    assert line("STEP_FAILURE", step="load") == "     1.5 s  step failure load"
    assert line("LOG") == line("RESOURCE_INIT_STARTED") == ""


def test_gold_as_of_now_is_what_was_derived(client, loaded):
    stored = client.frame("finra_symbol_week", where=["tier=T1", "week_start=2026-02-02"])
    found = client.gold_frame("finra_symbol_week", WEEK)
    assert len(found)
    names = ["symbol", "total_share_quantity", "ats_share_quantity", "known_from"]
    assert found[names].equals(stored[names])
    with pytest.raises(ApiError, match="invalid gold table 'finra_symbol_wek'"):
        client.gold_frame("finra_symbol_wek", WEEK)


@pytest.mark.slow
def test_gold_is_exported_by_a_run_to_a_file_that_is_named(client, loaded, tmp_path):
    import pandas as pd

    times = {"as_of": "2999-01-01T02:00:00+02:00", "published_by": "9999-12-31"}
    requested = client.export_gold("finra_symbol_week", WEEK, **times)
    assert requested.job == "operations_export"
    assert client.status(requested.run_id).status == "SUCCESS"
    client.download_file(requested.file, tmp_path / "gold.parquet")
    found = pd.read_parquet(tmp_path / "gold.parquet")
    names = ["symbol", "total_share_quantity", "top_venue_id", "hhi_upper"]
    whole = client.gold_frame("finra_symbol_week", WEEK)
    assert found[names].values.tolist() == whole[names].values.tolist()
    with pytest.raises(ApiError, match="gold table not found"):
        client.export_gold("finra_otc_weekly", WEEK, as_of=NOON)


@contextmanager
def published(api: Api, *rows: Mapping[str, Any]) -> Iterator[None]:
    """Have these rows alone in the table of a week, outside all loads."""
    loaded = frame(list(rows)).with_columns(capture_id=pl.lit(1, pl.Int64), known_from=pl.lit(NOON))
    columns = [pl.col(name).cast(kind) for name, kind in derive_schema(finra_otc_weekly).items()]
    with api.services.warehouse.writing() as connection:
        insert_frame(connection, finra_otc_weekly, loaded.select(columns))
    try:
        yield
    finally:
        of_week = match_scope(finra_otc_weekly, {"week_start": MONDAY, "tier": "T1"})
        with api.services.warehouse.writing() as connection:
            connection.execute(delete(finra_otc_weekly).where(of_week))


def test_rows_that_a_state_by_publication_leaves_out_are_named(api, client, loaded):
    restated: dict[str, Any] = {
        "initial_published_date": date(2025, 12, 1),
        "last_update_date": date(2026, 1, 5),
    }
    undated: dict[str, Any] = {"initial_published_date": None, "last_update_date": None}
    with published(api, row("AAA", **restated), row("BBB", **undated)):
        of_week = [f"week_start={MONDAY}"]
        found = client.missing("finra_otc_weekly", published_by="2025-12-31", where=of_week)
        later = client.missing("finra_otc_weekly", published_by="2026-01-05", where=of_week)
        gold = api.ask(
            "GET", f"/finra/gold/finra_symbol_week?partition=T1|{WEEK[3:]}&published_by=9999-12-31"
        )
    key = {"week_start": str(MONDAY), "tier": "T1", "market": "ATS"}
    missing = {**key, "symbol": "AAA", "venue_id": "XATS", "reason": "missing_earlier_state"}
    without_day = {**key, "symbol": "BBB", "venue_id": "XATS", "reason": "undated"}
    assert found.keys == [missing, without_day]
    assert (found.missing_earlier_state, found.undated_count) == (1, 1)
    assert (found.undated_first_publication, found.undated_removal) == (0, 0)
    assert (later.missing_earlier_state, later.keys) == (0, [without_day])
    names = ("missing-earlier-state", "undated", "undated-first-publication", "undated-removal")
    assert [gold.headers[f"x-{name}"] for name in names] == ["0"] * len(names)
    with pytest.raises(ApiError, match="does not say when it published a row"):
        client.missing("fx_rates_daily", published_by="2026-01-01")


@pytest.mark.slow
def test_a_diff_of_days_has_what_the_source_published_between_them(api, client, tmp_path):
    days = [date(2025, 12, 1), date(2026, 1, 5)]
    rows = (
        row(symbol, initial_published_date=day, last_update_date=day)
        for symbol, day in zip(("AAA", "BBB"), days, strict=True)
    )
    requested = {
        "columns": ["symbol", "venue_id", "change", "new_share_quantity"],
        "where": [f"week_start={MONDAY}"],
    }
    between = {"published_from": "2025-12-31", "published_by": days[1]}
    with published(api, *rows):
        changes = list(client.diff("finra_otc_weekly", **between, **requested))
        changed = client.diff_frame("finra_otc_weekly", **between, **requested)
        client.save_diff("finra_otc_weekly", tmp_path / "diff.csv", **between, **requested)
        before = list(
            client.diff("finra_otc_weekly", published_from=days[0], published_by="2026-01-04")
        )
    assert [(change["symbol"], change["change"]) for change in changes] == [("BBB", "added")]
    assert changed["symbol"].tolist() == ["BBB"]
    assert "BBB,XATS,added," in (tmp_path / "diff.csv").read_text()
    assert before == []


def test_a_diff_has_added_changed_and_removed_rows_with_both_values(api, client, tmp_path):
    later = NOON + timedelta(days=1)
    weekly, history = finra_otc_weekly, finra_otc_weekly_history

    def state(symbol: str, shares: int, known_from: datetime) -> dict[str, Any]:
        own = {"capture_id": 1, "known_from": known_from}
        given = {**row(symbol, share_quantity=shares), **own}
        return {column.key: given[column.key] for column in weekly.columns}

    ended = {"known_to": later, "change_cause": "source", "rule_version": "1"}
    before = [state("AAA", 10, NOON), state("BBB", 20, NOON)]
    times: dict[str, Any] = {"since": NOON, "until": later, "where": [f"week_start={MONDAY}"]}
    chosen = ["symbol", "change", "old_share_quantity", "new_share_quantity"]
    with api.services.warehouse.writing() as connection:
        connection.execute(weekly.insert(), [state("AAA", 30, later), state("CCC", 40, later)])
        connection.execute(history.insert(), [execution | ended for execution in before])
    try:
        rows = list(client.diff("finra_otc_weekly", **times, columns=chosen))
        frame = client.diff_frame("finra_otc_weekly", **times, order_by=["-symbol"])
        client.save_diff("finra_otc_weekly", tmp_path / "diff.csv", **times, columns=chosen)
        none = client.diff_frame("finra_otc_weekly", **(times | {"since": later}))
    finally:
        with api.services.warehouse.writing() as connection:
            for written in (weekly, history):
                connection.execute(delete(written).where(written.c.week_start == MONDAY))
    found = [tuple(record[name] for name in chosen) for record in rows]
    assert found == [
        ("AAA", "changed", "10.000000", "30.000000"),
        ("BBB", "removed", "20.000000", None),
        ("CCC", "added", None, "40.000000"),
    ]
    assert frame["symbol"].tolist() == ["CCC", "BBB", "AAA"]
    assert frame["old_share_quantity"].tolist()[1:] == [20, 10]
    assert len((tmp_path / "diff.csv").read_text().splitlines()) == 4
    assert none.empty
    with pytest.raises(ApiError, match="keeps no history"):
        client.diff_frame("finra_venue_week", **times)
