"""Rows as their source had published them by a day: a second clock beside that of loading.

A source that dates its rows says of each when it published it first, and when it changed it last.
A row counts from the day of its latest change, and from the publication day of the delivery that
brought it if that has come; it ends on the publication day of the delivery that replaced or removed
it. Of what begins or ends on one day, the later load counts. The state of a row on a day is the
latest of these by the day.

A row is named where its state is not known, or known by the day of a load alone (`REASONS`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Date,
    FromClause,
    Select,
    Subquery,
    Table,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.types import TypeEngine

from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.tables.conditions import condition, conditions_on
from orchestration_project.tables.queries.relations import Part, Relation, groups_to_look_into
from orchestration_project.tables.schema import (
    BYTEWISE_TEXT,
    ENDED_ON,
    HISTORY,
    IS_LOAD_DAY,
    PUBLICATION,
    key_names,
)
from orchestration_project.tables.spine import captures, deliveries

RANK, BROUGHT_ON, DECIDED_AT, IS_END, REASON = (
    "publication_rank",
    "brought_on",
    "decided_at",
    "is_end",
    "reason",
)
"""Columns of the states of rows, beside those of the table and its history."""

MISSING, NO_FIRST_DAY, UNDATED, REMOVED = (
    "missing_earlier_state",
    "undated_first_publication",
    "undated",
    "undated_removal",
)
REASONS = {
    MISSING: "were changed after {day}, and their earlier state was never loaded",
    NO_FIRST_DAY: "were changed after {day}, and the source does not say when it first published "
    "them",
    UNDATED: "have no date of publication",
    REMOVED: "were removed without a date: they count as removed from the day of the load",
}
"""Why rows are left out of a state by publication, and named."""


@dataclass(frozen=True)
class Published:
    """Rows of a table as their source had published them by a day.

    Attributes:
        table: The table.
        day: The day.
        at: Only what was loaded by then counts; None: all.
    """

    table: Table
    day: date
    at: datetime | None

    @property
    def relation(self) -> Relation:
        """These rows."""
        return Relation(self.table, [_RowsOfDay(self.table, published=self)])

    def left_out(self, wheres: Sequence[str]) -> Select[Any]:
        """Return the number of rows that are left out, by reason."""
        rows = self.missing(wheres).order_by(None).subquery()
        columns: list[ColumnElement[Any]] = [rows.c[REASON], func.count().label("row_count")]
        return select(*columns).group_by(rows.c[REASON])

    def missing(self, wheres: Sequence[str], only: str | None = None) -> Select[Any]:
        """Return the keys of rows that are left out, with the reason, by key.

        ``only``: of one reason; None: of all.
        """
        states = self.states(wheres)
        key = [states.c[name] for name in key_names(self.table)]
        reason = self._reason(states)
        conditions = (condition(states, where) for where in wheres)
        is_named = reason.is_not(None) if only is None else reason == only
        chosen = select(*key, type_coerce(reason, BYTEWISE_TEXT).label(REASON))
        return chosen.where(states.c[RANK] == 1, is_named, *conditions).order_by(*key)

    def states(self, wheres: Sequence[str]) -> Subquery:
        """Return beginnings and ends of rows whose keys meet ``wheres``; rank 1 is the day's state.

        They are ranked by key, so that conditions on it may choose rows before that. A row that no
        load has changed has one state: only the others are sorted, which takes longest.
        """
        table, at = self.table, self.at
        history: Table = table.info[HISTORY]
        key, names = key_names(table), table.columns.keys()
        of_key, groups = conditions_on(key, wheres), groups_to_look_into(table, wheres)

        def chosen(rows: Table) -> Select[Any]:
            known_conditions = [] if at is None else [rows.c.known_from <= at]
            return Part(rows, known_conditions).select(names, of_key, groups)

        def begun(found: Select[Any], rows: Table) -> Select[Any]:
            return found.add_columns(
                *(
                    _build_null(ENDED_ON, Date()),
                    _build_null(IS_LOAD_DAY, Boolean()),
                    _build_number(IS_END, 0),
                ),
                *(_select_brought_on(rows, table), rows.c.known_from.label(DECIDED_AT)),
            )

        present, earlier = chosen(table), chosen(history)
        has_earlier = _has_version(key, history, table)
        only = present.where(~has_earlier).add_columns(
            *(_build_null(ENDED_ON, Date()), _build_null(IS_LOAD_DAY, Boolean())),
            *(_build_number(IS_END, 0), _build_number(RANK, 1)),
        )
        ended = earlier.where(*self._is_removal(history)).add_columns(
            *(history.c[ENDED_ON], history.c[IS_LOAD_DAY], _build_number(IS_END, 1)),
            *(_select_brought_on(history, table), history.c.known_to.label(DECIDED_AT)),
        )
        every = union_all(
            begun(present.where(has_earlier), table), begun(earlier, history), ended
        ).subquery("every_state")
        columns = [every.c[name] for name in (*names, ENDED_ON, IS_LOAD_DAY, IS_END)]
        rank = func.row_number().over(
            partition_by=[every.c[name] for name in key], order_by=self._order(every)
        )
        # A select of its own: SQLite takes no condition into a union that has a window.
        ranked = select(*columns, rank.label(RANK)).subquery("ranked")
        return union_all(only, select(ranked)).subquery("states")

    def is_there(self, states: Subquery) -> Sequence[ColumnElement[bool]]:
        """Return the conditions of states that are rows of the day."""
        _, last = self._publication(states)
        return [states.c[RANK] == 1, states.c[IS_END] == 0, last <= self.day]

    def _is_removal(self, history: Table) -> Sequence[ColumnElement[bool]]:
        """Return the conditions of rows of the history that were removed by the day."""
        key, later = key_names(self.table), history.alias()
        is_replaced = or_(
            *(
                _has_version(key, rows, history, rows.c.known_from == history.c.known_to)
                for rows in (self.table, later)
            )
        )
        ended_on = history.c[ENDED_ON]
        known_conditions = [] if self.at is None else [history.c.known_to <= self.at]
        return [*known_conditions, or_(ended_on.is_(None), ended_on <= self.day), ~is_replaced]

    def _order(self, states: Subquery) -> Sequence[ColumnElement[Any]]:
        """Return the order of the states of a row, that of the day first.

        States after the day come last. The end of a row whose day is unknown follows its beginning.
        """
        _, last = self._publication(states)
        brought_on = states.c[BROUGHT_ON]
        is_on_its_day = or_(brought_on.is_(None), brought_on > self.day, brought_on < last)
        day = case(
            (states.c[ENDED_ON].is_not(None), states.c[ENDED_ON]),
            (and_(last <= self.day, is_on_its_day), last),
            (brought_on <= self.day, brought_on),
            else_=null(),
        )
        is_later = case((day.is_(None), 1), else_=0)
        is_later_end = case((day.is_(None), states.c[IS_END]), else_=0)
        return [is_later, is_later_end, day.desc(), states.c[DECIDED_AT].desc(), states.c[IS_END]]

    def _reason(self, states: Subquery) -> ColumnElement[Any]:
        """Return the reason why a row is named; NULL: its state is known."""
        first, last = self._publication(states)
        is_end = states.c[IS_END] == 1
        days = [column for column in self.table.primary_key if isinstance(column.type, Date)]
        has_begun = and_(*(states.c[column.name] <= self.day for column in days))
        return case(
            (and_(is_end, states.c[ENDED_ON].is_(None)), MISSING),
            (and_(is_end, states.c[IS_LOAD_DAY]), REMOVED),
            (is_end, null()),
            (last.is_(None), UNDATED),
            (last <= self.day, null()),
            (first <= self.day, MISSING),
            (and_(first.is_(None), has_begun), NO_FIRST_DAY),
            else_=null(),
        )

    def _publication(self, rows: Subquery) -> Sequence[ColumnElement[Any]]:
        """Return the columns with the days on which a row was first published and last changed."""
        return [rows.c[name] for name in self.table.info[PUBLICATION]]


@dataclass(frozen=True, kw_only=True)
class _RowsOfDay(Part):
    """The rows of a day, of just the states that conditions on the key choose."""

    published: Published

    def select(
        self, names: Sequence[str], wheres: Sequence[str], groups: Sequence[str] = ()
    ) -> Select[Any]:
        """Return these columns of the rows that also meet ``wheres``."""
        states = self.published.states(wheres)
        return Part(states, self.published.is_there(states)).select(names, wheres)


def _build_null(name: str, kind: TypeEngine[Any]) -> ColumnElement[Any]:
    return cast(null(), kind).label(name)


def _build_number(name: str, value: int) -> ColumnElement[Any]:
    return literal(value, BigInteger()).label(name)


def _has_version(
    key: Sequence[str], rows: FromClause, row: FromClause, *conditions: ColumnElement[bool]
) -> ColumnElement[bool]:
    """Return the condition that ``rows`` have one with the key of ``row``."""
    return exists().where(*(rows.c[name] == row.c[name] for name in key), *conditions)


def _select_brought_on(rows: Table, table: Table) -> ColumnElement[Any]:
    """Return the publication day of the delivery that a row was read from; NULL: unknown."""
    return (
        select(deliveries.c.published_on)
        .join(captures, captures.c.group_id == deliveries.c.group_id)
        .where(captures.c.capture_id == rows.c.capture_id, deliveries.c.table_name == table.name)
        .scalar_subquery()
        .label(BROUGHT_ON)
    )


def published_by(name: str, day: date, at: datetime | None = None) -> Published:
    """Return the rows of a table as their source had published them by a day.

    Args:
        name: The table.
        day: The last day whose publications count.
        at: Only what was loaded by then counts; None: all.

    Raises:
        ConfigurationError: The table is not found, or its rows are not dated by their source.
    """
    from orchestration_project.tables.catalogue import relation, tables

    table = relation(name).table
    if PUBLICATION not in table.info:
        dated = sorted(each.name for each in tables() if PUBLICATION in each.info)
        raise ConfigurationError(
            f"the source of {name} does not say when it published a row",
            expected=f"one of {', '.join(dated)}",
            remedy=did_you_mean(name, dated) or "use --as-of: what was loaded by a time",
        )
    return Published(table, day, at)
