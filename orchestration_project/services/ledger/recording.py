"""The ledger in our database: a run's row and those of its steps are written together.

Rows and bytes come from our own tables (`deliveries` and what hangs on them), which say exactly
what a run fetched, loaded and refused, also where it failed; the metadata of a materialization is
for reading.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, func, select, update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import (
    build_frame,
    clean_text,
    insert_frame,
)
from orchestration_project.services.ledger.rules.entries import (
    LedgerEntry,
    RunFacts,
    Volume,
    build_entry,
)
from orchestration_project.settings import SECRET_QUERY_WORDS
from orchestration_project.tables.operations_runs import operations_runs, operations_steps
from orchestration_project.tables.spine import (
    blobs,
    captures,
    deliveries,
    landings,
    rejects,
)

LEDGER = operations_runs.name
"""Name of the lock that serializes writers of the ledger."""

DELETED_STATUS = "DELETED"


@dataclass(frozen=True)
class Written:
    """How many runs were new to the ledger, were other there, and were there as they are."""

    added: int = 0
    changed: int = 0
    same: int = 0

    def __add__(self, other: "Written") -> "Written":
        return Written(
            self.added + other.added, self.changed + other.changed, self.same + other.same
        )


class Ledger:
    """Reads and writes the rows of runs and steps; each method is one transaction."""

    def __init__(self, warehouse: Warehouse, clock: Clock) -> None:
        self._warehouse = warehouse
        self._clock = clock

    @property
    def warehouse(self) -> Warehouse:
        """The database that has the ledger."""
        return self._warehouse

    def known(self, run_ids: Sequence[str]) -> dict[str, datetime]:
        """Return when Dagster last changed each of these runs that has a row, as that says."""
        return self._changed_at(operations_runs.c.run_id.in_(run_ids))

    def states(self, run_ids: Sequence[str]) -> dict[str, tuple[str, datetime]]:
        """Return status and last change of each of these runs that has a row."""
        row = operations_runs.c
        row_query = select(row.run_id, row.status, row.changed_at).where(row.run_id.in_(run_ids))
        with self._warehouse.reading() as connection:
            rows = connection.execute(row_query)
            return {run_id: (status, changed_at) for run_id, status, changed_at in rows}

    def ended(self, run_ids: Sequence[str]) -> dict[str, datetime]:
        """Return the same of those whose row says how they ended."""
        is_one = operations_runs.c.run_id.in_(run_ids)
        return self._changed_at(is_one & operations_runs.c.ended_at.is_not(None))

    def _changed_at(self, condition: ColumnElement[bool]) -> dict[str, datetime]:
        row_query = select(operations_runs.c.run_id, operations_runs.c.changed_at).where(condition)
        with self._warehouse.reading() as connection:
            return {row.run_id: row.changed_at for row in connection.execute(row_query)}

    def record(self, runs: Sequence[RunFacts]) -> Written:
        """Write the runs whose rows are missing or differ.

        Left as they are: rows that were written of a later state of the run, and those with steps
        of which Dagster's event log has none any more.
        """
        with self._warehouse.writing() as connection:
            lock_row(connection, LEDGER)
            ids = [run.run_id for run in runs]
            before = _read_entries(connection, ids)
            volumes = _sum_volumes(connection, ids)
            entries = [
                build_entry(run, volumes.get(run.run_id, {}), SECRET_QUERY_WORDS) for run in runs
            ]
            new = [_make_storable(entry) for entry in entries]
            due = [
                ledger_entry
                for ledger_entry in new
                if _is_due(before.get(ledger_entry.run["run_id"]), ledger_entry)
            ]
            _replace(connection, due, self._clock.now())
        added = sum(ledger_entry.run["run_id"] not in before for ledger_entry in due)
        return Written(added, len(due) - added, len(runs) - len(due))

    def drawn_up(self, runs: Sequence[RunFacts]) -> list[LedgerEntry]:
        """Return the entries that would be written of these runs now; none is."""
        with self._warehouse.reading() as connection:
            volumes = _sum_volumes(connection, [run.run_id for run in runs])
        return [build_entry(run, volumes.get(run.run_id, {}), SECRET_QUERY_WORDS) for run in runs]

    def written(self, run_ids: Sequence[str]) -> dict[str, LedgerEntry]:
        """Return the stored entries of those of these runs that have a row, by run."""
        with self._warehouse.reading() as connection:
            return _read_entries(connection, run_ids)

    def under_way(self) -> list[str]:
        """Return the runs that have not ended, as far as the ledger knows."""
        row_query = select(operations_runs.c.run_id).where(operations_runs.c.ended_at.is_(None))
        with self._warehouse.reading() as connection:
            return list(connection.execute(row_query).scalars())

    def mark_gone(self, run_ids: Sequence[str]) -> None:
        """Say of runs that Dagster has deleted before they ended that they are gone.

        Steps that had not ended are canceled, also those of runs of which this was said before.
        """
        now, machine_now = self._clock.now(), Clock().now()  # an end is in Dagster's time
        runs, steps = operations_runs.c, operations_steps.c
        query = select(runs.run_id).where(runs.status == DELETED_STATUS)
        with self._warehouse.writing() as connection:
            lock_row(connection, LEDGER)
            connection.execute(
                update(operations_runs)
                .where(runs.run_id.in_(run_ids), runs.ended_at.is_(None))
                .values(
                    status=DELETED_STATUS,
                    ended_at=machine_now,
                    recorded_at=now,
                    error_category="canceled",
                )
            )
            connection.execute(
                update(operations_steps)
                .where(steps.ended_at.is_(None), steps.run_id.in_(query))
                .values(status="CANCELED", ended_at=machine_now)
            )


def _read_entries(connection: Connection, run_ids: Sequence[str]) -> dict[str, LedgerEntry]:
    runs = _read_rows(connection, operations_runs, operations_runs.c.run_id.in_(run_ids))
    steps = _read_rows(connection, operations_steps, operations_steps.c.run_id.in_(run_ids))
    return {
        run["run_id"]: LedgerEntry(run, [step for step in steps if step["run_id"] == run["run_id"]])
        for run in runs
    }


def _read_rows(
    connection: Connection, table: Table, condition: ColumnElement[bool]
) -> list[dict[str, Any]]:
    columns = [column for column in table.columns if column.name != "recorded_at"]
    rows = connection.execute(select(*columns).where(condition)).mappings()
    return [dict(row) for row in rows]


def _is_due(before: LedgerEntry | None, now: LedgerEntry) -> bool:
    """Whether ``now`` is the later state: an ended one always is, whatever the worker's clock."""
    if before is None:
        return True
    ends = before.run["ended_at"] is None and now.run["ended_at"] is not None
    if before.run["changed_at"] > now.run["changed_at"] and not ends:
        return False
    if before.steps and not now.steps:
        return False
    return before.run != now.run or _map_by_key(before) != _map_by_key(now)


def _map_by_key(entry: LedgerEntry) -> dict[str, dict[str, Any]]:
    return {step["step_key"]: step for step in entry.steps}


def _replace(connection: Connection, entries: Sequence[LedgerEntry], now: datetime) -> None:
    if not entries:
        return
    ids = [entry.run["run_id"] for entry in entries]
    runs = [entry.run | {"recorded_at": now} for entry in entries]
    steps = [step for entry in entries for step in entry.steps]
    for table, rows in ((operations_steps, steps), (operations_runs, runs)):
        connection.execute(delete(table).where(table.c.run_id.in_(ids)))
        insert_frame(connection, table, build_frame(rows, table))


def _make_storable(entry: LedgerEntry) -> LedgerEntry:
    def row(values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: clean_text(value) if isinstance(value, str) else value
            for name, value in values.items()
        }

    return LedgerEntry(row(entry.run), [row(step) for step in entry.steps])


def _sum_volumes(connection: Connection, run_ids: Sequence[str]) -> dict[str, dict[str, Volume]]:
    """Return the volumes that the deliveries of each run fetched, loaded and refused, by table.

    Captures without lines of their own, such as documents, came in as the rows that they made.
    """
    sums: dict[str, dict[str, dict[str, int]]] = {}
    for statement in (_sum_fetched(), _sum_loaded(), _count_rejected()):
        row_query = statement.where(deliveries.c.run_id.in_(run_ids)).group_by(
            deliveries.c.run_id, deliveries.c.table_name
        )
        for run_id, table, figures in _read_figures(connection, row_query):
            sums.setdefault(run_id, {}).setdefault(table, {}).update(figures)
    return {
        run_id: {
            table: Volume(**{"rows_in": _count_rows_made(entry), **entry})
            for table, entry in entries.items()
        }
        for run_id, entries in sums.items()
    }


def _count_rows_made(figures: Mapping[str, int]) -> int:
    return figures.get("rows_landed", 0) + figures.get("rows_rejected", 0)


def _read_figures(
    connection: Connection, statement: Select[Any]
) -> Iterator[tuple[str, str, dict[str, int]]]:
    for row in connection.execute(statement).mappings():
        named = {name: row[name] for name in Volume.__dataclass_fields__ if name in row}
        figures = {name: int(value) for name, value in named.items() if value is not None}
        yield row["run_id"], row["table_name"], figures


def _select_sums(*sums: ColumnElement[Any]) -> Select[Any]:
    return select(deliveries.c.run_id, deliveries.c.table_name, *sums).select_from(deliveries)


def _sum_fetched() -> Select[Any]:
    return (
        _select_sums(
            func.sum(captures.c.row_count).label("rows_in"),
            func.sum(blobs.c.byte_count).label("byte_count"),
        )
        .join(captures, captures.c.group_id == deliveries.c.group_id)
        .join(blobs, blobs.c.sha256 == captures.c.sha256)
    )


def _sum_loaded() -> Select[Any]:
    present = landings.c.rows_added + landings.c.rows_changed + landings.c.rows_unchanged
    return _select_sums(func.sum(present).label("rows_landed")).join(
        landings,
        (landings.c.group_id == deliveries.c.group_id)
        & (landings.c.table_name == deliveries.c.table_name),
    )


def _count_rejected() -> Select[Any]:
    return (
        _select_sums(func.count().label("rows_rejected"))
        .join(captures, captures.c.group_id == deliveries.c.group_id)
        .join(
            rejects,
            (rejects.c.capture_id == captures.c.capture_id)
            & (rejects.c.table_name == deliveries.c.table_name),
        )
    )
