"""Tables of sources that a project declares: made, widened, compared, not changed otherwise."""

import pytest
from sqlalchemy import inspect

from orchestration_project import Daily, Dataset, Field, decimal, file_source
from orchestration_project.engine.warehouse.migrating import declared_sha256
from orchestration_project.engine.warehouse.own_schema import own_tables
from orchestration_project.errors import ConfigurationError
from orchestration_project.own.contracts import declare_table
from orchestration_project.tables.schema import METADATA

NAME = Field("name", str, "its name")
RATE = Field("rate", decimal(12, 6), "its rate")


def forget():
    """Forget the tables that a test declared, as another process would not know them."""
    for table in own_tables():
        METADATA.remove(table)
    declared_sha256.cache_clear()


@pytest.fixture(autouse=True)
def _only_our_tables():
    yield
    forget()


def declare(*fields):
    """Declare the table of a source, as a process does that has just started."""
    forget()
    source = file_source("{partition}.csv", format="csv")
    made = Dataset(
        "sample_rates", key=["name"], partitions=Daily("2026-01-01"), fields=fields, source=source
    )
    declare_table(made, "sample")


def columns(warehouse):
    with warehouse.reading() as connection:
        inspector = inspect(connection)
        return {
            name: [column["name"] for column in inspector.get_columns(name)]
            for name in ("sample_rates", "sample_rates_history")
        }


def test_a_missing_table_is_refused_until_it_is_applied(migrated):
    declare(NAME, RATE)
    assert [change.says for change in migrated.own_changes()] == [
        "create table sample_rates",
        "create table sample_rates_history",
    ]
    with pytest.raises(ConfigurationError, match="project's sources declare") as raised:
        migrated.prepare(holds="real")
    assert raised.value.found.startswith("table sample_rates is missing")
    assert "schema apply" in raised.value.remedy
    migrated.prepare(holds="real", changes_own=True)
    migrated.prepare(holds="real")
    assert (migrated.own_changes(), migrated.other_own_differences()) == ([], [])
    found = columns(migrated)
    assert found["sample_rates"] == ["day", "name", "rate_micros", "capture_id", "known_from"]


def test_an_optional_column_is_added_to_table_and_history(migrated):
    declare(NAME, RATE)
    migrated.upgrade(holds="real")
    declare(NAME, RATE, Field("note", str, "a note", optional=True))
    changes = migrated.own_changes()
    assert [change.says for change in changes] == [
        "add column sample_rates.note",
        "add column sample_rates_history.note",
    ]
    assert migrated.other_own_differences() == []
    migrated.upgrade(holds="real")
    assert all(names[-1] == "note" for names in columns(migrated).values())


def test_another_type_or_a_required_column_is_named_and_not_changed(migrated):
    declare(NAME, Field("rate", int, "its rate"))
    migrated.upgrade(holds="real")
    before = columns(migrated)
    declare(NAME, Field("rate", str, "its rate"), Field("unit", str, "its unit"))
    assert migrated.own_changes() == []
    others = migrated.other_own_differences()
    assert "column sample_rates.unit is missing" in others
    assert any(text.startswith("column sample_rates.rate has type") for text in others)
    with pytest.raises(ConfigurationError, match="project's sources declare"):
        migrated.upgrade(holds="real")
    assert columns(migrated) == before


def test_a_program_without_the_sources_uses_the_database_as_before(migrated):
    declare(NAME, RATE)
    migrated.upgrade(holds="real")
    forget()
    migrated.prepare(holds="real")
    assert "table sample_rates" in migrated.compare_tables()
    declare(NAME, RATE)
    migrated.prepare(holds="real")
