"""The declared tables and views as data, and what no version can be written of."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from orchestration_project.errors import ConfigurationError
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
    schema: Schema = {name: _table(each) for name, each in metadata.tables.items()}
    return schema | {name: _view(each) for name, each in views.items()}


def _table(declared: sa.Table) -> Table:
    for constraint in declared.constraints:
        if not isinstance(constraint, sa.PrimaryKeyConstraint):
            raise _unwritable(declared.name, f"a {type(constraint).__name__}")
    columns = [_column(column) for column in declared.columns]
    if not declared.primary_key.columns:
        raise _unwritable(declared.name, "no key")
    indexes = sorted(declared.indexes, key=lambda each: str(each.name))
    return Table(declared.name, str(declared.comment), columns, [_index(each) for each in indexes])


def _column(declared: sa.Column[Any]) -> Column:
    names = [name for name, kind in TYPES.items() if _ddl(kind) == _ddl(declared.type)]
    if not names:
        raise _unwritable(str(declared), f"the type {declared.type!r}")
    return Column(
        declared.name,
        names[0],
        str(declared.comment),
        key=declared.primary_key,
        optional=bool(declared.nullable),
        default=_default(declared),
    )


def _default(declared: sa.Column[Any]) -> str | None:
    """Return what the database fills the column with, as SQL."""
    if declared.server_default is None:
        return None
    if not isinstance(declared.server_default, sa.DefaultClause):
        raise _unwritable(str(declared), f"a {type(declared.server_default).__name__}")
    given = declared.server_default.arg
    return str(
        (sa.literal(given) if isinstance(given, str) else given).compile(
            dialect=POSTGRESQL, compile_kwargs={"literal_binds": True}
        )
    )


def _ddl(kind: TypeEngine[Any]) -> list[str]:
    """Return a type on each database; on PostgreSQL 6 digits of a second are the default."""
    both: list[Dialect] = [POSTGRESQL, SQLITE]
    return [kind.compile(each).replace("TIMESTAMP(6)", "TIMESTAMP") for each in both]


def _index(declared: sa.Index) -> Index:
    columns = [each.name for each in declared.expressions if isinstance(each, sa.Column)]
    if len(columns) < len(declared.expressions) or declared.dialect_kwargs:
        raise _unwritable(str(declared.name), "an expression or an option of one database")
    return Index(str(declared.name), columns, unique=bool(declared.unique))


def _view(declared: DeclaredView) -> View:
    sql, sqlite_sql = (_compiled(declared.select, each) for each in (POSTGRESQL, SQLITE))
    return View(
        declared.table.name,
        str(declared.table.comment),
        {column.name: str(column.comment) for column in declared.table.columns},
        sql,
        None if sqlite_sql == sql else sqlite_sql,
    )


def _compiled(select: sa.SelectBase, dialect: Dialect) -> str:
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


def _unwritable(place: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"a version cannot hold what {place} declares",
        expected=f"columns of the types {', '.join(TYPES)}, a key, and indexes of columns",
        found=found,
        remedy="write this step manually, or declare it otherwise",
    )
