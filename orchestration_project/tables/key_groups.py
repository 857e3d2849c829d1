"""Look-ups by a column that comes late in a key, without an index of its own.

The first columns of a key may have few values: a year of weeks, tiers and markets has 312 groups.
A database that is asked for a symbol alone reads the whole table. With the groups, it looks the
symbol up in each. They are found by the key's index, too: from each group to the next.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Table,
    case,
    func,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from orchestration_project.tables.schema import HISTORY

KEY_GROUPS = "key_groups"
"""Entry in a table's info: how many first columns of its key have few values together."""

Values = Sequence[ColumnElement[Any]]


def look_up_in_groups(count: int, *tables: Table) -> None:
    """Have rows looked up by the key's column after its first ``count``, also in histories."""
    for table in tables:
        table.info[KEY_GROUPS] = count
        if HISTORY in table.info:
            table.info[HISTORY].info[KEY_GROUPS] = count


def groups_of(rows: FromClause, names: Sequence[str]) -> CTE:
    """Return the distinct values of the first columns of a key, in columns called group_<name>.

    One row has NULL in all columns; it equals no row. Each step from a group to the next is a few
    look-ups, so their cost grows with the groups, and not with the rows.

    Args:
        rows: A table or view.
        names: The columns, in key order.
    """
    first = _complete_group(rows, names, [])
    cte = select(*_label_values(names, first)).cte(f"groups_of_{rows.description}", recursive=True)
    group = list(cte.columns)
    steps = select(*_label_values(names, _select_next(rows, names, group)))
    return cte.union_all(steps.where(group[0].is_not(None)))


def _label_values(names: Sequence[str], values: Values) -> Iterator[ColumnElement[Any]]:
    """Name values unlike the columns of the rows, so that no ORDER BY is ambiguous."""
    return (value.label(f"group_{name}") for name, value in zip(names, values, strict=True))


class of_next_group(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function that it is
    """A column's value in the next group: found by parts, or by a comparison of whole groups.

    Of the comparison SQLite looks up the first column alone. PostgreSQL takes most of a query's
    time to plan the look-ups by parts.
    """

    inherit_cache = True


@compiles(of_next_group)
def _by_parts(element: of_next_group, compiler: SQLCompiler, **options: Any) -> str:
    by_parts, _ = element.clauses
    return compiler.process(by_parts, **options)


@compiles(of_next_group, "postgresql")
def _by_groups(element: of_next_group, compiler: SQLCompiler, **options: Any) -> str:
    _, by_groups = element.clauses
    return compiler.process(by_groups, **options)


def _select_next(rows: FromClause, names: Sequence[str], group: Values) -> Values:
    """Return the group after one."""
    alias = rows.alias()
    key = [alias.c[name] for name in names]
    first = (
        select(alias).where(tuple_(*key) > tuple_(*group)).order_by(*key).limit(literal_column("1"))
    )
    return [
        of_next_group(
            by_parts, first.with_only_columns(column).correlate_except(alias).scalar_subquery()
        )
        for by_parts, column in zip(_select_next_by_parts(rows, names, group), key, strict=True)
    ]


def _select_next_by_parts(rows: FromClause, names: Sequence[str], group: Values) -> Values:
    """Return the group after one: the last column that has a higher value takes the next one."""
    candidates: list[tuple[ColumnElement[bool], Values]] = []
    for number in reversed(range(len(names))):
        higher = _select_least(rows, names, group[:number], above=group[number])
        candidates.append(
            (higher.is_not(None), _complete_group(rows, names, [*group[:number], higher]))
        )
    return [
        case(*((is_there, values[number]) for is_there, values in candidates))
        for number in range(len(names))
    ]


def _complete_group(rows: FromClause, names: Sequence[str], values: Values) -> Values:
    """Return the first group that begins with these values."""
    completed = list(values)
    while len(completed) < len(names):
        completed.append(_select_least(rows, names, completed))
    return completed


def _select_least(
    rows: FromClause,
    names: Sequence[str],
    begin: Values,
    above: ColumnElement[Any] | None = None,
) -> ColumnElement[Any]:
    """Return the least value of the column after those that ``begin`` has values of."""
    alias = rows.alias()
    expected_column = alias.c[names[len(begin)]]
    same = [alias.c[name] == value for name, value in zip(names, begin, strict=False)]
    higher = [] if above is None else [expected_column > above]
    query = select(func.min(expected_column)).where(*same, *higher)
    return query.correlate_except(alias).scalar_subquery()
