"""Derived rows whose inputs changed: marked stale by the load, until they are derived again.

A derived table with a column known_from gets the time of the load there. One with a column
is_stale has it set in the transaction that changes an input, so that no reader sees a new input
beside an old figure that is not marked.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Table, false, func, select, update

from orchestration_project.engine.warehouse.frames import Scope, within

KNOWN_FROM, IS_STALE = "known_from", "is_stale"

Dependents = Mapping[Table, Callable[[Scope], Scope]]
"""Derived tables with is_stale, and which of their rows are made of a partition."""


def stamped(rows: pl.DataFrame, known_from: datetime) -> pl.DataFrame:
    """Return derived rows with the time of the load where they have none, if they are dated."""
    if KNOWN_FROM not in rows.columns:
        return rows
    return rows.with_columns(pl.col(KNOWN_FROM).fill_null(known_from))


def mark_stale(connection: Connection, dependents: Dependents, partitions: Sequence[Scope]) -> None:
    """Mark what is derived of changed partitions, in the transaction that changes them."""
    for table, scope_of in dependents.items():
        is_marked = func.coalesce(table.c[IS_STALE], false())
        for partition in partitions:
            statement = update(table).where(within(table, scope_of(partition)), ~is_marked)
            connection.execute(statement.values({IS_STALE: True}))


def has_stale(connection: Connection, table: Table, scope: Scope) -> bool:
    """Whether a derived row is marked stale; a table without the column has none."""
    if IS_STALE not in table.c:
        return False
    found = select(table.c[IS_STALE]).where(within(table, scope), table.c[IS_STALE]).limit(1)
    return connection.execute(found).first() is not None


def stale_values(connection: Connection, table: Table, name: str) -> list[Any]:
    """Return the values of a column whose rows are marked stale, in order."""
    column = table.c[name]
    found = select(column).where(table.c[IS_STALE]).distinct().order_by(column)
    return list(connection.execute(found).scalars())
