"""Endpoints of plugins: an enabled plugin answers in its own process; the rest is refused."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
import yaml
from sqlalchemy import insert, select
from starlette.applications import Starlette
from starlette.routing import Route

from orchestration_project.cli.plugins_run import EXAMPLES
from orchestration_project.domains.mqtt.tables import mqtt_projects
from orchestration_project.domains.plugins.judging import VIOLATIONS_TO_DISABLE
from orchestration_project.domains.plugins.tables import plugins, plugins_calls
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.api.dagster import Dagster
from orchestration_project.gateway.api.operation import endpoint
from orchestration_project.gateway.api.plugins_endpoints import OPERATIONS
from orchestration_project.gateway.api.services import Services
from orchestration_project.registry import Registry
from orchestration_project.resources.plugins.changes import PluginChange
from orchestration_project.resources.plugins.edits import PluginEdits
from orchestration_project.resources.plugins.store import read_given
from orchestration_project.settings import load_settings
from tests.gateway.login_client import requested
from tests.plugin_files import usable_isolation
from tests.prepared import Prepared

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
BOARD = "/plugins/projects_board/endpoints/board"
ADMIN = PluginChange("admin", NOW)


class Api:
    """The routes of endpoints over a database, requested by a viewer."""

    def __init__(self, warehouse: Warehouse) -> None:
        settings = load_settings()
        app = Starlette()
        self.services = Services(
            settings=settings,
            clock=Clock(),
            instance=dg.DagsterInstance.ephemeral(),
            warehouse=warehouse,
            store=open_store(settings),
            registry=lambda: Registry.of(()),
            dagster=Dagster(app),
            caller=lambda: Principal("ada", Role.VIEWER, "key"),
            refused=self._done,
            still_known=self._known,
            recheck_seconds=60,
        )
        self.app = Starlette(
            routes=[
                Route(operation.path, endpoint(operation, self.services))
                for operation in OPERATIONS
            ]
        )

    async def _done(self, *_: Any) -> None:
        pass

    async def _known(self, _: Any) -> bool:
        return True

    def ask(self, path: str) -> httpx.Response:
        return requested(self.app, "GET", path)

    def expect_problem(self, path: str) -> Any:
        answer = self.ask(path)
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        return answer.json()


@pytest.fixture
def api(tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PLUGINS_ISOLATION", usable_isolation())
    with Warehouse(prepared.sqlite(tmp_path / "w.sqlite"), clock=Clock()) as warehouse:
        warehouse.prepare(holds="real")
        opened = Api(warehouse)
        yield opened
        opened.services.threads.shutdown()


@pytest.fixture
def edits(api: Api) -> PluginEdits:
    services = api.services
    return PluginEdits(services.settings, services.warehouse, services.store)


@pytest.fixture
def board(api: Api, edits: PluginEdits) -> None:
    """The example projects_board, over two projects."""
    row = dict.fromkeys(column.name for column in mqtt_projects.columns if not column.nullable) | {
        "project_id": "p-1",
        "name": "<script>alert(1)</script>",
        "status": "active",
        "updated_at": NOW,
        "event_count": 1,
        "arrival_id": 1,
    }
    other = row | {"project_id": "p-2", "name": "Two", "status": "done"}
    with api.services.warehouse.writing() as connection:
        connection.execute(insert(mqtt_projects), [row, other])
    files, _ = read_given(EXAMPLES / "projects_board")
    enable(edits, files)


def enable(edits: PluginEdits, files: Mapping[str, bytes]) -> None:
    stored, _ = edits.add(files, ADMIN, allow_unsigned=True)
    edits.grant(stored.id, ADMIN, given={}, folders={})
    edits.enable(stored.id, ADMIN)


def written(tmp_path: Path, code: str) -> Any:
    """Return the files of a plugin with two endpoints and this code."""
    manifest = {
        "id": "odd",
        "version": "1.0.0",
        "publisher": "example.org",
        "kind": "report",
        "entry": "main.py",
        "requires": ">=0.1",
        "permissions": {"endpoints": [{"name": "a"}, {"name": "b"}]},
    }
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "plugin.yaml").write_text(yaml.safe_dump(manifest))
    main = f"from plugin import start\nwith start() as run:\n    {code}\n"
    (folder / "main.py").write_text(main)
    return read_given(folder)[0]


def test_an_endpoint_answers_viewers_with_a_policy_that_runs_nothing(api, board):
    answer = api.ask(f"{BOARD}?status=active")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "project_count": 1,
        "by_status": {"active": ["<script>alert(1)</script>"]},
    }
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["content-type"] == "application/json"
    assert api.ask(BOARD).json()["project_count"] == 2
    columns = plugins_calls.c
    with api.services.warehouse.reading() as connection:
        found = set(connection.execute(select(columns.kind, columns.target, columns.verdict)))
    assert found == {
        ("read", "projects", "allowed"),
        ("endpoint", "application/json", "allowed"),
    }


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/plugins/projects_board/endpoints/other", 404),
        ("/plugins/none/endpoints/board", 404),
        ("/plugins/Board/endpoints/board", 422),
        (f"{BOARD}?Status=x", 422),
        (f"{BOARD}?x=1", 422),
        (f"{BOARD}?status={'x' * 1001}", 422),
        (f"{BOARD}?status=a&status=b", 422),
        (f"{BOARD}?{'&'.join(f'p{number}=1' for number in range(21))}", 422),
    ],
)
def test_what_is_not_granted_or_not_valid_is_refused_before_the_plugin_starts(
    api, board, path, status
):
    assert api.expect_problem(path)["status"] == status
    with api.services.warehouse.reading() as connection:
        assert connection.execute(select(plugins_calls)).all() == []


def test_a_disabled_plugin_has_no_endpoints(api, board, edits):
    edits.disable("projects_board", ADMIN, "not needed")
    assert api.expect_problem(BOARD)["status"] == 404


def test_requests_of_viewers_never_disable_a_plugin(api, edits, tmp_path):
    enable(edits, written(tmp_path, "run.page('markdown', 'x'); run.answer(1)"))
    for _ in range(VIOLATIONS_TO_DISABLE + 1):
        problem = api.expect_problem("/plugins/odd/endpoints/a")
        assert (problem["status"], "refused" in problem["detail"]) == (500, True)
    with api.services.warehouse.reading() as connection:
        assert connection.execute(select(plugins.c.state)).scalar_one() == "enabled"


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("pass", "gave no answer"),
        ("raise SystemExit(3)", "ended"),
        ("run.answer('x', content_type='text/html')", "refused"),
        ("run.page('markdown', 'x'); run.answer(1)", "refused"),
        ("run.emit('rows', [('a', {})]); run.answer(1)", "refused"),
    ],
)
def test_a_plugin_that_fails_or_does_more_than_answer_is_a_problem(
    api, edits, tmp_path, code, says
):
    enable(edits, written(tmp_path, code))
    problem = api.expect_problem("/plugins/odd/endpoints/a")
    assert problem["status"] == 500
    assert says in problem["detail"]


def test_a_text_is_answered_as_text(api, edits, tmp_path):
    enable(edits, written(tmp_path, "run.answer(run.endpoint, content_type='text/plain')"))
    answer = api.ask("/plugins/odd/endpoints/b")
    assert (answer.text, answer.headers["content-type"]) == ("b", "text/plain; charset=utf-8")


def test_a_viewer_gets_no_traceback_of_a_plugin_and_the_log_has_it(api, edits, tmp_path, caplog):
    enable(edits, written(tmp_path, 'raise ValueError("rows of \\x1b[2J others")'))
    with caplog.at_level("INFO"):
        problem = api.expect_problem("/plugins/odd/endpoints/a")
    assert problem["found"] == "it exited with status 1"
    assert "Traceback" not in str(problem)
    assert "others" not in str(problem)
    assert "plugin odd: ValueError: rows of \\x1b[2J others" in caplog.text


@pytest.mark.slow
def test_a_user_has_one_request_of_endpoints_at_once(api, edits, tmp_path):
    enable(edits, written(tmp_path, "import time; time.sleep(1); run.answer(1)"))

    async def ask_twice() -> list[int]:
        transport = httpx.ASGITransport(api.app, client=("127.0.0.1", 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            path = "/plugins/odd/endpoints/a"
            answers = await asyncio.gather(client.get(path), client.get(path))
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(ask_twice()) == [200, 503]
    assert api.ask("/plugins/odd/endpoints/a").status_code == 200
