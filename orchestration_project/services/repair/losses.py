"""Loss of captured bytes in sentences: rows still in the database, and later captures."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection, Table, func, select

from orchestration_project.engine.contracts.repair import LostCapture, explain_loss
from orchestration_project.engine.recovery import RecordedCapture
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.repair.damage import OPEN, DamagedArtifact, read_captures
from orchestration_project.tables.catalogue import METADATA
from orchestration_project.tables.operations_artifacts import (
    operations_damaged_artifacts as damaged,
)
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import captures, deliveries, rejects


def describe_loss(warehouse: Warehouse, artifact: DamagedArtifact) -> str:
    """Return sentences about the data that is lost with an artifact and its captures' bytes."""
    if artifact.blob is None:
        return f"The exported file {artifact.name} is lost; its rows are in the database."
    recorded = read_captures(warehouse, artifact)
    with warehouse.reading() as connection:
        return explain_loss(list(_find_lost(connection, recorded)))


def _find_lost(
    connection: Connection, recorded: Sequence[RecordedCapture]
) -> Iterator[LostCapture]:
    tables = {table.name: table for table in list_published_tables()}
    for recorded_capture in recorded:
        named = connection.scalars(
            select(deliveries.c.table_name).where(
                deliveries.c.group_id == recorded_capture.group_id
            )
        )
        counts = {
            name: _count_rows(connection, tables[name], recorded_capture.capture_id)
            for name in set(named) & tables.keys()
        }
        yield LostCapture(
            source=recorded_capture.source,
            dataset=recorded_capture.dataset,
            partition_key=recorded_capture.partition_key,
            fetched_at=recorded_capture.fetched_at,
            rows={name: count for name, count in counts.items() if count},
            later_at=_find_later(connection, recorded_capture),
        )


def _count_rows(connection: Connection, table: Table, capture_id: int) -> int:
    query = select(func.count()).where(table.c.capture_id == capture_id)
    return connection.execute(query).scalar_one()


def _find_later(connection: Connection, capture: RecordedCapture) -> datetime | None:
    columns = captures.c
    is_damaged = select(damaged.c.sha256).where(damaged.c.state.in_(OPEN))
    return connection.execute(
        select(func.min(columns.fetched_at)).where(
            columns.source == capture.source,
            columns.dataset == capture.dataset,
            columns.partition_key == capture.partition_key,
            columns.fetched_at > capture.fetched_at,
            columns.sha256 != capture.sha256,
            columns.sha256.not_in(is_damaged),
        )
    ).scalar_one()


def list_published_tables() -> Collection[Table]:
    """Return the tables whose rows say which capture they were read from, without history."""
    histories = {table.info.get(HISTORY) for table in METADATA.tables.values()}
    return [
        table
        for table in METADATA.tables.values()
        if "capture_id" in table.c and table not in {captures, rejects, *histories}
    ]
