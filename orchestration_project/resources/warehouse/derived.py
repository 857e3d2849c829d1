"""What is derived of a partition, in the transaction that lands it."""

import time
from collections import defaultdict
from collections.abc import Mapping

import polars as pl
from sqlalchemy import Connection, Table, delete

from orchestration_project.resources.warehouse.delivery import Ready
from orchestration_project.resources.warehouse.frames import insert_frame, read_scope, within


def derive(connection: Connection, ready: Ready) -> dict[str, float]:
    """Replace the partition in each derived table; return the seconds that each took.

    Of a part of the partition, the rows that the delivery left alone count too.
    """
    order, seconds = ready.order, dict[str, float]()
    if not order.derive:
        return seconds
    derived = ready.prepared.derived
    if derived is None:
        rows = read_scope(connection, order.table, order.partition)
        derived = {table: recipe.of_all(rows) for table, recipe in order.derive.items()}
    for table, rows in derived.items():
        started = time.monotonic()
        connection.execute(delete(table).where(within(table, order.partition)))
        insert_frame(connection, table, rows)
        seconds[table.name] = time.monotonic() - started
    return seconds


class RangeDerivation:
    """Does the same for a delivery in ranges, right after each of them was written."""

    def __init__(self, connection: Connection, ready: Ready) -> None:
        self._connection = connection
        self._order, self._scope = ready.order, ready.delivery.scope
        self._unfinished: dict[Table, list[pl.DataFrame]] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        for table in self._order.derive:
            connection.execute(delete(table).where(within(table, self._order.partition)))

    def add(self, condition: Mapping[str, object], rows: pl.DataFrame) -> None:
        """Derive of the ``rows`` that were written where ``condition`` holds."""
        order = self._order
        if self._scope and order.derive:  # the rest of the partition counts too
            rows = read_scope(self._connection, order.table, {**order.partition, **condition})
        for table, recipe in order.derive.items():
            started = time.monotonic()
            made = recipe.of_rows(rows)
            if recipe.of_ranges is None:
                insert_frame(self._connection, table, made)
            else:
                self._unfinished.setdefault(table, []).append(made)
            self._seconds[table.name] += time.monotonic() - started

    def finish(self) -> Mapping[str, float]:
        """Finish what needs all ranges; return the seconds that each table took."""
        for table, made in self._unfinished.items():
            started = time.monotonic()
            of_ranges = self._order.derive[table].of_ranges
            if of_ranges is not None:
                insert_frame(self._connection, table, of_ranges(pl.concat(made)))
            self._seconds[table.name] += time.monotonic() - started
        return self._seconds
