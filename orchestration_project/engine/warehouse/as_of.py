"""Rows of tables with history in their state of a time, for tables that are derived of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import polars as pl
from sqlalchemy import Connection, Select, Table, and_, case, func, select

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import Scope, match_scope, read_frame
from orchestration_project.errors import ConfigurationError, UnknownNameError, did_you_mean
from orchestration_project.tables.queries.published import REASON, published_by
from orchestration_project.tables.queries.relations import Relation
from orchestration_project.tables.schema import HISTORY, PUBLICATION, key_names


@dataclass(frozen=True)
class LeftOut:
    """Rows that are not in a state by publication.

    Attributes:
        keys: Their keys, and the reason (`REASONS`).
    """

    keys: pl.DataFrame = field(default_factory=pl.DataFrame)

    def __add__(self, other: "LeftOut") -> "LeftOut":
        known_frames = [item.keys for item in (self, other) if item.keys.width]
        return LeftOut(pl.concat(known_frames) if known_frames else self.keys)

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of rows by reason."""
        if not self.keys.width:
            return {}
        return dict(self.keys.group_by(REASON).len().iter_rows())


@dataclass(frozen=True)
class DerivedAsOf:
    """Rows of a derived table at a time.

    Attributes:
        table: The table.
        rows: Its rows of one partition, by its key.
        left_out: Rows of its inputs that are not in their state by publication.
    """

    table: Table
    rows: pl.DataFrame
    left_out: LeftOut = field(default_factory=LeftOut)


@dataclass(frozen=True)
class StateAsOf:
    """One state of the database, in which tables are read as they were at a time.

    Attributes:
        connection: Reads.
        at: Only what was loaded by then counts; None: all.
        day: Only what its source had published by that day counts, of tables whose source dates
            its rows; None: all.
        seconds: After which no further read begins; None: they may take as long as they take.
    """

    connection: Connection
    at: datetime | None
    day: date | None
    seconds: float | None = None
    _began: float = field(default_factory=time.monotonic)

    def require_time(self) -> None:
        """Refuse a further read after `seconds`.

        Raises:
            TimeoutError: They are over.
        """
        if self.seconds is not None and time.monotonic() - self._began > self.seconds:
            raise TimeoutError(f"the reads took longer than {self.seconds:g} s and were ended")

    def read(
        self, table: Table, wheres: Sequence[str], columns: Sequence[str] = ()
    ) -> pl.DataFrame:
        """Return the rows of a table that meet conditions as a person writes them."""
        self.require_time()
        chosen = self.relation_of(table)
        names = columns or table.columns.keys()
        query = chosen.select(names, wheres).order_by(None)
        statement = query if isinstance(query, Select) else select(query.subquery())
        return read_frame(self.connection, statement, table)

    def relation_of(self, table: Table) -> Relation:
        """Return the rows of a table in this state."""
        from orchestration_project.tables.catalogue import relation, relation_as_of

        if self.day and PUBLICATION in table.info:
            return published_by(table.name, self.day, self.at).relation
        return relation_as_of(table.name, self.at) if self.at else relation(table.name)

    def left_out(self, table: Table, wheres: Sequence[str]) -> LeftOut:
        """Return which rows are not in the state by publication, and why."""
        if self.day is None:
            return LeftOut()
        statement = published_by(table.name, self.day, self.at).missing(wheres)
        return LeftOut(read_frame(self.connection, statement, statement.subquery()))

    def load_of_present(self, table: Table, scope: Scope) -> datetime | None:
        """Return the last load of a partition whose present rows are those of the state.

        None if the partition has no rows, or rows of another state. With a timestamp, no row is
        left out as missing or undated.
        """
        rows, latest_load = table.c, func.max(table.c.known_from)
        if self.day is None:
            present = StateAsOf(self.connection, None, None).last_load(table, scope)
            return present if self.at is None or (present and present <= self.at) else None
        last = rows[table.info[PUBLICATION][1]]
        is_published = and_(last.is_not(None), last <= self.day)
        counted = select(func.count(), func.count(case((is_published, 1))), latest_load)
        row_count, published, latest = self.connection.execute(
            counted.where(match_scope(table, scope))
        ).one()
        is_of_state = latest and row_count == published and (self.at is None or latest <= self.at)
        return latest if is_of_state and not self._has_history(table, scope) else None

    def _has_history(self, table: Table, scope: Scope) -> bool:
        history: Table = table.info[HISTORY]
        first = history.c[key_names(table)[0]]
        some = select(first).where(match_scope(history, scope)).limit(1)
        return self.connection.execute(some).first() is not None

    def last_load(self, table: Table, scope: Scope) -> datetime | None:
        """Return when a load last changed rows by then; one that only removed rows counts, too."""
        history = table.info[HISTORY]
        moments = [
            (table, table.c.known_from),
            (history, history.c.known_from),
            (history, history.c.known_to),
        ]
        entries = []
        for item, moment in moments:
            statement = select(func.max(moment)).where(match_scope(item, scope))
            if self.at is not None:
                statement = statement.where(moment <= self.at)
            entries.append(self.connection.execute(statement).scalar_one())
        return max((entry for entry in entries if entry is not None), default=None)

    def refuse_day(self, table: Table) -> None:
        """Refuse a day of publication where the table's source does not date its rows.

        Raises:
            ConfigurationError: There is a day.
        """
        if self.day is not None:
            published_by(table.name, self.day)


AsOf = Mapping[str, Callable[[StateAsOf, str], DerivedAsOf]]
"""Derived tables by name, each with what derives a partition as of a time."""


def derive_as_of(
    warehouse: Warehouse,
    tables: AsOf,
    name: str,
    key: str,
    *,
    at: datetime | None = None,
    day: date | None = None,
    seconds: float | None = None,
) -> DerivedAsOf:
    """Return a partition of a derived table as it was known at a time, or published by a day.

    Args:
        warehouse: The database.
        tables: The tables that can be requested.
        name: One of them.
        key: The partition: T1|2025-11-10; the Monday or day of tables of all tiers; the symbol of
            tables of prices; all for the symbol master.
        at: Only what was loaded by then counts; None: all.
        day: Only what the source had published by that day counts; None: all.
        seconds: How long its reads may take; None: as long as they take.

    Raises:
        ConfigurationError: The table or partition is none, or was not loaded by then.
        TimeoutError: The reads took longer than ``seconds``.
    """
    if name not in tables:
        raise UnknownNameError(
            f"invalid gold table {name!r}: expected one that is derived of tables with history",
            expected=f"one of {', '.join(sorted(tables))}",
            remedy=did_you_mean(name, sorted(tables)),
        )
    with warehouse.reading(seconds=seconds) as connection:
        return tables[name](StateAsOf(connection, at, day, seconds), key)


class UnderivableError(ConfigurationError):
    """A partition cannot be derived: its inputs have no rows at the time."""


def build_absent_error(name: str, key: str, absent: Sequence[str]) -> UnderivableError:
    """Return the error of a partition that cannot be derived."""
    return UnderivableError(
        f"{name} of {key} cannot be derived",
        expected="what it is made of was loaded and published by then",
        found=f"no rows then: {', '.join(absent)}",
        remedy="name a later time, or another partition",
    )


def read_day(key: str, *, monday: bool = False) -> date:
    """Return the day of a partition of all tiers.

    Raises:
        ConfigurationError: The key is not a day, or not a Monday where one is expected.
    """
    try:
        day = date.fromisoformat(key)
    except ValueError:
        day = None
    if day is None or (monday and day.weekday()):
        raise UnknownNameError(
            f"invalid partition {key!r}: expected a {'Monday' if monday else 'day'}, "
            "e.g. 2025-11-10",
            remedy="write it as yyyy-mm-dd, without a tier: the table is of all tiers",
        )
    return day
