"""Fixtures of commands: a database that the settings name, and a STATE_DIR for programs."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestration_project.engine.warehouse import Warehouse
from tests import programs
from tests.prepared import Prepared
from tests.resources.weeks import PartitionLoader, StoppedClock


@pytest.fixture
def clock() -> StoppedClock:
    """A clock that stands still."""
    return StoppedClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def partition_loader(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: StoppedClock,
    prepared: Prepared,
) -> Iterator[PartitionLoader]:
    """Loads the partition T1|2025-11-10 in the database that commands in this process use."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("FINRA_SOURCE", "api")
    with ExitStack() as stack:
        url, schema = prepared.sqlite(tmp_path / "warehouse.sqlite"), None
        if request.param == "postgresql":
            url, schema = stack.enter_context(prepared.schema())
            monkeypatch.setenv("DATABASE_SCHEMA", schema)
        monkeypatch.setenv("DATABASE_URL", url)
        warehouse = stack.enter_context(Warehouse(url, clock=clock, schema=schema))
        warehouse.prepare(holds="real")
        yield PartitionLoader(warehouse, tmp_path / "artifacts")


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    """A STATE_DIR whose programs end with the test."""
    folder = tmp_path / "state"
    yield folder
    programs.kill_all_of(folder)
