"""Loaders of symbols' prices, on a Friday evening."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration_project.engine.warehouse import Warehouse
from tests.prepared import Prepared
from tests.resources.price_loading import FRIDAY_EVENING, PriceLoader, light
from tests.resources.weeks import StoppedClock


@pytest.fixture
def clock() -> StoppedClock:
    """A clock that stands still after the session of a Friday."""
    return StoppedClock(FRIDAY_EVENING)


@pytest.fixture
def price_loader(warehouse: Warehouse, tmp_path: Path, clock: StoppedClock) -> PriceLoader:
    """A price loader on either database."""
    return PriceLoader(warehouse, tmp_path, clock)


@pytest.fixture
def light_loader(tmp_path: Path, clock: StoppedClock, prepared: Prepared) -> Iterator[PriceLoader]:
    """A price loader on SQLite alone, where the rules are tried and not the database."""
    prepared.sqlite(tmp_path / "w.sqlite")
    with light(tmp_path, clock) as price_loader:
        yield price_loader
