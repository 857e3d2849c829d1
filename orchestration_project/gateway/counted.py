"""Metrics of the gateway's own work, in memory: it is one process."""

import re
import time
from bisect import bisect_left
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestration_project.services.objectives.rules.objectives import LATENCY_BUCKETS, Events

GATEWAY = CollectorRegistry()

ROUTES = ("hooks", "metrics", "healthz", "readyz", "graphql", "login", "logout", "api", "static")
"""First path segments that are labels; others are `other`, so that senders create no labels."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

DELIVERIES = Counter(
    "orchestration_webhook_answers",
    "Webhook deliveries answered by this process, by source and status.",
    ("source", "status"),
    registry=GATEWAY,
)
REQUESTS = Counter(
    "orchestration_gateway_requests",
    "Requests answered by this process.",
    ("route", "method", "status"),
    registry=GATEWAY,
)
SECONDS = Histogram(
    "orchestration_gateway_request_seconds",
    "From the first byte of a request to the last of its answer, seconds.",
    ("route",),
    buckets=LATENCY_BUCKETS,
    registry=GATEWAY,
)


EVENT_STREAM = b"text/event-stream"

EXEMPLAR = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""A header `traceparent`, whose trace the histogram shows beside a bucket."""


class LatencyCounts:
    """Requests of this process by the time that they took, since it started.

    Streams do not count, as they last as long as their reader. Refused requests (4xx) do not:
    anybody could fill the objective with slow bodies and failed logins.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._total = 0
        self._good = [0] * len(LATENCY_BUCKETS)

    def add(self, seconds: float, status: int) -> None:
        """Count a request; one with a status of 500 or more was never in time."""
        with self._lock:
            self._total += 1
            if status < 500:
                for number in range(bisect_left(LATENCY_BUCKETS, seconds), len(LATENCY_BUCKETS)):
                    self._good[number] += 1

    def within(self, max_seconds: float) -> Events:
        """Return the requests that took at most so long, one of `LATENCY_BUCKETS`, among all."""
        with self._lock:
            return Events(self._good[LATENCY_BUCKETS.index(max_seconds)], self._total)


LATENCIES = LatencyCounts()


class RequestCounter:
    """ASGI middleware that counts what it passes on, outermost: also what a guard refuses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and count; a request that raises counts as 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, is_stream = 500, False

        async def sending(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                kind = dict(message.get("headers", ())).get(b"content-type", b"")
                is_stream = kind.startswith(EVENT_STREAM)
            await send(message)

        started = time.monotonic()
        try:
            await self._app(scope, receive, sending)
        finally:
            route = _normalise_name(scope["path"].removeprefix("/").partition("/")[0], ROUTES)
            method = _normalise_name(scope["method"], METHODS)
            REQUESTS.labels(route, method, str(status)).inc()
            seconds = time.monotonic() - started
            SECONDS.labels(route).observe(seconds, _read_exemplar(scope))
            if not is_stream and not 400 <= status < 500:
                LATENCIES.add(seconds, status)


def _read_exemplar(scope: Scope) -> dict[str, str] | None:
    parent = dict(scope.get("headers", ())).get(b"traceparent", b"")
    match = EXEMPLAR.fullmatch(parent)
    return {"trace_id": match[1].decode()} if match else None


def _normalise_name(name: str, names: tuple[str, ...]) -> str:
    return name if name in names else "other"
