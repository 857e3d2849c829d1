"""A load that exports its trace by OTLP, to a collector or to a dead one, against one without."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.bench import Bench, Report, key, seconds
from benchmarks.child import call
from benchmarks.report import Line, at_most, line
from benchmarks.rig import Source, source

DEAD = "http://127.0.0.1:9"
"""Nothing listens on the port of the discard protocol."""


def traces(bench: Bench) -> list[Line]:
    """Seconds and memory of a load of 1 M rows with a collector, and with a dead one."""
    count = bench.sizes.middle
    with source(bench.sizes.rows, count) as src, _collector() as url:
        found = bench.in_turns(
            {
                "off": lambda: _load(bench, src, count),
                "on": lambda: _load(bench, src, count, url),
                "dead": lambda: _load(bench, src, count, DEAD),
            }
        )
    off, peaks = seconds(found["off"]), [each["peak_mebibytes"] for each in found["off"]]
    lines = []
    for side, name in (("on", "a collector"), ("dead", "a dead collector")):
        reports = found[side]
        over = [each["peak_mebibytes"] - max(peaks) for each in reports]
        lines += [
            line(f"load with {name}, against none", "s", seconds(reports), off, at_most(1.05)),
            line(f"peak memory with {name}, beyond none", "MiB", over, [20], at_most(1)),
        ]
    return lines


def _load(bench: Bench, src: Source, count: int, endpoint: str | None = None) -> Report:
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} if endpoint else {}
    with bench.rig.place() as place:
        first, last = key(src.weeks[-count]), key(src.weeks[-1])
        return call("benchmarks.ours:load", place.environment(src, **more), first=first, last=last)


@contextmanager
def _collector() -> Iterator[str]:
    """Serve a collector that takes everything; give its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
