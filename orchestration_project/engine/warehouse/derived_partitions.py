"""Partitions of derived tables, replaced under the lock of their fences.

A fence keeps what the partition was made of where a loaded one's keeps the source's version.
Who derives reads the token and the inputs in one state of the database, and must find the token
unchanged under the lock: of two runs the slower cannot put older figures over newer ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter

import polars as pl
from sqlalchemy import Connection, Table, delete

from orchestration_project.engine.warehouse.fencing import take_fences
from orchestration_project.engine.warehouse.frames import (
    Scope,
    delete_rows,
    insert_frame,
    join_scopes,
    match_scope,
    read_scope,
)
from orchestration_project.engine.warehouse.target import (
    KNOWN_FROM,
    fill_known_from,
)
from orchestration_project.tables.schema import HISTORY, key_names


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
        excluded: Numbers of keys of its inputs that no row is derived of, by their reason.
        before: What the partition was last derived of.
    """

    table: Table
    partition_key: str
    partition: Scope
    token: int
    version: str
    rows: pl.DataFrame
    excluded: Mapping[str, int] = field(default_factory=dict[str, int])
    before: str | None = None

    @property
    def rule_version(self) -> str:
        """Version of the rules that made the rows: the beginning of ``version``."""
        return self.version.partition(": ")[0]

    @property
    def change_cause(self) -> str:
        """Cause of a change: new rules alone (`ours`), or other inputs (`source`)."""
        made_of = self.version.partition(": ")[2]
        return "ours" if made_of == (self.before or "").partition(": ")[2] else "source"


def write_derived(connection: Connection, derivations: Sequence[Derivation], now: datetime) -> None:
    """Put the rows of derived partitions in the place of those that are there.

    Raises:
        SupersededError: Another run derived one of them since its inputs were read.
    """
    # all lock in one order, so that no two deadlock
    tables = {derivation.table for derivation in derivations}
    for table in sorted(tables, key=attrgetter("name")):
        of_table = [derivation for derivation in derivations if derivation.table is table]
        _derive(connection, table, of_table, now)


def _derive(
    connection: Connection, table: Table, derivations: Sequence[Derivation], now: datetime
) -> None:
    versions = [(derivation, derivation.version) for derivation in derivations]
    known_from, overtaken = take_fences(connection, versions, now)
    for error in overtaken.values():
        raise error
    if HISTORY in table.info:
        for derivation in derivations:
            _derive_with_history(connection, derivation, known_from)
        return
    for scope in join_scopes(derivation.partition for derivation in derivations):
        connection.execute(delete(table).where(match_scope(table, scope)))
    insert_frame(connection, table, pl.concat(derivation.rows for derivation in derivations))


def _derive_with_history(
    connection: Connection, derivation: Derivation, known_from: datetime
) -> None:
    """Write the rows of a partition that are new or differ; move those they replace to the history.

    Equal rows stay, with the time from which they are known.
    """
    table, rows = derivation.table, derivation.rows
    history: Table = table.info[HISTORY]
    key = key_names(table)
    values = [name for name in rows.columns if name not in (*key, KNOWN_FROM)]
    current = read_scope(connection, table, derivation.partition)
    frame = current.join(rows, on=key, suffix="_new")
    is_same = [pl.col(name).eq_missing(pl.col(f"{name}_new")) for name in values]
    kept_frame = frame.filter(pl.all_horizontal(pl.lit(value=True), *is_same)).select(key)
    replaced = current.join(kept_frame, on=key, how="anti")
    if kept_frame.is_empty():
        connection.execute(delete(table).where(match_scope(table, derivation.partition)))
    else:
        delete_rows(connection, table, replaced.select(key))
    ended = replaced.with_columns(
        known_to=pl.lit(known_from, pl.Datetime("us", "UTC")),
        change_cause=pl.lit(derivation.change_cause),
        rule_version=pl.lit(derivation.rule_version),
    )
    insert_frame(connection, history, ended.select(history.columns.keys()))
    insert_frame(
        connection, table, fill_known_from(rows.join(kept_frame, on=key, how="anti"), known_from)
    )
