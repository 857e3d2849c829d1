"""Rows of tables with history in their state of a time, for tables that are derived of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl
from sqlalchemy import Connection, Select, Table, func, select

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import Scope, read_frame, within
from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.tables.catalogue import relation, relation_as_of
from orchestration_project.tables.published import published_by
from orchestration_project.tables.schema import HISTORY, PUBLICATION


@dataclass(frozen=True)
class DerivedAsOf:
    """Rows of a derived table at a time.

    Attributes:
        table: The table.
        rows: Its rows of one partition, by its key.
        missing_count: Rows of its inputs that are left out: they were published by the day,
            changed since, and their state of the day was never loaded.
    """

    table: Table
    rows: pl.DataFrame
    missing_count: int = 0


@dataclass(frozen=True)
class StateAsOf:
    """One state of the database, in which tables are read as they were at a time.

    Attributes:
        connection: Reads.
        at: Only what was loaded by then counts; None: all.
        day: Only what its source had published by that day counts, of tables whose source dates
            its rows; None: all.
    """

    connection: Connection
    at: datetime | None
    day: date | None

    def read(
        self, table: Table, wheres: Sequence[str], columns: Sequence[str] = ()
    ) -> pl.DataFrame:
        """Return the rows of a table that meet conditions as a person writes them."""
        if self.day and PUBLICATION in table.info:
            chosen = published_by(table.name, self.day, self.at).relation
        else:
            chosen = relation_as_of(table.name, self.at) if self.at else relation(table.name)
        names = columns or [column.name for column in table.columns]
        found = chosen.select(names, wheres).order_by(None)
        statement = found if isinstance(found, Select) else select(found.subquery())
        return read_frame(self.connection, statement, table)

    def missing_count(self, table: Table, wheres: Sequence[str]) -> int:
        """Return how many rows were published by the day without a known state of it."""
        if self.day is None:
            return 0
        missing = published_by(table.name, self.day, self.at).left_out(wheres)
        return int(self.connection.execute(missing).one().missing_count)

    def last_load(self, table: Table, scope: Scope) -> datetime | None:
        """Return when a load last changed rows by then; one that only removed rows counts, too."""
        history = table.info[HISTORY]
        moments = [
            (table, table.c.known_from),
            (history, history.c.known_from),
            (history, history.c.known_to),
        ]
        found = []
        for each, moment in moments:
            statement = select(func.max(moment)).where(within(each, scope))
            if self.at is not None:
                statement = statement.where(moment <= self.at)
            found.append(self.connection.execute(statement).scalar_one())
        return max((each for each in found if each is not None), default=None)

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
) -> DerivedAsOf:
    """Return a partition of a derived table as it was known at a time, or published by a day.

    Args:
        warehouse: The database.
        tables: The tables that can be asked for.
        name: One of them.
        key: The partition: T1|2025-11-10; the Monday or day of tables of all tiers; the symbol of
            tables of prices; all for the symbol master.
        at: Only what was loaded by then counts; None: all.
        day: Only what the source had published by that day counts; None: all.

    Raises:
        ConfigurationError: The table or partition is none, or was not loaded by then.
    """
    if name not in tables:
        raise ConfigurationError(
            f"invalid gold table {name!r}: expected one that is derived of tables with history",
            expected=f"one of {', '.join(sorted(tables))}",
            remedy=did_you_mean(name, sorted(tables)),
        )
    with warehouse.reading() as connection:
        return tables[name](StateAsOf(connection, at, day), key)


def nothing_then(name: str, key: str, absent: Sequence[str]) -> ConfigurationError:
    """Return the error of a partition that cannot be derived: its inputs have no rows then."""
    return ConfigurationError(
        f"{name} of {key} cannot be derived",
        expected="what it is made of was loaded and published by then",
        found=f"no rows then: {', '.join(absent)}",
        remedy="ask for a later time, or for another partition",
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
        raise ConfigurationError(
            f"invalid partition {key!r}: expected a {'Monday' if monday else 'day'}, "
            "e.g. 2025-11-10",
            remedy="write it as yyyy-mm-dd, without a tier: the table is of all tiers",
        )
    return day
