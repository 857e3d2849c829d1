"""Changes of a table between two times: rows that were added, changed or removed.

Only rows that a load touched after the first time are compared, of the present table and its
history. A row that was changed and then restored by the second time is not a change. Between two
days by publication, all rows that the conditions on the key choose are compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    MetaData,
    Select,
    Subquery,
    Table,
    and_,
    case,
    literal,
    or_,
    select,
    type_coerce,
    union_all,
)

from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.catalogue import relation_as_of
from orchestration_project.tables.conditions import conditions_on
from orchestration_project.tables.queries.published import Published, published_by
from orchestration_project.tables.queries.relations import Part, Relation
from orchestration_project.tables.schema import BYTEWISE_TEXT, HISTORY, VALUES, key_names

CHANGE = "change"
OLD, NEW = "old_", "new_"
"""Prefixes of the two values of a column."""


def row_diff(name: str, since: datetime, until: datetime) -> Relation:
    """Return the rows of a table that differ between two times, by its key.

    Its columns are the key's, `change` (added, changed or removed), and old_X and new_X of each
    other column X. All of old_X are NULL of an added row, all of new_X of a removed one.

    Args:
        name: A table with history.
        since: The first time.
        until: The second time, not before the first.

    Raises:
        ConfigurationError: The table has no history, or the times are in the wrong order.
    """
    _refuse_reversed(since, until, "2026-11-01T00:00:00Z and 2026-11-02T00:00:00Z")
    table = relation_as_of(name, until).table
    shape = _build_shape(table)
    old, new = _select_ended(table, since, until), _select_begun(table, since, until)
    parts = [_select_new(table, old, new), _select_removed(table, old, new)]
    return Relation(shape, [Part(part.subquery()) for part in parts])


def publication_diff(name: str, first: date, last: date) -> Relation:
    """Return the rows of a table that differ between two days by publication, as `row_diff` does.

    Args:
        name: A table whose source dates its rows.
        first: The first day.
        last: The second day, not before the first.

    Raises:
        ConfigurationError: Its source does not date its rows, or the days are in the wrong order.
    """
    _refuse_reversed(first, last, "2026-11-01 and 2026-11-02")
    states = published_by(name, first), published_by(name, last)
    shape = _build_shape(states[0].table)
    comparisons = (_select_new, _select_removed)
    parts = [_PublicationDiff(shape, states=states, compare=compare) for compare in comparisons]
    return Relation(shape, parts)


@dataclass(frozen=True, kw_only=True)
class _PublicationDiff(Part):
    """Rows that differ between two states by publication, of just the keys that are asked for."""

    states: tuple[Published, Published]
    compare: Callable[[Table, Subquery, Subquery], Select[Any]]

    def select(
        self, names: Sequence[str], wheres: Sequence[str], groups: Sequence[str] = ()
    ) -> Select[Any]:
        """Return these columns of the rows that also meet ``wheres``."""
        table = self.states[0].table
        of_key = conditions_on(key_names(table), wheres)
        columns = table.columns.keys()
        old, new = (
            part.select(columns, of_key).subquery()
            for state in self.states
            for part in state.relation.parts
        )
        return Part(self.compare(table, old, new).subquery()).select(names, wheres)


def _refuse_reversed(first: date, last: date, example: str) -> None:
    if last < first:
        raise ConfigurationError(
            f"invalid times: expected the first one before the second, e.g. {example}",
            found=f"{first.isoformat()} and {last.isoformat()}",
        )


def _build_shape(table: Table) -> Table:
    """Return the columns of the diff, as a table that is never created."""
    key = key_names(table)
    other_columns = [column for column in table.columns if column.key not in key]
    return Table(
        f"{table.name}_diff",
        MetaData(),
        *(_copy(table.c[name], name, is_key=True) for name in key),
        Column(
            CHANGE,
            BYTEWISE_TEXT,
            nullable=False,
            comment="added, changed or removed",
            info={VALUES: ("added", "changed", "removed")},
        ),
        *(
            _copy(column, f"{prefix}{column.key}")
            for column in other_columns
            for prefix in (OLD, NEW)
        ),
        comment=f"Rows of {table.name} that differ between two times.",
    )


def _copy(column: Column[Any], name: str, *, is_key: bool = False) -> Column[Any]:
    return Column(
        name,
        column.type,
        primary_key=is_key,
        nullable=not is_key,
        comment=column.comment,
        autoincrement=False,
        info=dict(column.info),
    )


def _select_begun(table: Table, since: datetime, until: datetime) -> Subquery:
    """Return the rows of the second time that did not hold at the first."""
    history: Table = table.info[HISTORY]
    names = table.columns.keys()
    present = select(*table.columns).where(table.c.known_from > since, table.c.known_from <= until)
    earlier = select(*(history.c[name] for name in names)).where(
        history.c.known_from > since, history.c.known_from <= until, history.c.known_to > until
    )
    return union_all(present, earlier).subquery("new")


def _select_ended(table: Table, since: datetime, until: datetime) -> Subquery:
    """Return the rows of the first time that no longer held at the second."""
    history: Table = table.info[HISTORY]
    names = table.columns.keys()
    return (
        select(*(history.c[name] for name in names))
        .where(
            history.c.known_from <= since, history.c.known_to > since, history.c.known_to <= until
        )
        .subquery("old")
    )


def _has_same_key(table: Table, old: Subquery, new: Subquery) -> ColumnElement[bool]:
    return and_(*(old.c[name] == new.c[name] for name in key_names(table)))


def _select_new(table: Table, old: Subquery, new: Subquery) -> Select[Any]:
    """Return the added rows, and the changed ones whose values differ."""
    key = key_names(table)
    was_there = old.c[key[0]].is_not(None)
    ours = (*key, "capture_id", "known_from")
    values = [column.key for column in table.columns if column.key not in ours]
    differs = or_(*(new.c[name].is_distinct_from(old.c[name]) for name in values))
    change = case((was_there, "changed"), else_="added")
    columns: list[ColumnElement[Any]] = [
        *(new.c[name] for name in key),
        type_coerce(change, BYTEWISE_TEXT).label(CHANGE),
        *_label_both(table, old, new),
    ]
    return (
        select(*columns)
        .select_from(new.outerjoin(old, _has_same_key(table, old, new)))
        .where(or_(~was_there, differs))
    )


def _select_removed(table: Table, old: Subquery, new: Subquery) -> Select[Any]:
    key = key_names(table)
    columns: list[ColumnElement[Any]] = [
        *(old.c[name] for name in key),
        literal("removed", BYTEWISE_TEXT).label(CHANGE),
        *_label_both(table, old, new),
    ]
    return (
        select(*columns)
        .select_from(old.outerjoin(new, _has_same_key(table, old, new)))
        .where(new.c[key[0]].is_(None))
    )


def _label_both(table: Table, old: Subquery, new: Subquery) -> list[ColumnElement[Any]]:
    """Return old_X and new_X of each column that is not of the key."""
    key = key_names(table)
    return [
        rows.c[column.key].label(f"{prefix}{column.key}")
        for column in table.columns
        if column.key not in key
        for prefix, rows in ((OLD, old), (NEW, new))
    ]
