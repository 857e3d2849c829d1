"""How much a request may be, and how long it may take."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from select import select

import pytest
from starlette.types import Receive, Scope, Send
from websockets.exceptions import InvalidStatus

from orchestration_project.engine.contracts.roles import Role
from orchestration_project.gateway.connection_limits import ConnectionLimits
from orchestration_project.gateway.limits import (
    BODY_BYTES,
    HEADER_BYTES,
    MAX_CONCURRENT_REQUESTS,
    ConcurrencyLimiter,
)
from orchestration_project.gateway.request import Refusal
from tests.gateway.login_client import LoginClient, open_login_client, running, send_apart
from tests.programs import wait_for


def post(login_client: LoginClient, head: bytes = b"") -> bytes:
    """Return the head of a POST of GraphQL by an admin."""
    key = str(login_client.keys[Role.ADMIN]).encode()
    return (
        b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-API-Key: "
        + key
        + b"\r\nContent-Type: application/json\r\n"
        + head
    )


def first_line(answer: bytes) -> bytes:
    return answer.split(b"\r\n")[0]


@pytest.mark.slow
def test_a_body_that_is_announced_as_too_long_is_refused_before_it_comes(login_client: LoginClient):
    head = post(login_client, f"Content-Length: {BODY_BYTES + 1}\r\n\r\n".encode())
    assert b" 413 " in first_line(login_client.raw(head))


def test_a_body_that_is_too_long_without_saying_so_is_refused_as_it_comes(
    login_client: LoginClient,
):
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    sent = post(login_client, b"Transfer-Encoding: chunked\r\n\r\n") + chunk * 17
    assert b" 413 " in first_line(login_client.raw(sent))


def test_a_body_just_as_long_as_it_may_be_is_read(login_client: LoginClient):
    query = json.dumps({"query": "{version}"})
    answer = login_client.ask(
        *("POST", "/graphql", query.ljust(BODY_BYTES)),
        key=login_client.keys[Role.ADMIN],
        Content_Type="application/json",
    )
    assert answer.json["data"]["version"]


@pytest.mark.parametrize("headers", [1, 40])
def test_headers_that_are_too_long_are_refused(login_client: LoginClient, headers: int):
    each = HEADER_BYTES // headers
    lines = [f"X-{n}: {'x' * each}\r\n".encode() for n in range(headers)]
    answer = first_line(login_client.raw(post(login_client, b"".join(lines) + b"\r\n")))
    assert b" 431 " in answer


def test_a_long_address_counts_as_the_headers_do(login_client: LoginClient):
    head = b"GET /session?" + b"x" * HEADER_BYTES + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    assert b" 431 " in first_line(login_client.raw(head + b"Connection: close\r\n\r\n"))


def test_headers_that_never_end_are_not_read_on(login_client: LoginClient):
    with socket.create_connection(("127.0.0.1", login_client.port), timeout=10) as connection:
        connection.sendall(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        answer = b""
        for number in range(100):
            with suppress(ConnectionError):
                connection.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1000))
            readable, _, _ = select([connection], [], [], 0.01)
            if readable:
                answer = connection.recv(1000)
                break
    assert b" 400 " in first_line(answer)


@pytest.mark.parametrize(
    "line",
    [
        b"X-Forwarded-For: \xff\xfe\xe9\r\n",
        b"Origin: \xff\r\n",
        b"Cookie: session=\xff\xfe.\xff\r\n",
        b"Accept: \xff\r\n",
        b"Authorization: Bearer \xff\r\n",
        b"Content-Type: application/json\xff\r\n",
    ],
)
def test_headers_that_are_no_ascii_break_nothing(login_client: LoginClient, line: bytes):
    head = b"GET /session HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + line
    assert first_line(login_client.raw(head + b"\r\n")).split()[1] in (b"400", b"401")


def test_what_was_sent_makes_no_header_of_the_answer(login_client: LoginClient):
    path = b"/x%0d%0aX-Injected:%20yes?y=%0d%0aX-Injected:%20yes"
    head = b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    for more in (b"", b"Accept: text/html\r\n"):
        answer = login_client.raw(head + more + b"\r\n").partition(b"\r\n\r\n")[0]
        assert b"\nx-injected" not in answer.lower()
        assert b" 400 " in first_line(answer)
    clean = head.replace(b"/x%0d%0aX-Injected:%20yes", b"/x")
    answer = (
        login_client.raw(clean + b"Accept: text/html\r\n\r\n").partition(b"\r\n\r\n")[0].lower()
    )
    assert b"\nlocation: /login?next=%2fx%3fy%3d%250d%250ax-injected" in answer
    assert b"\nx-injected" not in answer


def test_a_body_that_comes_too_slowly_is_waited_for_no_longer(hasty_client: LoginClient):
    answer = hasty_client.raw(post(hasty_client, b"Content-Length: 100\r\n\r\n{"))
    assert b" 408 " in first_line(answer)


def test_headers_that_come_too_slowly_are_waited_for_no_longer(hasty_client: LoginClient):
    with socket.create_connection(("127.0.0.1", hasty_client.port), timeout=10) as connection:
        connection.sendall(b"GET /login HTTP/1.1\r\nHost: 127")
        assert connection.recv(100) == b""


def test_blank_lines_between_requests_keep_no_connection(hasty_client: LoginClient):
    with socket.create_connection(("127.0.0.1", hasty_client.port), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b" 404 " in first_line(connection.recv(10_000))
        with pytest.raises(ConnectionError):
            send_apart(connection, [b"\r\n"] * 200, 0.02)


def test_a_websocket_is_not_ended_for_want_of_another_request(hasty_client: LoginClient):
    with hasty_client.websocket(X_API_Key=str(hasty_client.keys[Role.VIEWER])) as websocket:
        with socket.create_connection(("127.0.0.1", hasty_client.port), timeout=10) as silent:
            assert silent.recv(100) == b""  # it began later, and its time is over
        websocket.send('{"type": "connection_init"}')
        assert websocket.recv(timeout=10) == '{"type":"connection_ack"}'


def test_a_connection_on_which_nothing_comes_is_ended(hasty_client: LoginClient):
    with socket.create_connection(("127.0.0.1", hasty_client.port), timeout=10) as connection:
        assert connection.recv(100) == b""


def test_clients_beyond_the_connection_limit_are_refused():
    with running(no_content, ConnectionLimits(connections=3)) as port, ExitStack() as taken:

        def connection() -> socket.socket:
            return socket.create_connection(("127.0.0.1", port), timeout=10)

        def status() -> bytes:
            with connection() as asking:
                asking.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                return first_line(asking.recv(100)).split()[1]

        taken.enter_context(connection())
        assert status() == b"204"
        taken.enter_context(connection())
        assert wait_for(lambda: status() == b"503")
        taken.close()
        assert wait_for(lambda: status() == b"204")


async def no_content(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer each request alike."""
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


@pytest.fixture(scope="module")
def hasty_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginClient]:
    """A gateway that waits for a moment, not half a minute."""
    folder, limits = tmp_path_factory.mktemp("hasty"), ConnectionLimits(head_seconds=0.2)
    with open_login_client(folder, body_seconds=0.2, limits=limits) as login_client:
        yield login_client


def test_one_key_asks_for_so_much_at_once_and_the_next_request_waits():
    crowd = ConcurrencyLimiter()
    with crowd.one_more("other"):
        waits = [crowd.one_more("me") for _ in range(MAX_CONCURRENT_REQUESTS)]
        for wait in waits:
            wait.__enter__()
        with pytest.raises(Refusal) as refused, crowd.one_more("me"):
            pass
        assert (refused.value.status, refused.value.headers) == (429, {"retry-after": "1"})
        for wait in waits:
            wait.__exit__(None, None, None)
        with crowd.one_more("me"):
            pass


def opens(login_client: LoginClient, key: str) -> bool:
    try:
        with login_client.websocket(X_API_Key=key):
            return True
    except InvalidStatus:
        return False


@pytest.mark.slow
def test_many_websockets_of_one_key_are_too_many_until_some_end(login_client: LoginClient):
    key = str(login_client.key(Role.VIEWER, "crowd"))
    with ExitStack() as stack:
        for _ in range(MAX_CONCURRENT_REQUESTS):
            stack.enter_context(login_client.websocket(X_API_Key=key))
        assert not opens(login_client, key)
        assert login_client.ask("GET", "/session", key=key).status == 200
    assert wait_for(lambda: opens(login_client, key))
