"""Partitions whose latest delivery is quarantined, with the audits that failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.spine import audits, deliveries

MOST = 200
"""Maximum number of partitions that are listed, the latest first."""


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
        is_readable: Whether it could be checked; otherwise the log of its run has the reason.
        audits: Those that it failed with severity error.
    """

    table_name: str
    partition_key: str
    group_id: str
    run_id: str
    recorded_at: datetime
    is_readable: bool
    audits: Sequence[FailedAudit]


def read_quarantined(warehouse: Warehouse) -> list[QuarantinedDelivery]:
    """Return the quarantined partitions, the latest first."""
    columns, audit = deliveries.c, audits.c
    place = func.row_number().over(
        partition_by=(columns.table_name, columns.partition_key),
        order_by=(columns.recorded_at.desc(), columns.group_id.desc()),
    )
    latest = select(deliveries, place.label("place")).subquery()
    wanted = (
        select(latest)
        .where(latest.c.place == 1, latest.c.outcome != "landed")
        .order_by(latest.c.recorded_at.desc(), latest.c.group_id)
        .limit(MOST)
    )
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
            row.group_id,
            row.run_id,
            row.recorded_at,
            row.outcome == "held_back",
            [
                FailedAudit(each.name, each.expected, each.found)
                for each in sorted(found)
                if (each.group_id, each.table_name) == (row.group_id, row.table_name)
            ],
        )
        for row in rows
    ]
