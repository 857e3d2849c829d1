"""Compare declared tables and views with those of a database."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from orchestration_project.migrations import COMPARED_DATABASES
from orchestration_project.migrations.declared import DeclaredView, list_index_columns

MICROSECONDS = "(6)"
"""Digits of a second that PostgreSQL returns with a type, and has by default."""


@dataclass(frozen=True)
class SchemaComparison:
    """Differences of a database from the declared tables and views, a text for each.

    Attributes:
        differences: Whatever is missing or declared otherwise.
        additions: Tables, columns and indexes that no declaration has; they stay as they are.
    """

    differences: Sequence[str]
    additions: Sequence[str]


def compare_schema(
    connection: sa.Connection,
    schema: str | None,
    tables: Mapping[str, sa.Table],
    views: Mapping[str, DeclaredView],
) -> SchemaComparison:
    """Compare declared tables with those of a database: columns, types, keys and indexes.

    Of databases other than PostgreSQL and SQLite the names of tables and columns are compared.

    Args:
        connection: Connection to the database.
        schema: Schema that has the tables; None: that of the connection.
        tables: Declared tables, by name.
        views: Declared views; their columns are compared if the tables are as declared.
    """
    inspector = sa.inspect(connection)
    stored_names = inspector.get_table_names(schema=schema)
    known_names = sorted(name for name in stored_names if name in tables)
    differences = [f"table {name} is missing" for name in sorted(set(tables) - set(known_names))]
    additions = [f"table {name}" for name in sorted(set(stored_names) - set(tables))]
    columns = inspector.get_multi_columns(schema, filter_names=known_names)
    for name in known_names:
        stored = {column["name"]: column for column in columns[schema, name]}
        declared = {column.name for column in tables[name].columns}
        differences += [
            f"column {name}.{column} is missing" for column in sorted(declared - stored.keys())
        ]
        additions += [f"column {name}.{column}" for column in sorted(stored.keys() - declared)]
        if connection.dialect.name in COMPARED_DATABASES:
            differences += _compare_columns(tables[name], stored, connection.dialect)
    if connection.dialect.name in COMPARED_DATABASES:
        keys = inspector.get_multi_pk_constraint(schema, filter_names=known_names)
        indexes = inspector.get_multi_indexes(schema, filter_names=known_names)
        for name in known_names:
            stored_key = keys[schema, name]["constrained_columns"]
            differences += _compare_key(tables[name], stored_key)
            stored_indexes = {
                str(index["name"]): (index["column_names"], bool(index["unique"]))
                for index in indexes[schema, name]
            }
            declared_indexes = {str(index.name) for index in tables[name].indexes}
            differences += _compare_indexes(tables[name], stored_indexes)
            additions += [
                f"index {index} of {name}"
                for index in sorted(stored_indexes.keys() - declared_indexes)
            ]
    present = set(inspector.get_view_names(schema=schema))
    differences += [f"view {name} is missing" for name in sorted(views.keys() - present)]
    if not differences:
        differences = list(_compare_views(inspector, schema, views))
    return SchemaComparison(differences, additions)


def _compare_columns(table: sa.Table, stored: Mapping[str, Any], dialect: Dialect) -> Iterator[str]:
    """Yield columns of another type or optionality, and others without which no row is inserted."""
    declared = {column.name: column for column in table.columns}
    for name, column in stored.items():
        title = f"column {table.name}.{name}"
        if name not in declared:
            if not column["nullable"] and column.get("default") is None:
                yield f"{title} requires a value, and is not declared"
            continue
        stored_type = _render_stored_type(column, dialect)
        declared_type = declared[name].type.compile(dialect)
        if stored_type != declared_type:
            yield f"{title} has type {stored_type}, not {declared_type}"
        if column["nullable"] != declared[name].nullable:
            yield f"{title} {'requires a value' if declared[name].nullable else 'accepts NULL'}"


def _render_stored_type(column: Mapping[str, Any], dialect: Dialect) -> str:
    """Return a stored type as SQL; one that SQLAlchemy does not know is NULL."""
    if isinstance(column["type"], sa.types.NullType):
        return "unknown"
    return column["type"].compile(dialect).replace(MICROSECONDS, "")


def _compare_key(table: sa.Table, stored: Sequence[str]) -> Iterator[str]:
    declared = [column.name for column in table.primary_key.columns]
    if list(stored) != declared:
        columns = f"({', '.join(stored)})" if stored else "missing"
        yield f"key of {table.name} is {columns}, not ({', '.join(declared)})"


def _compare_indexes(
    table: sa.Table, stored: Mapping[str, tuple[Sequence[str | None], bool]]
) -> Iterator[str]:
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        declared = (list_index_columns(index), bool(index.unique))
        if str(index.name) not in stored:
            yield f"index {index.name} of {table.name} is missing"
        elif stored[str(index.name)] != declared:
            stored_text = _describe_index(stored[str(index.name)])
            declared_text = _describe_index(declared)
            yield f"index {index.name} of {table.name} is {stored_text}, not {declared_text}"


def _describe_index(definition: tuple[Sequence[str | None], bool]) -> str:
    columns, is_unique = definition
    names = ", ".join(map(str, columns))
    return f"unique ({names})" if is_unique else f"({names})"


def _compare_views(
    inspector: sa.Inspector, schema: str | None, views: Mapping[str, DeclaredView]
) -> Iterator[str]:
    stored = inspector.get_multi_columns(
        schema, filter_names=list(views), kind=sa.engine.reflection.ObjectKind.VIEW
    )
    for name, view in sorted(views.items()):
        columns = [column["name"] for column in stored[schema, name]]
        declared = [column.name for column in view.table.columns]
        if columns != declared:
            yield f"view {name} has columns ({', '.join(columns)}), not ({', '.join(declared)})"
