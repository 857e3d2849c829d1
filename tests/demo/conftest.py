"""Servers for the tests: a shared one, and ones of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.program import DEFAULTS, Demo, StartDemo


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[StartDemo]:
    """Start servers with small data and a fixed clock, by default over one folder; end them all."""
    started: list[Demo] = []

    def start(folder: str = "state", **options: object) -> Demo:
        started.append(Demo(tmp_path / folder, DEFAULTS | options))
        return started[-1]

    yield start
    for demo in started:
        if demo.process.returncode is None:
            demo.stop()


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Return a server that all tests share which leave nothing behind."""
    shared = Demo(tmp_path_factory.mktemp("demo"), DEFAULTS)
    yield shared
    shared.stop()
