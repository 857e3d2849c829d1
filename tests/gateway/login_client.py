"""A gateway that is served in this process, and asked over real sockets."""

import asyncio
import atexit
import http.client
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import urlencode

import dagster as dg
import httpx
import uvicorn
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from sqlalchemy import select
from starlette.routing import BaseRoute
from starlette.types import ASGIApp
from websockets.sync.client import ClientConnection, connect

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.app import create_app
from orchestration_project.gateway.bar import Installation
from orchestration_project.gateway.connection_limits import ConnectionLimits
from orchestration_project.gateway.dagster_web.process import served
from orchestration_project.gateway.executions import QUERY_SECONDS
from orchestration_project.gateway.guard import AuthServices
from orchestration_project.gateway.limits import BODY_SECONDS
from orchestration_project.gateway.request import Place
from orchestration_project.gateway.server import server_options
from orchestration_project.services.access import Access, AccessLog, Keys
from orchestration_project.services.access.rules.credentials import Key, LoginLimits
from orchestration_project.services.access.rules.members import AccessRule
from orchestration_project.settings import load_settings
from orchestration_project.tables.access import access_audit
from tests.prepared import write_sqlite
from tests.programs import wait_for

SECRET = "s" * 40
INSTALLATION = Installation("Market <data>", "demo")
DAY = timedelta(days=1)
LIMITS = LoginLimits(idle=timedelta(hours=8), absolute=DAY)
RULES = [AccessRule(Role.OPERATOR, "group:team"), AccessRule(Role.VIEWER, "@example.org")]
ADDRESSES = count(1)
"""Each request comes from an address of its own, as failures are counted for it."""


class MovedClock(Clock):
    """The real time, and what a test adds to it."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@dataclass(frozen=True)
class Answer:
    """Response of the gateway."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class LoginClient:
    """The gateway as the tests know it."""

    port: int
    keys: Mapping[Role, Key]
    key_ring: Keys
    access: Access
    warehouse: Warehouse
    clock: MovedClock
    instance: dg.DagsterInstance
    auth_services: AuthServices
    dagster: Any

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        *,
        key: Key | str | None = None,
        cookie: str | None = None,
        address: str | None = None,
        **headers: str,
    ) -> Answer:
        """Ask as any program would; underscores in names of headers stand for hyphens."""
        number = next(ADDRESSES)
        sent = {"X-Forwarded-For": address or f"10.1.{number // 250}.{number % 250 + 1}"}
        if key is not None:
            sent["X-API-Key"] = str(key)
        if cookie is not None:
            sent["Cookie"] = cookie
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            pairs = {name.lower(): value for name, value in response.getheaders()}
            cookies = response.headers.get_all("set-cookie") or []
            return Answer(response.status, pairs, response.read(), cookies)
        finally:
            connection.close()

    def graphql(self, query: str, variables: Any = None, **how: Any) -> Answer:
        """Ask as the pages of Dagster do."""
        body = json.dumps({"query": query, "variables": variables or {}})
        how = {"Content_Type": "application/json", "Origin": self.origin} | how
        return self.ask("POST", "/graphql", body, **how)

    def post(self, path: str, fields: Mapping[str, str], **how: Any) -> Answer:
        """Send a form as a browser does."""
        how = {"Origin": self.origin, "Content_Type": "application/x-www-form-urlencoded"} | how
        return self.ask("POST", path, urlencode(fields), **how)

    def log_in_without_failure(self, key: Key | str, **how: Any) -> str:
        """Return the cookie of a new session."""
        answer = self.post("/login", {"key": str(key)}, **how)
        assert answer.status == 303, answer.text
        return answer.cookies[0].partition(";")[0]

    def key(self, role: Role = Role.ADMIN, owner: str = "somebody") -> Key:
        """Return a key of its own for a test."""
        return self.key_ring.create(owner=owner, role=role, lasts=DAY)

    def websocket(self, *, origin: str | None = "own", **headers: str) -> ClientConnection:
        """Open the websocket of the pages; raises if it is refused."""
        return connect(
            f"ws://127.0.0.1:{self.port}/graphql",
            origin=self.origin if origin == "own" else origin,  # pyright: ignore[reportArgumentType] - a text
            subprotocols=["graphql-ws"],  # pyright: ignore[reportArgumentType] - a text
            additional_headers={name.replace("_", "-"): header for name, header in headers.items()},
            proxy=None,
        )

    def raw(self, sent: bytes) -> bytes:
        """Send bytes as they are, and return all that comes back until the connection ends."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(sent)
            received = b""
            while more := connection.recv(65536):
                received += more
            return received

    def audit(self, request_id: str) -> list[dict[str, Any]]:
        """Return what the audit has of a request, in order."""
        columns = access_audit.c
        wanted = select(access_audit).where(columns.request_id == request_id)
        with self.warehouse.reading() as connection:
            rows = connection.execute(wanted.order_by(columns.step_number)).mappings()
            return [dict(row) for row in rows]


@cache
def _new_files() -> Path:
    """The files of an instance that has done nothing, which are copied for each gateway."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        if instance.get_runs():  # it makes the files
            raise RuntimeError("a new instance has runs")
    return folder


@contextmanager
def open_login_client(
    folder: Path,
    *,
    public: Callable[[AuthServices], Sequence[BaseRoute]] = lambda _: (),
    private: Callable[[AuthServices], Sequence[BaseRoute]] = lambda _: (),
    has_provider: bool = False,
    is_secure: bool = False,
    is_open: bool = False,
    query_seconds: float = QUERY_SECONDS,
    body_seconds: float = BODY_SECONDS,
    limits: ConnectionLimits | None = None,
) -> Iterator[LoginClient]:
    """Serve a gateway over a code location and tables of its own."""
    clock = MovedClock()
    here = str(Path(__file__).with_name("location.py"))
    target = InProcessWorkspaceLoadTarget(
        InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file=here), location_name="here")
    )
    queue = {"module": "dagster._core.run_coordinator", "class": "QueuedRunCoordinator"}
    with (
        Warehouse(write_sqlite(folder / "access.sqlite"), clock=clock) as warehouse,
        dg.instance_for_test(
            {"run_coordinator": queue, "telemetry": {"enabled": False}},
            temp_dir=shutil.copytree(_new_files(), mkdtemp(dir=folder), dirs_exist_ok=True),
        ) as instance,
        served(instance, target, INSTALLATION, query_seconds=query_seconds) as dagster,
    ):
        warehouse.prepare(holds="demo")
        access, ring = Access(warehouse, clock, LIMITS, RULES), Keys(warehouse, clock)
        place = Place(hosts=frozenset({"127.0.0.1", "door.example.org"}), is_secure=is_secure)
        log = AccessLog(warehouse, clock)
        auth_services = AuthServices(
            *(access, log, place, INSTALLATION),
            secret=SECRET,
            recheck_seconds=0.05,
            body_seconds=body_seconds,
        )
        app = create_app(
            auth_services,
            dagster,
            public=public(auth_services),
            private=private(auth_services),
            has_provider=has_provider,
            is_open=is_open,
        )
        keys = {role: ring.create(owner=f"the {role}", role=role, lasts=7 * DAY) for role in Role}
        with running(app, limits) as port:
            yield LoginClient(
                port, keys, ring, access, warehouse, clock, instance, auth_services, dagster
            )


def send_apart(connection: socket.socket, pieces: Iterable[bytes], pause_seconds: float) -> None:
    """Send pieces as segments of their own, each so long after the one before."""
    for number, piece in enumerate(pieces):
        time.sleep(pause_seconds if number else 0)
        connection.sendall(piece)


@contextmanager
def running(app: Any, limits: ConnectionLimits | None = None) -> Iterator[int]:
    """Serve ``app`` on a free port, and trust this machine as if it were a proxy."""
    settings = load_settings().model_copy(update={"trusted_proxies": ("127.0.0.1",)})
    options = server_options(settings, limits)
    config = uvicorn.Config(app, port=0, log_level="critical", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started, poll_seconds=0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def requested(app: ASGIApp, method: str, path: str, **how: Any) -> httpx.Response:
    """Ask a gateway without a server, and return the answer."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **how)

    return asyncio.run(ask())
