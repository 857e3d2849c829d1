"""The declared tables and views as data, and what no version can be written of."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations import BASELINE_VERSION
from orchestration_project.migrations.frozen import TYPES, Column, Index, Schema, Table, View

POSTGRESQL, SQLITE = postgresql.dialect(), sqlite.dialect()


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
    indexes = [_convert_index(index) for index in declared.indexes]
    indexes.sort(key=lambda index: index.name)
    return Table(declared.name, str(declared.comment), columns, indexes)


def _convert_column(declared: sa.Column[Any]) -> Column:
    compiled = _compile_type(declared.type)
    names = [name for name, kind in TYPES.items() if _compile_type(kind) == compiled]
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
    value, options = sa.literal(arg) if isinstance(arg, str) else arg, {"literal_binds": True}
    return str(value.compile(dialect=POSTGRESQL, compile_kwargs=options))


def _compile_type(kind: TypeEngine[Any]) -> list[str]:
    """Return a type on each database; on PostgreSQL 6 digits of a second are the default."""
    compiled = (kind.compile(dialect) for dialect in (POSTGRESQL, SQLITE))
    return [text.replace("TIMESTAMP(6)", "TIMESTAMP") for text in compiled]


def _convert_index(declared: sa.Index) -> Index:
    columns = [item.name for item in declared.expressions if isinstance(item, sa.Column)]
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


def schema_sha256(tables: Mapping[str, sa.Table], views: Mapping[str, DeclaredView]) -> str:
    """Return the hash of columns, keys, indexes and views, the same for each database.

    It has the baseline: tables that earlier versions made are compared before they are used.
    """
    columns = [
        (name, column.name, type(column.type).__name__, column.nullable, column.primary_key)
        for name, table in tables.items()
        for column in table.columns
    ]
    indexes = [
        (name, str(index.name), *list_index_columns(index), bool(index.unique))
        for name, table in tables.items()
        for index in table.indexes
    ]
    selected = [(name, *view.table.columns.keys()) for name, view in views.items()]
    lines = sorted(repr(row) for row in (*columns, *indexes, *selected))
    return hashlib.sha256("\n".join([BASELINE_VERSION, *lines]).encode()).hexdigest()


def list_index_columns(index: sa.Index) -> list[str]:
    """Return the names of an index's columns, in its order."""
    return [column.name for column in index.columns]
