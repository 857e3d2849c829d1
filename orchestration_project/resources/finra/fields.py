"""What is remembered of the fields that a source lists."""

from collections.abc import Mapping
from contextlib import suppress

import polars as pl

from orchestration_project.connections.clock import Clock
from orchestration_project.domains.finra.fields import remembered
from orchestration_project.engine.warehouse import Derivation, SupersededError, Warehouse
from orchestration_project.engine.warehouse.deriving import derive, read_fence
from orchestration_project.engine.warehouse.frames import read_scope
from orchestration_project.tables.spine import source_fields


def remember_fields(
    warehouse: Warehouse, clock: Clock, listed: Mapping[str, str], *, source: str, dataset: str
) -> pl.DataFrame:
    """Record which fields (name and type) a source lists now; return all that is known of them.

    Runs of one dataset begin together and look at the same: each that another one overtook reads
    anew what that wrote, so that one of them goes on each time.
    """
    while True:
        with suppress(SupersededError):
            return _remembered(warehouse, clock, listed, source, dataset)


def _remembered(
    warehouse: Warehouse, clock: Clock, listed: Mapping[str, str], source: str, dataset: str
) -> pl.DataFrame:
    key, scope = f"{source}|{dataset}", {"source": source, "dataset": dataset}
    with warehouse.writing() as connection:
        token, _ = read_fence(connection, source_fields, key)
        seen, now = read_scope(connection, source_fields, scope), clock.now()
        rows = remembered(seen, listed, source=source, dataset=dataset, at=now)
        version = f"{len(listed)} fields"
        derive(connection, [Derivation(source_fields, key, scope, token, version, rows)], now)
    return rows
