"""Databases without tables, and with those of the newest version."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from orchestration_project.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse


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


@pytest.fixture
def migrated(empty) -> Warehouse:
    empty.prepare(holds="real")
    return empty
