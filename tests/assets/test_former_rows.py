"""Rows that an earlier release loaded stay as they are when their bytes are read again.

The rows are those that the releases before the declarations of the datasets wrote, with their
captures. Of rates: two days of the zipped history, four of XML, one of them restated, with two
rejects. Of market volume: two years' files, a restated day with a byte order mark, lines with too
many fields, without a code and with a negative amount, and trailing spaces after a day. Of FINRA's
months: two tiers, a restatement that removes a row, another one of a day of publication alone, and
a line of another summary. Of its short interest: settlement dates, one of them restated.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, Connection, inspect, select, text

from orchestration_project.__main__ import main
from orchestration_project.catalog.cboe import VOLUME
from orchestration_project.catalog.fx import RATES
from orchestration_project.domains.cboe.tables import off_exchange_share_daily
from orchestration_project.domains.finra.equity_datasets import OTC_MONTHLY, SHORT_INTEREST
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.dataset import Dataset
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.datasets import engine_dataset
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import captures, rejects
from tests import databases
from tests.faulty_server import FaultyServer, Reply, Request
from tests.resources.finra_server import Finra

pytestmark = pytest.mark.slow_on_postgresql


@dataclass(frozen=True)
class Former:
    """What an earlier release has loaded of a dataset.

    Attributes:
        dataset: The dataset.
        file: The rows, the files of captures, and the newest documents by name.
        days: The loaded partitions.
        derived: Tables that a load derives.
        counts: Number of rows of the table, its history, rejects and each derived table.
        settings: Settings beside its source and address.
    """

    dataset: Dataset
    file: str
    days: list[str]
    derived: list[Any]
    counts: list[int]
    settings: Mapping[str, str]

    @cached_property
    def state(self) -> Mapping[str, Any]:
        return json.loads(Path(__file__).with_name(self.file).read_text())

    @property
    def tables(self) -> list[Any]:
        table = self.dataset.table
        return [table, table.info[HISTORY], rejects, *self.derived]

    def insert(self, connection: Connection) -> None:
        """Insert the rows; a column that they lack is NULL."""
        for name, table in self.state["tables"].items():
            columns = table["columns"]
            flags = {
                column["name"]
                for column in inspect(connection).get_columns(name)
                if isinstance(column["type"], Boolean)
            }
            values = ", ".join(f":{column}" for column in columns)
            statement = f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({values})"  # noqa: S608 - names of ours
            rows = [
                {
                    column: bool(value) if column in flags and value is not None else value
                    for column, value in zip(columns, row, strict=True)
                }
                for row in table["rows"]
            ]
            connection.execute(text(statement), rows)

    def answer(self, request: Request) -> Reply:
        """Answer with the bytes that were captured last under a name, or with FINRA's records."""
        if "records" in self.state:
            fields = {field.name: field.kind for field in self.dataset.contract.fields}
            return Finra(self.state["records"], self.state["published"], fields).answer(request)
        body = self.state["documents"].get(request.target.removeprefix("/"))
        return Reply(404) if body is None else Reply(body=base64.b64decode(body))

    def rows(self, url: str) -> dict[str, databases.Rows]:
        return {
            table.name: databases.rows(url, select(table).order_by(*table.c))
            for table in self.tables
        }


FORMER = [
    Former(
        RATES,
        "former_rates.json",
        ["2025-09-01", "2025-09-02", "2025-12-31", "2026-01-02", "2026-01-05", "2026-01-06"],
        [],
        [15, 1, 2],
        {"FX_FIRST_DAY": "2025-09-01"},
    ),
    Former(
        VOLUME,
        "former_volume.json",
        ["2025-12-30", "2025-12-31", "2026-01-02", "2026-01-05", "2026-01-06"],
        [off_exchange_share_daily],
        [9, 2, 3, 20],
        {"CBOE_FIRST_DAY": "2025-12-30"},
    ),
    Former(
        engine_dataset(OTC_MONTHLY),
        "former_monthly.json",
        ["NMS|2025-07-01", "NMS|2025-08-01", "OTCE|2025-07-01"],
        [],
        [4, 3, 2],
        {"FINRA_DATASETS": "otc_monthly", "FINRA_FIRST_WEEK": "2025-06-30"},
    ),
    Former(
        engine_dataset(SHORT_INTEREST),
        "former_interest.json",
        ["2025-11-16", "2025-12-01", "2025-12-16"],
        [],
        [4, 2, 2],
        {"FINRA_DATASETS": "short_interest", "FINRA_FIRST_WEEK": "2025-06-30"},
    ),
]


@pytest.fixture(params=FORMER, ids=lambda former: former.dataset.table.name)
def former(request) -> Former:
    return request.param


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, former, prepared, set_clock, tmp_path, monkeypatch) -> Iterator[str]:
    """A database with the former rows, and the server that still has the newest documents."""
    url = (
        prepared.sqlite(tmp_path / "warehouse.sqlite")
        if request.param == "sqlite"
        else prepared.postgresql()
    )
    for name, content in former.state["files"].items():
        file = tmp_path / "state" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(content))
    with Warehouse(url, clock=Clock()) as warehouse:
        warehouse.prepare(holds="real")
        with warehouse.writing() as connection:
            former.insert(connection)
    domain = former.dataset.domain
    with FaultyServer(former.answer) as server:
        for name, value in {
            "DOMAINS": domain,
            "DATA_PROFILE": "real",
            "STATE_DIR": f"{tmp_path}/state",
            "DATABASE_URL": url,
            f"{domain.upper()}_SOURCE": "api",
            f"{domain.upper()}_API_URL": server.url,
            f"{domain.upper()}_MAX_REJECT_RATIO": "0.9",
            "NO_PROXY": "127.0.0.1",
            **former.settings,
        }.items():
            monkeypatch.setenv(name, value)
        set_clock("2026-01-07T17:00:00+00:00")
        yield url


@pytest.mark.slow_after_first
def test_a_replay_of_former_captures_changes_no_row(url, former, capfd):
    before = former.rows(url)
    assert [len(found) for found in before.values()] == former.counts
    assert main(["replay", "--table", former.dataset.table.name, "--all"]) == 0
    assert "unchanged, nothing was written" in capfd.readouterr().out
    assert former.rows(url) == before


@pytest.mark.slow
def test_a_load_of_the_same_bytes_changes_no_row_and_no_history(url, former):
    before = former.rows(url)
    for day in former.days:
        assert main(["load", former.dataset.table.name, day]) == 0
    after = former.rows(url)
    for table in former.tables:
        assert table is rejects or after[table.name] == before[table.name]
    said = [(row[4], row[5], row[6]) for row in after["rejects"]]
    assert set(said) == {(row[4], row[5], row[6]) for row in before["rejects"]}
    assert main(["verify", "--balance"]) == 0


NAMES = {
    "fx_rates_daily": (["fx", "rates_daily"], "eurofxref"),
    "market_volume_daily": (["cboe", "market_volume_daily"], "market_history"),
    "finra_otc_monthly": (["finra", "otc_monthly"], "monthlySummary"),
    "finra_short_interest": (["finra", "short_interest"], "consolidatedShortInterest"),
}


def test_the_asset_the_captures_and_the_partitions_keep_their_names(url, former):
    dataset, days = former.dataset, former.days
    assert (dataset.key.path, dataset.source_dataset) == NAMES[dataset.table.name]
    found = databases.rows(url, select(captures.c.dataset, captures.c.partition_key).distinct())
    assert sorted(found) == [(dataset.source_dataset, day) for day in days]
    partitions = [dataset.partitioning.partition_of(day, today=date.max) for day in days]
    assert [dataset.partitioning.key_of(partition) for partition in partitions] == days
