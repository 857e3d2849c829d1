"""The last equation that a stage recorded with a difference."""

import json
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select

from orchestration_project.contracts.balance import Balance, Imbalance
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.spine import balances


class RecordedImbalance(NamedTuple):
    """An imbalance, the run that recorded it, and when."""

    imbalance: Imbalance
    run_id: str
    recorded_at: datetime


def read_last_imbalance(warehouse: Warehouse) -> RecordedImbalance | None:
    """Return the last recorded imbalance; None: there is none."""
    statement = (
        select(balances)
        .where(balances.c.state == "unbalanced")
        .order_by(balances.c.recorded_at.desc())
        .limit(1)
    )
    row = warehouse.first(statement)
    if row is None:
        return None
    balance = Balance(row["equation"], row["came_in"], json.loads(row["went_to"]))
    imbalance = Imbalance(row["table_name"], row["subject"], balance)
    return RecordedImbalance(imbalance, row["run_id"], row["recorded_at"])
