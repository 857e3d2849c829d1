"""What tests of the API share: the API over a real instance, with a week of the demo landed."""

import asyncio
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
import httpx
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from starlette.applications import Starlette
from starlette.types import ASGIApp

from orchestration_project.gateway.api.app import routes
from orchestration_project.gateway.api.dagster import Dagster
from orchestration_project.gateway.api.services import Services
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.finra.demo import stop_demo
from orchestration_project.resources.providers import open_store, open_warehouse
from orchestration_project.settings import PROJECT_ROOT, load_settings
from tests.programs import DEMO

DEFINITIONS = "orchestration_project.definitions"
IN_THIS_PROCESS = {
    "run_launcher": {"module": "tests.gateway.api.launcher", "class": "ThreadLauncher"},
    "run_coordinator": {
        "module": "dagster._core.run_coordinator",
        "class": "DefaultRunCoordinator",
    },
}
"""A launched run is over when the request that launched it is answered."""

FRIDAY, WEEK = "2026-02-06", "T1|2026-02-02"


@dataclass
class Api(httpx.BaseTransport):
    """The API, asked as somebody; ``refused`` notes what was written down of refusals."""

    app: ASGIApp
    services: Services
    runner: asyncio.Runner
    refused: list[str]

    def ask(self, method: str, path: str, role: str = "operator", **more: Any) -> httpx.Response:
        headers = {"x-role": role, **more.pop("headers", {})}
        return self.runner.run(self._ask(method, path, headers, more))

    async def _ask(self, method: str, path: str, headers, more) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, f"/api/v1{path}", headers=headers, **more)

    def get(self, path: str, role: str = "viewer", **more: Any) -> Any:
        answer = self.ask("GET", path, role, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, role: str = "operator", **headers: str) -> Any:
        answer = self.ask("POST", path, role, json=body or {}, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()

    def problem(self, method: str, path: str, role: str = "operator", **more: Any) -> Any:
        answer = self.ask(method, path, role, **more)
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        assert answer.json()["status"] == answer.status_code
        return answer.json()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer the client, for which this is the way to the gateway."""
        return self.runner.run(self._handled(request))

    async def _handled(self, request: httpx.Request) -> httpx.Response:
        request.headers["x-role"] = "operator"
        answer = await httpx.ASGITransport(self.app).handle_async_request(request)
        content = await answer.aread()
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)

    def run(self, job: str, **more: Any) -> str:
        """Launch a run, and return its id: it has ended."""
        return self.post("/runs", {"job": job, **more})["run_id"]


@dataclass(frozen=True)
class Somebody:
    """Who asks in a test: what the guard would have found."""

    role: Any
    name: str = "ada"


@contextmanager
def _dagster(instance: dg.DagsterInstance) -> Iterator[ASGIApp]:
    target = LoadableTargetOrigin(
        executable_path=sys.executable,
        module_name=DEFINITIONS,
        working_directory=str(PROJECT_ROOT),
    )
    origin = InProcessCodeLocationOrigin(target, location_name=DEFINITIONS)
    with warnings.catch_warnings():
        # Dagster's own, as it describes schedules in this process
        warnings.filterwarnings("ignore", "Property `ScheduleDefinition.environment_vars`")
        process = WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin))
    with process:
        yield create_app_from_workspace_process_context(process)


@pytest.fixture(scope="package")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API over an instance of its own, whose runs are done in this process."""
    refused: list[str] = []

    async def note(scope: Any, operation: str) -> None:
        refused.append(operation)

    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in DEMO.items():
            patch.setenv(name, value)
        patch.setenv("STATE_DIR", str(tmp_path_factory.mktemp("api") / "state"))
        patch.setenv("API_ALLOWED_ORIGINS", "https://reports.example.org")
        settings = load_settings()
        stack.callback(stop_demo, settings)
        instance = stack.enter_context(dg.instance_for_test(overrides=IN_THIS_PROCESS))
        services = Services(
            settings=settings,
            clock=Clock(),
            instance=instance,
            warehouse=stack.enter_context(open_warehouse(settings)),
            store=open_store(settings),
            dagster=Dagster(stack.enter_context(_dagster(instance))),
            caller_of=lambda scope: Somebody(dict(scope["headers"])[b"x-role"].decode()),
            refused=note,
        )
        runner = stack.enter_context(asyncio.Runner())
        yield Api(Starlette(routes=routes(services)), services, runner, refused)


@pytest.fixture(scope="package")
def landed(api: Api) -> str:
    """A run that landed a week, launched as callers of other systems do."""
    body = {"tier": "T1", "week_ending": FRIDAY}
    return api.post("/pipelines/run/finra_otc_weekly", body)["execution_id"]
