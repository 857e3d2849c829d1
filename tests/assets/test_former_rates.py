"""Rates that an earlier release loaded stay as they are when their bytes are read again.

The rows are those that the release before the declaration of the dataset wrote, with its captures:
two days of the zipped history, four of XML, one of them restated, with two rejects.
"""

import base64
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import select, text

from orchestration_project.__main__ import main
from orchestration_project.catalog.fx import RATES
from orchestration_project.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.migrating import migration_config
from orchestration_project.tables.fx import fx_rates_daily
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import captures, rejects
from tests import databases
from tests.faulty_server import FaultyServer, Reply, Request

STATE = json.loads(Path(__file__).with_name("former_rates.json").read_text())
VERSION = "0073"
"""The version of the database that the rows are of."""

DAYS = ["2025-09-01", "2025-09-02", "2025-12-31", "2026-01-02", "2026-01-05", "2026-01-06"]
TABLES = [fx_rates_daily, fx_rates_daily.info[HISTORY], rejects]


@pytest.fixture
def url(prepared, set_clock, tmp_path, monkeypatch) -> Iterator[str]:
    """A database with the former rows, and the server that still has the newest documents."""
    url = prepared.sqlite(tmp_path / "warehouse.sqlite")
    for name, content in STATE["files"].items():
        file = tmp_path / "state" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(content))
    with Warehouse(url, clock=Clock()) as warehouse:
        warehouse.prepare(holds="real")
        with warehouse.writing() as connection:
            config = migration_config(connection)
            command.downgrade(config, VERSION)
            for name, table in STATE["tables"].items():
                columns = table["columns"]
                values = ", ".join(f":{column}" for column in columns)
                statement = f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({values})"  # noqa: S608 - names of ours
                rows = [dict(zip(columns, row, strict=True)) for row in table["rows"]]
                connection.execute(text(statement), rows)
            command.upgrade(config, "head")
    with FaultyServer(answer) as server:
        for name, value in {
            "DOMAINS": "fx",
            "DATA_PROFILE": "real",
            "STATE_DIR": f"{tmp_path}/state",
            "DATABASE_URL": url,
            "FX_SOURCE": "api",
            "FX_API_URL": server.url,
            "FX_FIRST_DAY": "2025-09-01",
            "FX_MAX_REJECT_RATIO": "0.5",
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        set_clock("2026-01-07T09:00:00+00:00")
        yield url


def answer(request: Request) -> Reply:
    """Answer with the bytes that were captured last under a name."""
    body = STATE["documents"].get(request.target.removeprefix("/"))
    return Reply(404) if body is None else Reply(body=base64.b64decode(body))


def rows(url: str) -> dict[str, databases.Rows]:
    return {each.name: databases.rows(url, select(each).order_by(*each.c)) for each in TABLES}


def test_a_replay_of_former_captures_changes_no_row(url, capfd):
    before = rows(url)
    assert [len(found) for found in before.values()] == [15, 1, 2]
    assert main(["replay", "--table", fx_rates_daily.name, "--all"]) == 0
    assert "unchanged, nothing was written" in capfd.readouterr().out
    assert rows(url) == before


def test_a_load_of_the_same_bytes_changes_no_row_and_no_history(url):
    before = rows(url)
    for day in DAYS:
        assert main(["load", fx_rates_daily.name, day]) == 0
    after = rows(url)
    assert after[fx_rates_daily.name] == before[fx_rates_daily.name]
    assert after[f"{fx_rates_daily.name}_history"] == before[f"{fx_rates_daily.name}_history"]
    said = [(row[4], row[5], row[6]) for row in after["rejects"]]
    assert set(said) == {(row[4], row[5], row[6]) for row in before["rejects"]}
    assert main(["verify", "--balance"]) == 0


def test_the_asset_the_captures_and_the_partitions_keep_their_names(url):
    assert (RATES.key.path, RATES.source_dataset) == (["fx", "rates_daily"], "eurofxref")
    found = databases.rows(url, select(captures.c.dataset, captures.c.partition_key).distinct())
    assert sorted(found) == [(RATES.source_dataset, day) for day in DAYS]
    partitions = [RATES.partitioning.partition_of(day, today=date.max) for day in DAYS]
    assert [RATES.partitioning.key_of(partition) for partition in partitions] == DAYS
