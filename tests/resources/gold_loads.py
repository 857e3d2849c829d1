"""Weeks of all tiers loaded, and all tables derived of them as runs do."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import text

from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.engine.derived import DerivedLoad
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.gold import TIER_WEEKS, WINDOWS
from orchestration_project.tables.schema import QUANTITY_SUFFIX, as_number, as_quantity
from tests.resources.weeks import MONDAY, PartitionLoader, row

WEEKS = tuple(MONDAY + timedelta(weeks=number) for number in range(-6, 1))
"""Enough for two windows of six weeks."""


def load_week(
    partition_loader: PartitionLoader, tier: str, week: date, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Load rows as the delivery of a week and tier; each run of a test loads another version."""
    of_week = PartitionLoader(partition_loader.warehouse, partition_loader.folder, tier, week)
    version = str(of_week.target().token)
    of_week.write_batch(*(row(**fields) for fields in rows), version=version)


def derive(partition_loader: PartitionLoader, weeks: Sequence[date]) -> None:
    """Derive every table of these weeks that is derived after the load."""
    keys = [f"{tier}|{week}" for tier in TIERS for week in weeks]
    for tables, wanted in ((WINDOWS, keys), (TIER_WEEKS, [str(week) for week in weeks])):
        for key in wanted:
            load = DerivedLoad(tables, partition_loader.warehouse, wanted)
            load.write_batch(load.take(key))


def read(warehouse: Warehouse, table: str) -> list[dict[str, Any]]:
    """Return all rows of a table or view as the database has them, quantities in shares."""
    with warehouse.reading() as connection:
        found = connection.execute(text(f"SELECT * FROM {table}"))  # noqa: S608
        return [dict(in_shares((str(name), row[name])) for name in row) for row in found.mappings()]


def in_shares(column: tuple[str, Any]) -> tuple[str, Any]:
    """Return a quantity of the database under its name, in shares; other columns as they are."""
    name, value = column
    if not name.endswith(QUANTITY_SUFFIX):
        return name, value
    shares = None if value is None else as_number(as_quantity(value))
    return name.removesuffix(QUANTITY_SUFFIX), shares
