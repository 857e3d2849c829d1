"""Tables of sources that a project declares: made, widened, compared, not changed otherwise."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from threading import Barrier

import pytest
from sqlalchemy import insert, inspect, select

from orchestration_project import Daily, Dataset, Field, decimal, file_source
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.subjects import CapturedLines
from orchestration_project.engine.own.contracts import declare_table
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.declared_tables import describe
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.operations_backup import open_installation
from orchestration_project.services.erasure.requests import find_recorded_kinds
from orchestration_project.services.repair.losses import list_published_tables
from orchestration_project.settings import load_settings
from orchestration_project.tables.schema import HISTORY, METADATA, OWN

NAME = Field("name", str, "its name", subject="person", personal=True)
RATE = Field("rate", decimal(12, 6), "its rate")


def forget():
    """Forget the tables that a test declared, as another process would not know them."""
    for table in own():
        METADATA.remove(table)


def own():
    return [table for table in METADATA.tables.values() if table.info.get(OWN)]


def described():
    return {table.name: describe(table) for table in own()}


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


@pytest.mark.slow_after_first
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


@pytest.mark.slow_after_first
def test_of_two_programs_that_apply_at_once_one_makes_the_tables(migrated):
    declare(NAME, RATE)
    start = Barrier(2)

    def apply(_):
        start.wait()
        migrated.prepare(holds="real", changes_own=True)

    with ThreadPoolExecutor(2) as programs:
        list(programs.map(apply, range(2)))
    assert (migrated.own_changes(), migrated.other_own_differences()) == ([], [])
    declare(NAME, RATE, Field("note", str, "a note", optional=True))
    with ThreadPoolExecutor(2) as programs:
        list(programs.map(apply, range(2)))
    assert all(names.count("note") == 1 for names in columns(migrated).values())


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


@pytest.mark.slow_after_first
def test_a_program_without_the_sources_uses_the_database_as_before(migrated):
    declare(NAME, RATE)
    migrated.upgrade(holds="real")
    before = described()
    forget()
    assert "sample_rates" not in METADATA.tables
    migrated.prepare(holds="real")
    assert "table sample_rates" not in migrated.compare_tables()
    assert described() == before
    assert METADATA.tables["sample_rates"].info[HISTORY].name == "sample_rates_history"
    forget()
    declare(NAME, RATE)
    migrated.prepare(holds="real")


def test_tables_of_one_database_are_not_looked_for_in_the_next(migrated, tmp_path, prepared):
    declare(NAME, RATE)
    migrated.upgrade(holds="real")
    forget()
    migrated.prepare(holds="real")
    assert [table.name for table in own()] == ["sample_rates", "sample_rates_history"]
    with Warehouse(prepared.sqlite(tmp_path / "other.sqlite"), clock=Clock()) as other:
        other.prepare(holds="real")
        assert own() == []


@pytest.mark.slow
def test_a_copy_has_the_rows_of_tables_that_another_project_declares(migrated, tmp_path, prepared):
    fill(migrated)
    with Warehouse(prepared.sqlite(tmp_path / "copy.sqlite"), clock=Clock()) as copy:
        assert copy.fill_from(migrated)["sample_rates"] == 1
        [name] = copy.frame(select(table := METADATA.tables["sample_rates"]), table)["name"]
        assert name == "ECB"
        copy.prepare(holds="real")
        assert "table sample_rates" not in copy.compare_tables()


def test_captures_of_rows_that_another_project_declares_are_known_as_needed(migrated):
    fill(migrated)
    migrated.prepare(holds="real")
    assert METADATA.tables["sample_rates"] in list_published_tables()


def test_persons_in_tables_of_another_project_can_be_erased(migrated):
    fill(migrated)
    migrated.prepare(holds="real")
    kind = find_recorded_kinds()["sample/person"]
    assert [column.column.name for column in kind.columns] == ["name"]
    lines = CapturedLines(source="files", dataset="sample_rates", delimiter=",", field="name")
    assert kind.records == [lines]


@pytest.mark.slow
def test_a_backup_of_postgresql_has_tables_that_another_project_declares(
    prepared, tmp_path, monkeypatch
):
    parts: dict[str, bytes] = {}

    def write(name, chunks):
        parts[name] = b"".join(chunks)
        return sha256(parts[name]).hexdigest(), len(parts[name])

    source, target = prepared.postgresql(), prepared.postgresql()
    with Warehouse(source, clock=Clock()) as warehouse:
        warehouse.prepare(holds="real")
        fill(warehouse)
    backup = project_of(source, tmp_path, monkeypatch).dump(write, tmp_path)
    assert backup.row_counts["sample_rates"] == 1
    forget()
    project_of(target, tmp_path, monkeypatch).restore(backup, lambda part: iter([parts[part.name]]))
    forget()
    with Warehouse(target, clock=Clock()) as restored:
        restored.prepare(holds="real")
        found = restored.frame(select(table := METADATA.tables["sample_rates"]), table)
        assert found["name"].to_list() == ["ECB"]


def project_of(url, tmp_path, monkeypatch):
    values = {"DATABASE_URL": url, "STATE_DIR": str(tmp_path), "DATA_PROFILE": "real"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return open_installation(load_settings()).project


def fill(warehouse):
    """Make the table of a project with a row, and forget that this process declared it."""
    declare(NAME, RATE)
    warehouse.upgrade(holds="real")
    row = {"day": date(2026, 1, 2), "name": "ECB", "rate": Decimal("1.08"), "capture_id": 1}
    with warehouse.writing() as connection:
        table = METADATA.tables["sample_rates"]
        connection.execute(insert(table), [{**row, "known_from": datetime(2026, 1, 3, tzinfo=UTC)}])
    forget()
