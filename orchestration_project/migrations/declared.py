"""The declared tables and views as data, what no version can be written of, and how a database
differs from them.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations import BASELINE_VERSION, COMPARED_DATABASES
from orchestration_project.migrations.frozen import TYPES, Column, Index, Schema, Table, View

POSTGRESQL, SQLITE = postgresql.dialect(), sqlite.dialect()

MICROSECONDS = "(6)"
"""Digits of a second that PostgreSQL returns with a type, and has by default."""


class DeclaredView(Protocol):
    """Declaration of a view."""

    @property
    def table(self) -> sa.Table:
        """Its columns, as a table that is never created."""
        ...

    @property
    def select(self) -> sa.SelectBase:
        """Its select."""
        ...


def declared_schema(metadata: sa.MetaData, views: Mapping[str, DeclaredView]) -> Schema:
    """Return the declared tables and views as data.

    Raises:
        ConfigurationError: A declaration has what a version cannot hold.
    """
    schema: Schema = {name: _convert_table(table) for name, table in metadata.tables.items()}
    return schema | {name: _convert_view(view) for name, view in views.items()}


def _convert_table(declared: sa.Table) -> Table:
    for constraint in declared.constraints:
        if not isinstance(constraint, sa.PrimaryKeyConstraint):
            raise _build_refusal(declared.name, f"a {type(constraint).__name__}")
    columns = [_convert_column(column) for column in declared.columns]
    if not declared.primary_key.columns:
        raise _build_refusal(declared.name, "no key")
    indexes = sorted(declared.indexes, key=lambda each: str(each.name))
    return Table(
        declared.name, str(declared.comment), columns, [_convert_index(index) for index in indexes]
    )


def _convert_column(declared: sa.Column[Any]) -> Column:
    names = [
        name for name, kind in TYPES.items() if _compile_type(kind) == _compile_type(declared.type)
    ]
    if not names:
        raise _build_refusal(str(declared), f"the type {declared.type!r}")
    return Column(
        declared.name,
        names[0],
        str(declared.comment),
        key=declared.primary_key,
        optional=bool(declared.nullable),
        default=_render_default(declared),
    )


def _render_default(declared: sa.Column[Any]) -> str | None:
    """Return the database's default of the column, as SQL."""
    if declared.server_default is None:
        return None
    if not isinstance(declared.server_default, sa.DefaultClause):
        raise _build_refusal(str(declared), f"a {type(declared.server_default).__name__}")
    arg = declared.server_default.arg
    return str(
        (sa.literal(arg) if isinstance(arg, str) else arg).compile(
            dialect=POSTGRESQL, compile_kwargs={"literal_binds": True}
        )
    )


def _compile_type(kind: TypeEngine[Any]) -> list[str]:
    """Return a type on each database; on PostgreSQL 6 digits of a second are the default."""
    dialects: list[Dialect] = [POSTGRESQL, SQLITE]
    return [kind.compile(dialect).replace("TIMESTAMP(6)", "TIMESTAMP") for dialect in dialects]


def _convert_index(declared: sa.Index) -> Index:
    columns = [
        expression.name for expression in declared.expressions if isinstance(expression, sa.Column)
    ]
    if len(columns) < len(declared.expressions) or declared.dialect_kwargs:
        raise _build_refusal(str(declared.name), "an expression or an option of one database")
    return Index(str(declared.name), columns, unique=bool(declared.unique))


def _convert_view(declared: DeclaredView) -> View:
    sql, sqlite_sql = (_compile_select(declared.select, item) for item in (POSTGRESQL, SQLITE))
    return View(
        declared.table.name,
        str(declared.table.comment),
        {column.name: str(column.comment) for column in declared.table.columns},
        sql,
        None if sqlite_sql == sql else sqlite_sql,
    )


def _compile_select(select: sa.SelectBase, dialect: Dialect) -> str:
    """Return a select with a line for each clause, and each column of the outermost one."""
    sql = str(select.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    lines = _split(" ".join(sql.replace("%%", "%").split()))
    return "\n".join(["", *lines, ""])


def _split(sql: str) -> Iterator[str]:
    """Split where a clause or a column of the outermost select begins."""
    depth, start = 0, 0
    for token in re.finditer(r"'(?:[^']|'')*'|[()]|, | (?=FROM |WHERE |GROUP BY |UNION ALL )", sql):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth == 0 and token[0] in (", ", " "):
            yield sql[start : token.end()].rstrip()
            start = token.end()
    yield sql[start:]


def _build_refusal(place: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"a version cannot hold what {place} declares",
        expected=f"columns of the types {', '.join(TYPES)}, a key, and indexes of columns",
        found=found,
        remedy="write this step manually, or declare it otherwise",
    )


@dataclass(frozen=True)
class SchemaComparison:
    """Differences of a database from the declared tables and views, a text for each.

    Attributes:
        differences: Whatever is missing or declared otherwise.
        additions: Tables, columns and indexes that no declaration has; they stay as they are.
    """

    differences: Sequence[str]
    additions: Sequence[str]


def schema_sha256(tables: Mapping[str, sa.Table], views: Mapping[str, DeclaredView]) -> str:
    """Return the hash of what `compare_schema` compares, the same for each database.

    It has the baseline: tables that earlier versions made are compared before they are used.
    """
    columns = [
        (name, column.name, type(column.type).__name__, column.nullable, column.primary_key)
        for name, table in tables.items()
        for column in table.columns
    ]
    indexes = [
        (name, str(index.name), *_list_index_columns(index), bool(index.unique))
        for name, table in tables.items()
        for index in table.indexes
    ]
    selected = [(name, *view.table.columns.keys()) for name, view in views.items()]
    lines = sorted(repr(row) for row in (*columns, *indexes, *selected))
    return hashlib.sha256("\n".join([BASELINE_VERSION, *lines]).encode()).hexdigest()


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
        declared = (_list_index_columns(index), bool(index.unique))
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


def _list_index_columns(index: sa.Index) -> list[str]:
    return [column.name for column in index.columns]


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
