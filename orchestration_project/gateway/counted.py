"""Metrics of the gateway's own work, in memory: it is one process."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
    registry=GATEWAY,
)


class RequestCounter:
    """ASGI middleware that counts what it passes on, outermost: also what a guard refuses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and count; a request that raises counts as 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.monotonic()
        try:
            await self._app(scope, receive, sending)
        finally:
            route = _known(scope["path"].removeprefix("/").partition("/")[0], ROUTES)
            method = _known(scope["method"], METHODS)
            REQUESTS.labels(route, method, str(status)).inc()
            SECONDS.labels(route).observe(time.monotonic() - started)


def _known(name: str, names: tuple[str, ...]) -> str:
    return name if name in names else "other"
