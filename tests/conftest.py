"""What tests of every layer need: settings of a demo source, and a PostgreSQL server."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from orchestration_project.resources.demos import stop_demos
from orchestration_project.settings import Settings, load_settings
from tests.postgres import binaries_asked_for, server_of, server_of_pip
from tests.programs import DEMO


def pytest_configure() -> None:
    """Fix the clock before the definitions are imported: their partitions depend on it."""
    os.environ["CLOCK_NOW"] = DEMO["CLOCK_NOW"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that the workers end together."""
    items.sort(key=lambda item: item.path.parent.name not in ("cli", "sensors", "assets"))


@pytest.fixture
def demo_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a small demo source in a folder of its own; its server ends with the test."""
    for name, value in DEMO.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    yield load_settings()
    stop_demos(load_settings())


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that lives for the session."""
    binaries = binaries_asked_for()
    locks = tmp_path_factory.mktemp("postgres")
    started = server_of(binaries) if binaries else server_of_pip(locks)
    with started as url:
        yield url


@pytest.fixture(scope="module")
def postgres_url(postgres_server: str) -> str:
    """The URL of an empty database that the tests of one module share."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return postgres_server.replace("/postgres?", f"/{name}?")
