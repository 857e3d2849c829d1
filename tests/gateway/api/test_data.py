"""Tables, views and captured bytes through the API."""

import hashlib
import io
import json
from base64 import b64encode, urlsafe_b64encode
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import polars as pl
import pytest
from sqlalchemy import insert
from starlette.applications import Starlette

from orchestration_project.client.asking import metadata_of_parquet
from orchestration_project.engine.connections.artifacts import put_content
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.work_items import NewItem
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.gateway.api import data
from orchestration_project.gateway.api.app import routes
from orchestration_project.gateway.api.data import RowPage, page_response, served
from orchestration_project.services.links import build_file_path
from orchestration_project.tables.catalogue import known_tables
from orchestration_project.tables.schema import key_names
from orchestration_project.tables.webhooks import events_webhooks
from tests.gateway.api.conftest import FRIDAY, HOME, SOMEBODY
from tests.resources.weeks import NOON

WEEKLY = "/tables/finra_otc_weekly"
OF_KEY = json.dumps(["2025-11-10", "T1", "ATS", "A\0", "X"]).encode()
WITH_NUL = urlsafe_b64encode(OF_KEY).decode().rstrip("=")


def test_values_of_a_page_are_exact_and_a_number_that_json_lacks_is_null():
    rows = [
        {"key": 2**63 - 1, "at": NOON, "on": NOON.date(), "usd": Decimal("1.10"), "share": 0.1},
        {"key": 1, "at": None, "on": None, "usd": None, "share": float("nan")},
    ]
    page = page_response("t", RowPage(["key", "at", "on", "usd", "share"], rows, None))
    assert json.loads(bytes(page.body)) == {
        "table": "t",
        "rows": [
            {
                "key": 2**63 - 1,
                "at": f"{NOON:%Y-%m-%dT%H:%M:%S.%f}Z",
                "on": f"{NOON:%Y-%m-%d}",
                "usd": "1.10",
                "share": 0.1,
            },
            {"key": 1, "at": None, "on": None, "usd": None, "share": None},
        ],
        "next_cursor": None,
    }


def test_every_table_and_view_but_the_door_s_and_the_inbox_is_described(api):
    tables = {table["name"]: table for table in api.get("/tables")["tables"]}
    own = {
        *("documents_reader_setups", "inbox", "inbox_states", "operations_erasure_requests"),
        *("mqtt_inbox", "mqtt_seen_keys"),
    }
    unserved = {name for name in known_tables() if name.startswith("access_")} | own
    assert set(tables) == set(known_tables()) - unserved
    weekly = tables["finra_otc_weekly"]
    assert (weekly["kind"], weekly["has_history"]) == ("table", True)
    assert tables["v_finra_otc_weekly"]["kind"] == "view"
    assert [column["name"] for column in weekly["columns"] if column["is_key"]] == [
        *("week_start", "tier", "market", "symbol", "venue_id")
    ]


def test_work_items_are_listed_by_topic_and_state_a_page_at_a_time(api):
    items = WorkItems(api.services.warehouse, Clock())
    items.enqueue("documents/a", [NewItem(letter, "1") for letter in "abc"])
    items.enqueue("documents/b", [NewItem("a", "1")])
    items.claim("documents/b", limit=1, run_id="run", until=Clock().now())
    page = api.get("/items?topic=documents/a&limit=2")
    assert [row["item_key"] for row in page["rows"]] == ["a", "b"]
    page = api.get(f"/items?topic=documents/a&limit=2&cursor={page['next_cursor']}")
    assert ([row["item_key"] for row in page["rows"]], page["next_cursor"]) == (["c"], None)
    [leased] = api.get("/items?state=leased")["rows"]
    assert (leased["topic"], leased["lease_holder"]) == ("documents/b", "run")
    assert api.ask("GET", "/items?state=unknown").status_code == 422
    assert api.ask("GET", "/items", role="viewer").status_code == 200


@pytest.mark.slow_after_first
@pytest.mark.parametrize("name", served())
def test_every_table_and_view_has_a_key_to_page_by_and_can_be_read(api, loaded, name):
    assert key_names(served()[name])
    assert api.get(f"/tables/{name}?limit=2")["table"] == name


def test_pages_of_a_table_make_up_the_table_in_the_order_of_its_key(api, loaded):
    query = "?columns=symbol,share_quantity&where=tier=T1&where=market=ATS&limit=700"
    rows, cursor = [], ""
    while cursor is not None:
        page = api.get(f"{WEEKLY}{query}{cursor and '&cursor='}{cursor}")
        rows, cursor = rows + page["rows"], page["next_cursor"]
    answer = api.ask("GET", f"{WEEKLY}{query.removesuffix('&limit=700')}&format=csv")
    assert answer.headers["content-length"] == str(len(answer.content))
    csv = pl.read_csv(io.BytesIO(answer.content), infer_schema=False)
    assert len(rows) > 700
    assert [list(row) for row in rows[:1]] == [["symbol", "share_quantity"]]
    assert csv.rows() == [(row["symbol"], str(row["share_quantity"])) for row in rows]
    parquet = api.ask("GET", f"{WEEKLY}?format=parquet&limit=3")
    assert pl.read_parquet(io.BytesIO(parquet.content)).height == 3


def test_rows_are_sorted_as_asked_for_and_filtered_by_a_list(api, loaded):
    query = "?columns=symbol,share_quantity&order_by=-share_quantity&limit=20"
    rows = api.get(f"{WEEKLY}{query}&where=tier+in+(T1,T2)")["rows"]
    everything = frame_of(api, "?columns=symbol,share_quantity,tier&format=parquet")
    chosen = everything.filter(pl.col("tier").is_in(["T1", "T2"]))
    highest = chosen["share_quantity"].sort(descending=True).head(20).to_list()
    assert [Decimal(row["share_quantity"]) for row in rows] == highest
    assert [list(row) for row in rows[:1]] == [["symbol", "share_quantity"]]
    parquet = frame_of(api, f"{query}&format=parquet&where=tier+in+(T1,T2)")
    assert parquet.rows() == [(row["symbol"], Decimal(row["share_quantity"])) for row in rows]
    assert api.expect_problem("GET", f"{WEEKLY}?order_by=symbol")["status"] == 413


def test_equations_of_a_load_and_its_run_are_rows_that_balance(api, loaded):
    rows = api.get("/tables/balances?where=table_name=finra_otc_weekly")["rows"]
    of_run = [row for row in rows if row["subject"] == loaded]
    assert [(row["equation"], row["came_in"], row["went_to"]) for row in of_run] == [
        ("partitions", 1, '{"loaded": 1}')
    ]
    [records] = [row for row in rows if row["equation"] == "records"]
    assert records["came_in"] == sum(json.loads(records["went_to"]).values()) > 700
    assert {row["state"] for row in rows} <= {"balanced", "not_counted"}


def test_filters_take_ranges_and_alternatives(api, loaded):
    everything = frame_of(api, "?format=parquet")
    is_wanted = (pl.col("market") == "ATS") | pl.col("share_quantity").is_between(100, 50_000)
    wanted = everything.filter(is_wanted, pl.col("symbol") > "M")
    assert 0 < wanted.height < everything.height
    filters = "where=(market=ATS)+or+(share_quantity+between+100+and+50000)&where=symbol%3EM"
    assert frame_of(api, f"?format=parquet&{filters}").equals(wanted)
    assert api.get(f"{WEEKLY}/groups?{filters}")["rows"] == [{"count": wanted.height}]
    page = api.get(f"{WEEKLY}?{filters}&columns=symbol&limit=3")
    assert [row["symbol"] for row in page["rows"]] == wanted["symbol"].head(3).to_list()


def test_a_parquet_file_with_a_limit_names_the_rows_that_may_follow(api, loaded):
    whole = frame_of(api, "?columns=symbol,venue_id&format=parquet&where=tier=T1")
    found: list[pl.DataFrame] = []
    cursor: str | None = ""
    while cursor is not None:
        query = f"?columns=symbol,venue_id&format=parquet&where=tier=T1&limit={whole.height // 3}"
        content = api.ask("GET", f"{WEEKLY}{query}{cursor and f'&cursor={cursor}'}").content
        found.append(pl.read_parquet(io.BytesIO(content)))
        cursor = metadata_of_parquet(content, "next_cursor")
    assert len(found) > 2
    assert pl.concat(found).rows() == whole.rows()


def test_groups_are_added_up_by_the_database(api, loaded):
    query = (
        "?group_by=tier,market&measure=count&measure=sum(share_quantity)&measure=avg(trade_count)"
    )
    groups = api.get(f"{WEEKLY}/groups{query}&measure=max(trade_count)&where=symbol>M")["rows"]
    everything = frame_of(api, "?format=parquet").filter(pl.col("symbol") > "M")
    expected = (
        everything.group_by("tier", "market")
        .agg(
            pl.len().alias("count"),
            pl.col("share_quantity").sum().alias("share_quantity_sum"),
            pl.col("trade_count").mean().alias("trade_count_avg"),
            pl.col("trade_count").max().alias("trade_count_max"),
        )
        .sort("tier", "market")
    )
    assert len(groups) > 1
    for group, wanted in zip(groups, expected.iter_rows(named=True), strict=True):
        assert group == wanted | {"trade_count_avg": pytest.approx(wanted["trade_count_avg"])}
    assert api.get(f"{WEEKLY}/groups")["rows"] == [
        {"count": frame_of(api, "?format=parquet").height}
    ]
    assert api.get(f"{WEEKLY}/groups?as_of=2020-01-01T00:00:00Z")["rows"] == [{"count": 0}]
    problem = api.expect_problem("GET", f"{WEEKLY}/groups?group_by=symbol&limit=5")
    assert (problem["status"], problem["detail"]) == (413, "these are more than 5 groups")


def frame_of(api, query: str) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(api.ask("GET", f"{WEEKLY}{query}").content))


def test_a_table_is_read_as_it_was_known(api, loaded):
    assert api.get(f"{WEEKLY}?as_of=2020-01-01T00:00:00Z")["rows"] == []
    assert len(api.get(f"{WEEKLY}?as_of=2999-01-01T00:00:00Z&limit=5")["rows"]) == 5


@pytest.mark.slow
def test_a_table_is_read_as_its_source_had_published_it(api, loaded):
    assert api.get(f"{WEEKLY}?published_by=2020-01-01")["rows"] == []
    query = "published_by=9999-12-31&columns=symbol,venue_id,last_update_date"
    rows: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        page = api.get(f"{WEEKLY}?{query}&limit=300" + (f"&cursor={cursor}" if cursor else ""))
        rows, cursor = rows + page["rows"], page["next_cursor"]
    present = api.ask("GET", f"{WEEKLY}?columns=symbol,venue_id,last_update_date&format=csv")
    assert len(rows) > 300
    assert len(rows) == len(present.content.splitlines()) - 1
    assert api.get(f"{WEEKLY}?published_by=2026-01-01&as_of=2020-01-01T00:00:00Z")["rows"] == []


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("?published_by=2026-01", "invalid request: published_by"),
        ("?where=tier", "invalid condition 'tier'"),
        ("?where=colour=red", "finra_otc_weekly has no column 'colour'"),
        ("?where=(tier=T1)+or+(colour=red)", "finra_otc_weekly has no column 'colour'"),
        ("?columns=colour", "finra_otc_weekly has no column 'colour'"),
        ("?cursor=WzFd", "the cursor is none of this table"),
        ("?cursor=%C3%A9", "the cursor is none of this table"),
        (f"?cursor={WITH_NUL}", "the cursor is none of this table"),
        ("?limit=1001", "a page has at most 1000 rows"),
        ("?limit=0", "invalid request: limit"),
        ("?limit=1&limit=2", "invalid request: limit"),
        ("?colour=red", "invalid request: colour"),
        ("?order_by=colour", "finra_otc_weekly has no column 'colour'"),
        ("?order_by=symbol&cursor=WzFd", "sorted rows have no pages"),
        ("?order_by=symbol&limit=1001", "a page has at most 1000 rows"),
        ("/groups?measure=sum(symbol)", "finra_otc_weekly has no measure 'symbol'"),
        ("/groups?measure=sum(capture_id)", "finra_otc_weekly has no measure 'capture_id'"),
        ("/groups?measure=median(trade_count)", "invalid measure 'median(trade_count)'"),
        ("/groups?measure=count&measure=count", "a column or measure is named twice"),
        ("/groups?group_by=colour", "finra_otc_weekly has no column 'colour'"),
        ("/groups?where=tier", "invalid condition 'tier'"),
        ("/groups?limit=10001", "invalid request: limit"),
        ("?as_of=2026-01-01", "invalid request: as_of"),
        ("?as_of=20260101", "invalid request: as_of"),
        ("?as_of=0001-01-01T00:00:00%2B14:00", "invalid request: as_of"),
        ("?as_of=9999-12-31T23:59:59-14:00", "invalid request: as_of"),
        ("?where=tier=%00", "invalid request: body"),
    ],
)
def test_a_question_that_cannot_be_answered_is_a_problem_that_says_why(api, query, detail):
    problem = api.expect_problem("GET", f"{WEEKLY}{query}")
    assert (problem["status"], problem["detail"]) == (422, detail)


@pytest.mark.parametrize(
    ("path", "given"),
    [("/runs", {"job": "finra_gold", "tags": {"a": "b\0"}}), ("/evidence", {"run_id": "a\0b"})],
)
def test_a_text_that_no_database_can_hold_is_refused(api, path, given):
    problem = api.expect_problem("POST", path, json=given)
    assert problem["status"] == 422
    assert "which no database can hold" in problem["errors"][0]["problem"]


def test_a_csv_escapes_texts_of_senders_by_default(api, tmp_path):
    event = {"source": "git", "delivery_id": "=1", "received_at": NOON, "kind": "@x"}
    rest = {"payload": "{}", "capture_id": 1, "known_from": NOON}
    with api.services.warehouse.writing() as connection:
        connection.execute(insert(events_webhooks), {**event, **rest})
    path = "/tables/events_webhooks?columns=delivery_id,kind&format=csv&where=source=git"
    escaped = [("", "'=1,'@x"), ("&escape_formulas=true", "'=1,'@x")]
    for option, line in [*escaped, ("&escape_formulas=false", "=1,@x")]:
        assert api.ask("GET", path + option).text.split("\r\n")[1:] == [line, ""]
    page = api.get("/tables/events_webhooks?columns=delivery_id")
    assert page["rows"] == [{"delivery_id": "=1"}]


COUNTING = """CREATE VIEW database_labels AS SELECT name, value FROM kept WHERE
  (WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000000)
   SELECT count(*) FROM numbers) > 0"""


@pytest.mark.slow_after_first
@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_read_that_takes_too_long_is_ended_by_the_database(api, prepared, tmp_path, form):
    with Warehouse(prepared.sqlite(tmp_path / "slow.sqlite"), clock=Clock()) as warehouse:
        with warehouse.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE database_labels RENAME TO kept")
            connection.exec_driver_sql("INSERT INTO kept VALUES ('data', 'demo')")
            connection.exec_driver_sql(COUNTING)
        slow = replace(
            api.services, warehouse=warehouse, read_seconds=0.05, caller=lambda: SOMEBODY
        )
        request = httpx.Request("GET", f"{HOME}/api/v1/tables/database_labels?format={form}")
        answer = replace(api, app=Starlette(routes=routes(slow))).handle_request(request)
    problem = answer.json()
    assert (problem["status"], problem["category"]) == (504, "limit")
    assert problem["detail"] == "the query exceeded its time limit and was canceled"


def test_a_table_that_lacks_a_column_is_a_problem_that_refers_to_migrate(api, prepared, tmp_path):
    with Warehouse(prepared.sqlite(tmp_path / "edited.sqlite"), clock=Clock()) as warehouse:
        with warehouse.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE prices_returns RENAME known_from TO landed_at")
        edited = replace(api.services, warehouse=warehouse, caller=lambda: SOMEBODY)
        request = httpx.Request("GET", f"{HOME}/api/v1/tables/prices_returns")
        answer = replace(api, app=Starlette(routes=routes(edited))).handle_request(request)
    problem = answer.json()
    assert (problem["status"], problem["category"]) == (500, "configuration")
    assert "known_from" in problem["found"]
    assert problem["remedy"] == "run `orchestrate migrate`, which names each difference"


def test_gold_that_takes_too_long_is_refused_with_what_derives_it(api, loaded):
    zero_timeout = replace(api.services, read_seconds=0.0, caller=lambda: SOMEBODY)
    path = "/api/v1/finra/gold/finra_symbols?partition=all&published_by=2026-03-02"
    app = Starlette(routes=routes(zero_timeout))
    problem = replace(api, app=app).handle_request(httpx.Request("GET", HOME + path)).json()
    assert (problem["status"], problem["category"]) == (413, "limit")
    assert "finra_symbols of all took longer than 0 s, and was ended" in problem["detail"]
    assert "POST /api/v1/finra/gold/finra_symbols/exports" in problem["remedy"]
    command = "orchestrate gold finra_symbols all --published-by 2026-03-02"
    assert f"{command} --output finra_symbols.parquet" in problem["remedy"]


def test_more_rows_than_a_file_may_have_are_refused(api, loaded, monkeypatch):
    monkeypatch.setattr(data, "MAX_FILE_ROWS", 9)
    for form in ("csv", "parquet"):
        problem = api.expect_problem("GET", f"{WEEKLY}?format={form}")
        assert (problem["status"], problem["detail"]) == (413, "these are more than 9 rows")
    assert api.ask("GET", f"{WEEKLY}?format=csv&limit=9").text.count("\r\n") == 10


def test_a_table_without_history_is_not_known_at_a_time(api):
    problem = api.expect_problem("GET", "/tables/blobs?as_of=2026-01-01T00:00:00Z")
    assert problem["detail"].startswith("blobs keeps no history")


def test_the_trading_of_a_week_is_asked_for_by_its_friday(api, loaded):
    path = f"/finra/trade-activity?week_ending={FRIDAY}&tier=T1"
    page = api.get(f"{path}&limit=3")
    assert {(row["week_start"], row["tier"]) for row in page["rows"]} == {("2026-02-02", "T1")}
    following = api.get(f"{path}&limit=3&cursor={page['next_cursor']}")["rows"]
    assert following[0] not in page["rows"]
    symbol = page["rows"][0]["symbol"]
    assert {row["symbol"] for row in api.get(f"{path}&symbol={symbol}")["rows"]} == {symbol}
    overdue = api.expect_problem("GET", "/finra/trade-activity?week_ending=2025-12-19&tier=T1")
    assert (overdue["status"], overdue["detail"]) == (404, "nothing is loaded of it")
    assert api.expect_problem("GET", "/finra/trade-activity?week_ending=2026-02-05&tier=T1")


def test_captured_bytes_are_listed_and_sent_with_their_hash_whole_or_in_part(api, loaded):
    captures = api.get(f"/artifacts?where=run_id={loaded}")["captures"]
    [capture] = captures
    path = f"/artifacts/{capture['capture_id']}"
    whole = api.ask("GET", path)
    assert hashlib.sha256(whole.content).hexdigest() == capture["sha256"]
    assert len(whole.content) == capture["bytes"]
    digest = b64encode(bytes.fromhex(capture["sha256"])).decode()
    assert whole.headers["repr-digest"] == f"sha-256=:{digest}:"
    etag = whole.headers["etag"]

    def part(**headers):
        answer = api.ask("GET", path, headers={"Range": "bytes=5-9", **headers})
        return answer.status_code, answer.content, answer.headers.get("content-range")

    size = len(whole.content)
    assert part() == (206, whole.content[5:10], f"bytes 5-9/{size}")
    assert part(Range="bytes=-3") == (
        206,
        whole.content[-3:],
        f"bytes {size - 3}-{size - 1}/{size}",
    )
    assert part(**{"If-Range": '"other"'}) == (200, whole.content, None)
    assert part(**{"If-None-Match": etag})[0] == 304
    beyond = api.expect_problem("GET", path, headers={"Range": f"bytes={size}-"})
    assert (beyond["status"], beyond["category"]) == (416, "limit")
    assert api.ask("GET", f"/artifacts/{capture['sha256']}").content == whole.content
    assert api.expect_problem("GET", "/artifacts/none")["status"] == 404


def test_pictures_and_staged_files_are_sent_and_nothing_else_of_the_store(api):
    store, content = api.services.store, b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    name = put_content(store, "plots/finra/value", content, suffix="svg")
    other = put_content(store, "blobs", content, suffix="svg")
    answer = api.ask("GET", build_file_path(name).removeprefix("/api/v1"))
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == "image/svg+xml"
    assert any("sandbox" in policy for policy in answer.headers.get_list("content-security-policy"))
    missing = f"staged/x/{'0' * 64}.parquet"
    for wrong in (other, missing, f"plots/../{name}", f"plots/{name}/..", "plots/finra/value"):
        assert (
            api.expect_problem("GET", build_file_path(wrong).removeprefix("/api/v1"))["status"]
            == 404
        )


@pytest.mark.slow
def test_a_clean_up_is_an_admin_s_run_and_dry_by_default(api):
    launched = api.post("/artifacts/cleanup", {}, "admin")
    run = api.services.instance.get_run_by_id(launched["run_id"])
    assert run.is_success
    assert run.run_config["ops"]["clean_up"]["config"]["delete_artifacts"]["dry_run"] is True


def test_a_repair_is_an_admin_s_run_and_dry_by_default(api):
    launched = api.post("/artifacts/repair", {}, "admin")
    run = api.services.instance.get_run_by_id(launched["run_id"])
    assert run.is_success
    config = run.run_config["ops"]["clean_up"]["config"]["repair_artifacts"]
    assert config == {"sha256": [], "dry_run": True}
    assert api.expect_problem("POST", "/artifacts/repair", json={})["status"] == 403
    wrong = {"dry_run": "perhaps"}
    assert api.expect_problem("POST", "/artifacts/repair", "admin", json=wrong)["status"] == 422


def test_archives_of_evidence_are_listed_and_sent_and_nothing_beside_them(api):
    folder = api.services.settings.state_path / "evidence"
    folder.mkdir(exist_ok=True)
    (folder / "run-1.zip").write_bytes(b"PK")
    (folder.parent / "secret.zip").write_bytes(b"PK")
    archives = api.get("/evidence")["archives"]
    assert {"file": "run-1.zip", "bytes": 2} in archives
    assert "secret.zip" not in [archive["file"] for archive in archives]
    assert api.ask("GET", "/evidence/run-1.zip").content == b"PK"
    assert api.expect_problem("GET", "/evidence/secret.zip")["status"] == 404
    assert api.expect_problem("GET", "/evidence/..%2Fsecret.zip")["status"] == 400
    assert api.expect_problem("POST", "/evidence", json={})["status"] == 422
