"""Captured bytes read again by the domains: as they were requested, and without storing them."""

import base64
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import date
from typing import Any

import pytest
from sqlalchemy import insert

from orchestration_project.catalog import REGISTRY
from orchestration_project.catalog.factory import documents_of
from orchestration_project.catalog.fx import SOURCE
from orchestration_project.domains.mqtt.tables import mqtt_inbox
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.document_source import DocumentSource
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.recovery import RecordedCapture, Recovery, RecoveryEnvironment
from orchestration_project.errors import ContractError, SourceError, TransientError
from orchestration_project.resources.documents.folder import DocumentFolder
from orchestration_project.resources.finra.files import FinraFiles
from orchestration_project.resources.prices.files import PriceFiles
from orchestration_project.resources.prices.source import PriceRange
from orchestration_project.resources.web.access import WebAccess
from orchestration_project.resources.web.switches import SwitchChange, SwitchedOffError, set_switch
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import inbox
from orchestration_project.tables.webhooks import events_webhooks
from tests.faulty_server import FaultyServer, Reply
from tests.http_clients import make_client
from tests.resources.finra_server import TIER, WEEK, Finra, records
from tests.resources.weeks import NOON, StoppedClock

SITE = """
site: shop
base_url: http://shop.demo
start: ["/"]
item: {key: [sku], fields: {sku: {css: .sku, required: true}}}
politeness: {requests_per_second: 1000}
"""


def recorded(capture: Capture | None = None, **changes: Any) -> RecordedCapture:
    """Return the row of a capture."""
    usual: dict[str, Any] = {
        "capture_id": 1,
        "sha256": "0" * 64,
        "byte_count": 3,
        "source": "api",
        "dataset": "weeklySummary",
        "partition_key": "T1|2025-11-10",
        "group_id": "g",
        "url": "file:x",
        "request": {},
        "http_status": 200,
        "fetched_at": NOON,
    }
    if capture is not None:
        usual |= {"url": capture.url, "request": capture.request, "byte_count": capture.byte_count}
    return RecordedCapture(**usual | changes)


def environment(opened: dict[str, Any], warehouse: Any = None) -> RecoveryEnvironment:
    """Return surroundings with these connections."""
    return RecoveryEnvironment(
        settings=load_settings(), warehouse=warehouse, clock=Clock(), open=opened.__getitem__
    )


def read_again(capture: RecordedCapture, given: RecoveryEnvironment) -> bytes | None:
    """Read a capture's bytes by the one way that applies to it."""
    [way] = ways(capture)
    return way.read(capture, given)


def ways(capture: RecordedCapture) -> Sequence[Recovery]:
    settings = load_settings()
    return [
        recovery for recovery in REGISTRY.defined(Recovery) if recovery.applies(capture, settings)
    ]


def test_a_page_of_finra_is_requested_again_with_its_query(ask, monkeypatch):
    api, requests = ask(Finra(records(3)))
    kept: list[Capture] = []
    week = date.fromisoformat(WEEK)
    api.extract_version(Partition(week, TIER), api.version(Partition(week, TIER)), kept)
    monkeypatch.setenv("FINRA_SOURCE", "api")
    monkeypatch.setenv("FINRA_API_URL", kept[0].url.partition("/data/")[0])
    before = len(requests)
    assert read_again(recorded(kept[0]), environment({"finra": api})) == kept[0].body
    assert [request.body for request in requests[before:]] == [
        request.body for request in requests[:before] if b'"delimiter"' in request.body
    ][:1]
    elsewhere = recorded(kept[0], url="https://elsewhere.example/data/group/a/name/b")
    assert ways(elsewhere) == []


def test_a_file_of_finra_is_read_again(tmp_path, monkeypatch):
    (tmp_path / "week.csv").write_bytes(b"a|b\n")
    monkeypatch.setenv("FINRA_SOURCE", "files")
    monkeypatch.setenv("FINRA_FILES_DIR", str(tmp_path))
    source = FinraFiles(tmp_path, Captures(FolderStore(tmp_path / "store")), StoppedClock())
    own: dict[str, Any] = {"source": "files", "dataset": "weekly download", "url": "file:week.csv"}
    given = environment({"finra": source})
    assert read_again(recorded(**own), given) == b"a|b\n"
    for name in ("gone.csv", "../outside.csv"):
        with pytest.raises(SourceError):
            read_again(recorded(**{**own, "url": f"file:{name}"}), given)
    assert not (tmp_path / "store").exists()


def test_a_symbols_prices_are_read_again(tmp_path, monkeypatch):
    folder = tmp_path / "prices"
    folder.mkdir()
    (folder / "SPY.csv").write_bytes(b"date,close\n2026-01-02,1\n")
    monkeypatch.setenv("PRICES_SOURCE", "files")
    monkeypatch.setenv("PRICES_FILES_DIR", str(folder))
    source = PriceFiles(
        folder, Captures(FolderStore(tmp_path / "store")), StoppedClock(), overrides={}
    )
    day = date(2026, 1, 2)
    [kept] = source.fetch(PriceRange("SPY", day, day), [])
    own = recorded(kept, source="files", dataset="daily")
    assert read_again(own, environment({"prices": source})) == kept.body
    gone = recorded(kept, source="files", dataset="daily", request={"symbol": "GONE"})
    assert read_again(gone, environment({"prices": source})) is None


def test_a_document_of_a_folder_is_read_again(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_bytes(b"one")
    monkeypatch.setenv("DOCUMENTS_SOURCE", "folder")
    monkeypatch.setenv("DOCUMENTS_DIR", str(tmp_path))
    given = environment({"documents": DocumentFolder(tmp_path, "DOCUMENTS_DIR")})
    own: dict[str, Any] = {"source": "folder", "dataset": "files"}
    assert read_again(recorded(**own, request={"file": "a.txt"}), given) == b"one"
    with pytest.raises(ContractError):
        read_again(recorded(**own, request={"file": "b.txt"}), given)
    assert ways(recorded(source="uploads", dataset="files", request={"file": "a.txt"})) == []


def test_a_document_over_http_is_fetched_again(tmp_path):
    replies = [Reply(body=b"<xml/>"), Reply(404), Reply(503)]
    with (
        FaultyServer(lambda _: replies.pop(0)) as server,
        make_client(tmp_path, "documents_test", max_attempts=1) as http,
    ):
        source = DocumentSource(
            http,
            Captures(FolderStore(tmp_path / "store")),
            StoppedClock(),
            documents_of(SOURCE.declared),
            source_name="api",
            base_url=server.url,
            label="The ECB",
        )
        own = recorded(dataset="eurofxref", request={"document": "a.xml", "method": "GET"})
        given = environment({"fx": source})
        assert read_again(own, given) == b"<xml/>"
        with pytest.raises(SourceError):
            read_again(own, given)
        with pytest.raises(TransientError):
            read_again(own, given)
        other = recorded(dataset="eurofxref", source="demo", request={"document": "a.xml"})
        assert read_again(other, given) is None
    assert not (tmp_path / "store").exists()


def test_a_delivery_and_a_message_are_derived_from_their_rows(saas_warehouse):
    webhook = {
        "source": "github",
        "delivery_id": "7",
        "kind": None,
        "body": base64.b64encode(b'{"a": 1}').decode(),
        "headers": "{}",
        "sha256": "0" * 64,
        "byte_count": 8,
        "received_at": NOON,
    }
    message = {
        "arrival_id": 990_017,
        "broker": "broker:1883",
        "topic": "a/b",
        "qos": 1,
        "is_retained": False,
        "is_duplicate": False,
        "payload": base64.b64encode(b"\x00\xff").decode(),
        "byte_count": 2,
        "sha256": "0" * 64,
        "received_at": NOON,
    }
    loaded = {
        "source": "github",
        "delivery_id": "9",
        "received_at": NOON,
        "payload": '{"name": "Änne"}',
        "capture_id": 1,
        "known_from": NOON,
    }
    with saas_warehouse.writing() as connection:
        connection.execute(insert(inbox), webhook)
        connection.execute(insert(inbox), webhook | {"delivery_id": "9", "body": None})
        connection.execute(insert(events_webhooks), loaded)
        connection.execute(insert(mqtt_inbox), message)
    # A webhook is read from the inbox or from its loaded row; an unknown one is not.
    given = environment({}, saas_warehouse)
    own: dict[str, Any] = {"source": "webhooks", "dataset": "github", "url": "/hooks/github"}
    assert read_again(recorded(**own, request={"delivery_id": "7"}), given) == b'{"a": 1}'
    assert read_again(recorded(**own, request={"delivery_id": "8"}), given) is None
    of_loaded = recorded(**own, request={"delivery_id": "9"})
    assert read_again(of_loaded, given) == '{"name": "Änne"}'.encode()
    # So is a message of MQTT.
    of_mqtt: dict[str, Any] = {
        "source": "mqtt",
        "dataset": "events",
        "url": "mqtt://broker:1883/a/b",
    }
    found = recorded(**of_mqtt, request={"arrival_id": 990_017})
    assert read_again(found, given) == b"\x00\xff"
    assert read_again(recorded(**of_mqtt, request={"arrival_id": 990_018}), given) is None


@pytest.fixture
def site(demo_settings, tmp_path, monkeypatch):
    folder = tmp_path / "sites"
    folder.mkdir()
    (folder / "shop.yaml").write_text(SITE)
    monkeypatch.setenv("WEB_SITES_DIR", str(folder))
    replies = {
        "/robots.txt": Reply(body=b"User-agent: *\nDisallow: /private\n"),
        "/a": Reply(body=b"page"),
    }
    with ExitStack() as stack:
        answered = lambda request: replies.get(request.target, Reply(404))  # noqa: E731
        server = stack.enter_context(FaultyServer(answered))
        warehouse = stack.enter_context(open_warehouse(load_settings()))
        web = WebAccess(WebSettings.of(load_settings()), lambda: server.url)
        yield server, environment({"web": web}, warehouse)


def page(url: str) -> RecordedCapture:
    return recorded(source="web", dataset="shop", url=url, request={"method": "GET", "url": url})


def test_a_page_of_a_site_is_requested_again_by_the_rules_of_a_crawl(site):
    server, given = site
    assert read_again(page("http://shop.demo/a"), given) == b"page"
    for url in ("http://shop.demo/private", "http://elsewhere.example/a", "http://127.0.0.1/a"):
        with pytest.raises(SourceError, match="may not be requested"):
            read_again(page(url), given)
    assert [request.target for request in server.requests] == ["/robots.txt", "/a"]
    change = SwitchChange("shop", is_off=True, reason="", by="ada", at=Clock().now(), run_id="r")
    set_switch(given.warehouse, change, ["shop"])
    with pytest.raises(SwitchedOffError):
        read_again(page("http://shop.demo/a"), given)
    assert ways(recorded(source="web", dataset="other", request=page("x").request)) == []
