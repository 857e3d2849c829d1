"""Stands between a load and PostgreSQL, and strikes at a moment of the protocol that a test names.

Messages of the wire protocol: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from typing import Self
from urllib.parse import parse_qs, urlsplit


class Moment(Enum):
    """When the proxy asks what to do; both only of transactions that write rows by COPY."""

    COPY = "the first rows of a table are on their way"
    COMMIT = "the COMMIT is on its way"


class Act(Enum):
    """Fate of the message, and of the connection."""

    PASS = "passes"
    CUT = "never arrives: the connection is cut"
    CUT_AFTER = "arrives, and the connection is cut before the answer"


Strike = Callable[[Moment], Act]


def once(moment: Moment, act: Act, also: Callable[[], object] = lambda: None) -> Strike:
    """Return a strike that does ``also`` and then ``act``, the first time that it is ``moment``."""
    left = [moment]

    def strike(now: Moment) -> Act:
        if now not in left:
            return Act.PASS
        left.clear()
        also()
        return act

    return strike


class Proxy:
    """Listens on 127.0.0.1 while it is entered; clients must not encrypt."""

    def __init__(self, server_url: str, strike: Strike) -> None:
        self._socket_folder = parse_qs(urlsplit(server_url).query)["host"][0]
        self._path = urlsplit(server_url).path
        self._user = urlsplit(server_url).username
        self._strike = strike
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.strikes = 0

    @property
    def url(self) -> str:
        """The URL of the same database through here, with a password that no message may quote."""
        port = self._listener.getsockname()[1]
        options = "sslmode=disable&gssencmode=disable"
        return f"postgresql://{self._user}:hush-hush@127.0.0.1:{port}{self._path}?{options}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed: the usual end
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(f"{self._socket_folder}/.s.PGSQL.5432")
            back = _Back(server, client)
            back.start()
            self._forward(client, server, back)
            _hang_up(client, server)

    def _forward(self, client: socket.socket, server: socket.socket, back: "_Back") -> None:
        is_copying = False
        for kind, message in _messages(client):
            moment = None
            if kind == b"d" and not is_copying:
                is_copying, moment = True, Moment.COPY
            elif kind == b"Q" and message[5:] == b"COMMIT\0":
                is_copying, moment = False, Moment.COMMIT if is_copying else None
            act = self._strike(moment) if moment else Act.PASS
            if act is Act.CUT:
                return
            if act is Act.CUT_AFTER:
                back.is_muted = True
            server.sendall(message)
            if act is Act.CUT_AFTER:
                back.answered.wait()
                return


class _Back(threading.Thread):
    """Passes on what the server says; once muted, only notes that it said something."""

    def __init__(self, server: socket.socket, client: socket.socket) -> None:
        super().__init__(daemon=True)
        self._server, self._client = server, client
        self.is_muted = False
        self.answered = threading.Event()

    def run(self) -> None:
        with suppress(OSError):
            while said := self._server.recv(65536):
                if self.is_muted:
                    break
                self._client.sendall(said)
        self.answered.set()
        _hang_up(self._client, self._server)


def _messages(client: socket.socket) -> Iterator[tuple[bytes, bytes]]:
    """Give kind and bytes of each message; the first one has no kind."""
    with client.makefile("rb") as incoming:
        head = incoming.read(4)
        if len(head) == 4:
            yield b"", head + incoming.read(int.from_bytes(head) - 4)
        while len(head := incoming.read(5)) == 5:
            yield head[:1], head + incoming.read(int.from_bytes(head[1:]) - 4)


def _hang_up(*connections: socket.socket) -> None:
    for connection in connections:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
