"""Queries of the pages of Dagster's UI: sent to the gateway and to the bare web server in turns.

Both are real programs over one instance and one code server; `ui_requests.json` has queries as the
pages of Dagster 1.13.27 send them.
"""

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import yaml

from benchmarks.old_runs import make_runs
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.access import Keys
from orchestration_project.settings import PROJECT_ROOT, child_environment, load_settings

QUERIES: Mapping[str, dict[str, Any]] = json.loads(
    Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
)
RUN = "a run"
"""Stands in the queries' variables for the id of a run that there is."""

DEFINITIONS = "orchestration_project.definitions"
PATIENCE_SECONDS = 300
WARM_ROUNDS = 3


class Asked(NamedTuple):
    """How long a query took by either way, seconds."""

    query: str
    gateway: float
    bare: float


def prepared(runs: int) -> dict[str, str]:
    """Fill the instance with ``runs`` runs and make a key; return it, and one run's id."""
    with open_instance() as instance, open_warehouse(load_settings()) as warehouse:
        run_id = make_runs(instance, warehouse, runs)
        keys = Keys(warehouse, Clock())
        key = keys.create(owner="bench", role=Role.ADMIN, lasts=timedelta(days=1))
    return {"key": str(key), "run_id": run_id}


class Side:
    """One connection to a web server, which stays open; behind a login where there is a key."""

    def __init__(self, port: int, key: str | None = None) -> None:
        origin = f"http://127.0.0.1:{port}"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        self._headers = {"Content-Type": "application/json", "Origin": origin}
        if key:
            form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": origin}
            self._connection.request("POST", "/login", urlencode({"key": key}), form)
            answer = self._connection.getresponse()
            answer.read()
            self._headers["Cookie"] = answer.headers["set-cookie"].partition(";")[0]

    def seconds(self, body: bytes) -> float:
        """Return how long a query takes, from its first byte to the last of its answer.

        Raises:
            RuntimeError: It was not answered.
        """
        started = time.perf_counter()
        self._connection.request("POST", "/graphql", body, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        took = time.perf_counter() - started
        if answer.status != http.HTTPStatus.OK or b'"errors"' in content[-2000:]:
            raise RuntimeError(f"{body[:80]!r} was answered with {content[:500]!r}")
        return took


def requested(gateway: Side, bare: Side, run_id: str, rounds: int) -> list[Asked]:
    """Ask each query ``rounds`` times by both ways, in turns: what changes hits both of them."""
    found: list[Asked] = []
    bodies = {
        name: json.dumps(each).replace(RUN, run_id).encode() for name, each in QUERIES.items()
    }
    for number in range(WARM_ROUNDS + rounds):
        for name, body in bodies.items():
            if number % 2:
                ours, theirs = gateway.seconds(body), bare.seconds(body)
            else:
                theirs, ours = bare.seconds(body), gateway.seconds(body)
            if number >= WARM_ROUNDS:
                found.append(Asked(name, ours, theirs))
    return found


class Program(NamedTuple):
    """A web server that answers."""

    port: int
    pid: int


@contextmanager
def both(settings: Mapping[str, str], key: str) -> Iterator[tuple[Side, Side]]:
    """Serve the gateway and the bare web server, and give a connection to each."""
    with programs(settings, "gateway", "bare") as found:
        yield Side(found["gateway"].port, key), Side(found["bare"].port)


@contextmanager
def programs(settings: Mapping[str, str], *names: str) -> Iterator[dict[str, Program]]:
    """Serve the `gateway`, the `bare` web server, or both, over one code server."""
    folder = Path(settings["STATE_DIR"])
    environment = child_environment(PYTHONPATH=str(PROJECT_ROOT), **settings)
    code = _free_port()
    server = {"host": "127.0.0.1", "port": code, "location_name": DEFINITIONS}
    workspace = folder / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
    place = ["--host", "127.0.0.1", "--port"]
    commands = {
        "gateway": ["orchestration_project", "gateway", "-w", str(workspace), *place],
        "bare": ["dagster_webserver", "-w", str(workspace), *place],
    }
    location = ["dagster", "code-server", "start", "-m", DEFINITIONS, *place, str(code)]
    with ExitStack() as stack:
        stack.enter_context(_program(location, environment, folder))
        _wait_for(code)
        found: dict[str, Program] = {}
        for name in names:
            port = _free_port()
            command = [*commands[name], str(port)]
            pid = stack.enter_context(_program(command, environment, folder))
            _wait_for(port)
            found[name] = Program(port, pid)
        yield found


@contextmanager
def _program(command: list[str], environment: Mapping[str, str], folder: Path) -> Iterator[int]:
    """Run a program while it is needed, and give its process id."""
    log = folder / f"{command[0]}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=PROJECT_ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            yield process.pid
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _wait_for(port: int) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return
