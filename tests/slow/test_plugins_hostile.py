"""Hostile plugins at each isolation level: what they reach, what is refused, and what is left.

With PLUGINS_ISOLATION=process files and hosts are not enforced; the verdicts say so. What the host
judges, and the limits of a run, are the same.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from sqlalchemy import select

from orchestration_project.domains.plugins.tables import plugins_rows, plugins_violations
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.plugins.changes import PluginChange
from orchestration_project.resources.plugins.edits import PluginEdits
from orchestration_project.resources.plugins.isolation import isolation_status
from orchestration_project.resources.plugins.running import run_plugin
from orchestration_project.resources.plugins.state import (
    BY_VIOLATIONS,
    StoredPlugin,
    read_plugin,
)
from orchestration_project.resources.plugins.store import read_given
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import outbox
from tests import databases
from tests.plugin_files import requires_namespaces
from tests.plugins_hostile import HostilePlugin
from tests.plugins_hostile.attempts import ATTEMPTS
from tests.plugins_hostile.claims import CLAIMS
from tests.plugins_hostile.speech import SPEECH
from tests.prepared import Prepared

pytestmark = pytest.mark.slow

PLANTED = "planted-plugin-secret-1234"
LEVELS = (pytest.param("namespaces", marks=requires_namespaces), "process")


@dataclass
class Cage:
    """A database with plugins at one isolation level, and what they must not reach."""

    level: str
    warehouse: Warehouse
    folder: Path
    url: str
    config: dict[str, object]

    def add(self, plugin: HostilePlugin) -> StoredPlugin:
        """Add, grant and enable a plugin as an admin does."""
        settings, now = load_settings(), Clock().now()
        edits = PluginEdits(settings, self.warehouse, open_store(settings))
        change = PluginChange("admin", now)
        files, _ = read_given(plugin.write(self.folder))
        edits.add(files, change, allow_unsigned=True)
        edits.grant(plugin.name, change, given={}, folders={})
        return edits.enable(plugin.name, change)

    def run(self, stored: StoredPlugin) -> str:
        """Run a plugin; return why it failed, empty if it did not."""
        settings = load_settings()
        try:
            run_plugin(
                stored,
                settings=settings,
                warehouse=self.warehouse,
                captures=Captures(open_store(settings)),
                clock=Clock(),
                run_id=uuid4().hex,
                config=self.config,
            )
        except OrchestrationError as error:
            return str(error) if error.remedy else "without a remedy"
        return ""

    def state(self, name: str) -> StoredPlugin:
        """Return a plugin as it is stored now."""
        with self.warehouse.reading() as connection:
            return read_plugin(connection, name)


@pytest.fixture(params=LEVELS)
def cage(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    prepared: Prepared,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Cage]:
    level, state = request.param, tmp_path / "state"
    monkeypatch.setenv("STATE_DIR", str(state))
    monkeypatch.setenv("PLUGINS_ISOLATION", level)
    monkeypatch.setenv("PLUGIN_SECRET_TOKEN", PLANTED)
    secret = tmp_path / "secret"
    secret.write_text(PLANTED)
    status = isolation_status(load_settings())
    assert status.is_usable, status.detail
    url = prepared.sqlite(tmp_path / "warehouse.sqlite")
    name = f"plugins-{uuid4().hex}"
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as server,
        closing(socket.socket(socket.AF_UNIX)) as abstract,
        Warehouse(url, clock=Clock()) as warehouse,
    ):
        abstract.bind(f"\0{name}")
        abstract.listen()
        warehouse.prepare(holds="real")
        config = {
            "port": server.getsockname()[1],
            "abstract": name,
            "secret_file": str(secret),
            "state_dir": str(state),
            "host_pid": os.getpid(),
            "planted": PLANTED,
        }
        yield Cage(level, warehouse, tmp_path / "plugins", url, config)


@pytest.mark.parametrize("plugin", ATTEMPTS, ids=lambda each: each.name)
def test_a_plugin_reaches_nothing_outside_of_its_namespaces(cage: Cage, plugin: HostilePlugin):
    assert cage.run(cage.add(plugin)) == ""
    [(payload,)] = databases.rows(cage.url, select(plugins_rows.c.payload))
    verdict, says = plugin.expected(cage.level)
    assert verdict == "loaded"
    assert json.loads(payload)["got"].startswith(says)


@pytest.mark.parametrize("plugin", CLAIMS, ids=lambda each: each.name)
def test_a_claim_on_what_was_not_granted_fails_the_run_and_loads_nothing(
    cage: Cage, plugin: HostilePlugin
):
    reason = cage.run(cage.add(plugin))
    assert plugin.name in reason
    [(permission, what)] = databases.rows(
        cage.url, select(plugins_violations.c.permission, plugins_violations.c.what)
    )
    assert permission.partition(".")[0] == plugin.says
    assert PLANTED not in reason + what
    assert databases.rows(cage.url, select(plugins_rows.c.row_key)) == []
    assert databases.rows(cage.url, select(outbox.c.topic)) == []


@pytest.mark.parametrize("plugin", SPEECH, ids=lambda each: each.name)
def test_a_broken_protocol_or_limit_fails_the_run_and_loads_nothing(
    cage: Cage, plugin: HostilePlugin
):
    reason = cage.run(cage.add(plugin))
    assert plugin.name in reason
    assert plugin.says in reason
    assert databases.rows(cage.url, select(plugins_rows.c.row_key)) == []
    own = psutil.Process().children(recursive=True)
    others = [
        process for process in psutil.process_iter() if str(cage.folder.parent) in _command(process)
    ]
    left = [process for process in (*own, *others) if "plugin" in _command(process)]
    assert left == []


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def test_three_violations_disable_a_plugin_and_another_one_goes_on(cage: Cage):
    [claim] = [claim for claim in CLAIMS if claim.name == "other_host"]
    [good] = [attempt for attempt in ATTEMPTS if attempt.name == "environment"]
    cage.add(claim)
    for _ in range(3):
        assert cage.state(claim.name).state == "enabled"
        assert "hosts" in cage.run(cage.state(claim.name))
    stopped = cage.state(claim.name)
    assert (stopped.state, stopped.changed_by) == ("disabled", BY_VIOLATIONS)
    assert "3 violations" in (stopped.reason or "")
    assert "not enabled" in cage.run(stopped)
    assert cage.run(cage.add(good)) == ""


def test_a_plugin_that_changed_its_own_folder_is_refused_at_its_next_run(cage: Cage):
    [plugin] = [attempt for attempt in ATTEMPTS if attempt.name == "own_folder"]
    stored = cage.add(plugin)
    assert cage.run(stored) == ""
    changed = "its folder is not the one that was added"
    assert (changed in cage.run(stored)) == (cage.level == "process")
