"""What is checked when a connection is made: a kill switch that was set meanwhile."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from orchestration_project.engine.http import HttpClient
from orchestration_project.engine.http.addresses import AddressGuard
from tests.faulty_server import FaultyServer, Reply
from tests.http_clients import make_client
from tests.tls import make_certificate

OK = Reply(body=b"whole")


class OffError(Exception):
    """The switch is off."""


class Switch:
    """A kill switch, and the client that it stops."""

    def __init__(self) -> None:
        self.off = threading.Event()
        self.requested = threading.Event()

    def check(self) -> None:
        is_off = self.off.is_set()
        self.requested.set()  # only then may a test set the switch
        if is_off:
            raise OffError


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def client_of(tmp_path, switch) -> Iterator[Callable[..., HttpClient]]:
    clients: list[HttpClient] = []

    def make(**changes) -> HttpClient:
        client = make_client(
            tmp_path,
            "test_api",
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
            max_attempts=1,
            before_sending=switch.check,
            **changes,
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


class Listener:
    """A server that waits before it accepts, and keeps the bytes that it gets."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = self._listener.getsockname()[1]
        self._fillers = [self._filler() for _ in range(3)]

    def _filler(self) -> socket.socket:
        found = socket.socket()
        found.setblocking(False)
        with suppress(BlockingIOError):
            found.connect(("127.0.0.1", self.port))
        return found

    def accept_all(self, is_over: Callable[[], bool]) -> bytes:
        """Accept whatever comes until the request is over; return the bytes that came."""
        found = b""
        for filler in self._fillers:
            filler.close()
        self._listener.settimeout(0.1)
        while not is_over():
            with suppress(TimeoutError):
                connection, _ = self._listener.accept()
                with connection, suppress(ConnectionError):
                    connection.settimeout(3)
                    while data := connection.recv(4096):
                        found += data
        return found

    def close(self) -> None:
        self._listener.close()


def test_nothing_is_sent_to_a_server_that_accepts_late(switch, client_of):
    listener, client = Listener(), client_of(use_environment=False)
    with ThreadPoolExecutor(1) as pool:
        requested = pool.submit(client.request, "GET", f"http://127.0.0.1:{listener.port}/")
        switch.requested.wait()
        assert not requested.done()
        switch.off.set()
        assert listener.accept_all(requested.done) == b""
        with pytest.raises(OffError):
            requested.result()
    listener.close()


@pytest.fixture
def certificate(tmp_path):
    return make_certificate(tmp_path / "tls", "localhost")


def test_nothing_is_sent_after_a_handshake_that_lasts(switch, client_of, certificate, monkeypatch):
    key, file = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file, key)
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def serve() -> bytes:
            connection, _ = listener.accept()
            switch.off.set()
            with tls.wrap_socket(connection, server_side=True) as secured:
                return secured.recv(4096)

        served = pool.submit(serve)
        with pytest.raises(OffError):
            client_of().request("GET", f"https://localhost:{listener.getsockname()[1]}/")
        assert served.result() == b""


def test_nothing_is_sent_to_a_name_that_resolves_late(switch, client_of):
    def resolve(host: str, port: int) -> list[str]:
        switch.off.set()
        return ["127.0.0.1"]

    guard = AddressGuard(allow=["127.0.0.0/8"], resolve=resolve)
    with FaultyServer(lambda _: OK) as server:
        client = client_of(guard=guard, use_environment=False)
        with pytest.raises(OffError):
            client.request("GET", f"http://slow.example:{server.server_address[1]}/")
        assert server.requests == []


def test_a_request_leaves_while_the_switch_is_on(switch, client_of):
    with FaultyServer(lambda _: OK) as server:
        assert client_of().request("GET", server.url).body == b"whole"
