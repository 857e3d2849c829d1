"""Equations of loads, computed from loads, rejects and rows of the loaded tables."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    exists,
    func,
    or_,
    select,
    true,
)

from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.contracts.chain import ERASURE, LOAD
from orchestration_project.engine.equations import BalanceFilter, Equation, SubjectBalance
from orchestration_project.engine.warehouse.chaining import parse_partition
from orchestration_project.engine.warehouse.frames import Scope, match_scope
from orchestration_project.tables.catalogue import tables
from orchestration_project.tables.spine import (
    balances,
    captures,
    deliveries,
    landings,
    load_chain,
    rejects,
)

MAX_BATCH_ROWS = 10_000
WHOLE_PARTITION = "{}"
"""Scope of a delivery that is complete for all of its partition."""


def read_recorded(connection: Connection, chosen: BalanceFilter) -> Iterator[SubjectBalance]:
    """Yield the equations that stages recorded, each with its own name."""
    row = balances.c
    statement = (
        select(row.table_name, row.subject, row.equation, row.came_in, row.went_to)
        .where(chosen.holds(row.recorded_at), _is_of(row.table_name, chosen))
        .order_by(row.table_name, row.subject, row.equation)
        .execution_options(yield_per=MAX_BATCH_ROWS)
    )
    for table_name, subject, name, came_in, went_to in connection.execute(statement):
        yield SubjectBalance(table_name, subject, Balance(name, came_in, json.loads(went_to)))


def read_unrecorded(connection: Connection, chosen: BalanceFilter) -> Iterator[SubjectBalance]:
    """Yield the loads that recorded no equation: they are older than the table of equations."""
    row = landings.c
    is_recorded = exists().where(
        balances.c.table_name == row.table_name, balances.c.subject == row.group_id
    )
    statement = (
        select(row.table_name, row.group_id)
        .where(chosen.holds(row.landed_at), _is_of(row.table_name, chosen), ~is_recorded)
        .execution_options(yield_per=MAX_BATCH_ROWS)
    )
    for table_name, group_id in connection.execute(statement):
        yield SubjectBalance(table_name, group_id, Balance("records", None, {}), is_recorded=False)


def read_rejects(connection: Connection, chosen: BalanceFilter) -> Iterator[SubjectBalance]:
    """Yield of each load: rejects that it counted = rejects that are stored of its captures.

    A replay replaces the rejects of the delivery that it replays, and an erasure deletes some:
    those are not counted.
    """
    for statement in (_select_capture_rejects(), _select_other_rejects()):
        row = landings.c
        in_range = statement.where(chosen.holds(row.landed_at), _is_of(row.table_name, chosen))
        loads = connection.execute(in_range.execution_options(yield_per=MAX_BATCH_ROWS))
        for table_name, group_id, counted, is_replaced, count in map(tuple, loads):
            balance = Balance("rejects", None if is_replaced else counted, {"rejects": count})
            yield SubjectBalance(table_name, group_id, balance)


def _select_capture_rejects() -> Select[Any]:
    """Return the statement on loads that have captures of their own."""
    row = landings.c
    expression = and_(
        deliveries.c.group_id == row.group_id, deliveries.c.table_name == row.table_name
    )
    lines = (
        select(func.count())
        .select_from(captures.join(rejects, rejects.c.capture_id == captures.c.capture_id))
        .where(captures.c.group_id == row.group_id, rejects.c.table_name == row.table_name)
    )
    stored, replaced = (
        lines.where(condition).scalar_subquery()
        for condition in (rejects.c.run_id == row.run_id, rejects.c.run_id != row.run_id)
    )
    is_other = or_(
        deliveries.c.replay_of.is_not(None), replaced > 0, _is_erased(row.table_name, row.group_id)
    )
    columns: list[ColumnElement[Any]] = [row.table_name, row.group_id, row.rows_rejected]
    return (
        select(*columns, is_other, stored)
        .select_from(landings.outerjoin(deliveries, expression))
        .where(or_(deliveries.c.part_count.is_(None), deliveries.c.part_count > 0))
    )


def _select_other_rejects() -> Select[Any]:
    """Return the statement on loads that were read from captures of others, as items from pages.

    A later delivery of the partition may replace their rejects: those of the last one are counted.
    """
    row, own, other = landings.c, deliveries.c, deliveries.alias()
    is_own = and_(
        own.group_id == row.group_id, own.table_name == row.table_name, own.part_count == 0
    )
    is_later = exists().where(
        other.c.table_name == row.table_name,
        other.c.partition_key == row.partition_key,
        other.c.group_id != row.group_id,
        or_(other.c.recorded_at >= own.recorded_at, other.c.run_id == row.run_id),
    )
    names = select(row.table_name).join(deliveries, is_own)
    columns = (rejects.c.table_name, rejects.c.run_id, captures.c.partition_key)
    stored = (
        select(*columns, func.count().label("line_count"))
        .join(captures, captures.c.capture_id == rejects.c.capture_id)
        .where(rejects.c.table_name.in_(names))
        .group_by(*columns)
        .subquery()
    )
    is_stored = and_(*(stored.c[column.name] == row[column.name] for column in columns))
    is_replaced = or_(is_later, _is_erased(row.table_name, row.group_id))
    count = func.coalesce(stored.c.line_count, 0)
    conditions: list[ColumnElement[Any]] = [row.table_name, row.group_id, row.rows_rejected]
    return select(*conditions, is_replaced, count).select_from(
        landings.join(deliveries, is_own).outerjoin(stored, is_stored)
    )


def read_rows(connection: Connection, chosen: BalanceFilter) -> Iterator[SubjectBalance]:
    """Yield of each load the rows before it, and of each partition the rows that it has now.

    The loads of a partition are added up from its first on; only those of the range are
    yielded. Of a partition with erased rows, nothing is counted.
    """
    loads = groupby(_read_loads(connection, chosen), lambda load: load.partition)
    for partition, text in loads:
        chained = _read_chained(connection, *partition)
        yield from _iterate_balances(connection, chosen, chained, text)


@dataclass(frozen=True)
class _Load:
    """Row counts of a load; ``is_whole``: it holds for all rows of its partition."""

    partition: tuple[str, str]
    group_id: str
    landed_at: datetime
    added: int
    removed: int
    kept: Mapping[str, int]
    is_whole: bool


class _Chained(NamedTuple):
    """Partition as its chain names it; ``scope`` is None where no load of it is chained."""

    table: Table | None
    scope: Scope | None
    is_erased: bool


def _read_loads(connection: Connection, chosen: BalanceFilter) -> Iterator[_Load]:
    row, delivery = landings.c, deliveries.c
    condition = and_(delivery.group_id == row.group_id, delivery.table_name == row.table_name)
    changed, unchanged, removed = row.rows_changed, row.rows_unchanged, row.rows_removed
    statement = (
        select(row.table_name, row.partition_key, row.group_id, row.landed_at, row.rows_added)
        .add_columns(changed, unchanged, removed, delivery.scope, delivery.write_disposition)
        .select_from(landings.outerjoin(deliveries, condition))
        .where(_is_of(row.table_name, chosen))
        .order_by(row.table_name, row.partition_key, row.landed_at)
        .execution_options(yield_per=MAX_BATCH_ROWS)
    )
    for load in connection.execute(statement):
        yield _Load(
            (load.table_name, load.partition_key),
            load.group_id,
            load.landed_at,
            load.rows_added,
            load.rows_removed,
            {
                "changed": load.rows_changed,
                "unchanged": load.rows_unchanged,
                "removed": load.rows_removed,
            },
            load.scope == WHOLE_PARTITION and load.write_disposition == "replace_scope",
        )


def _read_chained(connection: Connection, table_name: str, partition_key: str) -> _Chained:
    table = next((table for table in tables() if table.name == table_name), None)
    pair = (load_chain.c.table_name == table_name, load_chain.c.partition_key == partition_key)
    statement = select(load_chain.c.kind, load_chain.c.partition).where(*pair).distinct()
    partitions = {row.kind: row.partition for row in connection.execute(statement)}
    text = partitions.get(LOAD)
    scope = None if table is None or text is None else parse_partition(table, text)
    return _Chained(table, scope, ERASURE in partitions)


def _iterate_balances(
    connection: Connection, chosen: BalanceFilter, chained: _Chained, loads: Iterable[_Load]
) -> Iterator[SubjectBalance]:
    rows, latest, is_chosen = 0, None, False
    for latest in loads:
        is_counted = latest.is_whole and not chained.is_erased
        if chosen.includes(latest.landed_at):
            is_chosen = True
            balance = Balance("rows_kept", rows if is_counted else None, latest.kept)
            yield SubjectBalance(latest.partition[0], latest.group_id, balance)
        rows += latest.added - latest.removed
    if latest is None or not is_chosen:
        return
    table, scope, is_erased = chained
    if table is None or scope is None:
        yield SubjectBalance(*latest.partition, Balance("rows_now", None, {}), is_recorded=False)
        return
    statement = select(func.count()).select_from(table).where(match_scope(table, scope))
    count = connection.execute(statement).scalar_one()
    balance = Balance("rows_now", None if is_erased else rows, {"rows": count})
    yield SubjectBalance(*latest.partition, balance)


def _is_of(column: ColumnElement[str], chosen: BalanceFilter) -> ColumnElement[bool]:
    return true() if chosen.table_name is None else column == chosen.table_name


def _is_erased(table_name: ColumnElement[str], group_id: ColumnElement[str]) -> ColumnElement[bool]:
    return exists().where(
        load_chain.c.table_name == table_name,
        load_chain.c.group_id == group_id,
        load_chain.c.kind == ERASURE,
    )


LOAD_EQUATIONS = (
    Equation(
        name="recorded",
        meaning="what a stage recorded as coming in = what it recorded as going out",
        read=read_recorded,
    ),
    Equation(
        name="records", meaning="loads from before equations were recorded", read=read_unrecorded
    ),
    Equation(
        name="rejects",
        meaning="rejects that a load counted = rejects stored of its captures",
        read=read_rejects,
    ),
    Equation(
        name="rows",
        meaning=(
            "rows before a load = changed + unchanged + removed; added - removed of all loads of "
            "a partition = its rows now"
        ),
        read=read_rows,
    ),
)
