"""Groups of rows: sums, averages and bounds of measures, counted and added up by the database.

A measure is a number outside the key, and not the ID of a capture or a firm. Nothing of what a
person writes becomes SQL.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Numeric,
    Select,
    Table,
    Text,
    cast,
    func,
    select,
    type_coerce,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import FromClause
from sqlalchemy.types import TypeDecorator, TypeEngine

from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.tables.conditions import (
    comparable,
    public_names,
    refuse_contradictions,
)
from orchestration_project.tables.queries.relations import Relation
from orchestration_project.tables.schema import USD_SCALE, Dollars, Quantity, as_quantity

COUNT = "count"
MILLION = 10**6
IDENTIFIERS = ("capture_id", "firm_crd_number")
"""Whole numbers that name something: their sum means nothing."""

WRITTEN = re.compile(r"\s*(\w+)\s*\(\s*(\w+)\s*\)\s*", re.ASCII)


class _Sum(TypeDecorator[int]):
    """A whole number of any size: NUMERIC, on SQLite sums of its millions and of the rest."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that keeps every digit on ``dialect``."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric())

    def process_result_value(self, value: Decimal | str | None, dialect: Dialect) -> int | None:
        """Return the number."""
        if isinstance(value, str):
            millions, remainder = map(int, value.split())
            return millions * MILLION + remainder
        return None if value is None else int(value)


class _QuantitySum(_Sum):
    """The same of millionths, as the decimal that they mean."""

    cache_ok = True

    def process_result_value(self, value: Decimal | str | None, dialect: Dialect) -> Any:
        """Return the decimal, with all its places."""
        millionths = super().process_result_value(value, dialect)
        return None if millionths is None else as_quantity(millionths)


class exact_sum(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function that it is
    """The sum of whole numbers, which may exceed 64 bits."""

    type = _Sum()
    inherit_cache = True


@compiles(exact_sum)
def _at_once(element: exact_sum, compiler: SQLCompiler, **options: Any) -> str:
    """Add up: databases widen the sum of 64-bit numbers."""
    return f"SUM({compiler.process(element.clauses, **options)})"


@compiles(exact_sum, "sqlite")
def _in_parts(element: exact_sum, compiler: SQLCompiler, **options: Any) -> str:
    """Add up millions and the rest apart: a sum of SQLite ends at 64 bits, by an error."""
    number = compiler.process(element.clauses, **options)
    return f"SUM({number} / {MILLION}) || ' ' || SUM({number} % {MILLION})"


def _sum_column(column: ColumnElement[Any]) -> ColumnElement[Any]:
    if isinstance(column.type, Double):
        return func.sum(column)
    total = exact_sum(_read_millionths(column))
    return type_coerce(total, _QuantitySum()) if _is_decimal(column) else total


def _compute_mean(column: ColumnElement[Any]) -> ColumnElement[Any]:
    mean = func.avg(cast(_read_millionths(column), Double))
    return mean / 10**USD_SCALE if _is_decimal(column) else mean


def _build_extreme(
    function: Callable[[ColumnElement[Any]], Any],
) -> Callable[..., ColumnElement[Any]]:
    def extreme(column: ColumnElement[Any]) -> ColumnElement[Any]:
        found = function(_read_millionths(column))
        return type_coerce(found, Quantity()) if _is_decimal(column) else found

    return extreme


def _is_decimal(column: ColumnElement[Any]) -> bool:
    return isinstance(column.type, Dollars | Quantity)


def _read_millionths(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return type_coerce(comparable(column), BigInteger()) if _is_decimal(column) else column


FUNCTIONS: Mapping[str, Callable[[ColumnElement[Any]], ColumnElement[Any]]] = {
    "sum": _sum_column,
    "avg": _compute_mean,
    "min": _build_extreme(func.min),
    "max": _build_extreme(func.max),
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
        column.key
        for column in table.columns
        if isinstance(column.type, BigInteger | Double | Dollars | Quantity)
        and not column.primary_key
        and column.key not in IDENTIFIERS
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
    expected_measures = [_read(chosen.table, measure) for measure in measures]
    by = public_names(chosen.table, group_by)
    labels = [*by, *(measure.label for measure in expected_measures)]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise ConfigurationError("a column or measure is named twice", found=", ".join(twice))
    needed = list(
        dict.fromkeys([*by, *(measure.column for measure in expected_measures if measure.column)])
    )
    rows = chosen.select(needed, wheres).order_by(None).subquery()
    columns = [rows.c[name] for name in by]
    results: list[ColumnElement[Any]] = [
        *columns,
        *(measure.of(rows) for measure in expected_measures),
    ]
    query: Select[Any] = select(*results).select_from(rows).group_by(*columns)
    return query.order_by(*(column.asc().nulls_last() for column in columns)).limit(limit)


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
    known_names = measures_of(table)
    if parts[2] not in known_names:
        raise ConfigurationError(
            f"{table.name} has no measure {parts[2]!r}",
            expected=f"one of {', '.join(known_names)}"
            if known_names
            else "count: it has no measure",
            remedy=did_you_mean(parts[2], known_names),
        )
    return _Measure(parts[1], parts[2])
