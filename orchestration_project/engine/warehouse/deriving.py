"""Partitions of a derived table, replaced in one transaction under their fences.

A fence keeps what the partition was made of where a landed one's keeps the source's version.
Who derives reads the token and the inputs in one state of the database, and must find the token
unchanged under the lock: of two runs the slower cannot put older figures over newer ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, Table, delete, func, select

from orchestration_project.engine.warehouse.fencing import take_fences
from orchestration_project.engine.warehouse.frames import Scope, insert_frame, joined, within
from orchestration_project.tables.spine import fences, landings

CAUSES_WITHOUT_VALUES = ("none", "metadata")
"""Landings after which every figure is what it was."""


@dataclass(frozen=True)
class Derivation:
    """The rows of a derived partition.

    Attributes:
        table: The derived table.
        partition_key: Dagster's key, which is the fence's.
        partition: The same as a condition on the table's columns.
        token: The fence's token when the inputs were read.
        version: What the rows are made of.
        rows: All rows of the partition.
    """

    table: Table
    partition_key: str
    partition: Scope
    token: int
    version: str
    rows: pl.DataFrame


def derive(connection: Connection, derivations: Sequence[Derivation], now: datetime) -> None:
    """Put the rows of derived partitions in the place of those that are there.

    Raises:
        SupersededError: Another run derived one of them since its inputs were read.
    """
    # all lock in one order, so that no two deadlock
    for table in sorted({each.table for each in derivations}, key=lambda each: each.name):
        _derive(connection, table, [each for each in derivations if each.table is table], now)


def _derive(
    connection: Connection, table: Table, derivations: Sequence[Derivation], now: datetime
) -> None:
    _, overtaken = take_fences(connection, [(each, each.version) for each in derivations], now)
    for error in overtaken.values():
        raise error
    for scope in joined(each.partition for each in derivations):
        connection.execute(delete(table).where(within(table, scope)))
    insert_frame(connection, table, pl.concat(each.rows for each in derivations))


def changes(connection: Connection, table: Table) -> dict[str, int]:
    """Return each landed partition, and the number of the delivery that last changed its values.

    New rules count as a change: what they derive may differ where the rows do not.
    """
    landed = connection.execute(
        select(
            landings.c.partition_key,
            landings.c.group_id,
            landings.c.change_cause,
            landings.c.rule_version,
        )
        .where(landings.c.table_name == table.name)
        .order_by(landings.c.landed_at)
    )
    found: dict[str, int] = {}
    rules: dict[str, str] = {}
    for key, group, cause, rule in landed:
        if cause not in CAUSES_WITHOUT_VALUES or rules.get(key) != rule:
            found[key] = int(group.rpartition("#")[2])
        rules[key] = rule
    return found


def first_landed_at(connection: Connection, table: Table) -> datetime | None:
    """Return when a partition of ``table`` landed first: it tells this database from another.

    Partitions and the numbers of their deliveries are the same in each of them.
    """
    return connection.execute(
        select(func.min(landings.c.landed_at)).where(landings.c.table_name == table.name)
    ).scalar()


def read_fence(connection: Connection, table: Table, partition_key: str) -> tuple[int, str | None]:
    """Return how often a partition was derived, and what it was last made of."""
    return read_fences(connection, table, [partition_key])[partition_key]


def read_fences(
    connection: Connection, table: Table, partition_keys: Sequence[str]
) -> dict[str, tuple[int, str | None]]:
    """Return the same of several partitions."""
    at = {"table_name": table.name, "scope_key": tuple(partition_keys)}
    columns = (fences.c.scope_key, fences.c.token, fences.c.source_version)
    rows = connection.execute(select(*columns).where(within(fences, at)))
    found = {row.scope_key: (row.token, row.source_version) for row in rows}
    return {key: found.get(key, (0, None)) for key in partition_keys}


def derived_versions(connection: Connection, table: Table) -> dict[str, str]:
    """Return each partition of a derived table, and what it was made of."""
    derived = connection.execute(
        select(fences.c.scope_key, fences.c.source_version).where(fences.c.table_name == table.name)
    )
    return {key: version for key, version in derived if version is not None}
