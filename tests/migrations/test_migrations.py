"""The migrations make the tables that are declared, and nothing else."""

from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Connection,
    MetaData,
    Table,
    inspect,
    select,
    text,
)

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.migrating import (
    build_alembic_config,
    is_current,
    migrate,
    read_schema_version,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations import (
    BASELINE_VERSION,
    FORMER_COMMIT,
    NEWEST_VERSION,
    VERSION_TABLE,
)
from orchestration_project.migrations.changes import alembic_config
from orchestration_project.tables import spine
from orchestration_project.tables.catalogue import TABLE_MODULES
from orchestration_project.tables.schema import HISTORY, METADATA, key_names
from orchestration_project.tables.views import VIEWS

DECLARED = {name: var for module in TABLE_MODULES.values() for name, var in vars(module).items()}
DECLARED |= {
    value.info[HISTORY].name: value.info[HISTORY]
    for value in DECLARED.values()
    if isinstance(value, Table) and HISTORY in value.info
}


def differences(connection: Connection, metadata: MetaData = METADATA) -> list[object]:
    options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
    return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def test_every_declared_table_is_in_the_metadata():
    assert {name for name in DECLARED if name in METADATA.tables} == set(METADATA.tables)


def test_the_newest_version_by_the_names_of_the_scripts_is_the_one_that_they_lead_to():
    script = ScriptDirectory.from_config(alembic_config())
    assert script.get_current_head() == NEWEST_VERSION


@pytest.mark.slow
def test_the_migrated_tables_are_those_declared_with_types_nulls_and_comments(migrated):
    with migrated.reading() as connection:
        assert differences(connection) == []


@pytest.mark.slow_on_postgresql
def test_a_column_that_only_the_declaration_has_would_be_noticed(migrated):
    with migrated.writing() as connection:
        connection.execute(text("ALTER TABLE blobs DROP COLUMN storage_uri"))
        [difference] = differences(connection)
        assert difference[:3] == ("add_column", None, "blobs")  # pyright: ignore[reportIndexIssue] - alembic's own tuples
        connection.rollback()


def shape(connection: Connection, name: str) -> dict[str, object]:
    found = inspect(connection)
    return {
        "columns": {column["name"] for column in found.get_columns(name)},
        "required": {
            column["name"] for column in found.get_columns(name) if not column["nullable"]
        },
        "key": found.get_pk_constraint(name)["constrained_columns"],
    }


@pytest.mark.slow_on_postgresql
def test_columns_and_nulls_are_those_declared_and_keys_stand_in_their_order(migrated):
    with migrated.reading() as connection:
        found = {name: shape(connection, name) for name in METADATA.tables}
    assert found == {
        name: {
            "columns": {column.name for column in table.columns},
            "required": {column.name for column in table.columns if not column.nullable},
            "key": key_names(table),
        }
        for name, table in METADATA.tables.items()
    }


@pytest.mark.slow_after_first
def test_each_type_is_the_one_that_keeps_values_exact(migrated):
    with migrated.reading() as connection:
        columns = {
            (name, column["name"]): column
            for name in METADATA.tables
            for column in inspect(connection).get_columns(name)
        }
        dialect = connection.dialect
        compiled = {place: column["type"].compile(dialect) for place, column in columns.items()}
        declared = {
            (name, column.name): column.type.compile(dialect)
            for name, table in METADATA.tables.items()
            for column in table.columns
        }
    if dialect.name == "postgresql":
        assert compiled["finra_otc_weekly", "symbol"] == 'TEXT COLLATE "C"'
        assert compiled["finra_otc_weekly", "known_from"] == "TIMESTAMP(6) WITH TIME ZONE"
        compiled = {place: kind.replace("(6)", "") for place, kind in compiled.items()}
    assert compiled == declared


@pytest.mark.slow
def test_sqlite_tables_are_clustered_by_their_key(tmp_path):
    with Warehouse(f"sqlite:///{tmp_path}/x.sqlite", clock=Clock()) as warehouse:
        warehouse.prepare(holds="real")
        with warehouse.reading() as connection:
            statements = connection.execute(
                text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name != :version"),
                {"version": VERSION_TABLE},
            ).scalars()
            assert {sql.rstrip().endswith("WITHOUT ROWID") for sql in statements} == {True}


def test_migrating_twice_changes_nothing(migrated):
    labels = select(spine.database_labels)
    before = migrated.frame(labels, spine.database_labels)
    with migrated.writing() as connection:
        migrate(connection, None)
        assert is_current(connection)
    migrated.prepare(holds="real")
    assert migrated.frame(labels, spine.database_labels).equals(before)


@pytest.mark.slow
def test_tables_of_others_in_the_database_are_left_alone(empty):
    with empty.writing() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('of Dagster')"))
        migrate(connection, None)
    with empty.reading() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
        assert found == ["of Dagster"]


@pytest.mark.slow
def test_a_migration_that_is_broken_off_leaves_nothing(empty):
    def break_off():
        with empty.writing() as connection:
            migrate(connection, None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    with empty.reading() as connection:
        assert (inspect(connection).get_table_names(), read_schema_version(connection)) == (
            [],
            None,
        )
    empty.prepare(holds="real")


@pytest.mark.slow
def test_a_downgrade_to_base_removes_the_tables_and_an_upgrade_makes_them_again(migrated):
    with migrated.writing() as connection:
        command.downgrade(build_alembic_config(connection), "base")
    with migrated.reading() as connection:
        assert inspect(connection).get_table_names() == [VERSION_TABLE]
        assert not is_current(connection)
    migrated.prepare(holds="demo")
    with migrated.reading() as connection:
        assert differences(connection) == []


def definition(connection: Connection, name: str) -> str:
    """Return what a view selects, as the database keeps it."""
    if connection.dialect.name == "postgresql":
        found = text("SELECT pg_get_viewdef(CAST(:name AS regclass))")
    else:
        found = text("SELECT sql FROM sqlite_master WHERE type = 'view' AND name = :name")
    sql = connection.execute(found, {"name": name}).scalar_one()
    return " ".join(sql.replace(name, "the_view").split())


def test_the_migrated_views_are_those_declared(migrated):
    with migrated.writing() as connection:
        assert sorted(inspect(connection).get_view_names()) == sorted(VIEWS)
        for name, view in VIEWS.items():
            declared = view.select.compile(
                dialect=connection.dialect, compile_kwargs={"literal_binds": True}
            )
            connection.exec_driver_sql(f"CREATE VIEW declared_one AS {declared}".replace("%%", "%"))
            assert definition(connection, name) == definition(connection, "declared_one")
            connection.exec_driver_sql("DROP VIEW declared_one")
        connection.rollback()


def test_a_views_columns_and_comments_are_those_declared(migrated):
    with migrated.reading() as connection:
        for name, view in VIEWS.items():
            found = {
                column["name"]: column.get("comment")
                for column in inspect(connection).get_columns(name)
            }
            assert list(found) == [column.name for column in view.table.columns]
            if connection.dialect.name == "postgresql":
                assert found == {column.name: column.comment for column in view.table.columns}
                comment = text("SELECT obj_description(CAST(:name AS regclass))")
                assert connection.execute(comment, {"name": name}).scalar() == view.table.comment


def rows(warehouse: Warehouse) -> dict[str, list[Any]]:
    """Return the rows of each table, sorted."""
    with warehouse.reading() as connection:
        return {
            name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for name, table in METADATA.tables.items()
        }


@pytest.mark.slow_after_first
@pytest.mark.parametrize("version", ["0001", "0022", "0085"])
def test_a_database_from_before_the_baseline_is_refused_and_stays_as_it_is(migrated, version):
    with migrated.writing() as connection:
        stored = f"UPDATE {VERSION_TABLE} SET version_num = :version"  # noqa: S608 - our own name
        connection.execute(text(stored), {"version": version})
    for attempt in (
        migrated.migration_sql,
        lambda: migrated.prepare(holds="real"),
        lambda: migrated.upgrade(holds="real"),
    ):
        with pytest.raises(ConfigurationError, match="invalid version of the tables") as error:
            attempt()
        assert error.value.found == f"version {version}"
        assert error.value.expected == f"version {BASELINE_VERSION} or newer"
        assert f"`git checkout {FORMER_COMMIT}`" in error.value.remedy
    assert migrated.version() == version


def test_tables_of_a_newer_version_are_refused_and_stay_as_they_are(migrated):
    with migrated.writing() as connection:
        stored = f"UPDATE {VERSION_TABLE} SET version_num = '9999'"  # noqa: S608 - our own name
        connection.execute(text(stored))
    for attempt in (migrated.prepare, migrated.upgrade):
        with pytest.raises(ConfigurationError, match="newer version of this project") as error:
            attempt(holds="real")
        assert error.value.found == "version 9999"
    assert migrated.version() == "9999"
