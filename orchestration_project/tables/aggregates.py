"""Groups of rows: sums, averages and bounds of measures, counted and added up by the database.

A measure is a number outside the key, and not the ID of a capture or a firm. Nothing of what a
person writes becomes SQL.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Double, Select, Table, cast, func, select
from sqlalchemy.sql.selectable import FromClause

from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.tables.catalogue import Relation
from orchestration_project.tables.conditions import public_column_of, refuse_contradictions

COUNT = "count"
IDENTIFIERS = ("capture_id", "firm_crd_number")
"""Whole numbers that name something: their sum means nothing."""

WRITTEN = re.compile(r"\s*(\w+)\s*\(\s*(\w+)\s*\)\s*", re.ASCII)

FUNCTIONS: Mapping[str, Callable[[ColumnElement[Any]], ColumnElement[Any]]] = {
    "sum": func.sum,
    "avg": lambda column: func.avg(cast(column, Double)),
    "min": func.min,
    "max": func.max,
}
EXPECTED = f"count, or one of {', '.join(FUNCTIONS)} of a measure, e.g. sum(share_quantity)"


class _Measure(NamedTuple):
    """A measure with its function; ``column`` is None for a count of rows."""

    function: str
    column: str | None

    @property
    def label(self) -> str:
        """Name of the result, such as share_quantity_sum."""
        return COUNT if self.column is None else f"{self.column}_{self.function}"

    def of(self, rows: FromClause) -> ColumnElement[Any]:
        found = (
            func.count() if self.column is None else FUNCTIONS[self.function](rows.c[self.column])
        )
        return found.label(self.label)


def measures_of(table: Table) -> list[str]:
    """Return the columns of a table that can be added up."""
    return [
        each.name
        for each in table.columns
        if isinstance(each.type, BigInteger | Double)
        and not each.primary_key
        and each.name not in IDENTIFIERS
    ]


def aggregate(
    chosen: Relation,
    group_by: Sequence[str],
    measures: Sequence[str],
    wheres: Sequence[str],
    *,
    limit: int,
) -> Select[Any]:
    """Return the select of one row for each group, in the order of the groups; NULL comes last.

    Args:
        chosen: The rows.
        group_by: Columns; none: all rows are one group.
        measures: As `EXPECTED` says; at least one.
        wheres: Conditions, which must all hold.
        limit: How many groups at most.

    Raises:
        ConfigurationError: A column, measure or condition is none.
    """
    refuse_contradictions(wheres)
    wanted = [_read(chosen.table, each) for each in measures]
    by = [public_column_of(chosen.table, name).name for name in group_by]
    labels = [*by, *(each.label for each in wanted)]
    if twice := sorted({each for each in labels if labels.count(each) > 1}):
        raise ConfigurationError("a column or measure is named twice", found=", ".join(twice))
    needed = list(dict.fromkeys([*by, *(each.column for each in wanted if each.column)]))
    rows = chosen.select(needed, wheres).order_by(None).subquery()
    columns = [rows.c[name] for name in by]
    results: list[ColumnElement[Any]] = [*columns, *(each.of(rows) for each in wanted)]
    found: Select[Any] = select(*results).select_from(rows).group_by(*columns)
    return found.order_by(*(each.asc().nulls_last() for each in columns)).limit(limit)


def _read(table: Table, written: str) -> _Measure:
    """Return the measure that a text names.

    Raises:
        ConfigurationError: It names none of the table's.
    """
    if written.strip() == COUNT:
        return _Measure(COUNT, None)
    parts = WRITTEN.fullmatch(written)
    if parts is None or parts[1] not in FUNCTIONS:
        raise ConfigurationError(f"invalid measure {written!r}", expected=EXPECTED)
    known = measures_of(table)
    if parts[2] not in known:
        raise ConfigurationError(
            f"{table.name} has no measure {parts[2]!r}",
            expected=f"one of {', '.join(known)}" if known else "count: it has no measure",
            remedy=did_you_mean(parts[2], known),
        )
    return _Measure(parts[1], parts[2])
