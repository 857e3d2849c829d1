"""A page of a relation: which rows follow a row, by key, so that a page costs the same anywhere."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, literal, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NULLTYPE

from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.conditions import READERS
from orchestration_project.tables.queries.relations import Part, Relation
from orchestration_project.tables.schema import UtcTimestamp, key_names


def page(
    relation: Relation,
    names: Sequence[str],
    wheres: Sequence[str],
    *,
    cursor: str | None,
    limit: int | None,
    in_iso: bool = False,
) -> Select[Any]:
    """Return the select of the rows after ``cursor``, in key order, with the key's columns.

    With ``in_iso`` it gives moments as texts, such as 2026-01-05T12:00:00.000000Z, on databases
    that write them faster than Python does.

    Raises:
        ConfigurationError: A column, a condition or the cursor is none.
    """
    if wheres or relation.parts != [Part(relation.table)]:
        chosen, key = _select_by_key(relation, names, wheres, limit, in_iso=in_iso)
    else:
        chosen, key = _select_table(relation.table, tuple(names), limit, in_iso=in_iso)
    if cursor is None:
        return chosen
    bound = (
        literal(value, column.type)
        for column, value in zip(key, read_key(key, cursor), strict=True)
    )
    return chosen.where(is_after(*key, *bound))


def _select_by_key(
    relation: Relation,
    names: Sequence[str],
    wheres: Sequence[str],
    limit: int | None,
    *,
    in_iso: bool,
) -> tuple[Select[Any], Sequence[ColumnElement[Any]]]:
    """Return the select of the first rows in the key's order, and the columns of the key."""
    rows = relation.select(names, wheres).order_by(None)
    if isinstance(rows, Select):
        columns, chosen = dict(rows.selected_columns.items()), rows
    else:  # of several tables
        query = rows.subquery()
        columns, chosen = dict(query.c.items()), select(query)
    if in_iso:
        chosen = chosen.with_only_columns(*(_format_moment(column) for column in columns.values()))
    key = [columns[name] for name in key_names(relation.table)]
    return chosen.order_by(*key).limit(limit), key


@lru_cache(maxsize=256)
def _select_table(
    table: Table, names: Sequence[str], limit: int | None, *, in_iso: bool
) -> tuple[Select[Any], Sequence[ColumnElement[Any]]]:
    """Return the same of a table; making a select takes as long as reading a short page."""
    return _select_by_key(Relation(table, [Part(table)]), names, (), limit, in_iso=in_iso)


def _format_moment(column: ColumnElement[Any]) -> ColumnElement[Any]:
    is_moment = isinstance(column.type, UtcTimestamp)
    return iso_moment(column).label(column.key) if is_moment else column


def cursor_after(relation: Relation, row: Mapping[str, Any]) -> str:
    """Return the cursor of the rows that follow ``row``."""
    return write_key([row[name] for name in key_names(relation.table)])


def write_key(values: Sequence[object]) -> str:
    """Return the values of a key as the text of a cursor."""
    written = json.dumps([_format_value(value) for value in values])
    return base64.urlsafe_b64encode(written.encode()).decode().rstrip("=")


class is_after(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function that it is
    """Whether a key, the first half of what is given, is above another, the second half."""

    inherit_cache = True


@compiles(is_after)
def _part_by_part(element: is_after, compiler: SQLCompiler, **options: Any) -> str:
    """Compare part by part: Db2 knows no other way.

    The first condition says less than the rest, but is what a database looks up in the key's index.
    """
    parts = list(element.clauses)
    key, other = parts[: len(parts) // 2], parts[len(parts) // 2 :]
    above = [
        and_(
            *(key[position] == other[position] for position in range(number)),
            key[number] > other[number],
        )
        for number in range(len(key))
    ]
    return compiler.process(and_(key[0] >= other[0], or_(*above)), **options)


@compiles(is_after, "postgresql")
@compiles(is_after, "sqlite")
def _at_once(element: is_after, compiler: SQLCompiler, **options: Any) -> str:
    """Compare rows, which the key's index finds however deep a page lies."""
    parts = [compiler.process(part, **options) for part in element.clauses]
    half = len(parts) // 2
    return f"({', '.join(parts[:half])}) > ({', '.join(parts[half:])})"


class iso_moment(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function that it is
    """A moment in UTC with microseconds as text; where no database writes it, as it is stored."""

    inherit_cache = True
    type = NULLTYPE


@compiles(iso_moment)
def _as_it_is(element: iso_moment, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(iso_moment, "postgresql")
def _as_text(element: iso_moment, compiler: SQLCompiler, **options: Any) -> str:
    moment = compiler.process(element.clauses, **options)
    return f"""to_char({moment} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


@compiles(iso_moment, "sqlite")
def _as_stored(element: iso_moment, compiler: SQLCompiler, **options: Any) -> str:
    return f"replace({compiler.process(element.clauses, **options)}, ' ', 'T') || 'Z'"


def read_key(columns: Sequence[ColumnElement[Any]], cursor: str) -> list[Any]:
    """Return the values of the key that a cursor names, by the types of ``columns``.

    Raises:
        ConfigurationError: It names none of theirs.
    """
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        written = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(written, list) or len(written) != len(columns):
            raise ValueError(cursor)
        return [
            READERS[type(column.type)][0](item)
            for column, item in zip(columns, written, strict=True)
        ]
    except (ValueError, TypeError, AttributeError, KeyError, binascii.Error):
        raise ConfigurationError(
            "the cursor is none of this table", expected="next_cursor of the page before"
        ) from None


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
