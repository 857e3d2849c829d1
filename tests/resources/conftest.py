"""Fixtures of tests of resources: an empty database of either kind, and the way to load in it."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, event
from sqlalchemy.pool import Pool

from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.contracts.queries import Paging
from orchestration_project.engine.http import HttpClient
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.api import FinraApi
from orchestration_project.resources.finra.query_api import QueryApi
from orchestration_project.services.ledger import Ledger
from tests.faulty_server import FaultyServer, Request
from tests.http_clients import make_client
from tests.prepared import Prepared
from tests.resources.exporting import Installation
from tests.resources.finra_server import TOKEN_PATH
from tests.resources.saas_histories import OWN_TABLES
from tests.resources.saas_syncs import SaasSync
from tests.resources.weeks import PartitionLoader, StoppedClock
from tests.s3 import s3, s3_endpoint  # noqa: F401 - fixtures
from tests.saas_demo import SaasDemo, http_client


@pytest.fixture
def clock() -> StoppedClock:
    """A clock that stands still."""
    return StoppedClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse(
    request: pytest.FixtureRequest, tmp_path: Path, clock: StoppedClock, prepared: Prepared
) -> Iterator[Warehouse]:
    """An empty warehouse for real data; on PostgreSQL in a schema."""
    with ExitStack() as stack:
        url, schema = prepared.sqlite(tmp_path / "warehouse.sqlite"), None
        if request.param == "postgresql":
            url, schema = stack.enter_context(prepared.schema())
        opened = stack.enter_context(Warehouse(url, clock=clock, schema=schema))
        opened.prepare(holds="real")
        yield opened


@pytest.fixture
def careless_databases() -> Iterator[None]:
    """Let SQLite leave to the system when to write to disk: no history is about power cuts."""

    def hurry(connection: object, *_: object):
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Pool, "checkout", hurry)
    yield
    event.remove(Pool, "checkout", hurry)


@pytest.fixture
def own_schema() -> str:
    """The name of a schema of PostgreSQL's that there is not yet."""
    return f"own_{uuid4().hex}"


@pytest.fixture
def ledger(warehouse: Warehouse, clock: StoppedClock) -> Ledger:
    """The ledger of runs in the warehouse."""
    return Ledger(warehouse, clock)


@pytest.fixture
def partition_loader(warehouse: Warehouse, tmp_path: Path) -> PartitionLoader:
    """Loads the partition T1|2025-11-10."""
    return PartitionLoader(warehouse, tmp_path / "artifacts")


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Callable[..., tuple[FinraApi, list[Request]]]]:
    """Give a client of a FINRA that a test describes, and the requests that FINRA saw."""
    with ExitStack() as stack:

        def open_for(
            finra: Any,
            *,
            credentials: tuple[str, str] | None = None,
            api_key: str | None = None,
            concurrent_requests: int = 4,
            **changes: Paging,
        ) -> tuple[FinraApi, list[Request]]:
            server = stack.enter_context(FaultyServer(finra))
            http = make_client(tmp_path, "finra_test", use_environment=False)
            api = FinraApi(
                QueryApi(
                    stack.enter_context(http),
                    Captures(FolderStore(tmp_path / "artifacts")),
                    StoppedClock(),
                    name="api",
                    api_url=server.url + "/",
                    token_url=server.url + TOKEN_PATH,
                    credentials=credentials,
                    api_key=SecretStr(api_key) if api_key else None,
                    concurrent_requests=concurrent_requests,
                    **changes,
                )
            )
            return api, server.requests

        yield open_for


@pytest.fixture(scope="module")
def saas_http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpClient]:
    """A client without patience for the systems of `saas_demo`."""
    with http_client(tmp_path_factory.mktemp("http")) as http:
        yield http


@pytest.fixture(scope="package")
def saas_demo() -> Iterator[SaasDemo]:
    """PeopleForce and Jira of the demo; each test has them start over."""
    with SaasDemo() as demo:
        yield demo


@pytest.fixture(scope="session")
def saas_warehouse(
    tmp_path_factory: pytest.TempPathFactory, prepared: Prepared
) -> Iterator[Warehouse]:
    """A database that tests of reconciliation share; histories are tried on both kinds."""
    url = prepared.sqlite(tmp_path_factory.mktemp("saas") / "warehouse.sqlite")
    with Warehouse(url, clock=StoppedClock()) as warehouse:
        warehouse.prepare(holds="real")
        yield warehouse


@pytest.fixture
def saas_sync(saas_warehouse: Warehouse, clock: StoppedClock) -> SaasSync:
    """Two systems without tasks and issues, and our database as if nothing had ever been."""
    with saas_warehouse.writing() as connection:
        for table in OWN_TABLES:
            connection.execute(delete(table))
    return SaasSync(saas_warehouse, clock)


@pytest.fixture
def installation(
    warehouse: Warehouse, clock: StoppedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """A database, an artifact store and what `exports.yaml` says."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    return Installation(warehouse, clock, tmp_path)
