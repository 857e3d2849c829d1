"""Limits of a connection for which uvicorn has no setting: uvicorn's HTTP protocol with deadlines.

The seconds are those of the event loop's clock.
"""

import asyncio
from dataclasses import dataclass

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orchestration_project.gateway.limits import HEADER_BYTES

UNLIMITED_PATHS = (b"/healthz", b"/readyz")
"""Probes are answered when all connections are taken."""

AUTHENTICATED = "orchestration_project.authenticated"
"""Key in the state of a scope: the function that ends the deadline of its connection."""


def mark_authenticated(scope: Scope) -> None:
    """End the deadline of a connection, because this request on it is authenticated."""
    end_deadline = scope.get("state", {}).get(AUTHENTICATED)
    if end_deadline is not None:
        end_deadline()


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of connections.

    Attributes:
        connections: Connections at once.
        head_seconds: Time for the headers of a request, and for the pause between two requests.
        unauthenticated_seconds: Time for a connection, until one of its requests is authenticated.
        last_request_seconds: Age of such a connection from which an answer carries
            `Connection: close`.
        unread_seconds: Time for a peer to take what waits to be sent, some 64 KiB: it begins again
            after that.
    """

    connections: int = 500
    head_seconds: float = 10
    unauthenticated_seconds: float = 30
    last_request_seconds: float = 20
    unread_seconds: float = 30


def limited_protocol(limits: ConnectionLimits) -> type["LimitedProtocol"]:
    """Return the protocol with these limits."""
    return type("LimitedProtocol", (LimitedProtocol,), {"limits": limits})


class LimitedProtocol(HttpToolsProtocol):
    """One connection, which ends when its peer is slow, silent or stays unauthenticated.

    Trailers of a chunked body are dropped. An upgrade to a websocket that has a body or is not a
    GET is answered with 400.
    """

    limits = ConnectionLimits()
    _head_timer: asyncio.TimerHandle | None = None
    _deadline: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    _is_in_head = True
    _bytes_without_body = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the timers."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, AUTHENTICATED: self._end_deadline}
        self._start_head_timer()
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._stop_head_timer()
        self._stop_unread_timer()
        self._end_deadline()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start the time limit of a peer that does not read, or too slowly."""
        super().pause_writing()
        self._unread_timer = self.loop.call_later(self.limits.unread_seconds, self._end_unread)

    def resume_writing(self) -> None:
        """Stop it: the peer has read."""
        super().resume_writing()
        self._stop_unread_timer()

    def data_received(self, data: bytes) -> None:
        """Read on, unless headers, trailers or what stands between chunks are too long."""
        self._bytes_without_body += len(data)
        super().data_received(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # it is over, or a websocket now
        if self._bytes_without_body > HEADER_BYTES:
            self.send_400_response("The headers are too long.")
        elif self._head_timer is None and not self._is_answering():
            self._start_head_timer()

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        super().on_message_begin()
        self._is_in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer is none, though the parser reports it in the same way."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start to answer; the body has a time limit of its own.

        Raises:
            ValueError: The request is not a valid upgrade; the parser makes that a 400.
        """
        self._is_in_head, self._bytes_without_body = False, 0
        self._stop_head_timer()
        is_upgrade = self._should_upgrade()
        if is_upgrade and not self._is_get_without_body():
            raise ValueError("a websocket is opened by a GET without a body")
        is_limited = self.url not in UNLIMITED_PATHS
        self.limit_concurrency = self.config.limit_concurrency if is_limited else None
        super().on_headers_complete()
        if not is_upgrade and self._is_due():
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._bytes_without_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the next request may begin."""
        self._bytes_without_body = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start the deadline again: the next request must be authenticated, too."""
        super().on_response_complete()
        if self._deadline is None and not self.transport.is_closing():
            self._start_deadline()

    def _is_get_without_body(self) -> bool:
        lengths = [value for name, value in self.headers if name == b"content-length"]
        is_chunked = any(name == b"transfer-encoding" for name, _ in self.headers)
        is_get = self.parser is not None and self.parser.get_method() == b"GET"
        return is_get and not is_chunked and lengths in ([], [b"0"])

    def _is_answering(self) -> bool:
        return not self._is_in_head and not self.cycle.response_complete

    def _is_due(self) -> bool:
        """Whether the deadline is near, so that no request may follow this one."""
        remaining = self.limits.unauthenticated_seconds - self.limits.last_request_seconds
        return self._deadline is not None and self._deadline.when() < self.loop.time() + remaining

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_seconds, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_unread(self) -> None:
        if self.transport.get_protocol() is self:  # a websocket has limits of its own
            self.transport.abort()

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(
            self.limits.unauthenticated_seconds, self.transport.abort
        )

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
