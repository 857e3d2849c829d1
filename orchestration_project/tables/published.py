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
    BigInteger,
    ColumnElement,
    Select,
    Subquery,
    Table,
    and_,
    case,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.tables.catalogue import (
    Part,
    Relation,
    groups_to_look_into,
    relation,
    tables,
)
from orchestration_project.tables.conditions import condition, conditions_on
from orchestration_project.tables.schema import HISTORY, PUBLICATION, UtcTimestamp, key_names

RANK, LATEST, REMOVED_AT = "publication_rank", "latest_known_from", "removed_at"
"""Columns of the versions of rows, beside those of the table."""


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
        """Return the numbers of rows that are left out, as missing_count and undated_count.

        Missing ones are those of `missing`; undated ones have no dates of publication.
        """
        versions = self.versions(wheres)
        _, last = self._publication(versions)
        return _of_day(
            versions,
            [
                func.count(case((self._is_missing(versions), 1))).label("missing_count"),
                func.count(case((last.is_(None), 1))).label("undated_count"),
            ],
            wheres,
        )

    def missing(self, wheres: Sequence[str]) -> Select[Any]:
        """Return the keys of rows of the day whose state then was never loaded."""
        versions = self.versions(wheres)
        key = [versions.c[name] for name in key_names(self.table)]
        return _of_day(versions, key, wheres).where(self._is_missing(versions)).order_by(*key)

    def versions(self, wheres: Sequence[str]) -> Subquery:
        """Return all versions of rows whose keys meet ``wheres``, ranked: 1 is that of the day.

        Versions are ranked by key, so that conditions on it may choose rows before that. A row that
        no load has changed has one version: only the others are sorted, which takes longest.
        """
        table, at = self.table, self.at
        history: Table = table.info[HISTORY]
        moment = UtcTimestamp()
        removed: ColumnElement[Any] = history.c.known_to
        if at is not None:
            removed = case((history.c.known_to <= at, history.c.known_to), else_=null())
        key, names = key_names(table), table.columns.keys()
        of_key, groups = conditions_on(key, wheres), groups_to_look_into(table, wheres)
        has_earlier = exists().where(*(history.c[name] == table.c[name] for name in key))
        present, earlier = (
            Part(rows, [] if at is None else [rows.c.known_from <= at])
            .select(names, of_key, groups)
            .add_columns(removed_at.label(REMOVED_AT))
            for rows, removed_at in ((table, literal(None, moment)), (history, removed))
        )
        only = present.where(~has_earlier).add_columns(
            literal(1, BigInteger()).label(RANK), table.c.known_from.label(LATEST)
        )
        every = union_all(present.where(has_earlier), earlier).subquery("every_version")
        _, last = self._publication(every)
        own = [every.c[name] for name in key]
        is_of_day = case((last <= self.day, 0), else_=1)
        rank = func.row_number().over(
            partition_by=own, order_by=[is_of_day, last.desc(), every.c.known_from.desc()]
        )
        latest = func.max(every.c.known_from).over(partition_by=own)
        # A select of its own: SQLite takes no condition into a union that has a window.
        ranked = select(every, rank.label(RANK), latest.label(LATEST)).subquery("ranked")
        return union_all(only, select(ranked)).subquery("versions")

    def is_there(self, versions: Subquery) -> Sequence[ColumnElement[bool]]:
        """Return the conditions of versions that are the day's."""
        columns = versions.c
        _, last = self._publication(versions)
        is_removed = and_(
            columns[REMOVED_AT].is_not(None),
            columns.known_from == columns[LATEST],
            columns[REMOVED_AT] <= datetime.combine(self.day, time.max, UTC),
        )
        return [
            columns[RANK] == 1,
            last <= self.day,
            or_(columns[REMOVED_AT].is_(None), ~is_removed),
        ]

    def _is_missing(self, versions: Subquery) -> ColumnElement[bool]:
        first, last = self._publication(versions)
        return and_(last > self.day, first <= self.day)

    def _publication(self, rows: Subquery) -> Sequence[ColumnElement[Any]]:
        """Return the columns with the days on which a row was first published and last changed."""
        return [rows.c[name] for name in self.table.info[PUBLICATION]]


@dataclass(frozen=True, kw_only=True)
class _RowsOfDay(Part):
    """The rows of a day, of just the versions that conditions on the key choose."""

    published: Published

    def select(
        self, names: Sequence[str], wheres: Sequence[str], groups: Sequence[str] = ()
    ) -> Select[Any]:
        """Return these columns of the rows that also meet ``wheres``."""
        versions = self.published.versions(wheres)
        return Part(versions, self.published.is_there(versions)).select(names, wheres)


def _of_day(
    versions: Subquery, found: Sequence[ColumnElement[Any]], wheres: Sequence[str]
) -> Select[Any]:
    given = (condition(versions, where) for where in wheres)
    return select(*found).where(versions.c[RANK] == 1, *given)


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
    return Published(table, day, at)
