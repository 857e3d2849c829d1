"""Log lines are sent to a collector that is slow, full, wrong or away; losses are counted."""

import base64
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.log_files import (
    LogFile,
    expire_segments,
    list_segments,
)
from orchestration_project.engine.contracts.log_lines import encode_line
from orchestration_project.errors import ConfigurationError
from orchestration_project.redaction import redacted
from orchestration_project.services.gate.gate import examine
from orchestration_project.services.metrics.families import measure_logs
from orchestration_project.services.program_logs import shipping
from orchestration_project.services.program_logs.losses import (
    SHIPPED,
    build_losses_probe,
    read_losses,
    read_shipped,
)
from orchestration_project.services.program_logs.rules import (
    NumberedLine,
    count_rejected,
    encode_request,
)
from orchestration_project.services.program_logs.shipping import (
    LogShipper,
    Target,
    build_target,
    ship_until,
)
from orchestration_project.settings import load_settings
from tests.faulty_server import (
    FaultyServer,
    Handler,
    Reply,
    Request,
    dropped,
    endless,
    one_after_another,
)
from tests.programs import wait_for

JSON = {"Content-Type": "application/json"}
ACCEPTED = Reply(200, JSON, b'{"partialSuccess": {}}')
YEARS_LATER = datetime(2999, 1, 1, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"


def write_without_failure(
    folder: Path, service: str, count: int, *, first: int = 0, keep: int = 2**23
) -> None:
    file = LogFile(folder, service, keep, 30)
    for number in range(first, first + count):
        fields = {"time": "2026-03-02T12:00:00.000001+00:00", "level": "INFO", "service": service}
        assert file.append(encode_line({**fields, "message": str(number)}))


def decoded(body: bytes) -> dict[str, Any]:
    """Return a request by the messages of opentelemetry-proto, with IDs in hex."""
    message = ExportLogsServiceRequest.FromString(body)
    found = json_format.MessageToDict(message, use_integers_for_enums=True)
    for record in records_of(found):
        for name in record.keys() & {"traceId", "spanId"}:
            record[name] = base64.b64decode(record[name]).hex()
    return found


def records(request: Request) -> list[dict[str, Any]]:
    return records_of(decoded(request.body))


def records_of(sent: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        record
        for resource in sent["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ]


def bodies(request: Request) -> list[str]:
    return [record["body"]["stringValue"] for record in records(request)]


class Collector(FaultyServer):
    """A collector that keeps what it accepts."""

    def __init__(self, handler: Handler = lambda _: ACCEPTED) -> None:
        self.accepted: list[str] = []
        self.reply = handler
        super().__init__(self._handle)

    def _handle(self, request: Request) -> Any:
        reply = self.reply(request)
        if isinstance(reply, Reply) and reply.status == 200:
            self.accepted += bodies(request)
        return reply


@contextmanager
def shipper_to(collector: FaultyServer, folder: Path) -> Iterator[LogShipper]:
    target = Target(f"{collector.url}/v1/logs", {"api-key": "k-123"})
    with LogShipper(folder, "here", target) as shipper:
        yield shipper


def ship_all(shipper: LogShipper) -> None:
    while shipper.ship():
        pass


def ship_to(collector: FaultyServer, folder: Path) -> None:
    with shipper_to(collector, folder) as shipper:
        ship_all(shipper)


def test_lines_go_as_otlp_with_resource_severity_trace_and_attributes(tmp_path):
    line = {
        "time": "2026-03-02T12:00:00.000001+00:00",
        "level": "ERROR",
        "service": "run",
        "host": "h1",
        "release": "1.2",
        "logger": "dagster",
        "message": "Zürich",
        "event": "partition_loaded",
        "run_id": "r1",
        "trace_id": TRACE,
        "span_id": TRACE[:16],
        "status": 500,
        "seconds": 0.5,
        "tags": ["a"],
    }
    clock = Clock()
    sent = decoded(encode_request([NumberedLine("h1/run/0", line)], clock.now()))
    # Resource and scope name the program.
    [resource] = sent["resourceLogs"]
    assert resource["resource"]["attributes"] == [
        {"key": "service.name", "value": {"stringValue": "run"}},
        {"key": "host.name", "value": {"stringValue": "h1"}},
        {"key": "service.version", "value": {"stringValue": "1.2"}},
    ]
    [scope] = resource["scopeLogs"]
    assert scope["scope"] == {"name": "dagster"}
    # The record has time, severity, trace and attributes.
    [record] = scope["logRecords"]
    attributes = {attribute["key"]: attribute["value"] for attribute in record.pop("attributes")}
    assert int(record.pop("observedTimeUnixNano")) > 0
    assert record == {
        "timeUnixNano": "1772452800000001000",
        "severityNumber": 17,
        "severityText": "ERROR",
        "body": {"stringValue": "Zürich"},
        "traceId": TRACE,
        "spanId": TRACE[:16],
    }
    assert attributes == {
        "event.name": {"stringValue": "partition_loaded"},
        "run_id": {"stringValue": "r1"},
        "http.response.status_code": {"intValue": "500"},
        "seconds": {"doubleValue": 0.5},
        "tags": {"stringValue": '["a"]'},
        "log.record.uid": {"stringValue": "h1/run/0"},
    }
    # Without a valid time or trace, the record is sent all the same.
    odd = NumberedLine("u", {"time": "nonsense", "trace_id": "X", "n": float("nan"), "i": 2**70})
    [record] = [
        scope["logRecords"][0]
        for resource in decoded(encode_request([odd], clock.now()))["resourceLogs"]
        for scope in resource["scopeLogs"]
    ]
    assert "traceId" not in record
    assert record["timeUnixNano"] == record["observedTimeUnixNano"]


def test_odd_values_of_a_line_are_sent(tmp_path):
    values = {"message": "a\ud800b", "less": -7, "no": False, "yes": True, "big": -(2**63)}
    [record] = records_of(decoded(encode_request([NumberedLine("u", values)], Clock().now())))
    attributes = {attribute["key"]: attribute["value"] for attribute in record["attributes"]}
    assert record["body"] == {"stringValue": "a?b"}
    assert attributes == {
        "less": {"intValue": "-7"},
        "no": {"boolValue": False},
        "yes": {"boolValue": True},
        "big": {"stringValue": "-9223372036854775808"},
        "log.record.uid": {"stringValue": "u"},
    }


def test_a_log_store_that_takes_protobuf_alone_takes_the_lines(tmp_path):
    write_without_failure(tmp_path, "run", 3)

    def answer(request: Request) -> Reply:  # as VictoriaLogs does
        is_protobuf = request.headers["content-type"] == "application/x-protobuf"
        return Reply(200) if is_protobuf else Reply(400)

    with Collector(answer) as collector:
        ship_to(collector, tmp_path)
        assert collector.accepted == ["0", "1", "2"]
    assert read_losses(tmp_path).unsent == {}


def rejecting(count: int) -> bytes:
    partial = ExportLogsPartialSuccess(rejected_log_records=count, error_message="too old")
    return ExportLogsServiceResponse(partial_success=partial).SerializeToString()


@pytest.mark.parametrize(
    ("kind", "body", "count"),
    [
        ("application/x-protobuf", rejecting(3), 3),
        ("application/x-protobuf", rejecting(99), 5),
        ("application/x-protobuf", rejecting(-9), 0),
        ("application/x-protobuf", rejecting(0), 0),
        ("application/x-protobuf", b"<html>Log in</html>", None),
        ("application/json", b"{}", 0),
        ("application/json; charset=utf-8", b'{"partialSuccess":{"rejectedLogRecords":"3"}}', 3),
        ("application/json", b'{"partialSuccess":{"rejectedLogRecords":99}}', 5),
        ("application/json", b'{"partialSuccess":{"rejectedLogRecords":-9}}', 0),
        ("", b"", 0),
        ("application/x-protobuf", b"\x0a\x00", 0),
        ("text/html", b"<html>Log in</html>", None),
        ("application/json", b"[1]", None),
        ("application/json", b'{"partialSuccess":[1]}', None),
        ("application/json", b'{"partialSuccess":{"rejectedLogRecords":{}}}', 0),
        ("application/json", b'{"partialSuccess":{"rejectedLogRecords":"x"}}', None),
    ],
)
def test_an_answer_says_how_many_were_rejected_or_is_not_one(kind: str, body: bytes, count: Any):
    assert count_rejected(kind, body, 5) == count


def test_each_line_is_sent_once_and_the_next_shipper_goes_on(tmp_path):
    write_without_failure(tmp_path, "run", 1200)
    write_without_failure(tmp_path, "gateway", 3, first=5000)
    with Collector() as collector:
        ship_to(collector, tmp_path)
        write_without_failure(tmp_path, "run", 5, first=1200)
        ship_to(collector, tmp_path)
        assert sorted(map(int, collector.accepted)) == [*range(1205), *range(5000, 5003)]
        assert max(len(records(request)) for request in collector.requests) == 500
        assert {request.target for request in collector.requests} == {"/v1/logs"}
        assert {request.headers["api-key"] for request in collector.requests} == {"k-123"}
    assert (tmp_path / SHIPPED).stat().st_mode & 0o777 == 0o600
    assert read_losses(tmp_path) == ({}, {}, None)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "fault",
    [
        lambda: Reply(503),
        lambda: Reply(429, {"Retry-After": "7"}),
        lambda: Reply(401),
        lambda: Reply(302, {"Location": "/elsewhere"}),
        lambda: Reply(200, {"Content-Type": "text/html"}, b"<html>"),
        dropped,
        endless,
    ],
    ids=["503", "429", "401", "redirect", "garbage", "dropped", "endless"],
)
def test_lines_wait_for_a_collector_that_does_not_take_them(
    tmp_path, fault: Callable[[], Any], caplog
):
    write_without_failure(tmp_path, "run", 10)
    with Collector(lambda _: fault()) as collector, shipper_to(collector, tmp_path) as shipper:
        waits: list[float] = []
        for _ in range(4):
            assert not shipper.ship()
            waits.append(shipper.wait_seconds)
        assert len(collector.requests) == 4
        assert all(wait > 0 for wait in waits)
        assert max(waits) <= 8
        has_asked = isinstance(reply := fault(), Reply) and "Retry-After" in reply.headers
        assert (min(waits) >= 7) == has_asked
        collector.accepted.clear()
        collector.reply = lambda _: ACCEPTED
        with caplog.at_level(logging.INFO):
            ship_all(shipper)
        assert collector.accepted == [str(number) for number in range(10)]
        assert shipper.wait_seconds == 0
        events = [getattr(record, "event", None) for record in caplog.records]
        assert list(filter(None, events)) == ["log_shipping_failed", "log_shipping_resumed"]
    assert read_losses(tmp_path).latest is None


def test_a_collector_that_is_away_or_slow_is_tried_again_later(tmp_path, monkeypatch):
    monkeypatch.setattr(shipping, "TIMEOUT", 0.2)
    write_without_failure(tmp_path, "run", 3)
    slow = Event()

    def hang(_: Request) -> Any:
        slow.wait(20)
        return dropped()

    collector = Collector(hang)
    with shipper_to(collector, tmp_path) as shipper:
        with collector:
            assert not shipper.ship()
            slow.set()
        assert not shipper.ship()  # its port is closed now
        assert shipper.failure_count == 2


@pytest.mark.slow_after_first
@pytest.mark.parametrize("status", [400, 413])
def test_a_refused_batch_is_halved_and_a_line_that_is_refused_is_counted(tmp_path, status: int):
    write_without_failure(tmp_path, "run", 300)

    def refuse(request: Request) -> Reply:
        is_bad = len(request.body) > 20_000 if status == 413 else "77" in bodies(request)
        return Reply(status) if is_bad else ACCEPTED

    with Collector(refuse) as collector:
        ship_to(collector, tmp_path)
        lost = 1 if status == 400 else 0
        assert len(collector.accepted) == len(set(collector.accepted)) == 300 - lost
        assert len(collector.requests) < 60
    assert read_losses(tmp_path).unsent == ({"run": 1} if lost else {})


def test_a_collector_that_refuses_each_line_loses_few_of_them(tmp_path):
    write_without_failure(tmp_path, "run", 300)
    with Collector(lambda _: Reply(400)) as collector, shipper_to(collector, tmp_path) as shipper:
        assert not shipper.ship()
        assert shipper.wait_seconds > 0
        assert len(collector.requests) < 20
        lost = read_losses(tmp_path).unsent["run"]
        assert lost == shipping.MAX_REFUSED_LINES + 1
        collector.reply = lambda _: ACCEPTED
        ship_all(shipper)
        assert collector.accepted == [str(number) for number in range(lost, 300)]


@pytest.mark.slow
def test_rejected_lines_and_deleted_ones_are_counted_and_are_one_alert(tmp_path):
    write_without_failure(tmp_path, "run", 10)
    rejects = Reply(200, JSON, b'{"partialSuccess": {"rejectedLogRecords": "4"}}')
    with Collector(one_after_another(rejects, Reply(503), ACCEPTED)) as collector:
        with shipper_to(collector, tmp_path) as shipper:
            ship_all(shipper)
            write_without_failure(tmp_path, "run", 20_000, first=10, keep=2**20)
            assert list_segments(tmp_path / "run")[0].start
            assert not shipper.ship()  # 503
        ship_to(collector, tmp_path)
        accepted = set(map(int, collector.accepted))
    losses = read_losses(tmp_path)
    assert losses.unsent == {"run": 4 + 20_010 - len(accepted)}
    assert max(accepted) == 20_009
    assert losses.latest is not None
    [family] = measure_logs(tmp_path)
    assert [(sample.labels, sample.value) for sample in family.samples] == [
        ({"service": "run", "cause": "unsent"}, float(losses.unsent["run"]))
    ]
    finding = examine(build_losses_probe(tmp_path, Clock(losses.latest)), Clock(), "").finding
    assert finding.outcome == "failed"
    assert f"run: {losses.unsent['run']} not sent" in finding.got
    later = Clock(losses.latest + timedelta(minutes=61))
    assert examine(build_losses_probe(tmp_path, later), Clock(), "").finding.outcome == "passed"


def test_lines_that_expire_before_a_collector_takes_them_are_counted(tmp_path):
    write_without_failure(tmp_path, "run", 3)
    with Collector() as collector:
        ship_to(collector, tmp_path)
        write_without_failure(tmp_path, "run", 4, first=3)
        assert not expire_segments(tmp_path, 2**23, 30, clock=Clock(YEARS_LATER))
        write_without_failure(tmp_path, "run", 1, first=7)
        ship_to(collector, tmp_path)
        assert collector.accepted == ["0", "1", "2", "7"]
    assert read_losses(tmp_path).unsent == {"run": 4}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("content", ["", "{", "[]", '{"services": [], "lost": {}}'])
def test_a_damaged_state_sends_the_kept_lines_again(tmp_path, content: str):
    write_without_failure(tmp_path, "run", 10)
    (tmp_path / SHIPPED).write_text(content)
    assert read_shipped(tmp_path) == {}
    with Collector() as collector:
        ship_to(collector, tmp_path)
        assert len(collector.accepted) == 10


@pytest.mark.slow
def test_shippers_that_are_killed_send_each_line_and_no_more_than_a_batch_twice(tmp_path):
    write_without_failure(tmp_path, "run", 6000)
    context, kills = get_context("fork"), 3
    with Collector() as collector:
        target = Target(f"{collector.url}/v1/logs", {})
        for number in range(kills + 1):
            child = context.Process(target=ship_until, args=(Event(), tmp_path, "h", target))
            child.start()
            wanted = 6000 if number == kills else len(collector.accepted) + 700
            wait_for(lambda wanted=wanted: len(set(collector.accepted)) >= min(wanted, 6000))
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join()
        assert set(collector.accepted) == {str(number) for number in range(6000)}
        assert len(collector.accepted) - 6000 <= kills * shipping.MAX_LINES


@pytest.mark.slow
def test_one_process_of_a_state_folder_sends(tmp_path):
    write_without_failure(tmp_path, "run", 3)
    context = get_context("fork")
    with Collector() as collector:
        target = Target(f"{collector.url}/v1/logs", {})
        children = [
            context.Process(target=ship_until, args=(Event(), tmp_path, "h", target))
            for _ in range(3)
        ]
        for child in children:
            child.start()
        wait_for(lambda: len(collector.accepted) == 3)
        for child in children:
            child.kill()
            child.join()
        assert sorted(collector.accepted) == ["0", "1", "2"]


def test_the_target_is_that_of_the_settings_and_its_headers_are_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    assert build_target(load_settings()) is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=planted%20secret,x=y")
    target = build_target(load_settings())
    assert target == Target(
        "http://127.0.0.1:4318/v1/logs", {"api-key": "planted secret", "x": "y"}
    )
    assert redacted("planted secret") == "***"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://logs.example.org/insert")
    target = build_target(load_settings())
    assert target is not None
    assert target.url == "https://logs.example.org/insert"


@pytest.mark.parametrize("url", ["ftp://h", "http://", "h:4318", "http://me:secret@h:4318"])
def test_an_address_of_another_kind_is_refused(monkeypatch, url: str):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", url)
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"):
        load_settings()
