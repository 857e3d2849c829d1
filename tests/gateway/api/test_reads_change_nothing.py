"""A GET changes no state, also one that a page of another site makes a browser send."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import httpx
import pytest
import sqlalchemy as sa

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.api.app import operations_of
from tests.gateway.api.conftest import HOME, Api, streams_that_end

MAY_CHANGE = {
    "access_audit": "log of logins and mutations",
    "access_keys": "the last use of the key of the request",
    "access_sessions": "the last use of the session of the request",
    "plugins_calls": "log of what a plugin asked for",
}
"""Tables that a GET may write into, and why."""

PATHS = [operation.path for operation in operations_of(REGISTRY) if operation.method == "GET"]
PAGES = (
    *("/", "/runs", "/session", "/login", "/logout", "/assets", "/graphql", "/server_info"),
    "/report_asset_materialization/x",
)


@pytest.fixture(autouse=True)
def short_streams(api: Api) -> Iterator[None]:
    """Streams that end soon, as a response is read whole."""
    with streams_that_end(api):
        yield


def contents(warehouse: Warehouse, instance: dg.DagsterInstance) -> Mapping[str, Any]:
    """Return the rows of all tables, and what Dagster stores."""
    stored = sa.MetaData()
    with warehouse.reading() as connection:
        stored.reflect(connection)
        rows = {
            name: sorted(map(repr, connection.execute(sa.select(table))))
            for name, table in stored.tables.items()
            if name not in MAY_CHANGE
        }
    return rows | {
        "runs": [repr(record) for record in instance.get_run_records()],
        "backfills": [repr(backfill) for backfill in instance.get_backfills()],
        "automation": [repr(state) for state in instance.all_instigator_state()],
        "assets": sorted(map(str, instance.all_asset_keys())),
    }


def ask(api: Api, path: str, **headers: str) -> int:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.handle_request(httpx.Request("GET", f"{HOME}{path}", headers=names)).status_code


def filled(path: str) -> str:
    """Return a path with a value for each of its parameters."""
    return "/".join("x" if part.startswith("{") else part for part in path.split("/"))


@pytest.mark.slow
def test_no_get_of_a_viewer_changes_a_table(api: Api):
    key, services = str(api.keys["viewer"]), api.services
    before = contents(services.warehouse, services.instance)
    statuses = {
        path: ask(api, path, x_api_key=key, sec_fetch_site="cross-site")
        for name in PATHS
        for path in (f"/api/v1{filled(name)}", f"/api/v1{filled(name)}?unknown=1")
    }
    statuses |= {path: ask(api, path, x_api_key=key) for path in PAGES}
    after = contents(services.warehouse, services.instance)
    assert [name for name in before.keys() | after.keys() if before[name] != after[name]] == []
    assert MAY_CHANGE.keys().isdisjoint(before)
    assert len(PATHS) > 40
    assert list(statuses.values()).count(200) > 10
