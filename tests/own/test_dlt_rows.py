"""Resources that read from elsewhere: `sql_database`, generators; their rows are the capture."""

import sqlite3
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import dlt
import pyarrow as pa
import pytest
from dlt.common.configuration.container import Container
from dlt.common.pipeline import StateInjectableContext
from dlt.sources.sql_database import sql_database

from orchestration_project import Daily, Field, decimal, dlt_source
from orchestration_project.errors import ConfigurationError, SourceError, TransientError
from tests.own.declared import dataset
from tests.own.dlt_loading import DAY, NEXT_DAY

CREATE = """\
CREATE TABLE orders (name TEXT PRIMARY KEY, amount NUMERIC(12, 2), paid_on DATE, note TEXT);
INSERT INTO orders VALUES ('A', 6.82, '2026-01-05', NULL), ('B', 1000000.01, '2026-01-04', 'x');
"""


@pytest.fixture
def database(tmp_path):
    """The file of a shop's database, and its URL in the environment."""
    file = tmp_path / "shop.sqlite"
    with sqlite3.connect(file) as connection:
        connection.executescript(CREATE)
    return file


def snapshot(name="orders", backend: Any = "sqlalchemy"):
    """Return the table of a shop as a dataset, with a snapshot a day."""

    def make(day, url):
        return sql_database(url, table_names=[name], backend=backend)

    return dataset(
        Field("amount", decimal(12, 2), "euros"),
        Field("paid_on", date, "day"),
        Field("note", str, "note", optional=True),
        source=dlt_source(make, capture="rows", secrets={"url": "SHOP_URL"}),
    )


def plain(rows: Any, *fields, **more):
    """Return a dataset of the rows that a generator yields."""

    @dlt.resource(name="plain")
    def resource(day):
        found: Any = rows() if callable(rows) else rows
        yield from found

    return dataset(*fields, source=dlt_source(resource, capture="rows"), **more)


@pytest.mark.slow_after_first
@pytest.mark.parametrize("backend", ["sqlalchemy", "pyarrow"])
def test_a_table_of_a_database_is_loaded_restated_and_replayed(
    loading, database, monkeypatch, backend
):
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{database}")
    declared = snapshot(backend=backend)
    assert loading.load(declared).row_count == 2
    first = loading.rows(declared, "name", "amount", "paid_on", "note")
    assert first == [
        ("A", Decimal("6.82"), date(2026, 1, 5), None),
        ("B", Decimal("1000000.01"), date(2026, 1, 4), "x"),
    ]
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE orders SET amount = 7 WHERE name = 'A'")
    loading.load(declared)
    later = loading.rows(declared, "name", "amount")
    assert later[0] == ("A", Decimal(7))
    database.unlink()
    monkeypatch.delenv("SHOP_URL")
    loading.replay(declared)
    assert loading.rows(declared, "name", "amount") == later
    rows, _ = loading.captured()
    assert str(database) not in rows


def test_a_missing_table_is_a_failure(loading, database, monkeypatch):
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{database}")
    with pytest.raises(SourceError, match="failed"):
        loading.load(snapshot("missing"))


def test_values_are_exact(loading):
    row = {
        "name": "A",
        "amount": Decimal("123456789012.123456"),
        "count": 2**62,
        "is_open": True,
        "day_of": date(2026, 1, 5),
        "at": datetime(2026, 1, 5, 9, 30, 0, 123456, timezone(timedelta(hours=2))),
        "nested": {"b": [Decimal("0.10"), None], "a": UUID(int=5)},
        "raw": b"\x00\xff",
    }
    declared = plain(
        [row],
        Field("amount", decimal(18, 6), "x"),
        Field("count", int, "x"),
        Field("is_open", bool, "x"),
        Field("day_of", date, "x"),
        Field("at", datetime, "x"),
        Field("nested", "json", "x"),
        Field("raw", str, "x"),
    )
    loading.load(declared)
    [found] = loading.rows(declared, "amount", "count", "is_open", "day_of", "at", "nested", "raw")
    assert found == (
        Decimal("123456789012.123456"),
        2**62,
        True,
        date(2026, 1, 5),
        datetime(2026, 1, 5, 7, 30, 0, 123456, UTC),
        '{"a": "00000000-0000-0000-0000-000000000005", "b": [0.10, null]}',
        "AP8=",
    )


def test_a_moment_without_zone_is_a_reject(loading):
    declared = plain(
        [{"name": "A", "at": datetime(2026, 1, 5, 9)}],  # noqa: DTZ001 - that is the case
        Field("at", datetime, "x"),
    )
    with pytest.raises(Exception, match="quarantined"):
        loading.load(declared)


def ending(error):
    """Return rows after which a resource fails."""

    def rows():
        yield {"name": "A"}
        raise error

    return rows


HOSTILE = {
    "raises in the middle": (ending(ValueError("boom")), SourceError, "failed"),
    "loses its connection": (ending(ConnectionResetError("gone")), TransientError, "failed"),
    "yields nothing": ([], SourceError, "has nothing for"),
    "yields texts": (["A", "B"], SourceError, "yields what is not a row"),
    "yields a value of no form": ([{"name": object()}], SourceError, "without a JSON form"),
}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("case", HOSTILE)
def test_a_resource_that_fails_leaves_no_row(loading, case):
    rows, error, said = HOSTILE[case]
    declared = plain(rows)
    with pytest.raises(error, match=said) as raised:
        loading.load(declared)
    assert loading.rows(declared) == []
    assert raised.traceback  # which keeps what the load had open
    assert StateInjectableContext not in Container()


def test_lists_and_tables_of_arrow_are_rows(loading):
    declared = plain([[{"name": "A"}, {"name": "B"}], pa.table({"name": ["C"]})])
    loading.load(declared)
    assert loading.rows(declared, "name") == [("A",), ("B",), ("C",)]


@pytest.mark.slow_after_first
def test_records_have_the_day_where_a_field_names_it(loading):
    rows = [{"name": name, "sold": date(2026, 1, 4 + n)} for n, name in enumerate("ABC")]
    declared = plain(
        rows, Field("sold", date, "day"), partitions=Daily("2026-01-01", column="sold")
    )
    loading.load(declared, DAY)
    loading.load(declared, NEXT_DAY)
    assert loading.rows(declared, "name") == [("B",), ("C",)]


@dlt.resource
def endless_state(updated=dlt.sources.incremental("n")):  # noqa: B008 - as dlt has it
    """A resource with a state."""
    yield {"name": "A", "n": 1}


@dlt.source
def two():
    """A source of two resources."""
    return [endless_state, endless_state.with_name("b")]


WRONG = {
    "a state that is not declared": (
        dlt_source(lambda day: endless_state(), capture="rows"),
        "no state of dlt",
    ),
    "a source of several resources": (
        dlt_source(lambda day: two(), capture="rows"),
        "endless_state, b",
    ),
    "a name that no resource has": (
        dlt_source(lambda day: endless_state(), resource="endles_state", capture="rows"),
        "endless_state",
    ),
    "no resource": (
        dlt_source(lambda day: [1], capture="rows"),
        "a function that returns a source or resource of dlt",
    ),
}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_resource_is_named(loading, case):
    source, expected = WRONG[case]
    with pytest.raises(ConfigurationError) as raised:
        loading.load(dataset(source=source))
    assert expected in raised.value.expected


def test_dlt_that_is_not_installed_is_named_with_its_extra(loading, monkeypatch):
    from orchestration_project.engine.connections import dlt_private

    monkeypatch.setitem(sys.modules, "dlt.version", None)
    with pytest.raises(ConfigurationError, match="dlt is not installed") as raised:
        dlt_private.read_dlt_version()
    assert raised.value.remedy.startswith("pip install 'orchestration_project[dlt]'")
