"""What tests of assets share: an empty database of either kind, and an instance of Dagster."""

from collections.abc import Iterator

import dagster as dg
import psycopg
import pytest


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, demo_settings, tmp_path, postgres_server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database, set as DATABASE_URL."""
    if request.param == "sqlite":
        found = f"sqlite:///{tmp_path}/warehouse.sqlite"
    else:
        name = f"assets_{tmp_path.name}".lower()[:60]
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        found = postgres_server.replace("/postgres?", f"/{name}?")
    monkeypatch.setenv("DATABASE_URL", found)
    return found


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance
