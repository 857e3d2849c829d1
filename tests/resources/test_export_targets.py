"""Targets of exports: buckets, tables of other databases, and receivers of webhooks."""

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from sqlalchemy import Engine, text
from standardwebhooks import Webhook

from orchestration_project.engine.connections.artifacts import S3Store
from orchestration_project.services.exports.targets import MAX_BODY_BYTES
from orchestration_project.services.inbox.rows import Inbox, NewDelivery
from tests import databases
from tests.postgres import new_database
from tests.programs import free_port
from tests.resources.exporting import Installation, listening
from tests.resources.weeks import row

pytestmark = pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
"""Exports read both kinds of databases in `test_exports`."""

SECRET = "whsec_" + base64.b64encode(b"a secret of the partner").decode()

TO_S3 = """
targets: {lake: {kind: s3, url: URL}}
exports: {weekly: {table: finra_otc_weekly, target: lake, incremental: true}}
"""
TO_FOLDER = """
targets: {files: {kind: folder, path: PATH}}
exports: {weekly: {table: finra_otc_weekly, target: files, partition_by: [week_start, tier]}}
"""
TO_DATABASE = """
targets: {mart: {kind: database}}
exports: {weekly: {table: v_finra_otc_weekly, target: mart}}
"""
CHANGES_TO_DATABASE = """
targets: {mart: {kind: database}}
exports: {weekly: {table: finra_otc_weekly, target: mart, incremental: true,
                   columns: [symbol, share_quantity, last_update_date],
                   target_table: changes}}
"""
TO_WEBHOOK = """
targets: {partner: {kind: webhook, url: URL}}
exports: {weekly: {table: finra_otc_weekly, target: partner, format: FORMAT, incremental: true,
                   columns: [symbol, share_quantity]}}
"""


@pytest.mark.slow
def test_a_folder_has_a_dataset_of_which_changed_partitions_are_written(
    installation: Installation, tmp_path: Path
):
    installation.declare(TO_FOLDER.replace("PATH", str(tmp_path / "lake")))
    installation.write_batch(row("AAA"))
    first = installation.export()
    assert first.outcome == "delivered"
    assert first.detail == f"{tmp_path}/lake/weekly"
    manifest = json.loads(installation.read_without_failure(first))
    assert [partition["row_count"] for partition in manifest["partitions"]] == [1]
    assert installation.export().outcome == "unchanged"
    installation.write_batch(row("AAA"), row("BBB"))
    assert installation.export().outcome == "delivered"
    found = pl.read_parquet(tmp_path / "lake/weekly/**/*.parquet", hive_partitioning=True)
    assert sorted(found["symbol"]) == ["AAA", "BBB"]
    assert [export["uri"] for export in installation.recorded()] == [first.detail] * 2


@pytest.mark.slow
def test_a_bucket_gets_a_file_per_load(installation: Installation, s3: str):
    installation.declare(TO_S3.replace("URL", s3))
    installation.write_batch(row("AAA"))
    first = installation.export()
    installation.write_batch(row("BBB"))
    second = installation.export()
    names = sorted(stored_object.name for stored_object in S3Store(s3).listed())
    assert [first.detail, second.detail] == [f"{s3}/{name}" for name in names]
    frame = pl.read_parquet(S3Store(s3).get(names[1]))
    assert frame.select("change", "symbol").rows() == [("removed", "AAA"), ("added", "BBB")]


def test_a_bucket_that_is_down_is_waited_for(installation, s3: str, s3_endpoint, monkeypatch):
    monkeypatch.setattr("orchestration_project.engine.connections.artifacts.S3_RETRIES", 0)
    installation.declare(TO_S3.replace("URL", s3))
    installation.write_batch(row("AAA"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    failed = installation.export()
    assert (failed.outcome, "target lake" in failed.detail) == ("failed", True)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    assert installation.export().outcome == "delivered"
    assert len(list(S3Store(s3).listed())) == 1


@pytest.fixture(params=["sqlite", "postgresql"])
def mart(request, tmp_path: Path, monkeypatch) -> str:
    """The URL of another database."""
    url = f"sqlite:///{tmp_path}/mart.sqlite"
    if request.param == "postgresql":
        url = new_database(request.getfixturevalue("postgres_server"), f"mart_{uuid4().hex}")
    monkeypatch.setenv("EXPORT_URL_MART", url)
    return url


def found(url: str, query: str) -> list[tuple[Any, ...]]:
    return [tuple(record) for record in databases.rows(url, text(query))]


@pytest.mark.slow_on_postgresql
def test_a_table_of_another_database_is_replaced(installation: Installation, mart: str):
    installation.declare(TO_DATABASE)
    installation.write_batch(row("AAA", notional_usd=1_250_500_000), row("BBB"))
    assert installation.export().outcome == "delivered"
    installation.write_batch(row("AAA", notional_usd=2_500_000))
    result = installation.export()
    assert result.detail.endswith("#weekly")
    [(symbol, week, usd, export_id)] = found(
        mart, "SELECT symbol, week_start, notional_dollars, export_id FROM weekly"
    )
    assert (symbol, str(week), float(usd)) == ("AAA", "2025-11-10", 2.5)
    assert export_id == f"weekly/{result.export and result.export.loads.until.isoformat()}"


@pytest.mark.slow_on_postgresql
def test_changes_are_appended_to_a_table_once_however_often_they_are_delivered(
    installation: Installation, mart: str
):
    installation.declare(CHANGES_TO_DATABASE)
    installation.write_batch(row("AAA"), row("BBB", last_update_date=None))
    with unrecorded(), pytest.raises(ConnectionAbortedError):
        installation.export()
    query = (
        "SELECT change, symbol, CAST(share_quantity AS NUMERIC) FROM changes "
        "ORDER BY export_id, symbol"
    )
    once = [("added", "AAA", 100), ("added", "BBB", 100)]
    assert found(mart, query) == once
    assert installation.export().outcome == "delivered"
    assert found(mart, query) == once
    installation.write_batch(row("AAA", share_quantity=7))
    assert installation.export().outcome == "delivered"
    assert found(mart, query) == [*once, ("changed", "AAA", 7), ("removed", "BBB", 100)]


@contextmanager
def unrecorded() -> Iterator[None]:
    """Have the process end between the target's commit and our record of it."""

    def execute(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith("UPDATE operations_exports"):
            raise ConnectionAbortedError

    with listening(Engine, "before_cursor_execute", execute):
        yield


@pytest.mark.slow_on_postgresql
def test_a_table_of_a_target_that_no_export_made_is_left_alone(installation, mart: str):
    installation.declare(TO_DATABASE)
    installation.write_batch(row("AAA"))
    assert installation.export().outcome == "delivered"
    installation.declare(TO_DATABASE.replace("target: mart", "target: mart, columns: [symbol]"))
    refused = installation.export()
    assert refused.outcome == "failed"
    assert "has other columns" in refused.detail
    assert found(mart, "SELECT count(*) FROM weekly") == [(1,)]


def test_a_database_of_this_project_keeps_its_own_tables(
    installation, tmp_path, prepared, monkeypatch
):
    url = prepared.sqlite(tmp_path / "ours.sqlite")
    monkeypatch.setenv("EXPORT_URL_MART", url)
    declared = TO_DATABASE.replace("target: mart", "target: mart, target_table: finra_otc_weekly")
    installation.declare(declared)
    installation.write_batch(row("AAA"))
    assert "a table of this project" in installation.export().detail
    with sqlite3.connect(tmp_path / "ours.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM finra_otc_weekly").fetchone() == (0,)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, "EXPORT_URL_MART is not set"),
        ("no url with s3cr3t-w0rd", "invalid EXPORT_URL_MART"),
        ("sqlite:///:memory:", "EXPORT_URL_MART names a SQLite database without a file"),
    ],
)
def test_a_database_that_is_not_set_waits_for_a_correction(
    installation, tmp_path, monkeypatch, url: str | None, expected: str
):
    if url:
        monkeypatch.setenv("EXPORT_URL_MART", url)
    installation.declare(TO_DATABASE)
    installation.write_batch(row("AAA"))
    refused = installation.export()
    assert expected in refused.detail
    assert "s3cr3t" not in refused.detail
    assert "DATABASE_URL" not in refused.detail
    (tmp_path / "url").touch(0o600)
    (tmp_path / "url").write_text(f"sqlite:///{tmp_path}/mart.sqlite\n")
    monkeypatch.delenv("EXPORT_URL_MART", raising=False)
    monkeypatch.setenv("EXPORT_URL_MART_FILE", str(tmp_path / "url"))
    assert installation.export().outcome == "delivered"


@dataclass
class Partner:
    """A receiver that verifies signatures, and drops what has an id that it knows."""

    port: int
    statuses: list[int] = field(default_factory=list)
    hangs_up: bool = False
    taken: dict[str, dict[str, Any]] = field(default_factory=dict)
    repeats: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/partner"

    def take(self, headers: dict[str, str], body: bytes) -> int:
        message = Webhook(SECRET).verify(body, headers)
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.repeats += headers["webhook-id"] in self.taken
            self.taken.setdefault(headers["webhook-id"], dict(message))
        return status


@contextmanager
def receiving(partner: Partner) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = partner.take(headers, body)
            if partner.hangs_up:
                self.connection.close()  # it has it, and the sender does not know
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", partner.port), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def partner(installation: Installation, monkeypatch) -> Partner:
    """A receiver, and a declaration of it."""
    monkeypatch.setenv("EXPORT_SECRET_PARTNER", SECRET)
    found = Partner(free_port())
    installation.declare(TO_WEBHOOK.replace("URL", found.url).replace("FORMAT", "ndjson"))
    return found


def test_a_webhook_has_manifest_and_rows_signed_by_standard_webhooks(installation, partner):
    installation.write_batch(row("AAA"), row("BBB", share_quantity=7))
    with receiving(partner):
        result = installation.export()
    assert result.detail == f"http://127.0.0.1:{partner.port}"
    assert result.export
    [message] = partner.taken.values()
    data = message["data"]
    assert [json.loads(line) for line in data.pop("content").splitlines()] == [
        {"change": "added", "symbol": "AAA", "share_quantity": "100.000000"},
        {"change": "added", "symbol": "BBB", "share_quantity": "7.000000"},
    ]
    assert data == {
        "name": "weekly",
        "table": "finra_otc_weekly",
        "condition": [],
        "from_load": None,
        "to_load": result.export.loads.until.isoformat(),
        "row_count": 2,
        "format": "ndjson",
        "encoding": "utf-8",
        "sha256": result.export.sha256,
    }
    assert (message["type"], message["timestamp"]) == ("export", data["to_load"])


FORMULAS = ["- first point", "=1+1", "+1", "@x", "\t=1", "'=1", ""]


@pytest.mark.parametrize(("form", "sent"), [("ndjson", FORMULAS), ("csv", ["'=1"])])
def test_a_machine_format_has_texts_of_senders_byte_for_byte(installation, partner, form, sent):
    deliveries = [
        NewDelivery("git", f"{number}", text, b"{}", {}, 0) for number, text in enumerate(FORMULAS)
    ]
    Inbox(installation.warehouse, installation.clock).take(deliveries)
    installation.declare(
        f"targets: {{partner: {{kind: webhook, url: '{partner.url}'}}}}\n"
        "exports:\n"
        f"  weekly: {{table: inbox, target: partner, format: {form}, columns: [kind]}}\n"
        f"  stored: {{table: inbox, format: {form}, columns: [kind]}}\n"
    )
    with receiving(partner):
        result = installation.export()
    assert result.outcome == "delivered", result.detail
    [message] = partner.taken.values()
    content = message["data"]["content"]
    assert content == installation.read_without_failure(installation.export("stored"))
    if form == "ndjson":
        assert [json.loads(line)["kind"] for line in content.splitlines()] == sent
    else:
        assert "\r\n'- first point\r\n'=1+1\r\n" in content


def test_a_webhook_is_not_sent_to_this_machine_unless_a_setting_allows_it(
    installation, partner, monkeypatch
):
    monkeypatch.setenv("DATA_PROFILE", "real")
    monkeypatch.setenv("FINRA_SOURCE", "api")
    installation.write_batch(row("AAA"))
    with receiving(partner):
        refused = installation.export()
        assert (refused.outcome, partner.taken) == ("failed", {})
        assert "HTTP_ALLOWED_NETWORKS" in refused.detail
        monkeypatch.setenv("HTTP_ALLOWED_NETWORKS", "127.0.0.0/8")
        assert installation.export().outcome == "delivered"
    assert len(partner.taken) == 1


def test_a_parquet_file_comes_in_base64(installation, partner):
    installation.declare(installation.text.replace("ndjson", "parquet"))
    installation.write_batch(row("AAA"))
    with receiving(partner):
        assert installation.export().outcome == "delivered"
    [message] = partner.taken.values()
    frame = pl.read_parquet(base64.b64decode(message["data"]["content"]))
    assert frame.rows() == [("added", "AAA", 100)]


@pytest.mark.slow
def test_a_receiver_that_is_down_or_refuses_gets_the_same_later(installation, partner):
    installation.write_batch(row("AAA"))
    assert installation.export().outcome == "failed"  # nothing listens
    partner.statuses = [500, 401, 302, 429]
    with receiving(partner):
        for status in [*partner.statuses]:
            failed = installation.export()
            assert (failed.outcome, str(status) in failed.detail) == ("failed", True)
        installation.write_batch(row("AAA"), row("BBB"))
        assert installation.export().outcome == "delivered"
        assert installation.export().outcome == "delivered"
    changes = [message["data"]["row_count"] for message in partner.taken.values()]
    assert (changes, partner.repeats) == ([1, 1], 0)


def test_a_receiver_drops_the_repeat_of_what_it_had_taken(installation, partner):
    installation.write_batch(row("AAA"))
    partner.hangs_up = True
    with receiving(partner):
        assert installation.export().outcome == "failed"
        partner.hangs_up = False
        installation.write_batch(row("BBB"))
        with unrecorded(), pytest.raises(ConnectionAbortedError):
            installation.export()
        assert installation.export().outcome == "delivered"
    [message] = partner.taken.values()
    assert (message["data"]["row_count"], partner.repeats) == (1, 2)


def test_an_export_that_is_too_large_for_a_webhook_is_not_sent(installation, partner):
    installation.declare(installation.text.replace("[symbol, share_quantity]", "[issue_name]"))
    installation.write_batch(row("AAA", issue_name="x" * MAX_BODY_BYTES))
    with receiving(partner):
        refused = installation.export()
    assert "is too large for a webhook" in refused.detail
    assert partner.taken == {}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("secret", [None, "whsec_c2hvcnQ=", "whsec_~~~ s3cr3t"])
def test_a_webhook_is_not_sent_without_a_good_secret(
    installation, partner, monkeypatch, secret: str | None
):
    monkeypatch.delenv("EXPORT_SECRET_PARTNER")
    if secret:
        monkeypatch.setenv("EXPORT_SECRET_PARTNER", secret)
    installation.write_batch(row("AAA"))
    with receiving(partner):
        refused = installation.export()
    assert "EXPORT_SECRET_PARTNER" in refused.detail
    assert "s3cr3t" not in refused.detail
    assert partner.taken == {}


@pytest.mark.slow
def test_a_url_with_a_secret_is_a_variable_and_shown_nowhere(installation, partner, monkeypatch):
    secret_url = f"{partner.url}/s3cr3t-path-of-the-partner?token=s3cr3t-t0ken"
    monkeypatch.setenv("EXPORT_URL_PARTNER", secret_url)
    installation.declare(installation.text.replace(f", url: {partner.url}", ""))
    installation.write_batch(row("AAA"))
    failed = installation.export()
    with receiving(partner):
        result = installation.export()
    assert (failed.outcome, result.outcome) == ("failed", "delivered")
    assert "s3cr3t" not in f"{failed} {result} {installation.recorded()}"
    monkeypatch.setenv("EXPORT_URL_PARTNER", "http://partner.example.org/hooks")
    installation.write_batch(row("BBB"))
    assert "expected https://" in installation.export().detail
