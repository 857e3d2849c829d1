"""The gateway as `gateway` and `ui` put it together: each part answers behind the same login."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime

import dagster as dg
import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.server import QuietServer, opened
from orchestration_project.services.access import Keys
from orchestration_project.settings import PROJECT_ROOT, Settings
from tests.gateway.conftest import signed
from tests.gateway.login_client import requested
from tests.programs import wait_for

DELIVERY = {"X_GitHub_Delivery": "1", "X_GitHub_Event": "push"}


@pytest.fixture
def app(settings: Settings, warehouse: Warehouse) -> Iterator[ASGIApp]:
    with (
        dg.instance_for_test() as instance,
        opened(
            settings, PlainTextResponse("Dagster"), "127.0.0.1", instance, lambda: REGISTRY
        ) as app,
    ):
        yield app


@pytest.fixture
def key(warehouse: Warehouse) -> str:
    made = Keys(warehouse, Clock()).create(owner="I", role=Role.VIEWER, lasts=timedelta(days=1))
    return str(made)


def test_a_delivery_needs_no_key_but_its_signature(app: ASGIApp):
    body = b'{"a": 1}'
    good = requested(app, "POST", "/hooks/git", content=body, headers=signed(body, **DELIVERY))
    assert (good.status_code, good.json()) == (202, {"outcome": "stored"})
    bad = signed(b"another", **DELIVERY)
    refused = requested(app, "POST", "/hooks/git", content=body, headers=bad)
    assert (refused.status_code, "signature" in refused.text) == (403, True)
    assert requested(app, "POST", "/hooks/unknown", content=body).status_code == 404


@pytest.mark.slow
def test_metrics_need_a_key_and_the_liveness_probe_does_not(app: ASGIApp, key: str):
    assert requested(app, "GET", "/healthz").text == "ok"
    assert "is_ready" in requested(app, "GET", "/readyz").json()
    assert requested(app, "GET", "/metrics").status_code == 401
    answer = requested(app, "GET", "/metrics", headers={"X-API-Key": key})
    assert answer.status_code == 200
    assert 'orchestration_gateway_requests_total{method="GET",route="metrics"' in answer.text


def test_the_api_and_dagster_are_for_who_is_known(app: ASGIApp, key: str):
    for path in ("/api/v1/openapi.json", "/runs"):
        assert requested(app, "GET", path).status_code == 401
    known = {"X-API-Key": key}
    document = requested(app, "GET", "/api/v1/openapi.json", headers=known)
    assert document.json()["openapi"].startswith("3.")
    assert requested(app, "GET", "/runs", headers=known).text == "Dagster"


THREADS_THAT_ALLOCATE = """
import ctypes, threading
from orchestration_project.gateway.server import limit_free_memory

limit_free_memory()
libc, together = ctypes.CDLL(None), threading.Barrier(8)
libc.malloc_stats()  # imported libraries have threads

def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(8)]
for each in threads:
    each.start()
for each in threads:
    each.join()
libc.malloc_stats()
"""


@pytest.mark.slow
def test_further_threads_of_the_gateway_share_the_pools_of_free_memory_that_there_are():
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", THREADS_THAT_ALLOCATE],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    arenas = [line for line in done.stderr.splitlines() if line.startswith("Arena")]
    before, after = arenas[: len(arenas) // 2], arenas[len(arenas) // 2 :]
    assert before == after != []


def test_a_server_that_wakes_up_once_a_second_dates_its_answers_and_ends_at_once():
    config = uvicorn.Config(
        PlainTextResponse("here"), port=0, log_level="critical", lifespan="off", ws="none"
    )
    server = QuietServer(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started, poll_seconds=0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    answer = httpx.get(f"http://127.0.0.1:{port}/", headers={"Connection": "close"})
    assert (answer.text, parsedate_to_datetime(answer.headers["date"]).tzinfo) == ("here", UTC)
    server.handle_exit(signal.SIGTERM, None)
    thread.join(timeout=10)
    assert not thread.is_alive()
