"""Declared tables compared with those of a database, and the hash that runs compare instead."""

from collections.abc import Callable, Iterable

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    MetaData,
    Table,
    Text,
    select,
    text,
    update,
)

from orchestration_project.domains.prices import tables as prices
from orchestration_project.engine.warehouse import Warehouse, migrating
from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations import NEWEST_VERSION, SCHEMA_HASH, read_schema_hash
from orchestration_project.tables import spine
from orchestration_project.tables.operations_deployment import operations_hosts
from orchestration_project.tables.schema import METADATA


def recreate_hosts(connection: Connection, change: Callable[[Column], Column]) -> None:
    """Create `operations_hosts` again with columns that ``change`` returns."""
    columns = [change(column._copy()) for column in operations_hosts.columns]
    create_hosts(connection, columns)


def create_hosts(connection: Connection, columns: Iterable[Column]) -> None:
    connection.execute(text("DROP TABLE operations_hosts"))
    table = Table("operations_hosts", MetaData(), *columns, sqlite_with_rowid=False)
    table.create(connection)
    for index in operations_hosts.indexes:
        copied = [table.c[column.name] for column in index.columns]
        Index(str(index.name), *copied, unique=index.unique).create(connection)


def refusal(warehouse: Warehouse) -> ConfigurationError:
    with pytest.raises(ConfigurationError, match="not those that this program declares") as error:
        warehouse.compare_tables()
    return error.value


@pytest.mark.slow_after_first
def test_tables_that_all_versions_make_are_the_declared_ones(migrated):
    assert migrated.compare_tables() == []


def test_the_recorded_hash_is_that_of_the_declared_tables():
    assert read_schema_hash() == migrating.hash_packaged_schema(), "make migration NAME=…"
    assert SCHEMA_HASH.read_text().split()[0] == NEWEST_VERSION


@pytest.mark.parametrize("version", [NEWEST_VERSION, "0001"])
def test_the_hash_of_another_version_is_not_taken(version, tmp_path):
    recorded = tmp_path / "schema.sha256"
    recorded.write_text(f"{version} 12ab\n")
    assert read_schema_hash(recorded) == ("12ab" if version == NEWEST_VERSION else None)


def test_a_process_that_declares_all_tables_takes_their_hash(tmp_path):
    recorded = tmp_path / "schema.sha256"
    recorded.write_text(f"{NEWEST_VERSION} 12ab\n")
    taken = migrating.hash_declared_schema(recorded)[migrating.SCHEMA_LABEL]
    assert taken == migrating.hash_packaged_schema()


@pytest.mark.slow_after_first
def test_a_missing_column_is_named(migrated):
    with migrated.writing() as connection:
        connection.execute(text("ALTER TABLE blobs DROP COLUMN storage_uri"))
    error = refusal(migrated)
    assert error.found == f"version {migrated.version()}: column blobs.storage_uri is missing"
    assert "`orchestrate migrate`" in error.remedy


def test_a_column_of_another_type_is_named_with_both_types(migrated):
    def change(column: Column) -> Column:
        if column.name == "release":
            column.type = BigInteger()
        return column

    with migrated.writing() as connection:
        recreate_hosts(connection, change)
    declared = "TEXT" if migrated.file else 'TEXT COLLATE "C"'
    message = f"column operations_hosts.release has type BIGINT, not {declared}"
    assert message in str(refusal(migrated))


def test_a_column_that_accepts_null_is_named(migrated):
    def change(column: Column) -> Column:
        column.nullable = not column.primary_key
        return column

    with migrated.writing() as connection:
        recreate_hosts(connection, change)
    assert "column operations_hosts.release accepts NULL" in str(refusal(migrated))


@pytest.mark.parametrize("migrated", ["postgresql"], indirect=True)
def test_a_missing_key_is_named(migrated):
    with migrated.writing() as connection:
        drop = "ALTER TABLE operations_hosts DROP CONSTRAINT operations_hosts_pkey"
        connection.execute(text(drop))
    assert "key of operations_hosts is missing, not (" in str(refusal(migrated))


@pytest.mark.parametrize("migrated", ["sqlite"], indirect=True)
def test_a_key_of_other_columns_is_named(migrated):
    with migrated.writing() as connection:
        columns = [column._copy() for column in operations_hosts.columns]
        first = columns[0].name
        for column in columns:
            column.primary_key = column.name == first
        create_hosts(connection, columns)
    assert f"key of operations_hosts is ({first}), not ({first}, " in str(refusal(migrated))


def an_index() -> tuple[Index, Table]:
    return next((index, table) for table in METADATA.tables.values() for index in table.indexes)


def test_a_missing_index_is_named(migrated):
    index, table = an_index()
    with migrated.writing() as connection:
        index.drop(connection)
    assert f"index {index.name} of {table.name} is missing" in str(refusal(migrated))


def test_an_index_of_other_columns_is_named(migrated):
    index, table = an_index()
    column = next(iter(table.primary_key.columns)).name
    with migrated.writing() as connection:
        index.drop(connection)
        connection.execute(text(f"CREATE UNIQUE INDEX {index.name} ON {table.name} ({column})"))
    assert f"index {index.name} of {table.name} is unique ({column}), not (" in str(
        refusal(migrated)
    )


def test_a_missing_table_and_a_missing_view_are_named(migrated):
    with migrated.writing() as connection:
        connection.execute(text("DROP TABLE operations_hosts"))
        connection.execute(text("DROP VIEW finra_firms"))
    found = refusal(migrated).found
    assert "table operations_hosts is missing" in found
    assert "view finra_firms is missing" in found


@pytest.mark.slow_after_first
def test_tables_columns_and_indexes_of_the_user_are_named_and_stay(migrated):
    with migrated.writing() as connection:
        connection.execute(text("CREATE TABLE notes_of_mine (a INT)"))
        connection.execute(text("ALTER TABLE operations_hosts ADD COLUMN my_note TEXT"))
        connection.execute(text("CREATE INDEX mine ON operations_hosts (release)"))
    migrated.upgrade(holds="real")
    assert migrated.compare_tables() == [
        "table notes_of_mine",
        "column operations_hosts.my_note",
        "index mine of operations_hosts",
    ]


def test_an_additional_column_that_refuses_every_insert_is_a_difference(migrated):
    with migrated.writing() as connection:
        columns = [column._copy() for column in operations_hosts.columns]
        create_hosts(connection, [*columns, Column("my_note", Text(), nullable=False)])
    assert "operations_hosts.my_note requires a value, and is not declared" in str(
        refusal(migrated)
    )


def store_hash_and_expect_row(warehouse: Warehouse, value: str) -> None:
    label = spine.database_labels
    with warehouse.writing() as connection:
        stored = update(label).where(label.c.name == "schema").values(value=value)
        assert connection.execute(stored).rowcount == 1


def stored_hash(warehouse: Warehouse) -> str | None:
    label = spine.database_labels
    row = warehouse.first(select(label.c.value).where(label.c.name == "schema"))
    return None if row is None else row["value"]


@pytest.mark.slow_after_first
def test_a_database_of_an_edited_migration_is_refused_before_the_first_query(migrated):
    before = migrated.version()
    with migrated.writing() as connection:  # as the version had it that was edited later
        connection.execute(text("ALTER TABLE prices_returns RENAME known_from TO landed_at"))
    store_hash_and_expect_row(migrated, "hash of the former declaration")
    with pytest.raises(ConfigurationError) as error:
        migrated.prepare(holds="real")
    assert "column prices_returns.known_from is missing" in error.value.found
    assert migrated.version() == before
    assert stored_hash(migrated) == "hash of the former declaration"


@pytest.mark.slow_after_first
def test_tables_that_fit_are_compared_once_and_their_hash_is_stored(migrated):
    current = stored_hash(migrated)
    store_hash_and_expect_row(migrated, "hash of another declaration")
    migrated.prepare(holds="real")
    assert stored_hash(migrated) == current


def test_a_run_compares_the_stored_hash_alone(migrated):
    with migrated.writing() as connection:
        connection.execute(text("ALTER TABLE prices_returns RENAME known_from TO landed_at"))
    migrated.prepare(holds="real")
    lacks = pytest.raises(ConfigurationError, match="lacks a table, column or key")
    with lacks as error, migrated.reading() as connection:
        connection.execute(select(prices.prices_returns.c.known_from))
    assert "known_from" in error.value.found
    assert error.value.remedy == "run `orchestrate migrate`, which names each difference"
