"""Rows of a table with history that changed, each with its kind of change."""

from collections.abc import Callable, Sequence
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

from orchestration_project.tables.catalogue import relation_as_of
from orchestration_project.tables.conditions import condition, refuse_contradictions
from orchestration_project.tables.queries.relations import Part, Relation
from orchestration_project.tables.schema import BYTEWISE_TEXT, HISTORY, VALUES, UtcTimestamp

CHANGE = "change"
"""The column that says how a row changed."""

ADDED, CHANGED, REMOVED = "added", "changed", "removed"

CHANGED_AT = "changed_at"
"""The column with the time of the load that changed a row."""


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
    parts = [_select_changed(part, current, history, since, wheres) for part in later.parts]
    if since is not None:
        parts.append(_select_removed(current, history, since, until, wheres))
    return Relation(_add_change(current), parts)


def rows_of_loads(
    current: Table, scope: Callable[[FromClause], ColumnElement[bool]], times: Sequence[datetime]
) -> Relation:
    """Return the rows that some loads changed, with the columns ``change`` and ``changed_at``.

    An added or changed row has the values that its load wrote, a removed one its last values.

    Args:
        current: A table with history.
        scope: Returns the condition that rows of the table, or of its history, lie where the loads
            wrote.
        times: ``known_from`` of the loads.
    """
    history: Table = current.info[HISTORY]
    changed_at = Column(CHANGED_AT, UtcTimestamp(), comment="UTC time of the load", info={})
    with_change = _add_change(current, changed_at)
    parts = [_written(rows, current, history, times, scope) for rows in (current, history)]
    successors = (current.alias("present"), history.alias("later"))
    ended = _select_rows(history, current, _build_text(REMOVED)).add_columns(
        history.c.known_to.label(CHANGED_AT)
    )
    removed = ended.where(
        scope(history),
        history.c.known_to.in_(times),
        *(
            not_(exists().where(_has_same_key(rows, history, current), _begins(rows, history)))
            for rows in successors
        ),
    )
    return Relation(with_change, [*parts, Part(removed.subquery())])


def _written(
    rows: Table,
    current: Table,
    history: Table,
    times: Sequence[datetime],
    scope: Callable[[FromClause], ColumnElement[bool]],
) -> Part:
    """Return the rows of a table or its history that loads of these times wrote."""
    before = history.alias("before")
    was_there = exists().where(
        _has_same_key(before, rows, current), before.c.known_to == rows.c.known_from
    )
    query = _select_rows(
        rows, current, case((was_there, _build_text(CHANGED)), else_=_build_text(ADDED))
    )
    query = query.add_columns(rows.c.known_from.label(CHANGED_AT))
    return Part(query.where(scope(rows), rows.c.known_from.in_(times)).subquery())


def _begins(rows: FromClause, ended: Table) -> ColumnElement[bool]:
    return rows.c.known_from == ended.c.known_to


def _add_change(current: Table, *more: Column[datetime]) -> Table:
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
    return Table(current.name, MetaData(), *columns, change, *more)


def _select_changed(
    part: Part, current: Table, history: Table, since: datetime | None, wheres: Sequence[str]
) -> Part:
    """Return the rows of the later state that the earlier one has not, or in another version."""
    rows = part.rows
    kind = _build_text(ADDED)
    if since is not None:
        before = history.alias("before")
        was_there = and_(_is_valid_at(before, since), _has_same_key(before, rows, current))
        kind = case(
            (exists().where(was_there, *_parse_wheres(before, wheres)), _build_text(CHANGED)),
            else_=kind,
        )
    query = _select_rows(rows, current, kind).where(*part.conditions, *_parse_wheres(rows, wheres))
    return Part((query if since is None else query.where(rows.c.known_from > since)).subquery())


def _select_removed(
    current: Table, history: Table, since: datetime, until: datetime, wheres: Sequence[str]
) -> Part:
    """Return the rows of the earlier state whose key the later one has not."""
    after = history.alias("after")
    still_there = [
        exists().where(
            _has_same_key(rows, history, current), is_valid, *_parse_wheres(rows, wheres)
        )
        for rows, is_valid in (
            (current, current.c.known_from <= until),
            (after, _is_valid_at(after, until)),
        )
    ]
    query = _select_rows(history, current, _build_text(REMOVED)).where(
        _is_valid_at(history, since),
        history.c.known_to <= until,
        *_parse_wheres(history, wheres),
        *(not_(each) for each in still_there),
    )
    return Part(query.subquery())


def _select_rows(
    rows: FromClause, current: Table, kind: ColumnElement[str]
) -> Select[tuple[object]]:
    return select(*(rows.c[column.key] for column in current.columns), kind.label(CHANGE))


def _parse_wheres(rows: FromClause, wheres: Sequence[str]) -> list[ColumnElement[bool]]:
    return [condition(rows, where) for where in wheres]


def _is_valid_at(history: FromClause, at: datetime) -> ColumnElement[bool]:
    return and_(history.c.known_from <= at, history.c.known_to > at)


def _has_same_key(rows: FromClause, others: FromClause, current: Table) -> ColumnElement[bool]:
    names = current.primary_key.columns.keys()
    return and_(*(rows.c[name] == others.c[name] for name in names))


def _build_text(value: str) -> ColumnElement[str]:
    return type_coerce(literal(value), BYTEWISE_TEXT)
