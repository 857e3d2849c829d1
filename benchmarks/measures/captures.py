"""Small captures in packs, against an object for each: speed on a folder, requests on S3."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import patch

from benchmarks.bench import Bench
from benchmarks.report import Line, at_least, line
from orchestration_project.engine.captures import Capture, Captures, build_capture
from orchestration_project.engine.connections.artifacts import FolderStore, S3Store

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
BODY_BYTES = 20_000
BATCH_CAPTURES = 500
"""Captures of a batch, as many as a run of webhooks claims."""


def captures(bench: Bench) -> list[Line]:
    """Captures of 20 KB a second on a folder."""
    count = bench.sizes.small_captures
    sides = {"packs": lambda: _stored(count, BATCH_CAPTURES), "single": lambda: _stored(count, 1)}
    found = bench.in_turns(sides, at_most=3)
    speeds = {
        name: [count / each["seconds"] for each in repeats] for name, repeats in found.items()
    }
    return [
        line(
            "captures of 20 KB in packs, on a folder, against one by one",
            "captures/s",
            speeds["packs"],
            speeds["single"],
            at_least(10),
            note=f"{count:,} captures; {found['packs'][0]['objects']} objects",
        ),
        line(
            "requests of captures of 20 KB in packs, on S3, against one by one",
            "captures/request",
            [_captures_a_request(count, BATCH_CAPTURES)],
            [_captures_a_request(max(count // BATCH_CAPTURES, 1), 1)],
            at_least(20),
            note="counted by a server that has no object; the same in each repeat",
        ),
    ]


def _stored(count: int, at_once: int) -> dict[str, Any]:
    fetched = [_capture(number) for number in range(count)]
    with tempfile.TemporaryDirectory(prefix="captures_") as folder:
        store = Captures(FolderStore(Path(folder)))
        begun = time.perf_counter()
        for start in range(0, count, at_once):
            store.keep_all(fetched[start : start + at_once], lambda _: {})
        seconds = time.perf_counter() - begun
        objects = sum(len(files) for _, _, files in os.walk(folder))
    return {"seconds": seconds, "objects": objects}


def _captures_a_request(count: int, at_once: int) -> float:
    fetched = [_capture(number) for number in range(count)]
    with _empty_bucket() as (url, requests):
        store = Captures(S3Store(url))
        for start in range(0, count, at_once):
            store.keep_all(fetched[start : start + at_once], lambda _: {})
    return count / len(requests)


@contextmanager
def _empty_bucket() -> Iterator[tuple[str, list[str]]]:
    """Serve a bucket that takes each object and has none; yield its URL and its requests."""
    requests: list[str] = []

    class Bucket(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            requests.append(self.requestline)
            self._answer(404)

        def do_PUT(self) -> None:
            requests.append(self.requestline)
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(200)

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("ETag", '"0"')
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
    }
    try:
        with patch.dict(os.environ, environment):  # noqa: TID251 - where obstore looks
            yield "s3://captures/bench", requests
    finally:
        server.shutdown()
        server.server_close()


def _capture(number: int) -> Capture:
    """Return a page of text, which compresses to a third."""
    words = b"".join(b"%08d some words of a page; " % (number * 31 + each) for each in range(800))
    return build_capture(words[:BODY_BYTES], url="u", request={}, fetched_at=EPOCH)
