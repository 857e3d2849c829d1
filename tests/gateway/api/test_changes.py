"""The change feed over HTTP: by pages, by the client, and as it grows."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import Table, delete, select, update
from starlette.applications import Starlette

from orchestration_project.client import ApiError, Client
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
)
from orchestration_project.engine.warehouse.chain_amending import record_amendments
from orchestration_project.gateway.api.app import routes
from orchestration_project.gateway.api.data import served
from orchestration_project.tables.catalogue import known_tables
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import landings
from tests.gateway.api.conftest import HOME, SOMEBODY, Api
from tests.gateway.api.streams import followed
from tests.resources.weeks import MONDAY, PartitionLoader, row

NAME = finra_otc_weekly.name
FEED = f"/tables/{NAME}/changes"


@pytest.fixture
def client(api):
    with Client(HOME, str(api.keys["viewer"]), transport=api) as client:
        yield client


@pytest.fixture
def loader(api: Api, tmp_path):
    """Loads a week that no other test has, which is removed at the end."""
    yield PartitionLoader(
        api.services.warehouse, tmp_path, week_start=MONDAY + timedelta(days=7000)
    )
    erase(api, finra_otc_weekly, finra_otc_weekly_history)


def erase(api: Api, *tables: Table) -> None:
    """Delete the rows of that week, which the chain records as an erasure."""
    at = datetime(2042, 1, 1, tzinfo=UTC)
    with (
        api.services.warehouse.writing() as connection,
        record_amendments(connection, "erasure", "request", at),
    ):
        for table in tables:
            connection.execute(delete(table).where(table.c.week_start > MONDAY.replace(year=2040)))


def count_rows_added(api: Api, group_id: str, more: int) -> None:
    """Change the count of a load."""
    changed = update(landings).where(landings.c.group_id == group_id)
    with api.services.warehouse.writing() as connection:
        connection.execute(changed.values(rows_added=landings.c.rows_added + more))


def test_a_load_that_counted_other_changes_is_a_failure(api, client, loader, loaded):
    [*_, last] = client.changes(NAME)
    group_id = loader.write_batch(row("AAA")).group_id
    count_rows_added(api, group_id, 1)
    try:
        with pytest.raises(ApiError, match="lack changes that a load counted") as refusal:
            list(client.changes(NAME, after=last.cursor))
    finally:
        count_rows_added(api, group_id, -1)
    assert refusal.value.problem.status == 500
    assert len(list(client.changes(NAME, after=last.cursor))) == 1


@pytest.mark.slow
def test_changes_come_by_pages_and_the_client_reads_all(api, client, loaded):
    page = api.get(f"{FEED}?limit=2")
    assert (len(page["changes"]), page["is_more"]) == (2, True)
    following = api.get(f"{FEED}?limit=2&after={quote(page['next_cursor'])}")
    assert page["changes"][-1]["cursor"] == page["next_cursor"]
    found = list(client.changes(NAME))
    first = [(change.cursor, change.row) for change in found[:4]]
    pages = [*page["changes"], *following["changes"]]
    assert first == [(page["cursor"], page["row"]) for page in pages]
    with api.services.warehouse.reading() as connection:
        rows = connection.execute(select(finra_otc_weekly)).all()
    added = [change for change in found if change.change != "reset"]  # of weeks that were erased
    assert {change.change for change in added} == {"added"}
    assert len(added) == len(rows)
    assert {change.cause for change in added} == {"first"}
    assert list(found[0].row or {})[-2:] == ["capture_id", "known_from"]
    assert list(client.changes(NAME, after=found[-1].cursor)) == []
    assert list(client.changes(NAME, after="latest")) == []
    [named, *_] = client.changes(NAME, columns=["share_quantity"])
    assert list(named.row or {})[-1] == "share_quantity"


@pytest.mark.slow
def test_a_stream_has_what_is_committed_from_now_and_goes_on_after_a_cursor(api, loader, loaded):
    services = replace(api.services, feeds={}, caller=lambda: SOMEBODY, recheck_seconds=3600.0)
    app = Starlette(routes=routes(services))
    stream_of: Any = {"path": f"{FEED}/stream", "event_type": "change", "id_field": "cursor"}

    async def follow():
        async with followed(app, **stream_of) as stream:
            await asyncio.to_thread(loader.write_batch, row("AAA"), row("BBB"))
            first = await stream.read_and_check_events(2)
        changed = [row("AAA", share_quantity=7), row("BBB")]
        await asyncio.to_thread(lambda: loader.write_batch(*changed, version="v2"))
        async with followed(app, last=first[0]["cursor"], **stream_of) as stream:
            return first, await stream.read_and_check_events(2)

    first, then = api.runner.run(follow())
    assert [(change["change"], change["row"]["symbol"]) for change in first] == [
        ("added", "AAA"),
        ("added", "BBB"),
    ]
    assert [(change["change"], change["row"]["symbol"]) for change in then] == [
        ("added", "BBB"),
        ("changed", "AAA"),
    ]


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/tables/nothing/changes", 404, "table or view not found: 'nothing'"),
        ("/tables/finra_symbols/changes", 422, "finra_symbols keeps no history"),
        (f"{FEED}?after=x", 422, "invalid cursor"),
        (f"{FEED}?after=9999.abcdef", 422, "invalid cursor: it names a load that"),
        (f"{FEED}?columns=nothing", 422, "nothing"),
        (f"{FEED}?limit=0", 422, "limit"),
        ("/tables/finra_symbols/changes/stream", 422, "finra_symbols keeps no history"),
        ("/tables/inbox/changes/stream", 404, "table or view not found"),
    ],
)
def test_what_has_no_feed_is_refused(api, path: str, status: int, detail: str):
    problem = api.expect_problem("GET", path, "admin")
    assert problem["status"] == status
    assert detail in str(problem)


@pytest.mark.slow
def test_a_role_follows_no_table_that_it_cannot_read(api):
    hidden = [name for name in known_tables() if name not in served()]
    assert hidden
    for name in hidden:
        assert api.expect_problem("GET", f"/tables/{name}/changes", "admin")["status"] == 404
    with_history = [name for name, table in served().items() if HISTORY in table.info]
    assert with_history
    for name in with_history:
        rows = api.ask("GET", f"/tables/{name}", "viewer").status_code
        assert api.ask("GET", f"/tables/{name}/changes", "viewer").status_code == rows


def test_a_stream_of_another_place_is_refused(client):
    with pytest.raises(ApiError, match="invalid cursor"):
        next(iter(client.follow(NAME, after="9999.abcdef")))
