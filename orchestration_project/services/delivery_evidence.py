"""Evidence of a delivery as metadata: the rows that failed its checks, and its rejects."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from orchestration_project.engine.contracts.balance import Balance, sum_balances
from orchestration_project.engine.dataset import LoadedPartition
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.services.metadata import redact_table
from orchestration_project.tables.queries.personal import masked_record
from orchestration_project.tables.spine import audits, balances, captures, deliveries, rejects

OFFENDERS_SHOWN = 20
REJECTS_SHOWN = 100
"""Rejected lines in the metadata of a partition; the table `rejects` has all."""

CAPTURES_NAMED = 20
"""Captures that a command names; with more, it names their run."""


def collect_evidence(
    warehouse: Warehouse, error: OrchestrationError, *keys: dg.AssetKey
) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    """Return offenders and rejects of the deliveries that an error is about, for these assets.

    The error itself is reported in any case: a database that does not answer adds nothing to it.
    """
    values = _read(warehouse, error.group_ids, _read_offenders, _read_rejects)
    return dict.fromkeys(keys, values) if values else {}


def describe_rejects(warehouse: Warehouse, *group_ids: str) -> Mapping[str, Any]:
    """Return the rejects of deliveries as a table, and the command that exports all of them."""
    return _read(warehouse, group_ids, _read_rejects)


def describe_load_rejects(
    warehouse: Warehouse, loaded: LoadedPartition[Any, Any]
) -> Mapping[str, Any]:
    """Return the rejects of the delivery that was just loaded, or that is current."""
    if loaded.write_result is not None and loaded.figures is not None:
        group_id, count = loaded.write_result.group_id, loaded.figures.rejects
    elif loaded.earlier is not None:
        group_id, count = loaded.earlier.group_id, loaded.earlier.rejects
    else:
        return {}
    return describe_rejects(warehouse, group_id) if count else {}


def describe_run_balance(warehouse: Warehouse, run_id: str) -> Mapping[str, str]:
    """Return the equations of a run in one line, as metadata."""

    def read(_: Connection, run_ids: Sequence[str]) -> Mapping[str, str]:
        messages = [str(balance) for _, balance in read_balances(warehouse, run_ids)]
        return {"balance_of_the_run": "; ".join(messages)} if messages else {}

    return _read(warehouse, [run_id], read)


def read_balances(warehouse: Warehouse, run_ids: Sequence[str]) -> list[tuple[str, Balance]]:
    """Return the equations of runs, by table; those of one name are added up."""
    row = balances.c
    names = (row.table_name, row.equation, row.came_in, row.went_to)
    query = select(*names).where(row.run_id.in_(run_ids)).order_by(row.table_name, row.equation)
    by_table: dict[str, list[Balance]] = {}
    with warehouse.reading() as connection:
        for table_name, equation, came_in, went_to in connection.execute(query):
            balance = Balance(equation, came_in, json.loads(went_to))
            by_table.setdefault(table_name, []).append(balance)
    return [(name, total) for name, balance in by_table.items() for total in sum_balances(balance)]


def _read(
    warehouse: Warehouse,
    group_ids: Sequence[str],
    *readers: Callable[[Connection, Sequence[str]], Mapping[str, Any]],
) -> Mapping[str, Any]:
    """Return the readers' values of deliveries; without a database, log that and return none."""
    if not group_ids:
        return {}
    try:
        with warehouse.reading() as connection:
            return {
                name: value
                for read in readers
                for name, value in read(connection, group_ids).items()
            }
    except OrchestrationError as error:  # it must not fail a load that is done
        dg.get_dagster_logger().warning(
            f"Offenders and rejects cannot be shown: {error}",
            extra={"event": "evidence_unreadable"},
        )
        return {}


def _read_offenders(connection: Connection, group_ids: Sequence[str]) -> Mapping[str, Any]:
    """Return which rows failed which check, in one table."""
    records = connection.execute(
        select(audits.c.name, audits.c.partition_key, audits.c.offenders)
        .where(audits.c.group_id.in_(group_ids))
        .where(audits.c.outcome == "failed", audits.c.severity == "error")
        .order_by(audits.c.group_id, audits.c.name)
    ).all()
    rows = [
        {"check": name, "partition": key, "offender": json.dumps(offender)}
        for name, key, offenders in records
        for offender in json.loads(offenders)
    ]
    return {"offenders": redact_table(rows[:OFFENDERS_SHOWN])} if rows else {}


def _read_rejects(connection: Connection, group_ids: Sequence[str]) -> Mapping[str, Any]:
    is_of_them = _is_of(connection, group_ids)
    joined = rejects.join(captures, rejects.c.capture_id == captures.c.capture_id)
    counted = connection.execute(
        select(rejects.c.table_name, rejects.c.run_id, rejects.c.capture_id, func.count())
        .select_from(joined)
        .where(is_of_them)
        .group_by(rejects.c.table_name, rejects.c.run_id, rejects.c.capture_id)
        .order_by(rejects.c.capture_id)
    ).all()
    if not counted:
        return {}
    lines = connection.execute(
        select(
            captures.c.part_number.label("part"),
            rejects.c.line_number.label("line"),
            rejects.c.reason_code,
            rejects.c.reason,
            masked_record(),
        )
        .select_from(joined)
        .where(is_of_them)
        .order_by(captures.c.group_id, captures.c.part_number, rejects.c.line_number)
        .limit(REJECTS_SHOWN)
    ).mappings()
    table_value = redact_table(dict(line) for line in lines)
    return {
        "rejects": sum(row[3] for row in counted),
        "rejected_lines": table_value,
        "all_rejects": _export_command(
            counted[0].table_name, counted[0].run_id, [str(row.capture_id) for row in counted]
        ),
    }


def _is_of(connection: Connection, group_ids: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition on rejects, with their captures, of some deliveries.

    A delivery without captures of its own is read from those of others, as items are from pages:
    its rejects are those of its run and partition.
    """
    columns = deliveries.c
    read_from_others = connection.execute(
        select(columns.table_name, columns.run_id, columns.partition_key).where(
            columns.group_id.in_(group_ids), columns.part_count == 0
        )
    ).all()
    return or_(
        captures.c.group_id.in_(group_ids),
        *(
            and_(
                rejects.c.table_name == row.table_name,
                rejects.c.run_id == row.run_id,
                captures.c.partition_key == row.partition_key,
            )
            for row in read_from_others
        ),
    )


def _export_command(table_name: str, run_id: str, ids: Sequence[str]) -> str:
    named = f"capture_id in ({','.join(ids)})" if len(ids) <= CAPTURES_NAMED else f"run_id={run_id}"
    return f"orchestrate export rejects --where table_name={table_name} --where '{named}'"
