"""A collector of OpenTelemetry for tests: takes spans by OTLP over HTTP, and has faults."""

import gzip
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Received:
    """A span as it came."""

    name: str
    trace_id: str
    span_id: str
    parent: str
    attributes: dict[str, Any]
    error: str
    seconds: float
    resource: dict[str, Any]


@dataclass
class Fault:
    """Answer in the place of a success.

    Attributes:
        status: HTTP status.
        seconds: Time before the answer.
        body: What it answers; None: what belongs to the status.
        headers: Further headers.
        most_spans: Only requests with more spans get it; 0: all.
    """

    status: int = 200
    seconds: float = 0
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    most_spans: int = 0


@dataclass
class Collector:
    """What came, and which faults the next requests meet."""

    url: str = ""
    spans: list[Received] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    always: Fault | None = None

    def named(self, name: str) -> list[Received]:
        """Return the spans of a name."""
        return [span for span in self.spans if span.name == name]


def _values(attributes: Sequence[Any]) -> dict[str, Any]:
    return {
        attribute.key: getattr(
            attribute.value, attribute.value.WhichOneof("value") or "string_value"
        )
        for attribute in attributes
    }


def read_spans(body: bytes) -> list[Received]:
    """Return the spans of a request's body."""
    return [
        Received(
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            _values(span.attributes),
            span.status.message if span.status.code == 2 else "",
            (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
            _values(group.resource.attributes),
        )
        for group in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Serve a collector on a free port."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers["content-encoding"] == "gzip":
                body = gzip.decompress(body)
            collector.raw.append(body)
            collector.headers.append(
                {name.lower(): header for name, header in self.headers.items()}
            )
            found = read_spans(body) if self.path == "/v1/traces" else []  # else: log lines
            fault = collector.faults.pop(0) if collector.faults else collector.always
            if fault is None or len(found) <= fault.most_spans:
                fault = Fault()
            time.sleep(fault.seconds)
            if fault.status == 200:
                collector.spans += found
            answer = ExportTraceServiceResponse().SerializeToString()
            answer = answer if fault.body is None else fault.body
            self.send_response(fault.status)
            for name, value in fault.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the output of the tests clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
