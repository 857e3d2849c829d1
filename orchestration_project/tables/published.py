"""Rows as their source had published them by a day: a second clock beside that of loading.

A source that dates its rows says of each when it published it first, and when it changed it last.
The state of a row on a day is the latest that the source had published by then and that was loaded
at any time. A row that was changed after the day, and whose earlier state was never loaded, is
missing: its state is not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    Table,
    and_,
    case,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.tables.catalogue import Part, Relation, relation, tables
from orchestration_project.tables.conditions import condition
from orchestration_project.tables.schema import HISTORY, PUBLICATION, UtcTimestamp, key_names

RANK, LATEST, REMOVED_AT = "publication_rank", "latest_known_from", "removed_at"
"""Columns of the versions of rows, beside those of the table."""


@dataclass(frozen=True)
class Published:
    """Rows of a table as their source had published them by a day.

    Attributes:
        relation: These rows.
        versions: All versions of all rows, ranked: 1 is that of the day.
        day: The day.
        first: Column with the day on which a row was first published.
        last: Column with the day on which it was last changed.
    """

    relation: Relation
    versions: Subquery
    day: date
    first: str
    last: str

    def left_out(self, wheres: Sequence[str]) -> Select[Any]:
        """Return the numbers of rows that are left out, as missing_count and undated_count.

        Missing ones are those of `missing`; undated ones have no dates of publication.
        """
        undated = self.versions.c[self.last].is_(None)
        return self._of_day(
            [
                func.count(case((self._is_missing, 1))).label("missing_count"),
                func.count(case((undated, 1))).label("undated_count"),
            ],
            wheres,
        )

    def missing(self, wheres: Sequence[str]) -> Select[Any]:
        """Return the keys of rows of the day whose state then was never loaded."""
        key = [self.versions.c[name] for name in key_names(self.relation.table)]
        return self._of_day(key, wheres).where(self._is_missing).order_by(*key)

    @property
    def _is_missing(self) -> ColumnElement[bool]:
        columns = self.versions.c
        return and_(columns[self.last] > self.day, columns[self.first] <= self.day)

    def _of_day(self, found: Sequence[ColumnElement[Any]], wheres: Sequence[str]) -> Select[Any]:
        given = (condition(self.versions, where) for where in wheres)
        return select(*found).where(self.versions.c[RANK] == 1, *given)


def published_by(name: str, day: date, at: datetime | None = None) -> Published:
    """Return the rows of a table as their source had published them by a day.

    Args:
        name: The table.
        day: The last day whose publications count.
        at: Only what was loaded by then counts; None: all.

    Raises:
        ConfigurationError: The table is not found, or its rows are not dated by their source.
    """
    table = relation(name).table
    if PUBLICATION not in table.info:
        dated = sorted(each.name for each in tables() if PUBLICATION in each.info)
        raise ConfigurationError(
            f"the source of {name} does not say when it published a row",
            expected=f"one of {', '.join(dated)}",
            remedy=did_you_mean(name, dated) or "use --as-of: what was loaded by a time",
        )
    first, last = table.info[PUBLICATION]
    versions = _versions(table, last, day, at)
    columns = versions.c
    end = datetime.combine(day, time.max, UTC)
    is_removed = and_(
        columns[REMOVED_AT].is_not(None),
        columns.known_from == columns[LATEST],
        columns[REMOVED_AT] <= end,
    )
    is_there = or_(columns[REMOVED_AT].is_(None), ~is_removed)
    of_day = [columns[RANK] == 1, columns[last] <= day, is_there]
    return Published(Relation(table, [Part(versions, of_day)]), versions, day, first, last)


def _versions(table: Table, last: str, day: date, at: datetime | None) -> Subquery:
    """Return all versions of all rows, each with its rank for the day."""
    history: Table = table.info[HISTORY]
    moment = UtcTimestamp()
    removed: ColumnElement[Any] = history.c.known_to
    if at is not None:
        removed = case((history.c.known_to <= at, history.c.known_to), else_=null())
    names = [column.name for column in table.columns]
    present = select(*table.columns, literal(None, moment).label(REMOVED_AT))
    earlier = select(*(history.c[name] for name in names), removed.label(REMOVED_AT))
    if at is not None:
        present = present.where(table.c.known_from <= at)
        earlier = earlier.where(history.c.known_from <= at)
    every = union_all(present, earlier).subquery("every_version")
    key = [every.c[name] for name in key_names(table)]
    is_of_day = case((every.c[last] <= day, 0), else_=1)
    rank = func.row_number().over(
        partition_by=key, order_by=[is_of_day, every.c[last].desc(), every.c.known_from.desc()]
    )
    latest = func.max(every.c.known_from).over(partition_by=key)
    return select(every, rank.label(RANK), latest.label(LATEST)).subquery("versions")
