"""Inputs of the control tower, aggregated by the database, and its findings.

A day is a range of an index that holds all that is added up; nothing else of the ledger is read.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    case,
    cast,
    delete,
    func,
    literal,
    select,
    union_all,
)

from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import build_frame, insert_frame
from orchestration_project.services.ledger.recording import LEDGER
from orchestration_project.services.ledger.rules.standings import (
    COUNTS,
    DAYS,
    ActiveRuns,
    Observation,
    Subject,
)
from orchestration_project.services.status import count_quarantined
from orchestration_project.tables.catalogue import asset_of
from orchestration_project.tables.operations_runs import (
    PENDING,
    operations_control_tower,
    operations_runs,
    operations_steps,
)
from orchestration_project.tables.spine import fences

A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class _CountedTable:
    """Counted rows of ``table``, by asset if it has one, with the retries among them."""

    table: Table
    retries: ColumnElement[int]
    asset: Column[str] | None = None


_steps = operations_steps.c
RUNS = _CountedTable(operations_runs, func.count(operations_runs.c.retry_of))
STEPS = _CountedTable(
    operations_steps,
    func.sum(case((_steps.attempt_count > 1, _steps.attempt_count - 1), else_=0)),
    _steps.asset,
)


def read_observation(
    warehouse: Warehouse, machine_now: datetime, paused_runs: Collection[str] = ()
) -> Observation:
    """Return the runs ended in the 28 days before ``machine_now``, unended runs, and the loads.

    Args:
        warehouse: The database.
        machine_now: Dagster's time.
        paused_runs: IDs of queued runs that a pause holds, whose wait is not counted.
    """
    quarantined = count_quarantined(warehouse)
    with warehouse.reading() as connection:
        waiting = _count_waiting(connection)
        if paused_runs:
            waiting = _exclude_paused_waits(connection, waiting, paused_runs)
        return Observation(
            ended=pl.concat(
                _count_ended(connection, counted_table, machine_now)
                for counted_table in (RUNS, STEPS)
            ),
            under_way=waiting | _count_running(connection),
            landed_at=_read_load_times(connection),
            quarantined=quarantined,
        )


def write_tower(warehouse: Warehouse, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace the rows of ``operations_control_tower``."""
    with warehouse.writing() as connection:
        lock_row(connection, LEDGER)
        connection.execute(delete(operations_control_tower))
        insert_frame(
            connection, operations_control_tower, build_frame(rows, operations_control_tower)
        )


def _count_ended(connection: Connection, counted: _CountedTable, now: datetime) -> pl.DataFrame:
    days = union_all(*(_select_day(counted, now, days_ago) for days_ago in range(DAYS)))
    return pl.DataFrame(connection.execute(days).all(), COUNTS, orient="row")


def _select_day(counted: _CountedTable, now: datetime, days_ago: int) -> Select[Any]:
    row, asset = counted.table.c, counted.asset
    until = now - days_ago * A_DAY
    sums = (
        _sum_column(row[name]) for name in ("rows_in", "rows_landed", "rows_rejected", "byte_count")
    )
    found = (
        select(
            row.domain,
            literal("") if asset is None else asset,
            literal(days_ago),
            row.status,
            row.error_category,
            func.count(),
            cast(counted.retries, BigInteger),
            *sums,
        )
        .where(row.ended_at > until - A_DAY, row.ended_at <= until)
        .group_by(row.domain, row.status, row.error_category)
    )
    return found if asset is None else found.where(asset.is_not(None)).group_by(asset)


def _sum_column(column: Column[int]) -> ColumnElement[int]:
    return cast(func.sum(column), BigInteger)


def _count_waiting(connection: Connection) -> dict[Subject, ActiveRuns]:
    runs = operations_runs.c
    is_pending = runs.status.in_(PENDING)
    rows = connection.execute(
        select(
            runs.domain,
            func.count(case((is_pending, 1))),
            func.count(case((~is_pending, 1))),
            func.min(case((is_pending, runs.created_at))),
        )
        .where(runs.ended_at.is_(None))
        .group_by(runs.domain)
    )
    return {Subject(row[0]): ActiveRuns(row[1], row[2], row[3]) for row in rows}


def _exclude_paused_waits(
    connection: Connection, waiting: Mapping[Subject, ActiveRuns], paused_runs: Collection[str]
) -> dict[Subject, ActiveRuns]:
    """Return the waiting runs, with the start of the first wait that no pause explains."""
    runs = operations_runs.c
    pending = select(runs.run_id, runs.domain, runs.created_at).where(
        runs.ended_at.is_(None), runs.status.in_(PENDING)
    )
    since: dict[Subject, datetime] = {}
    for run_id, domain, created_at in connection.execute(pending.order_by(runs.created_at)):
        if run_id not in paused_runs:
            since.setdefault(Subject(domain), created_at)
    return {
        subject: replace(active, waiting_since=since.get(subject))
        for subject, active in waiting.items()
    }


def _count_running(connection: Connection) -> dict[Subject, ActiveRuns]:
    steps = operations_steps.c
    rows = connection.execute(
        select(steps.domain, steps.asset, func.count())
        .where(steps.ended_at.is_(None), steps.asset.is_not(None))
        .group_by(steps.domain, steps.asset)
    )
    return {Subject(domain, asset): ActiveRuns(0, running) for domain, asset, running in rows}


def _read_load_times(connection: Connection) -> dict[str, datetime]:
    rows = connection.execute(
        select(fences.c.table_name, func.max(fences.c.landed_at))
        .where(fences.c.landed_at.is_not(None))
        .group_by(fences.c.table_name)
    )
    return {asset_of(table): at for table, at in rows}
