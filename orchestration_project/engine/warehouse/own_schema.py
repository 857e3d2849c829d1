"""Tables that a project declares, made and widened as their declarations say."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Inspector, Table, inspect, text
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment, SetTableComment

from orchestration_project.engine.warehouse.migrating import list_own_tables
from orchestration_project.tables.schema import METADATA, OWN

LOCK_TIMEOUT = "30s"
"""How long PostgreSQL waits for a table that is in use."""


class Change(NamedTuple):
    """A change that makes a table what its declaration says.

    Attributes:
        says: What it does, such as ``create table rates_daily``.
        sql: Its statements, in the database's dialect.
        difference: The difference that it ends, as `compare_schema` names it.
    """

    says: str
    sql: Sequence[str]
    difference: str


def find_additive_changes(connection: Connection, schema: str | None) -> Sequence[Change]:
    """Return the missing tables and nullable columns; whatever else differs is not changed."""
    return _find_changes(connection, schema, list_own_tables())


def make_declared(connection: Connection, schema: str | None) -> None:
    """Make the missing tables of this project and of recorded ones, as in a copy or a restore."""
    declared = [table for table in METADATA.tables.values() if table.info.get(OWN)]
    apply_changes(connection, _find_changes(connection, schema, declared))


def _find_changes(
    connection: Connection, schema: str | None, declared: Sequence[Table]
) -> Sequence[Change]:
    inspector = inspect(connection)
    stored = set(inspector.get_table_names(schema=schema))
    return [
        change
        for table in declared
        for change in (
            [_plan_creation(connection, table)]
            if table.name not in stored
            else _find_missing_columns(connection, inspector, schema, table)
        )
    ]


def find_other_differences(connection: Connection, schema: str | None) -> Sequence[str]:
    """Return how existing tables differ from their declarations by more than missing columns."""
    from orchestration_project.engine.warehouse.comparing import compare_schema

    ended = {change.difference for change in find_additive_changes(connection, schema)}
    tables = {table.name: table for table in list_own_tables()}
    differences = compare_schema(connection, schema, tables, {}).differences
    return [text for text in differences if text not in ended]


def apply_changes(connection: Connection, changes: Sequence[Change]) -> None:
    """Execute changes; ``connection`` is in a write transaction, which on SQLite is the lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
    for change in changes:
        for statement in change.sql:
            connection.exec_driver_sql(statement)


def _plan_creation(connection: Connection, table: Table) -> Change:
    dialect = connection.dialect
    statements = [CreateTable(table), *(CreateIndex(index) for index in table.indexes)]
    if dialect.supports_comments and not dialect.inline_comments:
        statements.append(SetTableComment(table))
        statements.extend(SetColumnComment(column) for column in table.columns if column.comment)
    sql = [str(statement.compile(dialect=dialect)).strip() for statement in statements]
    return Change(f"create table {table.name}", sql, f"table {table.name} is missing")


def _find_missing_columns(
    connection: Connection, inspector: Inspector, schema: str | None, table: Table
) -> Iterator[Change]:
    stored = {column["name"] for column in inspector.get_columns(table.name, schema=schema)}
    quoted = connection.dialect.identifier_preparer.quote
    for column in table.columns:
        if column.name not in stored and column.nullable and not column.primary_key:
            kind = column.type.compile(connection.dialect)
            sql = f"ALTER TABLE {quoted(table.name)} ADD COLUMN {quoted(column.name)} {kind}"
            name = f"column {table.name}.{column.name}"
            yield Change(f"add {name}", [sql], f"{name} is missing")
