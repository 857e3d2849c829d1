"""The demo of PeopleForce and Jira within a test, and the clients that ask it over HTTP."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx
import uvicorn
from orchestration_demo.clock import Clock as DemoClock
from orchestration_demo.saas.jira import EMAIL, TOKEN
from orchestration_demo.saas.peopleforce import API_KEY
from orchestration_demo.saas.server import Systems
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.http import HttpClient
from orchestration_project.resources.saas.jira import Jira
from orchestration_project.resources.saas.pages import PageMemory
from orchestration_project.resources.saas.peopleforce import PeopleForce
from tests.expecting import expect_status
from tests.http_clients import make_client
from tests.programs import wait_for

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class SaasDemo:
    """Both systems on this machine while it is entered; they hold nothing until `start_over`."""

    def __init__(self) -> None:
        self.start_over()

    def start_over(self, *, task_count: int = 0, seed: int = 1) -> None:
        """Forget all that was, and hold ``task_count`` tasks of a seed."""
        self._systems = Systems(
            seed=seed, task_count=task_count, clock=DemoClock(NOON), requests_per_second=0
        )

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._systems(scope, receive, send)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(
            self._serve, interface="asgi3", lifespan="off", log_config=None, access_log=False
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True
        )
        self._thread.start()
        wait_for(lambda: self._server.started, poll_seconds=0.005)
        self._client = httpx.Client(base_url=self.url, timeout=30)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._server.force_exit = self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def do(self, path: str, **body: Any) -> Any:
        """Do what people do there, or have something go wrong."""
        answer = self._client.post(f"/demo/{path}", json=body)
        expect_status(answer)
        return answer.json()

    def try_to(self, path: str, **body: Any) -> None:
        """Do what may not be possible there any more."""
        answer = self._client.post(f"/demo/{path}", json=body)
        if answer.status_code not in (200, 400):
            raise RuntimeError(answer.text)

    def delete(self, path: str) -> None:
        expect_status(self._client.delete(f"/demo/{path}"))

    def fault(self, kind: str, **where: Any) -> None:
        self.do("faults", planned=[{"kind": kind, **where}])

    def state(self) -> dict[str, Any]:
        return self._client.get("/demo/state").json()

    def issues(self) -> list[dict[str, Any]]:
        return self.state()["issues"]

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask Jira as somebody without our client would."""
        return self._client.request(
            method, f"/jira/rest/api/3{path}", auth=(EMAIL, TOKEN), **options
        )


@contextmanager
def http_client(
    folder: Path, name: str = "system", *, timeout_seconds: float = 30
) -> Iterator[HttpClient]:
    """Give a client without patience, so that a fault costs a test no time."""
    with make_client(
        folder, name, use_environment=False, timeout_seconds=timeout_seconds, failures=1000
    ) as http:
        yield http


def peopleforce(
    demo_url: str, http: HttpClient, folder: Path, *, api_key: str = API_KEY
) -> PeopleForce:
    return PeopleForce(
        http,
        Captures(FolderStore(folder / "artifacts")),
        Clock(),
        PageMemory(folder / "pages.json"),
        origin="demo",
        url=f"{demo_url}/peopleforce/api/public/v3",
        api_key=SecretStr(api_key),
    )


def jira(demo_url: str, http: HttpClient) -> Jira:
    return Jira(http, url=f"{demo_url}/jira", email=EMAIL, token=SecretStr(TOKEN))


def document(*lines: str) -> dict[str, Any]:
    """Return a description of paragraphs."""
    content: Sequence[Any] = [
        {"type": "paragraph", "content": [{"type": "text", "text": line}]} for line in lines
    ]
    return {"type": "doc", "version": 1, "content": content}
