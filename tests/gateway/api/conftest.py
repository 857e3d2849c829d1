"""Fixtures of tests of the API: the API over a real instance, with a week of the demo loaded."""

import asyncio
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from sqlalchemy import select
from starlette.types import ASGIApp

from orchestration_project.catalog import REGISTRY
from orchestration_project.cli.gateway import check_config
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.log_files import FOLDER
from orchestration_project.engine.connections.simulator import stop_demos
from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.gateway import attention
from orchestration_project.gateway.api.app import routes
from orchestration_project.gateway.api.feeds import Feed, FeedLimits
from orchestration_project.gateway.api.log_feed import LogSource
from orchestration_project.gateway.api.mqtt_stream import ArrivalSource
from orchestration_project.gateway.api.opening import services_of
from orchestration_project.gateway.api.services import Services
from orchestration_project.gateway.app import create_app
from orchestration_project.gateway.dagster_web.process import check_run_configs, check_runs, served
from orchestration_project.gateway.guard import AuthServices
from orchestration_project.gateway.request import Place
from orchestration_project.services.access import Access, AccessLog, Keys
from orchestration_project.services.access.rules.credentials import Key, LoginLimits
from orchestration_project.services.pauses import Pauses
from orchestration_project.settings import PROJECT_ROOT, load_settings
from orchestration_project.tables.access import access_audit
from tests.expecting import expect_status
from tests.gateway.login_client import INSTALLATION
from tests.prepared import write_default
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

HOME, ALLOWED = "http://127.0.0.1", "https://reports.example.org"
HOURS = timedelta(hours=8)
SOMEBODY = Principal("ada", Role.VIEWER, "open")
FRIDAY, WEEK = "2026-02-06", "T1|2026-02-02"


@dataclass
class Api(httpx.BaseTransport):
    """The API behind the whole gateway, asked with the key of a role."""

    app: ASGIApp
    services: Services
    runner: asyncio.Runner
    keys: Mapping[str, Key]
    ring: Keys

    def ask(self, method: str, path: str, role: str = "operator", **more: Any) -> httpx.Response:
        headers = {"x-api-key": str(self.keys[role])} if role else {}
        request = httpx.Request(
            method, f"{HOME}/api/v1{path}", headers={**headers, **more.pop("headers", {})}, **more
        )
        return self.handle_request(request)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer; the client, too, asks by this way."""
        return self.runner.run(self._handled(request))

    async def _handled(self, request: httpx.Request) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        answer = await transport.handle_async_request(request)
        content = await answer.aread()
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)

    def get(self, path: str, role: str = "viewer", **more: Any) -> Any:
        answer = self.ask("GET", path, role, **more)
        expect_status(answer)
        return answer.json()

    def post(self, path: str, body: Any = None, role: str = "operator", **headers: str) -> Any:
        answer = self.ask("POST", path, role, json=body or {}, headers=headers)
        if not answer.is_success:
            raise RuntimeError(answer.text)
        return answer.json()

    def expect_problem(self, method: str, path: str, role: str = "operator", **more: Any) -> Any:
        answer = self.ask(method, path, role, **more)
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        assert answer.json()["status"] == answer.status_code
        return answer.json()

    def run(self, job: str, **more: Any) -> str:
        """Launch a run, and return its id: it has ended."""
        return self.post("/runs", {"job": job, **more})["run_id"]

    def audited(self) -> tuple[Any, ...]:
        """Return the operation, outcome and user of the audit's last row."""
        row = access_audit.c
        wanted = select(row.operation, row.outcome, row.user_name)
        last = wanted.order_by(row.happened_at.desc(), row.step_number.desc()).limit(1)
        with self.services.warehouse.reading() as connection:
            return tuple(connection.execute(last).one())


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
        check_run_configs(instance, check_config)
        serving = served(instance, InProcessWorkspaceLoadTarget(origin), INSTALLATION)
        dagster = serving.__enter__()
    with ExitStack() as stack:
        stack.push(serving)
        yield dagster


@pytest.fixture(scope="package")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API over an instance of its own, whose runs are done in this process."""
    with open_api(tmp_path_factory.mktemp("api")) as opened:
        yield opened


@contextmanager
def open_api(folder: Path, overrides: Mapping[str, Any] = IN_THIS_PROCESS) -> Iterator[Api]:
    """Open the API in a folder, over an instance of these overrides."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in DEMO.items():
            patch.setenv(name, value)
        patch.setenv("STATE_DIR", str(folder / "state"))
        settings, clock = write_default(load_settings()), Clock()
        stack.callback(stop_demos, settings)
        instance = stack.enter_context(dg.instance_for_test(overrides=dict(overrides)))
        warehouse = stack.enter_context(open_warehouse(settings))
        access = Access(warehouse, clock, LoginLimits(HOURS, HOURS), [], [])
        place, audit = Place(frozenset({"127.0.0.1"})), AccessLog(warehouse, clock)
        auth_services = AuthServices(
            access, audit, place, INSTALLATION, secret="s" * 40, recheck_seconds=0.1
        )
        check_runs(instance, Pauses(warehouse).require_unpaused)
        dagster = stack.enter_context(_dagster(instance))
        services = services_of(
            settings, warehouse, auth_services, dagster, instance, lambda: REGISTRY
        )
        private = [*routes(services), *attention.routes(services, INSTALLATION)]
        app = create_app(auth_services, dagster, private=private, origins=[ALLOWED])
        ring = Keys(warehouse, clock)
        keys = {
            role.value: ring.create(owner=f"the {role}", role=role, lasts=HOURS) for role in Role
        }
        yield Api(app, services, stack.enter_context(asyncio.Runner()), keys, ring)


@contextmanager
def streams_that_end(api: Api) -> Iterator[None]:
    """Have streams of the API end soon, so that a response can be read whole."""
    services, limits = api.services, FeedLimits(longest_seconds=0.05)
    sources = {
        "logs": LogSource(services.settings.state_path / FOLDER),
        "mqtt": ArrivalSource(services.warehouse, max_message_bytes=1000, read_seconds=25),
    }
    for name, source in sources.items():
        services.feeds[name] = Feed(source, services.in_thread, limits)
    yield
    services.feeds.clear()


@pytest.fixture(scope="package")
def loaded(api: Api) -> str:
    """A run that loaded a week, launched as callers of other systems do."""
    body = {"tier": "T1", "week_ending": FRIDAY}
    return api.post("/pipelines/run/finra_otc_weekly", body)["execution_id"]
