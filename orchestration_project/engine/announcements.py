"""Announces what loads changed, at least once, in the metadata of a materialization.

A load inserts a row into `pending_announcements`, in its own transaction. The run deletes the row
once Dagster has the event of the load. If the process exits before, the next run that reads the
partition announces the change. Dagster stores the events of a step when it ends, or never.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any, Generic, Literal, cast

import dagster as dg
from pydantic import TypeAdapter
from sqlalchemy import Connection, RowMapping, Table, bindparam, delete, insert, select

from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.dagster_private.processes import is_worker_gone
from orchestration_project.engine.dataset import Announcement, ChangeT, LoadedPartition, LoadSpec
from orchestration_project.engine.warehouse import Delivery, Warehouse, WriteResult, WriteTarget
from orchestration_project.engine.warehouse.delivery import AfterWrite
from orchestration_project.tables.schema import as_number
from orchestration_project.tables.spine import pending_announcements

KNOWN_FROM = "known_from"
"""Metadata of a materialization: since when its rows are known; set by the load of these rows."""

EVENTS_READ = 50
"""Events read of a partition whose run failed; it is loaded again after far fewer."""


UNCHANGED, REPORTED_LATE = "unchanged", "reported late"
"""Outcomes of a partition that stayed as it was loaded; late: the load was not reported yet."""

NOTICES = frozenset({"notice", "notice_kind"})
"""Metadata that asks for attention, once: it is not carried forward."""

CHANGE = "change"

PLACES = {"dollars": 2, "seconds": 3, "ratio": 4, "share": 4}
"""Decimal places of floats, by the unit that their key names; any other has `OTHER_PLACES`."""

OTHER_PLACES = 6


def normalise_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata with `change` first, floats rounded by unit, and times as timestamps."""
    values = {name: _format_value(name, value) for name, value in metadata.items()}
    return {CHANGE: values.pop(CHANGE), **values} if CHANGE in values else values


def _format_value(name: str, value: Any) -> Any:
    if isinstance(value, float):
        places = (places for unit, places in PLACES.items() if unit in name)
        return round(value, next(places, OTHER_PLACES))
    if isinstance(value, Decimal):
        return as_number(value)
    if isinstance(value, datetime):
        return dg.MetadataValue.timestamp(value)
    return value


def read_time(value: dg.MetadataValue[Any]) -> datetime:
    """Return the time of a timestamp; events of earlier versions have it as text."""
    moment = value.value
    is_text = isinstance(moment, str)
    return datetime.fromisoformat(moment) if is_text else datetime.fromtimestamp(moment, UTC)


IsReported = Callable[[str, str, datetime], Literal["yes", "no", "not yet"]]
"""Whether Dagster has an event of a run's load of a partition, known from a time; "not yet": the
run goes on, and its events are stored when it ends."""

EarlierMetadata = Callable[[dg.AssetKey, str], Mapping[str, dg.MetadataValue[Any]]]
"""Returns the metadata of the latest materialization of an asset's partition, without notices."""


def read_latest_metadata(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partition_key: str
) -> Mapping[str, dg.MetadataValue[Any]]:
    """Return it as `EarlierMetadata` does: one query, however many materializations there are."""
    asset_records_filter = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[partition_key])
    for record in instance.fetch_materializations(asset_records_filter, limit=1).records:
        if record.asset_materialization is not None:
            metadata = record.asset_materialization.metadata
            return {name: value for name, value in metadata.items() if name not in NOTICES}
    return {}


def is_known_from(metadata: Mapping[str, dg.MetadataValue[Any]], known_from: datetime) -> bool:
    """Return whether a materialization's metadata is of the rows known from a time."""
    return KNOWN_FROM in metadata and read_time(metadata[KNOWN_FROM]) == known_from


class ReportLog:
    """Finds out whether Dagster has an event of the load of an asset's partition.

    A run that succeeded stored all of its events, so it is looked up once, without partitions. Of
    any other run the events are read, and compared by partition and `KNOWN_FROM`.

    Args:
        instance: Dagster's.
        asset: The asset whose events are read.
        run_id: The present run. An earlier attempt of it yields no more events.
    """

    def __init__(self, instance: dg.DagsterInstance, asset: dg.AssetKey, run_id: str) -> None:
        self._instance = instance
        self._asset = asset
        self._run_id = run_id
        self._reported_by: dict[str, Literal["all"] | frozenset[tuple[str | None, datetime]]] = {}

    def __call__(
        self, run_id: str, partition_key: str, known_from: datetime
    ) -> Literal["yes", "no", "not yet"]:
        """Return whether a run has an event of its load of a partition, known from a time.

        "not yet": the run goes on. "yes" also if Dagster has deleted the run.
        """
        if run_id not in self._reported_by:
            run = self._instance.get_run_by_id(run_id)
            if run is not None and self._goes_on(run):
                return "not yet"
            is_sure = run is None or run.is_success
            self._reported_by[run_id] = "all" if is_sure else self._reported_in(run_id)
        reported = self._reported_by[run_id]
        if reported == "all" or (partition_key, known_from) in reported:
            return "yes"
        return "yes" if known_from in self._reported_lately(partition_key) else "no"

    def earlier(self, asset: dg.AssetKey, partition_key: str) -> Mapping[str, dg.MetadataValue]:
        """Return the metadata of the latest event of a partition of an asset."""
        return read_latest_metadata(self._instance, asset, partition_key)

    def has_latest_event(self, partition_key: str, known_from: datetime) -> bool:
        """Return whether the latest event of a partition is of its load known from a time."""
        metadata_values = read_latest_metadata(self._instance, self._asset, partition_key)
        return is_known_from(metadata_values, known_from)

    def _goes_on(self, run: dg.DagsterRun) -> bool:
        """Whether a run may yield events yet; the daemon detects a lost process only later."""
        if run.is_finished or run.run_id == self._run_id:
            return False
        return not is_worker_gone(self._instance, run)

    def _reported_in(self, run_id: str) -> frozenset[tuple[str | None, datetime]]:
        """Return the loads of which a run stored events: partition and `KNOWN_FROM`."""
        records = self._instance.get_records_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        return frozenset(
            _read_load_records(record for record in records if record.asset_key == self._asset)
        )

    def _reported_lately(self, partition_key: str) -> frozenset[datetime]:
        """Return the loads of a partition of which any run stored an event, by `KNOWN_FROM`."""
        asset_records_filter = dg.AssetRecordsFilter(
            asset_key=self._asset, asset_partitions=[partition_key]
        )
        records = self._instance.fetch_materializations(
            asset_records_filter, limit=EVENTS_READ
        ).records
        return frozenset(known_from for _, known_from in _read_load_records(records))


def _read_load_records(
    records: Iterable[dg.EventLogRecord],
) -> Iterator[tuple[str | None, datetime]]:
    for record in records:
        materialization = record.asset_materialization
        if materialization is not None and KNOWN_FROM in materialization.metadata:
            yield record.partition_key, read_time(materialization.metadata[KNOWN_FROM])


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
        self, partition: Partition, delivery: Delivery, write_result: WriteResult[Any]
    ) -> Sequence[Announcement[ChangeT]]:
        """Return the announcement of the change that a load made, if it made any."""
        if not write_result.has_written_rows:
            return ()
        text = self.dataset.describe(partition, delivery, write_result)
        return (
            Announcement(write_result.change_cause, cast("ChangeT", write_result.change), text),
        )

    def recorder(
        self, target: WriteTarget[ChangeT], partition: Partition, delivery: Delivery
    ) -> AfterWrite:
        """Return a function that inserts the row of a load, in the transaction of that load.

        A load that changed nothing has a row too: its event announces the loads before it.
        """

        def record(connection: Connection, ended: Sequence[Any]) -> None:
            for write_result in ended:
                if isinstance(write_result, WriteResult):
                    announcements = self.of_load(partition, delivery, write_result)
                    row = _build_row(
                        target, write_result, announcements[0].sentence if announcements else ""
                    )
                    figures = {"figures": self._figures_text(write_result.change)}
                    connection.execute(insert(pending_announcements), row | figures)

        return record

    def take_over(
        self, partition_key: str, until: datetime, *, stays: bool
    ) -> tuple[datetime | None, Sequence[Announcement[ChangeT]]]:
        """Return the changes of loads ``until`` then that this run must announce, oldest first.

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
            rows = connection.execute(of_partition.order_by(_pending.landed_at.desc()))
            return rows.mappings().all()

    def _figures_text(self, change: ChangeT | None) -> str:
        if change is None:
            return "null"
        return _build_adapter(self.dataset.figures_type).dump_json(change).decode()

    def _late(self, row: RowMapping) -> Announcement[ChangeT]:
        figures = _build_adapter(self.dataset.figures_type).validate_json(row["figures"])
        run = row["run_id"][:SHOWN_OF_A_RUN]
        late = f"(Reported late: run {run}, which loaded it, had not reported it.)"
        return Announcement(row["change_cause"], figures, f"{row['sentence']} {late}")


def settle_announcements(
    warehouse: Warehouse,
    table: Table,
    log: ReportLog,
    loaded: Mapping[str, LoadedPartition[Any, Any]],
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
    announced = {key: until for key, value in loaded.items() if (until := value.announced_until)}
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


def _build_row(
    target: WriteTarget[Any], write_result: WriteResult[Any], sentence: str
) -> dict[str, object]:
    return {
        "table_name": target.table.name,
        "partition_key": target.partition_key,
        "landed_at": write_result.known_from,
        "group_id": write_result.group_id,
        "change_cause": write_result.change_cause,
        "sentence": sentence,
        "run_id": target.run_id,
    }


@cache
def _build_adapter(figures_type: Any) -> TypeAdapter[Any]:
    return TypeAdapter(figures_type)
