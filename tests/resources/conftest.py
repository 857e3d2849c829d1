"""What tests of resources share: an empty database of either kind, and the way to land in it."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from orchestration_project.resources.warehouse import Warehouse
from tests.resources.weeks import Desk, StoppedClock


@pytest.fixture
def clock() -> StoppedClock:
    """A clock that stands still."""
    return StoppedClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse(
    request: pytest.FixtureRequest, tmp_path: Path, clock: StoppedClock
) -> Iterator[Warehouse]:
    """An empty warehouse for real data; on PostgreSQL in a schema of its own."""
    if request.param == "sqlite":
        url, schema = f"sqlite:///{tmp_path}/warehouse.sqlite", None
    else:
        url, schema = request.getfixturevalue("postgres_url"), f"test_{uuid4().hex}"
    with Warehouse(url, clock=clock, schema=schema) as opened:
        opened.prepare(holds="real")
        yield opened


@pytest.fixture
def desk(warehouse: Warehouse, tmp_path: Path) -> Desk:
    """Lands the partition T1|2025-11-10."""
    return Desk(warehouse, tmp_path / "artifacts")
