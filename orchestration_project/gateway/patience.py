"""How long a connection may take for the head of a request, and how long that head may be."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orchestration_project.gateway.limits import HEADER_BYTES

HEAD_SECONDS = 10
"""For the headers of a request to come."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's, which also ends a connection on which no whole head of a request comes."""

    _waiting: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Wait no longer: the body has a time of its own."""
        self._is_in_head = False
        self._wait_no_more()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Wait while a head is not whole; what comes between two requests is waited for alike."""
        had_begun = self._is_in_head
        super().data_received(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # it is over, or a websocket now
        if had_begun and self._is_in_head:
            self._head_bytes += len(data)
        if self._head_bytes > HEADER_BYTES:
            self.send_400_response("The headers are too long.")
        elif self._waiting is None and not self._is_answering():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        return not self._is_in_head and not self.cycle.response_complete

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
