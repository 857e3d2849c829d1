"""What is derived of a partition, in the transaction that lands it."""

import time
from collections import defaultdict
from collections.abc import Mapping

import polars as pl
from sqlalchemy import Connection, Table, delete

from orchestration_project.engine.warehouse.delivery import Ready
from orchestration_project.engine.warehouse.frames import insert_frame, read_scope, within


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
        derived = {table: maker.of_all(rows) for table, maker in order.derive.items()}
    for table, rows in derived.items():
        started = time.monotonic()
        connection.execute(delete(table).where(within(table, order.partition)))
        insert_frame(connection, table, rows)
        seconds[table.name] = time.monotonic() - started
    return seconds


def derive_ranges(connection: Connection, ready: Ready) -> Mapping[str, float]:
    """Do the same for a delivery in ranges that was written, range by range."""
    order, scope = ready.order, ready.delivery.scope
    unfinished: dict[Table, list[pl.DataFrame]] = {table: [] for table in order.derive}
    seconds: defaultdict[str, float] = defaultdict(float)
    for table in order.derive:
        connection.execute(delete(table).where(within(table, order.partition)))
    for condition, delivered in ready.checked.ranges or ():
        rows = delivered
        if scope:  # the rest of the partition counts too
            rows = read_scope(connection, order.table, {**order.partition, **condition})
        for table, maker in order.derive.items():
            started = time.monotonic()
            made = maker.of_rows(rows)
            if maker.of_ranges is None:
                insert_frame(connection, table, made)
            else:
                unfinished[table].append(made)
            seconds[table.name] += time.monotonic() - started
    for table, maker in order.derive.items():
        if maker.of_ranges is not None:
            started = time.monotonic()
            insert_frame(connection, table, maker.of_ranges(pl.concat(unfinished[table])))
            seconds[table.name] += time.monotonic() - started
    return seconds
