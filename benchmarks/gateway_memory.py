"""A steady load on a gateway, and how much memory its process has meanwhile.

Each second, one connection sends UI_QUERIES queries of Dagster's pages, a second one as many
requests to the API, a third one as many webhooks. Each second a websocket is opened, which
subscribes; it is closed some seconds later.
"""

import http.client
import json
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from statistics import linear_regression
from typing import NamedTuple

import psutil
from websockets.sync.client import ClientConnection, connect

from benchmarks.gateway import HOST, SECRET, webhook
from benchmarks.ui_requests import QUERIES, RUN, Side, programs

UI_QUERIES = 4
"""In a second; of API requests and webhooks as many."""

SAMPLES = 60
"""A minute apart in an hour."""

OPEN_WEBSOCKETS = 10
API_PATHS = ("/runs", "/pipelines", "/readiness", "/control-tower", "/tables", "/presets")
SUBSCRIPTIONS: Mapping[str, str] = {
    "runs": 'subscription {pipelineRunLogs(runId: "a run") {__typename}}',
    "locations": "subscription {locationStateChangeEvents {event {eventType}}}",
}


class Sample(NamedTuple):
    """Resident memory of the gateway's process, after so many minutes of load."""

    minute: float
    mebibytes: float


def measure_memory(
    settings: Mapping[str, str], key: str, run_id: str, minutes: float
) -> list[Sample]:
    """Serve the gateway under load for so long; return SAMPLES samples, which are printed as taken.

    Raises:
        RuntimeError: A request was not answered as it should be.
    """
    environment = {**settings, "WEBHOOK_SECRET_BENCH": SECRET, "WEBHOOK_SECRET_PEOPLEFORCE": SECRET}
    with programs(environment, "gateway") as found:
        program = found["gateway"]
        process = psutil.Process(program.pid)
        samples: list[Sample] = []
        started = time.monotonic()
        for seconds in _paced(_Load(program.port, key, run_id), started + minutes * 60):
            minute = (seconds - started) / 60
            if minute >= minutes * (len(samples) + 1) / SAMPLES:
                samples.append(Sample(minute, process.memory_info().rss / 2**20))
                print(f"minute {minute:6.2f}: {samples[-1].mebibytes:.2f} MiB", file=sys.stderr)
        return samples


def growth(samples: Sequence[Sample]) -> float:
    """Return how much memory grows, MiB a minute: the slope of the line that fits best."""
    minutes, mebibytes = zip(*samples, strict=True)
    return linear_regression(minutes, mebibytes).slope


def _paced(load: "_Load", until: float) -> Iterator[float]:
    """Send the load of a step, UI_QUERIES times a second, and give the time after each step."""
    step_at = time.monotonic()
    while step_at < until:
        load.step()
        step_at += 1 / UI_QUERIES
        time.sleep(max(0.0, step_at - time.monotonic()))
        yield time.monotonic()


class _Load:
    """The connections of one load."""

    def __init__(self, port: int, key: str, run_id: str) -> None:
        self._origin = f"http://{HOST}:{port}"
        self._port, self._key = port, key
        self._begin = f"{time.time_ns()}"
        self._count = 0
        self._pages = Side(port, key)
        self._api = http.client.HTTPConnection(HOST, port, timeout=60)
        self._hooks = http.client.HTTPConnection(HOST, port, timeout=60)
        self._websockets = deque[ClientConnection]()
        bodies = (json.dumps(each).replace(RUN, run_id).encode() for each in QUERIES.values())
        self._queries = cycle(list(bodies))
        self._paths = cycle(f"/api/v1{path}" for path in API_PATHS)
        self._subscriptions = cycle(each.replace(RUN, run_id) for each in SUBSCRIPTIONS.values())

    def step(self) -> None:
        """Send a query, an API request and a webhook; once a second, open a websocket."""
        self._pages.seconds(next(self._queries))
        _require(self._api, "GET", next(self._paths), b"", {"X-API-Key": self._key}, 200)
        path, body, headers = webhook(f"{self._begin}-{self._count}")
        _require(self._hooks, "POST", path, body, headers, 202)
        if self._count % UI_QUERIES == 0:
            self._subscribe(next(self._subscriptions))
        self._count += 1

    def _subscribe(self, query: str) -> None:
        websocket = connect(
            f"ws://{HOST}:{self._port}/graphql",
            origin=self._origin,  # pyright: ignore[reportArgumentType] - a text
            subprotocols=["graphql-ws"],  # pyright: ignore[reportArgumentType] - a text
            additional_headers={"X-API-Key": self._key},
            proxy=None,
        )
        websocket.send('{"type": "connection_init"}')
        start = {"type": "start", "id": "1", "payload": {"query": query}}
        websocket.send(json.dumps(start))
        websocket.recv(timeout=60)
        self._websockets.append(websocket)
        if len(self._websockets) > OPEN_WEBSOCKETS:
            self._websockets.popleft().close()


def _require(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    status: int,
) -> None:
    connection.request(method, path, body, dict(headers))
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != status:
        raise RuntimeError(f"{method} {path} was answered with {answer.status} {content[:300]!r}")
