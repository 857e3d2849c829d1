"""A page of a relation: which rows follow a row, by key, so that a page costs the same anywhere."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, literal, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.catalogue import Relation
from orchestration_project.tables.conditions import READERS
from orchestration_project.tables.schema import key_names


def page(
    relation: Relation,
    names: Sequence[str],
    wheres: Sequence[str],
    *,
    cursor: str | None,
    limit: int | None,
) -> Select[Any]:
    """Return the select of the rows after ``cursor``, in key order, with the key's columns.

    Raises:
        ConfigurationError: A column, a condition or the cursor is none.
    """
    key = key_names(relation.table)
    rows = relation.select(names, wheres).order_by(None).subquery()
    columns = [rows.c[name] for name in key]
    chosen = select(rows).order_by(*columns).limit(limit)
    return chosen if cursor is None else chosen.where(is_after(*columns, *_values(columns, cursor)))


def cursor_after(relation: Relation, row: Mapping[str, Any]) -> str:
    """Return the cursor of the rows that follow ``row``."""
    written = json.dumps([_written(row[name]) for name in key_names(relation.table)])
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
        and_(*(key[place] == other[place] for place in range(number)), key[number] > other[number])
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


def _values(columns: Sequence[ColumnElement[Any]], cursor: str) -> list[ColumnElement[Any]]:
    """Return the key that a cursor names, bound by the types of ``columns``.

    Raises:
        ConfigurationError: It names none of theirs.
    """
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        written = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(written, list) or len(written) != len(columns):
            raise ValueError(cursor)
        return [
            literal(READERS[type(column.type)][0](each), column.type)
            for column, each in zip(columns, written, strict=True)
        ]
    except (ValueError, TypeError, AttributeError, KeyError, binascii.Error):
        raise ConfigurationError(
            "the cursor is none of this table", expected="next_cursor of the page before"
        ) from None


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
