"""Fixtures of tests of the gateway: settings of a file of sources, and senders that sign."""

import asyncio
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.request import CURRENT
from orchestration_project.settings import Settings, load_settings
from tests.gateway.login_client import LoginClient, open_login_client
from tests.prepared import Prepared

SECRET, EARLIER = "the secret of today", "that of yesterday"

SOURCES = """
sources:
  git: {scheme: github, job: events_webhooks}
  hr: {scheme: peopleforce}
  pay: {scheme: stripe, job: events_webhooks, requests_per_second: 2}
  bare: {scheme: github}
"""


@pytest.fixture(autouse=True)
def reset_caller() -> None:
    """Forget who asked in an earlier test of this process."""
    CURRENT.set(None)


def signed(body: bytes, secret: str = SECRET, **headers: str) -> dict[str, str]:
    """Return the headers with which GitHub would send ``body``; a name may have _ for -."""
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    usual = {"x-hub-signature-256": f"sha256={mac}", "content-type": "application/json"}
    return usual | {name.replace("_", "-"): value for name, value in headers.items()}


class Client:
    """Asks an application, in this process."""

    def __init__(self, routes: Sequence[Route], wrapped: Any = None) -> None:
        app = Starlette(routes=routes)
        self._app: ASGIApp = wrapped(app) if wrapped else app

    def get(self, path: str, **content: Any) -> httpx.Response:
        """GET ``path``."""
        return asyncio.run(self._ask("GET", path, **content))

    def post(self, path: str, **content: Any) -> httpx.Response:
        """POST to ``path``."""
        return asyncio.run(self._ask("POST", path, **content))

    async def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, client=("192.0.2.1", 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, **content)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with these sources, one of which lacks its secret."""
    file = tmp_path / "webhooks.yaml"
    file.write_text(SOURCES)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("WEBHOOKS_FILE", str(file))
    monkeypatch.setenv("DISK_HEADROOM_MIB", "0")
    for source in ("GIT", "HR", "PAY"):
        monkeypatch.setenv(f"WEBHOOK_SECRET_{source}", SECRET)
    monkeypatch.setenv("WEBHOOK_SECRET_GIT_OLD", EARLIER)
    return load_settings()


@pytest.fixture
def warehouse(settings: Settings, prepared: Prepared) -> Iterator[Warehouse]:
    """The database of these settings."""
    prepared.sqlite(settings.state_path / "demo.sqlite")
    with open_warehouse(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def login_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginClient]:
    """A gateway that is served."""
    with open_login_client(tmp_path_factory.mktemp("gateway")) as login_client:
        yield login_client
