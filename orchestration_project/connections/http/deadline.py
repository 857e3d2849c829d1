"""A limit on the whole of a request, whatever its source does.

urllib3 limits each read, so a source that sends a byte now and then is waited for without end. Here
every read of a connection is given no more time than its request has left.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPException, HTTPResponse
from io import BufferedReader, RawIOBase
from math import inf
from socket import socket
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.response import assert_header_parsing

_ends_at: ContextVar[float] = ContextVar("_ends_at", default=inf)  # by time.monotonic()


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Let what this thread reads of connections of `POOLS` last ``seconds`` at most.

    What takes longer is a timeout. Only the look-up of a host's name is the operating system's,
    with limits of its own.
    """
    token = _ends_at.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends_at.reset(token)


class _Timed(RawIOBase):
    """What comes by a socket, as long as there is time."""

    def __init__(self, sock: socket) -> None:
        self._socket = sock
        self._raw: Any = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        time_left = _ends_at.get() - time.monotonic()
        if time_left <= 0:
            raise TimeoutError("the time for the whole request is over")
        silence = self._socket.gettimeout()
        self._socket.settimeout(time_left if silence is None else min(silence, time_left))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _WholeLines(BufferedReader):
    """Refuses the start of a line: a source that breaks off within its headers sent no answer."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(-1 if size is None else size)
        if len(line) != size and not line.endswith(b"\n"):
            raise HTTPException("the source broke off within its headers")
        return line


class _Answer(HTTPResponse):
    """Takes nothing for an answer that HTTP does not allow: the module is lenient."""

    def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self.fp = _WholeLines(_Timed(sock))

    def begin(self) -> None:
        super().begin()
        assert_header_parsing(self.headers)  # urllib3 itself does no more than log it
        if "content-length" in self.headers and self.length is None and not self.chunked:
            raise HTTPException("the source's Content-Length is no number")


class HttpConnection(HTTPConnection):
    """A connection that keeps to `deadline`; errors show its name."""

    response_class = _Answer


class HttpsConnection(HTTPSConnection):
    """The same, by TLS."""

    response_class = _Answer


class HttpPool(HTTPConnectionPool):
    """Such connections to one host."""

    ConnectionCls = HttpConnection  # pyright: ignore[reportAssignmentType] - nor do urllib3's own fit


class HttpsPool(HTTPSConnectionPool):
    """The same, by TLS."""

    ConnectionCls = HttpsConnection  # pyright: ignore[reportAssignmentType] - nor do urllib3's own fit


POOLS = {"http": HttpPool, "https": HttpsPool}
"""Of what `urllib3.PoolManager.pool_classes_by_scheme` has, those that keep to `deadline`."""
