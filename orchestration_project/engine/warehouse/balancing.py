"""Equations of a delivery's write, counted in the table, and the record of all of its equations.

- rows_delivered: rows of the delivery = added + changed + unchanged.
- rows_before: rows in the scope before the write = changed + unchanged + removed_by_replace_scope.
- rows_after: rows in the scope after the write = added + changed + unchanged.

Rows before and after are counted by SQL. From both follows before + added - removed = after. Only a
delivery that is complete for its scope may remove rows; of a merge or append, a removed row has no
place, and is a difference. These do not read their scope: rows_before is not counted, and
rows_after is counted among the keys of the delivery.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from orchestration_project.engine.contracts.balance import FAILED, Balance, UnbalancedError
from orchestration_project.engine.warehouse.delivery import (
    Counts,
    ValidatedBatch,
    group_id,
)
from orchestration_project.engine.warehouse.frames import (
    build_frame,
    insert_frame,
    join_scopes,
    match_scope,
    read_keys,
)
from orchestration_project.engine.warehouse.target import SummaryT
from orchestration_project.tables.spine import balances

RowCounts = Sequence[int | None]
"""Rows in the table of each of several deliveries; None: not counted."""


def count_rows_before(
    connection: Connection, batches: Sequence[ValidatedBatch], is_new: Sequence[bool]
) -> RowCounts:
    """Count the loaded rows that each delivery which ``is_new`` replaces."""
    counted = [
        batch
        for batch, new in zip(batches, is_new, strict=True)
        if new and batch.target.replaces_scope
    ]
    rows = _count_scopes(connection, counted)
    keys = {batch.target.partition_key for batch in counted}
    return [
        rows[_read_place(batch)] if batch.target.partition_key in keys else None
        for batch in batches
    ]


def count_rows_after(
    connection: Connection, batches: Sequence[ValidatedBatch], is_new: Sequence[bool]
) -> RowCounts:
    """Count the rows of the scopes, or of a merge or append those with its keys."""
    counts = count_rows_before(connection, batches, is_new)
    return [
        _count_keys(connection, batch) if new and not batch.target.replaces_scope else count
        for batch, count, new in zip(batches, counts, is_new, strict=True)
    ]


def _read_place(batch: ValidatedBatch) -> tuple[object, ...]:
    return tuple(batch.target.partition.values())


def _count_scopes(
    connection: Connection, batches: Sequence[ValidatedBatch]
) -> Counter[tuple[object, ...]]:
    """Count rows by the values of their partition's columns."""
    counts = Counter[tuple[object, ...]]()
    for scope in join_scopes(batch.scope for batch in batches):
        table = batches[0].target.table
        columns = [table.c[name] for name in batches[0].target.partition]
        statement = (
            select(*columns, func.count()).where(match_scope(table, scope)).group_by(*columns)
        )
        for *place, count in connection.execute(statement):
            counts[tuple(place)] += count
    return counts


def _count_keys(connection: Connection, batch: ValidatedBatch) -> int | None:
    if batch.validated.ranges:
        return None
    return len(read_keys(connection, batch.target.table, batch.validated.rows))


def build_write_balances(
    batch: ValidatedBatch, counts: Counts, before: int | None, after: int | None
) -> list[Balance]:
    """Return the equations of a write, by the counts that it reports."""
    stayed = {"changed": counts.changed, "unchanged": counts.unchanged}
    became = {"added": counts.added, **stayed}
    removed = {"removed_by_replace_scope": counts.removed} if batch.target.replaces_scope else {}
    lost = {} if removed or not counts.removed else {"removed_without_rule": -counts.removed}
    return [
        Balance("rows_delivered", batch.validated.row_count, {**became, **lost}),
        Balance("rows_before", before, {**stayed, **removed}),
        Balance("rows_after", after, became),
    ]


def add_balances(
    batches: Sequence[ValidatedBatch[SummaryT]],
    counts: Sequence[Counts],
    before: RowCounts,
    after: RowCounts,
) -> list[ValidatedBatch[SummaryT]]:
    """Return written deliveries with the equations of their write.

    Raises:
        UnbalancedError: One has a difference: the transaction must not be committed.
    """
    balanced = []
    for batch, count, rows_before, rows_after in zip(batches, counts, before, after, strict=True):
        written = build_write_balances(batch, count, rows_before, rows_after)
        if unbalanced := [balance for balance in written if balance.difference]:
            raise _build_error(batch, written, unbalanced)
        every = [*batch.validated.balances, *written]
        balanced.append(replace(batch, validated=replace(batch.validated, balances=every)))
    return balanced


def _build_error(
    batch: ValidatedBatch, written: Sequence[Balance], unbalanced: Sequence[Balance]
) -> UnbalancedError:
    error = UnbalancedError(
        f"the write of {batch.target.partition_key} into {batch.target.table.name} does not "
        "balance; nothing of it is loaded",
        expected="as many rows in the table as were added, changed or left unchanged",
        found="; ".join(map(str, unbalanced)),
        remedy="run the partition again; if it stays so, the table was changed by another program "
        "or the load has a defect: report it with these numbers",
        partition=batch.target.partition_key,
    )
    error.balances = (*batch.validated.balances, *written)
    return error


def record_balances(
    connection: Connection, batches: Sequence[ValidatedBatch], at: datetime
) -> None:
    """Insert the equations of deliveries into `balances`, by the delivery."""
    rows = [
        build_balance_row(
            balance,
            table_name=batch.target.table.name,
            subject=group_id(batch.target),
            run_id=batch.target.run_id,
            at=at,
        )
        for batch in batches
        for balance in batch.validated.balances
    ]
    insert_frame(connection, balances, build_frame(rows, balances))


def record_failure(connection: Connection, error: UnbalancedError, at: datetime) -> None:
    """Record the equations of a stage whose transaction was undone, beside those of its success."""
    forget_failure(connection, error.table_name, error.subject)
    rows = [
        build_balance_row(
            balance,
            table_name=error.table_name,
            subject=f"{error.subject}{FAILED}",
            run_id=error.run_id,
            at=at,
        )
        for balance in error.balances
        if balance.difference
    ]
    insert_frame(connection, balances, build_frame(rows, balances))


def forget_failure(connection: Connection, table_name: str, subject: str) -> None:
    """Forget the equations of a stage that failed, once it succeeds."""
    pair = (balances.c.table_name == table_name, balances.c.subject == f"{subject}{FAILED}")
    connection.execute(delete(balances).where(*pair))


def build_balance_row(
    balance: Balance, *, table_name: str, subject: str, run_id: str, at: datetime
) -> dict[str, object]:
    """Return an equation as a row of `balances`."""
    return {
        "table_name": table_name,
        "subject": subject,
        "equation": balance.equation,
        "came_in": balance.came_in,
        "went_to": balance.went_to_json,
        "state": balance.state,
        "run_id": run_id,
        "recorded_at": at,
    }
