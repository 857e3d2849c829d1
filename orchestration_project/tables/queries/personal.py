"""Columns with data about persons: masked for most readers, and left out of what is exported."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Text,
    case,
    literal,
    null,
    select,
    type_coerce,
)

from orchestration_project.tables.catalogue import METADATA
from orchestration_project.tables.queries.relations import Part, Relation
from orchestration_project.tables.schema import BYTEWISE_TEXT, is_personal, personal_columns
from orchestration_project.tables.spine import rejects

MASK = "***"
"""Stands for a personal text; other personal values are NULL."""


def personal_tables() -> list[str]:
    """Return the names of the tables that have such columns."""
    return [table.name for table in METADATA.tables.values() if personal_columns(table)]


def masked(relation: Relation) -> Relation:
    """Return the rows without personal values; conditions and order see the masks, too.

    Rejected records of tables with personal columns are masked as a whole.
    """
    names = {column.name for column in relation.table.columns if is_personal(column)}
    sources = personal_tables() if relation.table is rejects else []
    if not names and not sources:
        return relation
    return Relation(
        relation.table, [Part(_mask_part(part, names, sources)) for part in relation.parts]
    )


def masked_record() -> ColumnElement[Any]:
    """Return the record of a reject, masked if its table has personal columns."""
    is_of_person = rejects.c.table_name.in_(personal_tables())
    return case((is_of_person, MASK), else_=rejects.c.record).label("record")


def _mask_part(part: Part, names: Iterable[str], sources: Iterable[str]) -> FromClause:
    columns = [
        _mask(column) if column.name in names else column.label(column.key)
        for column in part.rows.columns
    ]
    if sources:
        columns = [masked_record() if item.key == "record" else item for item in columns]
    return select(*columns).where(*part.conditions).subquery()


def _mask(column: Column[Any] | ColumnElement[Any]) -> ColumnElement[Any]:
    if not isinstance(column.type, Text):
        return type_coerce(null(), column.type).label(column.key)
    mask = case((column.is_(None), null()), else_=literal(MASK))
    return type_coerce(mask, BYTEWISE_TEXT).label(column.key)
