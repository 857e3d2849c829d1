"""The result of a derived table, held to its declaration: names, types, NULLs, checks and key."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import polars as pl

from orchestration_project.engine.contracts.contract import is_violation
from orchestration_project.engine.contracts.frame_types import MOMENT, QUANTITY
from orchestration_project.engine.own.contracts import list_size_checks
from orchestration_project.engine.own.derived import Derived
from orchestration_project.engine.own.fields import Field
from orchestration_project.errors import ContractError
from orchestration_project.tables.schema import as_quantity

ROWS_NAMED = 3
"""Rows that an error names."""


class Result(NamedTuple):
    """Rows as a query or function returned them.

    Attributes:
        names: Names of the columns.
        rows: The rows.
        is_sql: Whether a query returned them, so that decimals are whole millionths.
    """

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]
    is_sql: bool


def convert_frame(derived: Derived, returned: Any) -> Result:
    """Return the rows of a frame that a function returned.

    Raises:
        ContractError: It returned something else than a frame of polars or pandas.
    """
    frame: Any = returned.collect() if isinstance(returned, pl.LazyFrame) else returned
    if type(frame).__module__.partition(".")[0] == "pandas":
        frame = pl.from_pandas(frame)
    if not isinstance(frame, pl.DataFrame):
        raise _build_error(derived, "a frame of polars or pandas", type(returned).__name__)
    return Result(frame.columns, frame.rows(), is_sql=False)


def convert_result(derived: Derived, result: Result, scope: Mapping[str, Any]) -> pl.DataFrame:
    """Return a result as rows of the table, in its columns but ``known_from``.

    Args:
        derived: The declaration.
        result: What the query or function returned.
        scope: The value of the column that partitions the table; empty: it has none.

    Raises:
        ContractError: It differs from the declaration.
    """
    expected = map_result_names(derived, is_sql=result.is_sql)
    if sorted(result.names) != sorted(expected.values()):
        raise _build_error(
            derived, ", ".join(expected.values()), ", ".join(result.names) or "nothing"
        )
    places = {name: index for index, name in enumerate(result.names)}
    columns = []
    for field in derived.columns:
        index = places[expected[field.name]]
        values = [row[index] for row in result.rows]
        columns.append(_read_column(derived, field, values, is_sql=result.is_sql))
    frame = pl.DataFrame(columns)
    _require_checked(derived, frame)
    _require_keyed(derived, frame, scope)
    return frame.sort(list(derived.key))


def map_result_names(derived: Derived, *, is_sql: bool) -> Mapping[str, str]:
    """Return the names that a result must have, by field."""
    return {field.name: field.stored_name if is_sql else field.name for field in derived.columns}


def _read_column(
    derived: Derived, field: Field, values: Sequence[Any], *, is_sql: bool
) -> pl.Series:
    read = _read_millionths if is_sql and field.kind == "decimal" else READERS[field.kind]
    entries = []
    for value in values:
        if value is None:
            if not field.optional:
                raise _build_error(derived, f"{field.name} without NULL", "NULL", of=field)
            entries.append(None)
            continue
        try:
            entries.append(read(value))
        except (TypeError, ValueError, ArithmeticError):
            expected = f"{field.name}: {EXPECTED[field.kind]}"
            if read is _read_millionths:
                expected = f"{field.stored_name}: whole millionths of a decimal"
            kind = type(value).__name__
            raise _build_error(derived, expected, f"{value!r:.60}, {kind}", of=field) from None
    return pl.Series(field.name, entries, POLARS[field.kind])


def _refuse() -> Any:
    raise ValueError


def _read_text(value: Any) -> str:
    return value if isinstance(value, str) else _refuse()


def _read_integer(value: Any) -> int:
    """Return a whole number; a sum of PostgreSQL is a decimal."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or value != int(value):
        _refuse()
    return int(value) if -(2**63) <= value < 2**63 else _refuse()


def _read_boolean(value: Any) -> bool:
    """Return a truth; SQLite has 0 and 1."""
    return bool(value) if isinstance(value, int) and value in (0, 1) else _refuse()


def _read_date(value: Any) -> date:
    """Return a day; SQLite has its text."""
    if isinstance(value, str):
        return date.fromisoformat(value) if len(value) == len("2026-01-01") else _refuse()
    return value if isinstance(value, date) and not isinstance(value, datetime) else _refuse()


def _read_moment(value: Any) -> datetime:
    """Return a moment; the text that SQLite has is in UTC."""
    if isinstance(value, str):
        fromisoformat = datetime.fromisoformat(value)
        return (
            fromisoformat.replace(tzinfo=UTC)
            if fromisoformat.tzinfo is None
            else fromisoformat.astimezone(UTC)
        )
    if not isinstance(value, datetime) or value.tzinfo is None:
        _refuse()
    return value.astimezone(UTC)


def _read_decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        _refuse()
    return Decimal(value)


def _read_millionths(value: Any) -> Decimal:
    return as_quantity(_read_integer(value))


READERS: Mapping[str, Callable[[Any], Any]] = {
    "text": _read_text,
    "json": _read_text,
    "integer": _read_integer,
    "boolean": _read_boolean,
    "date": _read_date,
    "timestamp": _read_moment,
    "decimal": _read_decimal,
}
"""Reads a value of a type, exactly or not at all."""

EXPECTED: Mapping[str, str] = {
    "text": "a text",
    "json": "a text of JSON",
    "integer": "a whole number of 64 bits",
    "boolean": "true or false",
    "date": "a day such as 2026-01-05",
    "timestamp": "a timestamp with a zone",
    "decimal": "an exact decimal",
}

POLARS: Mapping[str, pl.DataType] = {
    "text": pl.String(),
    "json": pl.String(),
    "integer": pl.Int64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "timestamp": MOMENT,
    "decimal": QUANTITY,
}


def _require_checked(derived: Derived, frame: pl.DataFrame) -> None:
    for field in derived.columns:
        for check in (*list_size_checks(field), *field.checks):
            broken = frame.filter(is_violation(pl.col(field.name), check).fill_null(value=False))
            if len(broken):
                raise _build_error(
                    derived, f"{field.name} {check.says}", _name_rows(broken, derived), of=field
                )


def _require_keyed(derived: Derived, frame: pl.DataFrame, scope: Mapping[str, Any]) -> None:
    key = list(derived.key)
    twice = frame.filter(pl.struct(key).is_duplicated()).unique(key)
    if len(twice):
        raise _build_error(
            derived, f"each {', '.join(key)} once", f"several of {_name_rows(twice, derived)}"
        )
    for name, value in scope.items():
        other_frame = frame.filter(pl.col(name) != value)
        if len(other_frame):
            raise _build_error(derived, f"rows of {name} {value}", _name_rows(other_frame, derived))


def _name_rows(rows: pl.DataFrame, derived: Derived) -> str:
    named = rows.sort(list(derived.key)).head(ROWS_NAMED).iter_rows(named=True)
    texts = ["/".join(str(row[name]) for name in derived.key) for row in named]
    remaining_text = f" and {len(rows) - ROWS_NAMED} more" if len(rows) > ROWS_NAMED else ""
    return ", ".join(texts) + remaining_text


def _build_error(
    derived: Derived, expected: str, found: str, *, of: Field | None = None
) -> ContractError:
    what = f"field {of.name!r}" if of else "the result"
    return ContractError(
        f"{derived.name} is not derived: {what} is not as declared",
        expected=expected,
        found=found,
        remedy="correct the query, the function or the declaration; the table stays as it was",
    )
