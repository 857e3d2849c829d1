"""The equations that stages recorded with a difference."""

import json
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, not_, or_, select

from orchestration_project.engine.contracts.balance import Balance, Imbalance
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import build_latest_group
from orchestration_project.tables.spine import balances, deliveries, fences


class RecordedImbalance(NamedTuple):
    """An imbalance, the run that recorded it, and when."""

    imbalance: Imbalance
    run_id: str
    recorded_at: datetime


def read_imbalances(warehouse: Warehouse, limit: int) -> list[RecordedImbalance]:
    """Return the recorded imbalances, the latest first.

    That of a delivery is left out once its partition has a later delivery.
    """
    delivery = deliveries.c
    groups = select(delivery.group_id).where(delivery.table_name == balances.c.table_name)
    is_delivery = balances.c.subject.in_(groups)
    is_latest = balances.c.subject.in_(
        select(build_latest_group()).where(fences.c.table_name == balances.c.table_name)
    )
    statement = (
        select(balances)
        .where(balances.c.state == "unbalanced", or_(is_latest, not_(is_delivery)))
        .order_by(balances.c.recorded_at.desc(), balances.c.subject, balances.c.equation)
        .limit(limit)
    )
    with warehouse.reading() as connection:
        return [_read_imbalance(row) for row in connection.execute(statement)]


def _read_imbalance(row: Row[Any]) -> RecordedImbalance:
    balance = Balance(row.equation, row.came_in, json.loads(row.went_to))
    return RecordedImbalance(
        Imbalance(row.table_name, row.subject, balance), row.run_id, row.recorded_at
    )
