"""Declaration of views, and their columns in the SQL of each database.

A view is declared beside the table that it shows. The migrations make it; its columns and its
select stand here so that exports, tests and docs derive from them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    CompoundSelect,
    FromClause,
    MetaData,
    Select,
    Table,
    case,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from orchestration_project.tables.schema import BYTEWISE_TEXT, USD_SCALE, Dollars, Query

Selected = TypeVar("Selected", bound=Query)


@dataclass(frozen=True)
class View(Generic[Selected]):
    """A view: its columns as a table that is never created, and its select."""

    table: Table
    select: Selected


VIEWS: dict[str, View[Any]] = {}
"""Every view that is declared, by name."""

_COLUMNS = MetaData()


@dataclass(frozen=True)
class ViewColumn:
    """One column of a view."""

    name: str
    value: ColumnElement[Any]
    comment: str
    optional: bool = False
    is_key: bool = False
    info: Mapping[Any, Any] = field(default_factory=dict)


def as_it_is(column: Column[Any]) -> ViewColumn:
    """Show a table's column unchanged."""
    return ViewColumn(
        column.name,
        column,
        str(column.comment),
        optional=bool(column.nullable),
        is_key=column.primary_key,
        info=column.info,
    )


def view(
    name: str,
    comment: str,
    *columns: ViewColumn,
    source: FromClause | None = None,
    where: Sequence[ColumnElement[bool]] = (),
    group_by: Sequence[ColumnElement[Any]] = (),
) -> View[Select[Any]]:
    """Declare a view of the rows for which ``where`` holds.

    ``source``: joined tables; None: the tables of the columns.
    With ``group_by``, one of its rows stands for all that are equal in it.
    """
    table = Table(
        name,
        _COLUMNS,
        *(
            Column(
                column.name,
                column.value.type,
                primary_key=column.is_key,
                nullable=column.optional,
                comment=column.comment,
                info=dict(column.info),
            )
            for column in columns
        ),
        comment=comment,
    )
    chosen = select(*(column.value.label(column.name) for column in columns)).where(*where)
    if source is not None:
        chosen = chosen.select_from(source)
    declared = View(table, chosen.group_by(*group_by) if group_by else chosen)
    VIEWS[name] = declared
    return declared


def view_of_all(
    name: str, comment: str, columns: Sequence[Column[Any]], *parts: Select[Any]
) -> View[CompoundSelect[Any]]:
    """Declare a view of the rows of all ``parts``, each of which selects these columns in order."""
    declared = View(Table(name, _COLUMNS, *columns, comment=comment), union_all(*parts))
    VIEWS[name] = declared
    return declared


def labelled(code: Column[str], names: Mapping[str, str]) -> ColumnElement[str]:
    """Return the name of each ``code``, the code itself where it has none."""
    return type_coerce(case(names, value=code, else_=code), BYTEWISE_TEXT)


class in_decimals(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function that it is
    """A column of whole millionths as decimals, without a digit lost."""

    type = Dollars()
    inherit_cache = True


@compiles(in_decimals)
def _as_numeric(element: in_decimals, compiler: SQLCompiler, **options: Any) -> str:
    """Multiply: a quotient would be rounded to 16 digits."""
    amount = compiler.process(element.clauses, **options)
    return f"CAST({amount} * {1 / 10**USD_SCALE:.{USD_SCALE}f} AS NUMERIC(19, {USD_SCALE}))"


@compiles(in_decimals, "sqlite")
def _as_text(element: in_decimals, compiler: SQLCompiler, **options: Any) -> str:
    """Write the whole and its fraction apart: SQLite would make a float of a quotient."""
    amount = compiler.process(element.clauses, **options)
    return (
        f"CASE WHEN {amount} IS NOT NULL THEN printf('%s%d.%0{USD_SCALE}d', "
        f"CASE WHEN {amount} < 0 THEN '-' ELSE '' END, "
        f"abs({amount} / {10**USD_SCALE}), abs({amount} % {10**USD_SCALE})) END"
    )
