"""A desk where symbols' prices land, on a Friday evening."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration_project.engine.warehouse import Warehouse
from tests.prepared import Prepared
from tests.resources.prices_desk import FRIDAY_EVENING, Desk, light
from tests.resources.weeks import StoppedClock


@pytest.fixture
def clock() -> StoppedClock:
    """A clock that stands still after the session of a Friday."""
    return StoppedClock(FRIDAY_EVENING)


@pytest.fixture
def desk(warehouse: Warehouse, tmp_path: Path, clock: StoppedClock) -> Desk:
    """A desk on either database."""
    return Desk(warehouse, tmp_path, clock)


@pytest.fixture
def light_desk(tmp_path: Path, clock: StoppedClock, prepared: Prepared) -> Iterator[Desk]:
    """A desk on SQLite alone, where the rules are tried and not the database."""
    prepared.sqlite(tmp_path / "w.sqlite")
    with light(tmp_path, clock) as desk:
        yield desk
