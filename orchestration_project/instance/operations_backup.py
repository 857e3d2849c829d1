"""Dagster's own storage as a database that can be backed up and restored into."""

import os
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from sqlalchemy import Connection, inspect

from orchestration_project import release
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.files import ensure_state_folder
from orchestration_project.engine.warehouse.connecting import find_database_url, parse_url
from orchestration_project.engine.warehouse.migrating import declare_recorded, migrate_to
from orchestration_project.engine.warehouse.own_schema import make_declared
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.storage import open_instance, postgres_url
from orchestration_project.migrations import VERSION_TABLE
from orchestration_project.migrations.changes import DropTable, alembic_config, changes_of
from orchestration_project.resources.operations.backups import Installation
from orchestration_project.resources.operations.database_dumps import Database
from orchestration_project.resources.operations.postgresql_dumps import PostgresqlTables
from orchestration_project.resources.operations.sqlite_dumps import SqliteFiles
from orchestration_project.settings import Settings
from orchestration_project.settings.chosen import read_stored
from orchestration_project.tables.catalogue import METADATA
from orchestration_project.tables.spine import declared_tables

DAGSTER_FILES = ("history/runs.db", "history/runs/*.db", "schedules/*.db")
"""Files of Dagster's storage in SQLite, below STATE_DIR/dagster."""

DAGSTER_VERSION_TABLE = "alembic_version"

DAGSTER_TABLES = [
    *dict.fromkeys(
        table.name
        for metadata in (
            RunStorageSqlMetadata,
            SqlEventLogStorageMetadata,
            ScheduleStorageSqlMetadata,
        )
        for table in metadata.sorted_tables
    ),
]
"""Tables of Dagster's storage in PostgreSQL, those that others refer to first."""


def open_installation(settings: Settings) -> Installation:
    """Return the two databases and the store of these settings; nothing is opened yet.

    Raises:
        ConfigurationError: DATABASE_URL names a database other than SQLite and PostgreSQL, or the
            stored choice of domains cannot be read.
    """
    return Installation(
        _locate_project(settings),
        _locate_dagster_storage(settings),
        open_store(settings),
        data="demo" if settings.is_demo else "real",
        release=release(),
        dagster=version("dagster"),
        spool=ensure_state_folder(settings, "scratch"),
        domains=read_stored(settings),
    )


def _locate_project(settings: Settings) -> Database:
    url = parse_url(find_database_url(settings))
    if url.get_backend_name() == "sqlite":
        file = Path(os.path.abspath(str(url.database)))  # noqa: PTH100 - it may be a link
        return SqliteFiles(
            "project/", file.parent, [file.name], VERSION_TABLE, stored_as="tables.sqlite"
        )
    if url.get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"a database of {url.get_backend_name()} cannot be backed up by this command",
            expected="SQLite or PostgreSQL",
            remedy="back it up by its own tools, together with Dagster's storage and the artifacts",
        )
    schema = settings.database_schema
    return PostgresqlTables(
        "project/",
        url,
        schema=schema,
        tables=_list_project_tables,
        version_table=VERSION_TABLE,
        make=lambda connection, to: _make_project_tables(connection, schema, to),
        first=declared_tables.name,
        make_declared=lambda connection: _make_declared_tables(connection, schema),
    )


def _list_project_tables(connection: Connection) -> Sequence[str]:
    """Return the names of tables, with those that projects declared and that versions dropped."""
    if inspect(connection).has_table(declared_tables.name):
        declare_recorded(connection)
    return [*(table.name for table in METADATA.sorted_tables), *_list_dropped_tables()]


@cache
def _list_dropped_tables() -> Sequence[str]:
    """Return the names of tables that only earlier versions, and their backups, have."""
    changes = changes_of(ScriptDirectory.from_config(alembic_config()))
    dropped = {change.table.name for change in changes if isinstance(change, DropTable)}
    return sorted(dropped - set(METADATA.tables))


def _make_project_tables(connection: Connection, schema: str | None, version: str) -> None:
    migrate_to(connection, schema, version)
    make_declared(connection, schema)


def _make_declared_tables(connection: Connection, schema: str | None) -> None:
    """Make the tables that the restored records declare."""
    declare_recorded(connection)
    make_declared(connection, schema)


def _locate_dagster_storage(settings: Settings) -> Database:
    dagster_database_url = settings.dagster_database_url
    if dagster_database_url is None:
        folder = ensure_state_folder(settings, "dagster")
        return SqliteFiles("dagster/", folder, DAGSTER_FILES, DAGSTER_VERSION_TABLE)
    return PostgresqlTables(
        "dagster/",
        parse_url(postgres_url(dagster_database_url.get_secret_value())),
        schema=None,
        tables=lambda _: DAGSTER_TABLES,
        version_table=DAGSTER_VERSION_TABLE,
        make=_make_dagster_tables,
    )


def _make_dagster_tables(_connection: Connection, _version: str) -> None:
    """Make the tables of the installed Dagster, by opening its storage; another commits them."""
    with open_instance() as instance:
        instance.get_runs_count()
