"""A real HTTP server on this machine whose every reply, and every fault, a test decides.

A test gives a handler: `(request) -> reply`. A reply is a `Reply`, or the raw bytes of one in
pieces, after which the connection is closed: what is endless, slow or broken is a generator.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, Self


@dataclass(frozen=True)
class Request:
    """Request of a client; header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    arrived: float  # seconds, by time.monotonic(), which all processes of a machine share


@dataclass(frozen=True)
class Reply:
    """A whole reply; a Content-Length among ``headers`` replaces the right one."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def raw(self) -> bytes:
        """Return the reply as it goes over the wire."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        headers = {"Content-Length": str(len(self.body))} | self.headers
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


Handler = Callable[[Request], Reply | Iterable[bytes]]


def dropped() -> Iterator[bytes]:
    """Close the connection without a word."""
    return iter(())


def dripping(raw: bytes, pause_seconds: float) -> Iterator[bytes]:
    """Send ``raw`` byte by byte, with a pause after each."""
    for byte in raw:
        yield bytes([byte])
        time.sleep(pause_seconds)


def endless(status: int = 200) -> Iterator[bytes]:
    """Send a body that never ends."""
    yield Reply(status, {"Content-Length": str(10**15)}).raw()
    while True:
        yield b"x" * 65536


def one_after_another(*replies: Reply | Iterable[bytes]) -> Handler:
    """Return a handler that gives each reply once, and then the last one for ever."""
    left = list(replies)
    lock = threading.Lock()

    def handler(_: Request) -> Reply | Iterable[bytes]:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return handler


class FaultyServer(ThreadingTCPServer):
    """Serves on an address while it is entered; ``requests`` holds what was asked, in order."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, handler: Handler, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"
    ) -> None:
        super().__init__((address, 0), _Connection)
        self.handler = handler
        self.requests: list[Request] = []
        self.connection_count = 0
        self._tls = tls

    @property
    def url(self) -> str:
        """The address, without a slash at its end."""
        host, port = self.server_address[:2]
        return f"http{'s' if self._tls else ''}://{host}:{port}"

    def __enter__(self) -> Self:
        poll_seconds = 0.02
        threading.Thread(target=self.serve_forever, args=(poll_seconds,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak TLS, if asked to, in the connection's own thread."""
        self.connection_count += 1
        try:
            if self._tls:
                request = self._tls.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)
        except OSError:  # the client went away: the usual end of a fault
            pass
        finally:
            request.close()


class _Connection(BaseRequestHandler):
    def handle(self) -> None:
        server: FaultyServer = self.server  # pyright: ignore[reportAssignmentType] - who makes us
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.request.makefile("rb") as incoming:
            while request := _read(incoming):
                server.requests.append(request)
                reply = server.handler(request)
                if not isinstance(reply, Reply):
                    for piece in reply:
                        self.request.sendall(piece)
                    return
                self.request.sendall(reply.raw())


def _read(incoming: Any) -> Request | None:
    first = incoming.readline()
    if not first.strip():
        return None
    arrived = time.monotonic()
    method, target, _ = first.decode("latin-1").split()
    headers = {}
    while line := incoming.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = incoming.read(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body, arrived)
