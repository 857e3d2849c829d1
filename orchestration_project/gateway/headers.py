"""Headers of every response (security, request ID), and the access log."""

import json
import logging
import time
from collections.abc import Iterable
from http import HTTPStatus
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.log_files import REQUEST_IN_LOG
from orchestration_project.engine.tracing.span import Span
from orchestration_project.engine.tracing.spans import begin_span, finish_span
from orchestration_project.engine.tracing.traceparent import (
    TRACEPARENT,
    continue_or_begin,
    find_current_trace,
    set_task_trace,
)
from orchestration_project.gateway.request import (
    CURRENT,
    REJECTED_TRACEPARENT,
    REQUEST_ID,
    Place,
    address_of,
    headers_of,
)

LOG = logging.getLogger("orchestration_project.access")
"""Writes a JSON object for each request, on the console where LOG_FORMAT is json."""

POLICY = "frame-ancestors 'none'; form-action 'self'; base-uri 'self'; object-src 'none'"
"""A second policy beside Dagster's own, which has a nonce for each page: both must allow."""

ALWAYS = (
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    (b"content-security-policy", POLICY.encode()),
)
HSTS = (b"strict-transport-security", b"max-age=31536000")

OWS = b" \t"
"""White space around the value of a header, which is not part of it (RFC 9110, 5.5)."""

ADDED = frozenset(name for name, _ in ALWAYS if name != b"content-security-policy")
REMOVED_HEADERS = frozenset({b"server", b"x-dagster-call-counts", b"feature-policy"})
"""Headers of Dagster that are removed, or replaced by others."""


class Edge:
    """The outermost layer: sees every answer on its way out."""

    def __init__(self, app: ASGIApp, place: Place, clock: Clock) -> None:
        self._app = app
        self._place = place
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with an id, and its answer back with the headers."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        started, status = time.perf_counter(), list[int]()
        scope["headers"] = [(name, value.strip(OWS)) for name, value in scope["headers"]]
        scope[REQUEST_ID] = uuid4().hex
        CURRENT.set(None)
        begun = _begin_trace(scope)
        REQUEST_IN_LOG.set(scope[REQUEST_ID])

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])
                message = {**message, "headers": list(self._headers(scope, message["headers"]))}
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            _finish_request(begun, status)
            if LOG.isEnabledFor(logging.INFO):
                self._log(scope, status, time.perf_counter() - started)
        return None

    def _headers(
        self, scope: Scope, given: Iterable[tuple[bytes, bytes]]
    ) -> Iterable[tuple[bytes, bytes]]:
        yield from (pair for pair in given if pair[0].lower() not in ADDED | REMOVED_HEADERS)
        yield from ALWAYS
        yield (b"x-request-id", scope[REQUEST_ID].encode())
        if trace := find_current_trace():
            yield (b"x-trace-id", trace.trace_id.encode())
        if self._place.is_secure:
            yield HSTS

    def _log(self, scope: Scope, status: list[int], seconds: float) -> None:
        user, trace = CURRENT.get(), find_current_trace()
        rejected = REJECTED_TRACEPARENT.get()
        fields = {
            "message": "request",
            "request_id": scope[REQUEST_ID],
            "user": user.name if user else None,
            "address": address_of(scope),
            "method": scope.get("method", "WEBSOCKET"),
            "path": scope["path"],
            "status": status[0] if status else None,
            "seconds": round(seconds, 6),
            "trace_id": trace.trace_id if trace else None,
            "span_id": trace.span_id if trace else None,
            **({"traceparent_rejected": rejected} if rejected else {}),
        }
        about = {
            "time": self._clock.now().isoformat(),
            "level": "INFO",
            "logger": LOG.name,
            "event": "request_served",
        }
        LOG.info(
            json.dumps({**about, **fields}), extra={"event": "request_served", "fields": fields}
        )


def _begin_trace(scope: Scope) -> Span | None:
    """Continue the trace that a request names, or begin one: its work is a span of it."""
    trace_context, rejected = continue_or_begin(headers_of(scope, TRACEPARENT))
    context = trace_context.child()
    set_task_trace(context)
    REJECTED_TRACEPARENT.set(rejected)
    is_continued = bool(headers_of(scope, TRACEPARENT)) and rejected is None
    begun = begin_span(
        "request", trace_context if is_continued else None, "server", context=context
    )
    if begun is not None:
        begun.set(
            **{
                "method": scope.get("method", "WEBSOCKET"),
                "path": scope["path"],
                "request.id": scope[REQUEST_ID],
            }
        )
    return begun


def _finish_request(begun: Span | None, status: list[int]) -> None:
    if begun is None:
        return
    if status:
        begun.set(status=status[0])
    if not status or status[0] >= HTTPStatus.INTERNAL_SERVER_ERROR:
        begun.fail(f"status {status[0]}" if status else "no answer")
    user = CURRENT.get()
    begun.set(user=user.name if user else None)
    finish_span(begun)
