"""Late and quarantined partitions: one reading for checks, control tower, objectives, pages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Column, Connection, Select, Table, and_, select

from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.partitioning import Partition
from orchestration_project.contracts.problems import OldestMissing
from orchestration_project.engine.dataset import Dataset
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import latest_group
from orchestration_project.engine.warehouse.frames import Scope, scope_from_json
from orchestration_project.registry import Registry
from orchestration_project.settings import Settings
from orchestration_project.tables.spine import audits, deliveries, fences

MOST = 200
"""Maximum number of partitions that are listed, the latest first."""


@dataclass(frozen=True)
class Deadlines:
    """Registers a reader of the oldest due and missing partition of each asset that has one."""

    read: Callable[[Settings, Warehouse, Clock], Sequence[OldestMissing]]


def read_deadlines(
    registry: Registry, settings: Settings, warehouse: Warehouse, clock: Clock
) -> list[OldestMissing]:
    """Return the oldest due and missing partition of each asset of all domains that has one."""
    return [
        missing
        for deadlines in registry.registered(Deadlines)
        for missing in deadlines.read(settings, warehouse, clock)
    ]


def read_late_datasets(
    datasets: Sequence[Dataset], settings: Settings, warehouse: Warehouse, clock: Clock
) -> list[OldestMissing]:
    """Return the oldest due and missing partition of each dataset that has one."""
    found = [read_oldest_missing(dataset, settings, warehouse, clock) for dataset in datasets]
    return [missing for missing in found if missing is not None]


def read_oldest_missing(
    dataset: Dataset, settings: Settings, warehouse: Warehouse, clock: Clock
) -> OldestMissing | None:
    """Return the oldest partition of a dataset that is due and missing; None: there is none.

    What is newer than the loaded partitions of a value is due; an empty table waits for none.
    """
    partitioning = dataset.partitioning
    calendar = partitioning.calendar
    grace = dataset.limits(settings, clock.today(calendar.zone)).freshness_grace
    late = sorted(
        Partition(day, newest.value)
        for newest in partitioning.newest_loaded(warehouse.changes(dataset.table))
        for day in calendar.late_days(newest.day, now=clock.now(), grace=grace)
    )
    if not late:
        return None
    midnight = datetime.combine(
        partitioning.published_on(late[0]), time(), tzinfo=ZoneInfo(calendar.zone)
    )
    keys = [partitioning.key_of(partition) for partition in late]
    with warehouse.reading() as connection:
        quarantined = quarantined_keys(connection, dataset.table)
    return OldestMissing(
        f"{dataset.domain}/{dataset.noun}",
        keys[0],
        midnight.astimezone(UTC) + grace,
        missing_count=len(late),
        quarantined_count=len(quarantined.intersection(keys)),
    )


@dataclass(frozen=True)
class FailedAudit:
    """An audit that a delivery failed."""

    name: str
    expected: str
    found: str


@dataclass(frozen=True)
class QuarantinedDelivery:
    """The latest delivery of a partition, if it is not loaded.

    Attributes:
        scope: The part of the partition for which it is complete.
        is_readable: Whether it could be checked; otherwise the log of its run has the reason.
        audits: Those that it failed with severity error.
        capture_count: How many captures it has; 0: a replay, or never read completely.
    """

    table_name: str
    partition_key: str
    scope: Scope
    group_id: str
    run_id: str
    recorded_at: datetime
    is_readable: bool
    audits: Sequence[FailedAudit]
    capture_count: int


def read_quarantined(warehouse: Warehouse) -> list[QuarantinedDelivery]:
    """Return the quarantined partitions, the latest first.

    A fence has the number of its partition's latest delivery, so no earlier one is read.
    """
    columns, audit = deliveries.c, audits.c
    latest = _select_quarantined(list(columns))
    wanted = latest.order_by(columns.recorded_at.desc(), columns.group_id).limit(MOST)
    failed = select(audit.group_id, audit.table_name, audit.name, audit.expected, audit.found)
    failed = failed.where(audit.outcome == "failed", audit.severity == "error")
    with warehouse.reading() as connection:
        rows = connection.execute(wanted).all()
        groups = [row.group_id for row in rows]
        found = connection.execute(failed.where(audit.group_id.in_(groups))).all()
    return [
        QuarantinedDelivery(
            row.table_name,
            row.partition_key,
            scope_from_json(row.scope),
            row.group_id,
            row.run_id,
            row.recorded_at,
            row.outcome == "held_back",
            [
                FailedAudit(each.name, each.expected, each.found)
                for each in sorted(found)
                if (each.group_id, each.table_name) == (row.group_id, row.table_name)
            ],
            row.part_count,
        )
        for row in rows
    ]


class QuarantinedScope(NamedTuple):
    """Key of a quarantined partition, and the part of it that the delivery was of."""

    partition_key: str
    scope: Scope


def quarantined_scopes(connection: Connection, table: Table) -> list[QuarantinedScope]:
    """Return all quarantined partitions of a table."""
    wanted = _select_quarantined([deliveries.c.partition_key, deliveries.c.scope])
    rows = connection.execute(wanted.where(fences.c.table_name == table.name))
    return [QuarantinedScope(row.partition_key, scope_from_json(row.scope)) for row in rows]


def quarantined_keys(connection: Connection, table: Table) -> set[str]:
    """Return the keys of all quarantined partitions of a table."""
    return {found.partition_key for found in quarantined_scopes(connection, table)}


def _select_quarantined(columns: Sequence[Column[Any]]) -> Select[Any]:
    """Return the query of the latest deliveries of partitions, if these are not loaded."""
    is_latest = and_(
        deliveries.c.table_name == fences.c.table_name,
        deliveries.c.group_id == latest_group(),
    )
    return (
        select(*columns)
        .select_from(fences.join(deliveries, is_latest))
        .where(deliveries.c.outcome != "landed")
    )
