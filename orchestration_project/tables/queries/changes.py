"""Rows of a table with history that changed between two times, each with its kind of change."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    MetaData,
    Select,
    Table,
    and_,
    case,
    exists,
    literal,
    not_,
    select,
    type_coerce,
)

from orchestration_project.tables.catalogue import Part, Relation, relation_as_of
from orchestration_project.tables.conditions import condition, refuse_contradictions
from orchestration_project.tables.schema import BYTEWISE_TEXT, HISTORY, VALUES

CHANGE = "change"
"""The column that says how a row changed."""

ADDED, CHANGED, REMOVED = "added", "changed", "removed"


def changed_rows(
    name: str, since: datetime | None, until: datetime, wheres: Sequence[str] = ()
) -> Relation:
    """Return the rows that differ between two times, with the column ``change``.

    Both states are compared after the conditions: a row that no longer meets them is removed. An
    added or changed row has its values of ``until``, a removed one those of ``since``.

    Args:
        name: A table with history.
        since: Time of the earlier state; None: before the first load, so that each row is added.
        until: Time of the later state.
        wheres: Conditions as a person writes them, which must all hold.

    Raises:
        ConfigurationError: The table is unknown or keeps no history, or a condition is invalid.
    """
    refuse_contradictions(wheres)
    later = relation_as_of(name, until)
    current, history = later.table, later.table.info[HISTORY]
    parts = [_changed(part, current, history, since, wheres) for part in later.parts]
    if since is not None:
        parts.append(_removed(current, history, since, until, wheres))
    return Relation(_with_change(current), parts)


def _with_change(current: Table) -> Table:
    """Return the columns of a table and the change, as a table that is never created."""
    columns = [
        Column(
            column.key,
            column.type,
            primary_key=column.primary_key,
            nullable=column.nullable,
            comment=column.comment,
            info=dict(column.info),
        )
        for column in current.columns
    ]
    change = Column(
        CHANGE,
        BYTEWISE_TEXT,
        comment="Change: added, changed or removed",
        info={VALUES: (ADDED, CHANGED, REMOVED)},
    )
    return Table(current.name, MetaData(), *columns, change)


def _changed(
    part: Part, current: Table, history: Table, since: datetime | None, wheres: Sequence[str]
) -> Part:
    """Return the rows of the later state that the earlier one has not, or in another version."""
    rows = part.rows
    kind = _text(ADDED)
    if since is not None:
        before = history.alias("before")
        was_there = and_(_valid(before, since), _same_key(before, rows, current))
        kind = case(
            (exists().where(was_there, *_conditions(before, wheres)), _text(CHANGED)), else_=kind
        )
    query = _columns(rows, current, kind).where(*part.conditions, *_conditions(rows, wheres))
    return Part((query if since is None else query.where(rows.c.known_from > since)).subquery())


def _removed(
    current: Table, history: Table, since: datetime, until: datetime, wheres: Sequence[str]
) -> Part:
    """Return the rows of the earlier state whose key the later one has not."""
    after = history.alias("after")
    still_there = [
        exists().where(_same_key(rows, history, current), is_valid, *_conditions(rows, wheres))
        for rows, is_valid in (
            (current, current.c.known_from <= until),
            (after, _valid(after, until)),
        )
    ]
    query = _columns(history, current, _text(REMOVED)).where(
        _valid(history, since),
        history.c.known_to <= until,
        *_conditions(history, wheres),
        *(not_(each) for each in still_there),
    )
    return Part(query.subquery())


def _columns(rows: FromClause, current: Table, kind: ColumnElement[str]) -> Select[tuple[object]]:
    return select(*(rows.c[column.key] for column in current.columns), kind.label(CHANGE))


def _conditions(rows: FromClause, wheres: Sequence[str]) -> list[ColumnElement[bool]]:
    return [condition(rows, where) for where in wheres]


def _valid(history: FromClause, at: datetime) -> ColumnElement[bool]:
    return and_(history.c.known_from <= at, history.c.known_to > at)


def _same_key(rows: FromClause, others: FromClause, current: Table) -> ColumnElement[bool]:
    names = current.primary_key.columns.keys()
    return and_(*(rows.c[name] == others.c[name] for name in names))


def _text(value: str) -> ColumnElement[str]:
    return type_coerce(literal(value), BYTEWISE_TEXT)
