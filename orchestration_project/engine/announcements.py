"""Announces what loads changed, at least once, in the metadata of a materialization.

A load inserts a row into `pending_announcements`, in its own transaction. The run deletes the row
once Dagster has the event of the load. If the process exits before, the next run that reads the
partition announces the change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Generic, cast

from pydantic import TypeAdapter
from sqlalchemy import Connection, RowMapping, Table, bindparam, delete, insert, select

from orchestration_project.contracts.partitioning import Partition
from orchestration_project.engine.dataset import (
    Announcement,
    ChangeT,
    LoadedPartition,
    LoadSpec,
)
from orchestration_project.engine.report_log import IsReported, ReportLog
from orchestration_project.engine.warehouse import Delivery, Warehouse, WriteResult, WriteTarget
from orchestration_project.engine.warehouse.delivery import AfterWrite
from orchestration_project.tables.spine import pending_announcements

SHOWN_OF_A_RUN = 8
"""Characters of a run's id, as Dagster shows it."""

_pending = pending_announcements.c


@dataclass(frozen=True)
class Announcements(Generic[ChangeT]):
    """The announcements of a dataset's loads.

    A change is announced at least once: twice if two runs read a partition at the same time, or if
    a run goes on that was thought to be gone.

    Attributes:
        is_reported: Whether Dagster has an event of a load.
    """

    warehouse: Warehouse
    dataset: LoadSpec[ChangeT, Any]
    is_reported: IsReported

    def of_load(
        self, partition: Partition, delivery: Delivery, landed: WriteResult[Any]
    ) -> Sequence[Announcement[ChangeT]]:
        """Return what a load changed, if anything."""
        if not landed.has_written_rows:
            return ()
        said = self.dataset.describe(partition, delivery, landed)
        return (Announcement(landed.change_cause, cast("ChangeT", landed.change), said),)

    def recorder(
        self, target: WriteTarget[ChangeT], partition: Partition, delivery: Delivery
    ) -> AfterWrite:
        """Return what inserts the row of a load, in the transaction of that load.

        A load that changed nothing has a row too: its event announces the loads before it.
        """

        def record(connection: Connection, ended: Sequence[Any]) -> None:
            for landed in ended:
                if isinstance(landed, WriteResult):
                    own = self.of_load(partition, delivery, landed)
                    row = _row(target, landed, own[0].sentence if own else "")
                    figures = {"figures": self._figures_text(landed.change)}
                    connection.execute(insert(pending_announcements), row | figures)

        return record

    def take_over(
        self, partition_key: str, until: datetime, *, stays: bool
    ) -> tuple[datetime | None, Sequence[Announcement[ChangeT]]]:
        """Return what loads ``until`` then changed and this run is to announce, the oldest first.

        If the partition ``stays`` as it is, a running run may announce its own load. An event
        announces the loads before its own too. Rows that need no announcement are deleted.

        Returns:
            Since when the current rows are known, None if their run still reports them; and the
            announcements.
        """
        rows = self._rows(partition_key, until)
        owed: list[RowMapping] = []
        for row in rows:
            answer = self.is_reported(row["run_id"], partition_key, row["landed_at"])
            if answer == "not yet" and stays and not owed:
                return None, ()
            if answer == "yes":
                break
            owed.append(row)
        late = [self._late(row) for row in reversed(owed) if row["sentence"]]
        if settled := rows[len(owed) :] if late else rows:
            at = {partition_key: settled[0]["landed_at"]}
            _delete(self.warehouse, self.dataset.table, at)
        return until, late

    def _rows(self, partition_key: str, until: datetime) -> Sequence[RowMapping]:
        """Return the rows of a partition, the latest first."""
        of_partition = select(pending_announcements).where(
            _pending.table_name == self.dataset.table.name,
            _pending.partition_key == partition_key,
            _pending.landed_at <= until,
        )
        with self.warehouse.reading() as connection:
            found = connection.execute(of_partition.order_by(_pending.landed_at.desc()))
            return found.mappings().all()

    def _figures_text(self, change: ChangeT | None) -> str:
        if change is None:
            return "null"
        return _json_of(self.dataset.figures_type).dump_json(change).decode()

    def _late(self, row: RowMapping) -> Announcement[ChangeT]:
        figures = _json_of(self.dataset.figures_type).validate_json(row["figures"])
        run = row["run_id"][:SHOWN_OF_A_RUN]
        late = f"(Told late: run {run}, which landed it, had not told of it.)"
        return Announcement(row["change_cause"], figures, f"{row['sentence']} {late}")


def settle_announcements(
    warehouse: Warehouse,
    table: Table,
    log: ReportLog,
    loaded: Mapping[str, LoadedPartition[Any]],
) -> None:
    """Delete the rows that the events of this run announce, as far as Dagster has them.

    Dagster stores events in order, so it is asked for the last one; for one before that only if a
    later run has materialized the same partition since.

    Args:
        warehouse: The database.
        table: The table that the run loaded.
        log: Dagster's events of its asset.
        loaded: The partitions of the run by key, in the order of their events.
    """
    announced = {key: until for key, each in loaded.items() if (until := each.announced_until)}
    stored = list(announced)
    while stored and not log.has_latest_event(stored[-1], announced[stored[-1]]):
        stored.pop()
    if stored:
        _delete(warehouse, table, {key: announced[key] for key in stored})


def _delete(warehouse: Warehouse, table: Table, until: Mapping[str, datetime]) -> None:
    """Delete the rows of partitions, each until a time; in one order, so that no two deadlock."""
    statement = delete(pending_announcements).where(
        _pending.table_name == table.name,
        _pending.partition_key == bindparam("key"),
        _pending.landed_at <= bindparam("at", type_=_pending.landed_at.type),
    )
    with warehouse.writing() as connection:
        connection.execute(statement, [{"key": key, "at": until[key]} for key in sorted(until)])


def _row(target: WriteTarget[Any], landed: WriteResult[Any], sentence: str) -> dict[str, object]:
    return {
        "table_name": target.table.name,
        "partition_key": target.partition_key,
        "landed_at": landed.known_from,
        "group_id": landed.group_id,
        "change_cause": landed.change_cause,
        "sentence": sentence,
        "run_id": target.run_id,
    }


@cache
def _json_of(figures_type: Any) -> TypeAdapter[Any]:
    return TypeAdapter(figures_type)
