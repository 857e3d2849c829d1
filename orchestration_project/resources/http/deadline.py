"""A limit on the whole of a request, whatever its source does.

httpx limits each read, so a source that sends a byte now and then is waited for without end. Here
every connect, read and write of a connection is given no more time than its request has left.
"""

import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from typing import Any

import httpcore
import httpx

_ends_at: ContextVar[float] = ContextVar("_ends_at", default=inf)  # by time.monotonic()


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Let what this thread asks through a client of `hold_to_deadlines` last ``seconds`` at most.

    What takes longer raises `httpx.TimeoutException`. Only the look-up of a host's name is the
    operating system's, with limits of its own.
    """
    token = _ends_at.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends_at.reset(token)


def hold_to_deadlines(client: httpx.Client) -> None:
    """Have every connection of ``client``, also through proxies, keep to `deadline`."""
    # httpcore takes a network backend, but httpx has no way to hand one on. A test with headers
    # that drip fails should these names ever change.
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = _Backend()


def _time_left(timeout: float | None, error: type[Exception]) -> float:
    time_left = _ends_at.get() - time.monotonic()
    if time_left <= 0:
        raise error("the time for the whole request is over")
    return min(time_left, inf if timeout is None else timeout)


class _Backend(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        time_left = _time_left(timeout, httpcore.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, time_left, local_address, socket_options))


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _time_left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _time_left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        time_left = _time_left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, time_left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
