"""Plugins that are added, granted and enabled in one database, and run by the host."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Table, delete, insert, select

from orchestration_project.domains.plugins.manifest import Permissions, read_manifest
from orchestration_project.domains.plugins.tables import (
    plugins_calls,
    plugins_grants,
    plugins_rows,
    plugins_violations,
)
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.plugins.changes import PluginChange, write_plugin
from orchestration_project.resources.plugins.records import REQUEST_PREFIX
from orchestration_project.resources.plugins.running import (
    EndpointAnswer,
    PluginResult,
    call_endpoint,
    run_plugin,
)
from orchestration_project.resources.plugins.state import StoredPlugin, read_plugin
from orchestration_project.resources.plugins.store import unpack
from orchestration_project.settings import load_settings
from tests.plugin_files import manifest
from tests.resources.weeks import StoppedClock

TITLES = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}


HANG = "import time\ntime.sleep(600)"
"""The statements of a plugin that does nothing until it is ended."""


def body(text: str) -> str:
    """Return a plugin that does these statements in its run."""
    lines = "\n".join(f"    {line}" for line in text.strip().splitlines())
    return f"from plugin import start, RefusedError, FailedError\n\nwith start() as run:\n{lines}\n"


@dataclass
class PluginRunner:
    """Adds plugins to a database and runs them."""

    warehouse: Warehouse
    clock: StoppedClock
    tmp_path: Path
    log: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    run_count: int = 0

    def add(
        self,
        main: str,
        *,
        granted: Mapping[str, Any] | None = None,
        folders: Mapping[str, str] | None = None,
        budget: Mapping[str, int] | None = None,
        state: str = "enabled",
        **changes: Any,
    ) -> StoredPlugin:
        """Add a plugin with this code and fields; by default all that it requests is granted."""
        changes.setdefault("row_schemas", {"items": TITLES})
        text = yaml.safe_dump(manifest(**changes, **({"budget": budget} if budget else {})))
        files = {"plugin.yaml": text.encode(), "main.py": main.encode()}
        settings = load_settings()
        sha256 = unpack(settings, open_store(settings), files)
        declared = read_manifest(text)
        permissions = declared.permissions
        if granted is not None:
            permissions = Permissions.model_validate(granted)
        change = PluginChange("admin", self.clock.now())
        row = {
            "id": declared.id,
            "version": declared.version,
            "sha256": sha256,
            "publisher": declared.publisher,
            "kind": declared.kind,
            "state": state,
            "share": 1.0,
            "listed_keys": "[]",
            "manifest": declared.model_dump_json(),
            "is_signed": False,
            "granted_number": 1,
            "reason": None,
        }
        grant = {
            "plugin": declared.id,
            "number": 1,
            "version": declared.version,
            "sha256": sha256,
            "permissions": permissions.model_dump_json(),
            "budget": declared.budget.model_dump_json(),
            "folders": json.dumps(dict(folders or {})),
            "granted_by": "admin",
            "granted_at": self.clock.now(),
            "is_current": True,
        }
        with self.warehouse.writing() as connection:
            write_plugin(connection, change, "enable", row)
            own = plugins_grants.c.plugin == declared.id
            connection.execute(delete(plugins_grants).where(own))
            connection.execute(insert(plugins_grants), [grant])
        return self.stored(declared.id)

    def stored(self, plugin: str = "rss") -> StoredPlugin:
        """Return a plugin as it is stored now."""
        with self.warehouse.reading() as connection:
            return read_plugin(connection, plugin)

    def run(self, stored: StoredPlugin | None = None, **given: Any) -> PluginResult:
        """Run a plugin once, under a new run ID."""
        self.run_count += 1
        settings = load_settings()
        return run_plugin(
            stored or self.stored(),
            settings=settings,
            warehouse=self.warehouse,
            captures=Captures(open_store(settings)),
            clock=self.clock,
            **{"run_id": f"run-{self.run_count}", "log": self._log, **given},
        )

    def call(self, name: str, **parameters: str) -> EndpointAnswer:
        """Request an endpoint of the plugin."""
        self.run_count += 1
        return call_endpoint(
            self.stored(),
            name,
            parameters,
            settings=load_settings(),
            warehouse=self.warehouse,
            clock=self.clock,
            request_id=f"{REQUEST_PREFIX}{self.run_count}",
        )

    def rows(self, table: Table = plugins_rows) -> Sequence[Any]:
        """Return all rows of a table, by key."""
        with self.warehouse.reading() as connection:
            return connection.execute(select(table).order_by(*table.primary_key.columns)).all()

    def payloads(self) -> dict[str, str]:
        """Return loaded payloads by key."""
        return {row.row_key: row.payload for row in self.rows()}

    def calls(self) -> list[tuple[str, str, str]]:
        """Return recorded calls as kind, target and verdict."""
        return [(row.kind, row.target, row.verdict) for row in self.rows(plugins_calls)]

    def violations(self) -> list[str]:
        """Return the permissions of recorded violations."""
        return [row.permission for row in self.rows(plugins_violations)]

    def _log(self, level: str, text: str) -> None:
        self.log.append((level, text))
