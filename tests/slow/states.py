"""Contents of the weekly table, now and as of a time."""

from datetime import datetime

import polars as pl

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.catalogue import relation, relation_as_of


def state(url: str, at: datetime | None = None) -> pl.DataFrame:
    """Return the rows, those of now or those known at ``at``, in the order of the key."""
    name = finra_otc_weekly.name
    wanted = relation(name) if at is None else relation_as_of(name, at)
    query = wanted.select(finra_otc_weekly.columns.keys(), [])
    with (
        Warehouse(url, clock=Clock()) as warehouse,
        warehouse.batches(query, finra_otc_weekly) as batches,
    ):
        return pl.concat(batches)
