"""The HTTP client's transport: an `httpx.BaseTransport` over urllib3, with a limit on each request.

urllib3 limits each read, so a source that sends a byte now and then is waited for without end. Here
every read of a connection is given no more time than its request has left. urllib3 spends half of
the CPU time of httpcore on large answers, see docs/explanation/performance.md. Only this module
imports it.
"""

import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from http.client import HTTPException, HTTPResponse
from importlib.metadata import PackageNotFoundError, version
from io import BufferedReader, RawIOBase
from math import inf
from pathlib import Path
from socket import socket
from threading import Lock
from typing import Any, NamedTuple, cast
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import httpx
from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import make_headers
from urllib3.util.response import assert_header_parsing

from orchestration_project.engine.http.addresses import AddressGuard
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import child_environment

_ends_at: ContextVar[float] = ContextVar("_ends_at", default=inf)  # by time.monotonic()
_check: ContextVar[Callable[[], None]] = ContextVar("_check", default=lambda: None)


@contextmanager
def use_deadline(seconds: float, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Limit the reads of this thread from connections of `POOLS` to ``seconds`` in total.

    A longer read is a timeout. Only the look-up of a host's name is the operating system's,
    with limits of its own. ``check`` is called when a connection is made, right before bytes of
    the request are sent; its error is raised as it is, and nothing is sent.
    """
    tokens = _ends_at.set(time.monotonic() + seconds), _check.set(check)
    try:
        yield
    finally:
        _ends_at.reset(tokens[0])
        _check.reset(tokens[1])


class _Timed(RawIOBase):
    """The bytes of a socket, until the deadline of the request."""

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
        if silence is None or time_left < silence:
            self._socket.settimeout(time_left)
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
            raise HTTPException("invalid Content-Length of the source: expected a number")


class HttpConnection(HTTPConnection):
    """A connection that keeps to `deadline`; errors show its name."""

    response_class = _Answer

    def send(self, data: Any) -> None:
        """Connect if that is still to be done, check, and only then send."""
        if self.sock is None and self.auto_open:
            self.connect()
        _check.get()()
        super().send(data)


class HttpsConnection(HttpConnection, HTTPSConnection):
    """The same, by TLS."""


class HttpPool(HTTPConnectionPool):
    """Such connections to one host."""

    ConnectionCls = HttpConnection  # pyright: ignore[reportAssignmentType] - nor do urllib3's own fit


class HttpsPool(HTTPSConnectionPool):
    """The same, by TLS."""

    ConnectionCls = HttpsConnection  # pyright: ignore[reportAssignmentType] - nor do urllib3's own fit


POOLS = {"http": HttpPool, "https": HttpsPool}
"""Pools by scheme that keep to `deadline`, as `urllib3.PoolManager.pool_classes_by_scheme`."""


def build_user_agent() -> str:
    """Return our name and version."""
    try:
        return f"orchestration_project/{version('orchestration_project')}"
    except PackageNotFoundError:  # run from a checkout
        return "orchestration_project/0"


PIECE_BYTES = 4 * 1024 * 1024
"""Bytes that are read at once: most bodies come as one piece, and are not copied."""

ERRORS: dict[type[HTTPError], type[httpx.TransportError]] = {
    ConnectTimeoutError: httpx.ConnectTimeout,
    ReadTimeoutError: httpx.ReadTimeout,
    NewConnectionError: httpx.ConnectError,
    ProxyError: httpx.ProxyError,
    SSLError: httpx.ConnectError,
    ProtocolError: httpx.RemoteProtocolError,
    HTTPError: httpx.TransportError,
}
"""httpx's error for each of urllib3's: the first of which it is one."""

MAX_IDLE_CONNECTIONS = 64
"""Open connections to a host that wait for the next request; there may be more that do not."""


class Authorities(NamedTuple):
    """Certificates of the trusted authorities: a PEM file, or a folder."""

    file: str | None
    folder: str | None


DEFAULT_AUTHORITIES = Authorities(certifi.where(), None)


class Transport(httpx.BaseTransport):
    """One client's connections, direct or by the environment's proxies.

    A request with the extension ``proxy`` goes by way of that proxy.

    Args:
        use_environment: Whether proxies and certificates come from the environment.
        guard: Checks each request, and names the addresses to which it may connect.

    Raises:
        ConfigurationError: A proxy's address is unusable, or the certificates do not exist.
    """

    def __init__(self, *, use_environment: bool, guard: AddressGuard | None = None) -> None:
        self._guard = guard
        self._direct = PoolManager(maxsize=MAX_IDLE_CONNECTIONS)
        with _explain_errors():
            self._authorities = _find_authorities() if use_environment else DEFAULT_AUTHORITIES
            addresses = getproxies() if use_environment else {}
            self._proxies = {
                scheme: _build_proxy(addresses[name], _load_trusted(self._authorities))
                for scheme in ("http", "https")
                if (name := scheme if scheme in addresses else "all") in addresses
            }
        self._chosen: dict[str, ProxyManager] = {}
        self._lock = Lock()
        for manager in self._managers:
            manager.pool_classes_by_scheme = POOLS

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return an answer whose body is still to be read; redirects are not followed.

        Raises:
            httpx.TransportError: Of any sort.
            ConfigurationError: TLS is requested, and the certificates are unusable; or the guard
                refuses the request.
        """
        with _raise_as_httpx():
            answer = self._open(request)
        return httpx.Response(
            answer.status,
            headers=[
                (name.encode(), value.encode("latin-1")) for name, value in answer.headers.items()
            ],
            stream=_Body(answer),
        )

    def _open(self, request: httpx.Request) -> BaseHTTPResponse:
        """Return an answer whose headers are read."""
        chosen = request.extensions.get("proxy")
        proxy = self._chosen_proxy(chosen.url) if chosen else self._proxy_of(request.url)
        if self._guard is None:
            return self._send(proxy or self._direct_way(request.url), str(request.url), request)
        endpoint = self._guard.check(str(request.url))
        if proxy is not None:
            self._guard.check_proxy(endpoint, _format_host_port(proxy))
            return self._send(proxy, str(request.url), request)
        try:
            addresses = self._guard.addresses(endpoint)
        except OSError as error:
            raise httpx.ConnectError(f"{endpoint.host} does not resolve: {error}") from error
        way, name = self._direct_way(request.url), endpoint.host
        tls = {"server_hostname": name} if endpoint.scheme == "https" else {}
        target = request.url.raw_path.decode()
        for address in addresses:
            pool = way.connection_from_host(address, endpoint.port, endpoint.scheme, tls)
            try:
                return self._send(pool, target, request)
            except (NewConnectionError, ConnectTimeoutError):
                if address == addresses[-1]:
                    raise
        raise AssertionError("a guard returns at least one address")

    @staticmethod
    def _send(
        way: PoolManager | HTTPConnectionPool, target: str, request: httpx.Request
    ) -> BaseHTTPResponse:
        limits = request.extensions["timeout"]
        return cast(
            BaseHTTPResponse,
            way.urlopen(
                request.method,
                target,
                headers={name.decode(): value.decode() for name, value in request.headers.raw},
                body=request.read() or None,
                timeout=Timeout(connect=limits["connect"], read=limits["read"]),
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            ),
        )

    def close(self) -> None:
        """Close those that are open."""
        for manager in self._managers:
            manager.clear()

    @property
    def _managers(self) -> Sequence[PoolManager]:
        return [self._direct, *self._proxies.values(), *self._chosen.values()]

    def _chosen_proxy(self, address: str) -> ProxyManager:
        """Return the connections by a proxy that a client chose."""
        with self._lock:
            if address not in self._chosen:
                with _explain_errors():
                    manager = _build_proxy(address, _load_trusted(self._authorities))
                manager.pool_classes_by_scheme = POOLS
                self._chosen[address] = manager
            return self._chosen[address]

    def _proxy_of(self, url: httpx.URL) -> ProxyManager | None:
        proxy = self._proxies.get(url.scheme)
        return None if proxy is None or proxy_bypass(url.netloc.decode()) else proxy

    def _direct_way(self, url: httpx.URL) -> PoolManager:
        if url.scheme == "https":
            with _explain_errors():
                self._direct.connection_pool_kw["ssl_context"] = _load_trusted(self._authorities)
        return self._direct


class _Body(httpx.SyncByteStream):
    """The body of an answer; raises httpx's errors."""

    def __init__(self, answer: BaseHTTPResponse) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with _raise_as_httpx():
            yield from self._answer.stream(PIECE_BYTES, decode_content=False)

    def close(self) -> None:
        self._answer.close()


@contextmanager
def _raise_as_httpx() -> Iterator[None]:
    """Raise urllib3's errors as those of httpx."""
    try:
        yield
    except HTTPError as error:
        raise _convert_error(error) from error


def _convert_error(error: HTTPError) -> httpx.TransportError:
    """Return the error of httpx for one of urllib3."""
    if any(isinstance(argument, TimeoutError) for argument in error.args):  # as it sent the request
        return httpx.WriteTimeout(str(error))
    kind = next(
        transport_error_class
        for http_error_class, transport_error_class in ERRORS.items()
        if isinstance(error, http_error_class)
    )
    return kind(str(error))


@contextmanager
def _explain_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, HTTPError) as error:
        raise ConfigurationError(
            "the environment's proxy or certificate settings cannot be used",
            found=f"{type(error).__name__}",
            remedy="correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY (http://host:port), "
            "SSL_CERT_FILE (a PEM file) or SSL_CERT_DIR",
        ) from None  # its text may quote a proxy's password


def _build_proxy(address: str, trusted: ssl.SSLContext) -> ProxyManager:
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("not the address of a proxy")
    user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return ProxyManager(
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        maxsize=MAX_IDLE_CONNECTIONS,
        ssl_context=trusted,
        proxy_headers=make_headers(proxy_basic_auth=user) if parts.username else None,
    )


def _format_host_port(manager: ProxyManager) -> str:
    parts = manager.proxy
    return f"{parts.host}:{parts.port}" if parts else ""


def _find_authorities() -> Authorities:
    """Return which certificates are trusted, by the environment or else by default."""
    environment = child_environment()
    if file := environment.get("SSL_CERT_FILE"):
        with Path(file).open("rb"):
            return Authorities(file, None)
    if folder := environment.get("SSL_CERT_DIR"):
        return Authorities(None, folder)
    return DEFAULT_AUTHORITIES


@cache
def _load_trusted(authorities: Authorities) -> ssl.SSLContext:
    """Return a context that trusts them, made once and only for TLS: that takes 30 to 100 ms."""
    return ssl.create_default_context(cafile=authorities.file, capath=authorities.folder)
