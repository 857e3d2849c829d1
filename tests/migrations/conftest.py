"""Databases without tables, and with those of the newest version."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from tests.prepared import Prepared


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request, tmp_path) -> Iterator[Warehouse]:
    """A database without tables."""
    url = f"sqlite:///{tmp_path}/x.sqlite"
    if request.param == "postgresql":
        server, name = request.getfixturevalue("postgres_server"), f"empty_{uuid4().hex}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        url = server.replace("/postgres?", f"/{name}?")
    with Warehouse(url, clock=Clock()) as warehouse:
        yield warehouse


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated(request, tmp_path, prepared: Prepared) -> Iterator[Warehouse]:
    """A database with the tables that all versions together make: a copy of one that they made."""
    is_sqlite = request.param == "sqlite"
    url = prepared.sqlite(tmp_path / "x.sqlite") if is_sqlite else prepared.postgresql()
    with Warehouse(url, clock=Clock()) as warehouse:
        warehouse.prepare(holds="real")
        yield warehouse
