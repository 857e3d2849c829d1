"""Limits of a connection before it is authenticated: its bytes, and its time."""

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from orchestration_project.engine.contracts.roles import Role
from orchestration_project.gateway.connection_limits import ConnectionLimits, mark_authenticated
from orchestration_project.gateway.limits import HEADER_BYTES
from tests.expecting import expect_set
from tests.gateway.login_client import LoginClient, open_login_client, running, send_apart
from tests.programs import wait_for

HOST = b"Host: 127.0.0.1\r\n"
UPGRADE = (
    HOST
    + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADES = [
    b"GET /graphql HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 10\r\n\r\n",
    b"GET /graphql HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 10\r\n\r\n0123456789",
    b"POST /graphql HTTP/1.1\r\n" + UPGRADE + b"\r\n",
    b"POST /hooks/git HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 10\r\n\r\n",
    b"GET /graphql HTTP/1.1\r\n" + UPGRADE + CHUNKED,
    b"GET /graphql HTTP/1.1\r\n" + UPGRADE + CHUNKED + b"0\r\n\r\n",
    b"POST /graphql HTTP/1.1\r\n" + UPGRADE + CHUNKED + b"5\r\nabc",
]
REQUEST = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
ENDLESS = {
    "requests": (b"", REQUEST),
    "requests whose answers are not read": (b"", REQUEST * 100),
    "a request line": (b"GET /", b"a"),
    "headers": (b"GET / HTTP/1.1\r\n" + HOST, b"X-A: b\r\n"),
    "blank lines": (b"", b"\r\n"),
    "a body": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999\r\n\r\n", b"a"),
    "chunks": (b"POST / HTTP/1.1\r\n" + HOST + CHUNKED, b"1\r\na\r\n"),
    "a chunk extension": (b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"1", b";a"),
    "trailers": (b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"0\r\n", b"X-A: b\r\n"),
}
"""Bytes that are sent first, and bytes that are then repeated."""


async def header_names(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, after the whole body, with the names of the request's headers."""
    while (await receive()).get("more_body"):
        pass
    names = b" ".join(name for name, _ in scope["headers"])
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": names})


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server of `header_names`."""
    with running(header_names) as found:
        yield found


@pytest.fixture
def hasty_port() -> Iterator[int]:
    """The port of one that ends a connection after a moment, and waits longer for anything else."""
    limits = ConnectionLimits(unauthenticated_seconds=0.2, last_request_seconds=0.1)
    with running(header_names, limits) as found:
        yield found


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        yield connection


@pytest.mark.parametrize("sent", UPGRADES)
def test_an_upgrade_that_has_a_body_or_is_no_get_is_refused_at_once(
    login_client: LoginClient, sent: bytes
):
    assert login_client.raw(sent).startswith(b"HTTP/1.1 400 ")


def test_refused_upgrades_take_no_connection_from_others():
    with running(header_names, ConnectionLimits(connections=3)) as port, ExitStack() as taken:
        for sent in UPGRADES:
            connection = taken.enter_context(connected(port))
            connection.sendall(sent)
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        assert wait_for(lambda: status_of(port, "/") == 200)


@contextmanager
def client(port: int) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        yield connection


def status_of(port: int, path: str) -> int:
    with client(port) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def test_probes_are_answered_when_all_connections_are_taken():
    with running(header_names, ConnectionLimits(connections=3)) as port, ExitStack() as taken:
        for _ in range(4):
            taken.enter_context(connected(port))
        assert wait_for(lambda: status_of(port, "/") == 503)
        assert [status_of(port, path) for path in ("/healthz", "/readyz")] == [200, 200]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("what", ENDLESS)
def test_a_connection_without_an_authenticated_request_ends_whatever_it_sends(
    hasty_port: int, what: str
):
    first, again = ENDLESS[what]
    with connected(hasty_port) as connection:
        connection.sendall(first)
        with pytest.raises(ConnectionError):
            send_apart(connection, [again] * 1000, 0.01)


def test_the_last_answer_before_the_deadline_says_that_the_connection_ends(hasty_port: int):
    found = None
    with client(hasty_port) as connection:
        while found is None:
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            found = answer.getheader("connection")
    assert found == "close"


@pytest.mark.slow
def test_a_connection_goes_on_while_its_requests_are_authenticated(
    tmp_path: Path,
):
    limits = ConnectionLimits(unauthenticated_seconds=1.5, last_request_seconds=0.5)
    with (
        open_login_client(tmp_path, limits=limits) as login_client,
        client(login_client.port) as connection,
        login_client.websocket(X_API_Key=str(login_client.keys[Role.VIEWER])) as websocket,
    ):
        key = {"X-API-Key": str(login_client.keys[Role.VIEWER])}
        connection.connect()
        begun, ends_at = connection.sock, time.monotonic() + 1.8
        while time.monotonic() < ends_at:
            connection.request("GET", "/session", headers=key)
            assert connection.getresponse().read()
        assert connection.sock is begun
        websocket.send('{"type": "connection_init"}')
        assert websocket.recv(timeout=10) == '{"type":"connection_ack"}'


def test_an_authenticated_request_may_take_longer_than_the_deadline():
    begun, is_over = threading.Event(), threading.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        mark_authenticated(scope)
        begun.set()
        await asyncio.to_thread(expect_set, is_over)
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    limits = ConnectionLimits(unauthenticated_seconds=0.2, last_request_seconds=0.1)
    with running(slow, limits) as port, connected(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        assert begun.wait(10)
        with connected(port) as silent:
            assert silent.recv(1000) == b""  # it began later, and its time is over
        is_over.set()
        assert connection.recv(1000).startswith(b"HTTP/1.1 204 ")


CHUNK, CHUNKS = b"x" * 65_536, 400


@contextmanager
def sending_much(seconds: float) -> Iterator[tuple[int, list[int]]]:
    """Give the port of a server of 25 MiB, and which of its answers have ended."""
    ended: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        mark_authenticated(scope)
        await send({"type": "http.response.start", "status": 200})
        for _ in range(CHUNKS):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        await send({"type": "http.response.body"})
        ended.append(scope["client"][1])

    with running(app, ConnectionLimits(unread_seconds=seconds)) as port:
        yield port, ended


def test_an_answer_that_is_read_slowly_takes_longer_than_the_limit():
    with sending_much(1.0) as (port, _), client(port) as connection:
        connection.request("GET", "/")
        answer, received = connection.getresponse(), 0
        began = time.monotonic()
        while part := answer.read(1_800_000):
            received += len(part)
            time.sleep(0.1)
        assert received == CHUNKS * len(CHUNK)
        assert time.monotonic() - began > 1.0


def test_an_unread_answer_ends():
    with sending_much(0.2) as (port, ended), connected(port) as connection:
        connection.sendall(REQUEST)
        assert wait_for(lambda: ended)
        received = sum(map(len, iter(lambda: connection.recv(1_000_000), b"")))
        assert received < CHUNKS * len(CHUNK)


@pytest.mark.parametrize("pause", [0.0, 0.1])
def test_trailers_are_no_headers_in_whatever_segment_they_come(port: int, pause: float):
    next_request = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    trailers = b"0\r\nX-API-Key: a\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n"
    with connected(port) as connection:
        head = b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"1\r\na\r\n" * (pause > 0)
        send_apart(connection, [head, trailers + next_request], pause)
        received = b"".join(iter(lambda: connection.recv(1000), b""))
    bodies = [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 200 OK")[1:]]
    assert [b"host transfer-encoding" in bodies[0], b"host connection" in bodies[1]] == [True] * 2
    assert b"x-api-key" not in received
    assert b"x-forwarded-for" not in received


def test_a_key_in_a_trailer_does_not_log_in(login_client: LoginClient):
    key = str(login_client.keys[Role.ADMIN]).encode()
    head = b"GET /session HTTP/1.1\r\n" + HOST + b"Connection: close\r\n" + CHUNKED
    assert login_client.raw(head + b"0\r\nX-API-Key: " + key + b"\r\n\r\n").startswith(
        b"HTTP/1.1 401 "
    )


def test_an_address_in_a_trailer_is_not_believed(login_client: LoginClient):
    head = b"GET /session HTTP/1.1\r\nX-API-Key: op_wrong\r\nX-Forwarded-For: 203.0.113.8\r\n"
    sent = head + HOST + b"Connection: close\r\n" + CHUNKED
    answer = login_client.raw(sent + b"0\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
    request_id = answer.partition(b"x-request-id: ")[2][:32].decode()
    assert [row["address"] for row in login_client.audit(request_id)] == ["203.0.113.8"]


@pytest.mark.parametrize("begin", [b"0\r\nX-A: ", b"0\r\n", b"1;a="])
def test_what_stands_between_chunks_is_limited_as_headers_are(port: int, begin: bytes):
    with connected(port) as connection:
        head = b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + begin
        send_apart(connection, [head, b"x" * (HEADER_BYTES + 1)], 0.05)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")
