"""A runner of plugins over SQLite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration_project.engine.warehouse import Warehouse
from tests.plugin_files import usable_isolation
from tests.prepared import Prepared
from tests.resources.plugins.plugin_runner import PluginRunner
from tests.resources.weeks import StoppedClock


@pytest.fixture
def plugins(
    tmp_path: Path, clock: StoppedClock, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PluginRunner]:
    """Plugins in an empty database."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PLUGINS_ISOLATION", usable_isolation())
    with Warehouse(prepared.sqlite(tmp_path / "plugins.sqlite"), clock=clock) as warehouse:
        warehouse.prepare(holds="real")
        yield PluginRunner(warehouse, clock, tmp_path)
