"""An operator's situation: rows as loads, runs, items, letters and alerts leave them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Table, delete, insert, update

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.attention.reading import AttentionReader
from orchestration_project.services.attention.rules import Entry, Inbox, Selection
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_alerts import operations_alerts
from orchestration_project.tables.operations_edits import operations_attention
from orchestration_project.tables.operations_runs import operations_runs, operations_steps
from orchestration_project.tables.schema import UtcTimestamp
from orchestration_project.tables.spine import (
    audits,
    balances,
    captures,
    deliveries,
    fences,
    landings,
    rejects,
    work_items,
)

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHA256 = "ab" * 32
WEEKLY = "finra_otc_weekly"

TABLES = (
    *(audits, balances, captures, deliveries, fences, landings, rejects, work_items),
    *(operations_alerts, operations_attention, operations_runs, operations_steps),
)


class Situation:
    """The database of an operator, with rows as loads leave them."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse

    def clear(self) -> None:
        """Remove all rows of the tables that entries are read from."""
        with self.warehouse.writing() as connection:
            for table in TABLES:
                connection.execute(delete(table))

    def add(self, table: Table, **values: Any) -> None:
        required = {column.name: "" for column in table.columns if not column.nullable}
        numbers = {
            column.name: 0
            for column in table.columns
            if column.name in required and isinstance(column.type, BigInteger)
        }
        moments = {
            column.name: NOON
            for column in table.columns
            if column.name in required and isinstance(column.type, UtcTimestamp)
        }
        with self.warehouse.writing() as connection:
            connection.execute(insert(table), [required | numbers | moments | values])

    def deliver(self, partition: str, outcome: str, number: int, table: str = WEEKLY) -> str:
        """Record the delivery of a number, at so many hours after noon."""
        group = f"{table}:{partition}#{number}"
        self.add(
            deliveries,
            group_id=group,
            table_name=table,
            partition_key=partition,
            scope="{}",
            outcome=outcome,
            run_id=f"run-{number}",
            part_count=1,
            recorded_at=NOON + number * HOUR,
        )
        if number == 1:
            self.add(fences, table_name=table, scope_key=partition, token=1)
        own = (fences.c.table_name == table, fences.c.scope_key == partition)
        with self.warehouse.writing() as connection:
            connection.execute(update(fences).where(*own).values(token=number))
        return group

    def audit(self, group: str, name: str, found: str) -> None:
        self.add(
            audits,
            group_id=group,
            table_name=group.partition(":")[0],
            name=name,
            severity="error",
            outcome="failed",
            expected="at least 8 rows",
            found=found,
        )

    def run(self, number: int, status: str, **values: Any) -> None:
        """Record a run of a job with one step, at so many hours after noon."""
        at = NOON + number * HOUR
        values = {"job": WEEKLY, "domain": "finra", "partition_key": None} | values
        asset, category = values.pop("asset", None), values.pop("category", "transient")
        error = {"error_category": category, "error_message": "the source timed out"}
        failed = error if status == "FAILURE" else {}
        step = {"status": status, "step_key": values.pop("step", "load"), "ended_at": at}
        run = {"run_id": f"run-{number}", "job": values["job"], "domain": values["domain"]}
        times = {"created_at": at, "ended_at": at}
        self.add(operations_runs, status=status, **times, **run | values, **failed)
        self.add(operations_steps, asset=asset, **run, **step, **failed)

    def item(self, topic: str, key: str, number: int, **values: Any) -> None:
        self.add(
            work_items,
            topic=topic,
            item_key=key,
            enqueued_at=NOON + number * HOUR,
            changed_at=NOON + 9 * HOUR,
            **{"state": "dead", "run_id": "run-9"} | values,
        )

    def alert(self, number: int, state: str, ended: int | None = None) -> None:
        self.add(
            operations_alerts,
            alert_id=f"{number:032}",
            kind="failed",
            severity="error",
            title="finra/otc_weekly failed",
            body="the run failed\nWhat to do: retry it",
            state=state,
            assets='["finra/otc_weekly"]',
            open_problems='[["failed", "finra/otc_weekly", "T1"]]' if state == "open" else "[]",
            raised_at=NOON + number * HOUR,
            ended_at=None if ended is None else NOON + ended * HOUR,
        )

    def read(self) -> Inbox:
        return reader(self.warehouse).read()

    def entries(self, kind: str) -> list[Entry]:
        return self.read().select(Selection(kind))

    def entry(self, kind: str) -> Entry:
        [entry] = self.entries(kind)
        return entry


def reader(warehouse: Warehouse) -> AttentionReader:
    return AttentionReader(REGISTRY, load_settings(), warehouse, Clock(NOON))
