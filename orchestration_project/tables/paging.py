"""A page of a relation: which rows follow a row, by key, so that a page costs the same anywhere."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select

from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.catalogue import Relation
from orchestration_project.tables.conditions import READERS
from orchestration_project.tables.kinds import key_names


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
    return chosen if cursor is None else chosen.where(_after(columns, cursor))


def cursor_after(relation: Relation, row: Mapping[str, Any]) -> str:
    """Return the cursor of the rows that follow ``row``."""
    written = json.dumps([_written(row[name]) for name in key_names(relation.table)])
    return base64.urlsafe_b64encode(written.encode()).decode().rstrip("=")


def _after(columns: Sequence[ColumnElement[Any]], cursor: str) -> ColumnElement[bool]:
    """Return the condition that a row's key is above that of ``cursor``.

    Its first part says less than the rest, but is what a database looks up in the key's index.
    """
    values = _values(columns, cursor)
    above = [
        and_(
            *(columns[place] == values[place] for place in range(number)),
            columns[number] > values[number],
        )
        for number in range(len(columns))
    ]
    return and_(columns[0] >= values[0], or_(*above))


def _values(columns: Sequence[ColumnElement[Any]], cursor: str) -> list[Any]:
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        written = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(written, list) or len(written) != len(columns):
            raise ValueError(cursor)
        return [
            READERS[type(column.type)][0](each)
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
