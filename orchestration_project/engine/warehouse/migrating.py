"""Our tables brought to the version that this code needs, by Alembic."""

import io
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sqlalchemy import (
    Connection,
    Table,
    column,
    delete,
    exc,
    insert,
    inspect,
    select,
    table,
    text,
)

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse.connecting import find_sql_state
from orchestration_project.engine.warehouse.declared_tables import declare_described, describe
from orchestration_project.engine.warehouse.remedies import SQL_STATE_REMEDIES
from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations import (
    BASELINE_VERSION,
    COMPARED_DATABASES,
    FORMER_COMMIT,
    NEWEST_VERSION,
    SCHEMA_HASH,
    VERSION_TABLE,
    read_schema_hash,
)
from orchestration_project.settings.project import own_domain
from orchestration_project.tables.schema import HISTORY, METADATA, OWN, RECORDED
from orchestration_project.tables.spine import database_labels, declared_tables, table_renames

if TYPE_CHECKING:
    from alembic.config import Config

INSUFFICIENT_PRIVILEGE = "42501"
DUPLICATES = ("42P07", "42701", "42710")
"""SQLSTATEs of a table, column or object that is there already."""

RENAMED = "42703"
"""SQLSTATE of a column that is missing, as a version that is applied already has renamed it."""

MAX_NAMED = 5

SCHEMA_LABEL = "schema"
"""Label of a database with the hash of the declaration that its tables were compared with."""

BEGIN = {"postgresql": ["BEGIN;"], "sqlite": ["BEGIN IMMEDIATE;"]}
"""Statement that begins a transaction; other databases begin one implicitly."""

_recorded = declared_tables.c

CATALOGUE = "orchestration_project.tables.catalogue"
"""Module that declares all tables and views of the package; its import takes CPU time."""

ENCODINGS = ("UTF8", "SQL_ASCII")
"""Encodings of a PostgreSQL database that hold each letter; the latter one looks at none."""

LOCK = 0x6F72636865737472
"""PostgreSQL's advisory lock that one migrating process holds."""


def build_alembic_config(connection: Connection) -> "Config":
    """Return Alembic's configuration, without a file."""
    from orchestration_project.migrations.changes import alembic_config

    config = alembic_config()
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    return config


def read_schema_version(connection: Connection) -> str | None:
    """Return the version of the tables; None: they are missing.

    Raises:
        ConfigurationError: Alembic does not know this kind of database.
    """
    if connection.dialect.name in COMPARED_DATABASES:  # as Alembic reads it, without its import
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        versions = select(column("version_num")).select_from(table(VERSION_TABLE))
        return connection.execute(versions).scalar_one_or_none()
    from alembic.migration import MigrationContext

    try:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    except KeyError as error:
        raise ConfigurationError(
            f"Alembic cannot make tables in a database of the kind {connection.dialect.name}",
            expected="PostgreSQL, SQLite, or another as in docs/how-to/use-another-database.md",
            remedy="set DATABASE_URL to such a database",
        ) from error
    return context.get_current_revision()


def is_current(connection: Connection) -> bool:
    """Whether the tables have the version that this code needs.

    Raises:
        ConfigurationError: The tables are of a newer version, or of one before the baseline.
    """
    version = read_schema_version(connection)
    if version is None or version == NEWEST_VERSION:
        return version is not None
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    from orchestration_project.migrations.changes import alembic_config

    script = ScriptDirectory.from_config(alembic_config())
    try:
        script.get_revision(version)
    except CommandError:
        if version < BASELINE_VERSION:
            raise ConfigurationError(
                "invalid version of the tables: it is from before the first release",
                expected=f"version {BASELINE_VERSION} or newer",
                found=f"version {version}",
                remedy=f"back up, migrate with commit {FORMER_COMMIT} (`git checkout "
                f"{FORMER_COMMIT}`, `make .venv/installed`, `orchestrate migrate`), and then run "
                "`orchestrate migrate` of this release",
            ) from None
        raise ConfigurationError(
            "the database was made by a newer version of this project",
            expected=f"version {script.get_current_head()} or older",
            found=f"version {version}{_name_unknown_tables(connection)}",
            remedy="run the newer version, or restore a backup of before the upgrade",
        ) from None
    return False


def refuse_older(connection: Connection) -> None:
    """Refuse tables of an older version; a database without tables is accepted.

    Raises:
        ConfigurationError: The tables are of an older version, or of a newer one.
    """
    version = read_schema_version(connection)
    if version is not None and not is_current(connection):
        raise ConfigurationError(
            "the tables are of an older version than this program",
            expected=f"version {NEWEST_VERSION}",
            found=f"version {version}",
            remedy="stop the programs of the older release, back up, and run `orchestrate migrate`",
        )


def migrate(connection: Connection, schema: str | None) -> None:
    """Bring the tables up to date; safe twice, and from two processes at once.

    ``connection`` is in a write transaction, which on SQLite is the lock.

    Raises:
        ConfigurationError: The role may not make or change tables, or the tables are newer.
    """
    try:
        _migrate(connection, schema)
    except exc.DBAPIError as error:
        if _is_half_applied(error.orig):
            raise _build_partial_error(
                f"{str(error.orig).strip()}, which a later version adds"
            ) from error
        if find_sql_state(error.orig) != INSUFFICIENT_PRIVILEGE:
            raise
        raise ConfigurationError(
            "this role may not bring the tables up to date",
            expected="a role that may make and change our tables, or tables that are up to date",
            found=str(error.orig).strip(),
            remedy="have an owner run what `orchestrate migrate --sql` prints, "
            "and let this role select, insert, update and delete",
        ) from error


def migrate_to(connection: Connection, schema: str | None, version: str) -> None:
    """Make the tables of ``version`` in a database without tables; others stay as they are.

    ``connection`` is in a write transaction.
    """
    from alembic import command

    if connection.dialect.name == "postgresql":
        _lock_and_make_schema(connection, schema)
    if read_schema_version(connection) is None:
        command.upgrade(build_alembic_config(connection), version)


def render_migration(connection: Connection, schema: str | None) -> str:
    """Return the statements that `migrate` would execute now, as one transaction.

    A role without rights on tables can read it, and somebody who has them can run it.

    Raises:
        ConfigurationError: The tables are of a newer version.
    """
    if is_current(connection):
        return "-- the tables are up to date\n"
    from alembic import command

    statements = io.StringIO()
    config = build_alembic_config(connection)
    config.output_buffer = statements
    command.upgrade(config, f"{read_schema_version(connection) or 'base'}:head", sql=True)
    is_postgresql = connection.dialect.name == "postgresql"
    begin = BEGIN.get(connection.dialect.name, [])
    if is_postgresql:
        begin = [*begin, f"SELECT pg_advisory_xact_lock({LOCK});"]
    if is_postgresql and schema is not None:
        begin += [
            f'CREATE SCHEMA IF NOT EXISTS "{schema}";',
            f'SET LOCAL search_path TO "{schema}";',
        ]
    return "\n\n".join([*begin, statements.getvalue().strip(), "COMMIT;\n"])


def is_compared(connection: Connection) -> bool:
    """Whether the tables were compared with these declarations before, by their stored hashes."""
    hashes = hash_declared_schema()
    return _read_stored_sha256(connection, hashes) == hashes


def _read_stored_sha256(connection: Connection, labels: Collection[str]) -> Mapping[str, str]:
    label = database_labels.c
    stored = select(label.name, label.value).where(label.name.in_(labels))
    return {row.name: row.value for row in connection.execute(stored)}


def compare_changed(connection: Connection) -> None:
    """Compare the tables of the project, and those of the package if another hash is stored.

    The hashes of these declarations are stored then; ``connection`` is in a write transaction.

    Raises:
        ConfigurationError: As `refuse_other_tables`.
    """
    hashes = hash_declared_schema()
    stored = _read_stored_sha256(connection, hashes)
    if stored.get(SCHEMA_LABEL) != hashes[SCHEMA_LABEL]:
        _refuse_other_packaged_tables(connection)
    _refuse_other_own_tables(connection)
    declare_recorded(connection)
    if stored != hashes:
        connection.execute(delete(database_labels).where(database_labels.c.name.in_(hashes)))
        labels = [{"name": name, "value": sha256} for name, sha256 in hashes.items()]
        connection.execute(insert(database_labels), labels)


def hash_declared_schema(recorded_in: Path = SCHEMA_HASH) -> Mapping[str, str]:
    """Return the hash of the declared tables and views, by its label.

    Tables that a project declares have a hash of their own: another project, or none, may use the
    same database. A process may declare them after it opened a database, so no answer is kept.
    For the package's tables, a process that has not imported them takes the recorded hash.
    """
    own_tables = {table.name: table for table in list_own_tables()}
    recorded = None if CATALOGUE in sys.modules else read_schema_hash(recorded_in)
    hashes = {SCHEMA_LABEL: recorded or hash_packaged_schema()}
    if not own_tables:
        return hashes
    from orchestration_project.migrations.declared import schema_sha256

    return hashes | {f"{SCHEMA_LABEL} of {own_domain()}": schema_sha256(own_tables, {})}


@cache
def hash_packaged_schema() -> str:
    """Return the hash of the tables and views that the package declares."""
    from orchestration_project.migrations.declared import schema_sha256

    return schema_sha256(list_packaged_tables(), _import_catalogue().VIEWS)


def refuse_other_tables(connection: Connection) -> Sequence[str]:
    """Compare the declared tables with those that there are; return what is additional.

    Raises:
        ConfigurationError: Columns, types, keys or indexes differ; they are named.
    """
    additions = _refuse_other_packaged_tables(connection)
    _refuse_other_own_tables(connection)
    declare_recorded(connection)
    known_names = {f"table {name}" for name in (VERSION_TABLE, *METADATA.tables)}
    return [name for name in additions if name not in known_names]


def _refuse_other_packaged_tables(connection: Connection) -> Sequence[str]:
    from orchestration_project.engine.warehouse.comparing import compare_schema

    comparison = compare_schema(
        connection, _find_schema(connection), list_packaged_tables(), _import_catalogue().VIEWS
    )
    if comparison.differences:
        raise ConfigurationError(
            "invalid tables: they are not those that this program declares",
            expected=f"the tables, columns, types, keys and indexes of version {NEWEST_VERSION}",
            found=f"version {read_schema_version(connection)}: "
            f"{format_names(comparison.differences)}",
            remedy="create what is missing as `orchestrate migrate --sql` of an empty database "
            "prints it, or restore the backup of before the upgrade into a new database and run "
            "`orchestrate migrate`",
        )
    return comparison.additions


def _refuse_other_own_tables(connection: Connection) -> None:
    """Compare the tables that the project declares with those that there are.

    Raises:
        ConfigurationError: They differ.
    """
    tables = {table.name: table for table in list_own_tables()}
    if not tables:
        return
    from orchestration_project.engine.warehouse.comparing import compare_schema

    refuse_former_names(connection, tables)
    comparison = compare_schema(connection, _find_schema(connection), tables, {})
    differences = [*comparison.differences, *find_undeclared_columns(connection)]
    if differences:
        raise ConfigurationError(
            "the tables are not those that the project's sources declare",
            expected="the tables, columns, types and keys of defs/",
            found=format_names(differences),
            remedy="run `orchestrate schema apply`, with --all for changes that are not additive; "
            "`orchestrate schema diff` shows them",
        )


def refuse_former_names(connection: Connection, names: Collection[str]) -> None:
    """Make sure that no table has the former name of another one.

    The IDs of its deliveries would be those of the other one, which keeps them after a rename.

    Raises:
        ConfigurationError: A table has.
    """
    is_other = table_renames.c.table_name != table_renames.c.old_name
    former = select(table_renames.c.old_name, table_renames.c.table_name)
    for old, new in connection.execute(former.where(is_other)):
        if old in names:
            raise ConfigurationError(
                f"invalid name {old!r}: expected one that no other table had",
                found=f"{old}, which was renamed to {new}",
                remedy="declare the table by another name",
            )


def find_undeclared_columns(connection: Connection) -> Sequence[str]:
    """Return the recorded columns that the project does not declare any more, in words."""
    names = {
        own_table.name: {column.name for column in own_table.columns}
        for own_table in list_own_tables()
    }
    statement = select(_recorded.table_name, _recorded.declaration)
    rows = connection.execute(statement.where(_recorded.table_name.in_(names))).all()
    return [
        f"column {row.table_name}.{column['name']} is not declared any more"
        for row in rows
        for column in json.loads(row.declaration)["columns"]
        if column["name"] not in names[row.table_name]
    ]


def _find_schema(connection: Connection) -> str | None:
    """Return the schema that unqualified names mean; None: the database has one."""
    if connection.dialect.name != "postgresql":
        return None
    return connection.execute(text("SELECT current_schema()")).scalar()


def _name_unknown_tables(connection: Connection) -> str:
    """Return the tables that a newer version has added, as the end of a sentence."""
    tables = _import_catalogue().METADATA.tables
    prefixes = {name.partition("_")[0] for name in tables}
    unknown = sorted(
        name
        for name in inspect(connection).get_table_names(schema=_find_schema(connection))
        if name not in tables and name != VERSION_TABLE and name.partition("_")[0] in prefixes
    )
    return f", with {format_names(unknown)} that this version does not know" if unknown else ""


def format_names(names: Sequence[str]) -> str:
    """Return the first names as a text, and how many there are more."""
    number = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {number} more" if number > 0 else "")


def _is_half_applied(error: BaseException | None) -> bool:
    return find_sql_state(error) in (*DUPLICATES, RENAMED) or any(
        words in str(error)
        for words in ("already exists", "duplicate column name", "no such column")
    )


def _build_partial_error(found: str) -> ConfigurationError:
    return ConfigurationError(
        "an upgrade of the tables was applied in part",
        expected="all statements of a version, or none",
        found=found,
        remedy="restore the backup of before the upgrade into a new database, and run "
        "`orchestrate migrate` again",
    )


def _migrate(connection: Connection, schema: str | None) -> None:
    from alembic import command

    if connection.dialect.name == "postgresql":
        _lock_and_make_schema(connection, schema)
    if not is_current(connection):
        command.upgrade(build_alembic_config(connection), "head")


def _lock_and_make_schema(connection: Connection, schema: str | None) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    refuse_encoding(connection)
    if schema is not None and schema not in inspect(connection).get_schema_names():
        connection.execute(text(f'CREATE SCHEMA "{schema}"'))


def refuse_encoding(connection: Connection) -> None:
    """Refuse a PostgreSQL database whose encoding lacks letters.

    Raises:
        ConfigurationError: It does.
    """
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding not in ENCODINGS:
        raise ConfigurationError(
            "invalid encoding of the database: it lacks letters",
            expected=" or ".join(ENCODINGS),
            found=str(encoding),
            remedy=SQL_STATE_REMEDIES["22P05"],
        )


def list_own_tables() -> Sequence[Table]:
    """Return the tables that the project of this process declares, those of histories included."""
    return [each for each in METADATA.tables.values() if each.info.get(OWN) and not _is_read(each)]


def list_packaged_tables() -> Mapping[str, Table]:
    """Return the tables that the package declares, by name."""
    tables = _import_catalogue().METADATA.tables
    return {name: value for name, value in tables.items() if not value.info.get(OWN)}


def _import_catalogue() -> ModuleType:
    """Declare all tables and views of the package, and return the module that has them."""
    from orchestration_project.tables import catalogue

    return catalogue


def _is_read(table: Table) -> bool:
    return bool(table.info.get(RECORDED))


def is_recorded(connection: Connection) -> bool:
    """Whether the tables that the project declares are recorded as they are declared."""
    names = {own_table.name: describe(own_table) for own_table in list_own_tables()}
    if not names:
        return True
    statement = select(_recorded.table_name, _recorded.declaration)
    rows = connection.execute(statement.where(_recorded.table_name.in_(names)))
    return {row.table_name: row.declaration for row in rows} == names


def record_own_tables(connection: Connection, clock: Clock) -> None:
    """Record the tables that the project declares; ``connection`` is in a write transaction."""
    tables = list_own_tables()
    if not tables:
        return
    names = [each.name for each in tables]
    connection.execute(delete(declared_tables).where(_recorded.table_name.in_(names)))
    rows = [
        {"table_name": each.name, "declaration": describe(each), "recorded_at": clock.now()}
        for each in tables
    ]
    connection.execute(insert(declared_tables), rows)


def declare_recorded(connection: Connection) -> None:
    """Declare the tables that other projects recorded in this database.

    A table that this process declares itself stays as it is. Recorded tables of a database that
    was open before are forgotten, as this one does not have them.
    """
    rows = {
        row.table_name: row.declaration
        for row in connection.execute(select(_recorded.table_name, _recorded.declaration))
    }
    for each in list(METADATA.tables.values()):
        if _is_read(each) and each.info[RECORDED] != rows.get(each.name):
            METADATA.remove(each)
    if rows.keys() - METADATA.tables.keys():
        _import_catalogue()  # a recorded table may have the name of one of the package
    missing = {name: text for name, text in rows.items() if name not in METADATA.tables}
    descriptions = {name: declare_described(name, text) for name, text in missing.items()}
    for name, declared in descriptions.items():
        history = METADATA.tables.get(json.loads(rows[name])["history"] or "")
        if history is not None:
            declared.info[HISTORY] = history
