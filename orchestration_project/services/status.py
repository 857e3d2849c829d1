"""Late and quarantined partitions: one reading for checks, control tower, objectives, pages."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.problems import OldestMissing
from orchestration_project.engine.dataset import Dataset, read_oldest_missing
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.difference import select_quarantined
from orchestration_project.engine.warehouse.frames import Scope, scope_from_json
from orchestration_project.registry import Registry
from orchestration_project.settings import Settings
from orchestration_project.tables.schema import asset_of
from orchestration_project.tables.spine import audits, deliveries

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


def count_quarantined(warehouse: Warehouse) -> Mapping[str, int]:
    """Return how many quarantined partitions each asset has, of the assets that have some."""
    columns = deliveries.c
    partitions = select_quarantined([columns.table_name, columns.partition_key]).distinct()
    latest = partitions.subquery()
    counted = select(latest.c.table_name, func.count()).group_by(latest.c.table_name)
    counts: Counter[str] = Counter()
    with warehouse.reading() as connection:
        for table, count in connection.execute(counted):
            counts[asset_of(table)] += count
    return counts


def read_quarantined(warehouse: Warehouse) -> list[QuarantinedDelivery]:
    """Return the quarantined partitions, the latest first.

    A fence has the number of its partition's latest delivery, so no earlier one is read.
    """
    columns, audit = deliveries.c, audits.c
    latest = select_quarantined(list(columns))
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
