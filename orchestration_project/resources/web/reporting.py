"""Crawls and changes as runs report them: the latest rows, small enough to show."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.schema import USD_SCALE
from orchestration_project.tables.web import web_changes, web_crawls

SHOWN_ROWS = 20
CRAWL_COLUMNS = (
    *("site", "day", "outcome", "reason", "request_count", "page_count", "item_count"),
    *("reject_count", "byte_count", "seconds", "cost"),
)
CHANGE_COLUMNS = ("item_key", "field", "kind", "before", "after")


def latest_crawls(warehouse: Warehouse) -> Sequence[Mapping[str, Any]]:
    """Return the latest crawls of all sites, the newest first; costs are in their unit."""
    wanted = (
        select(*(web_crawls.c[name] for name in CRAWL_COLUMNS))
        .order_by(web_crawls.c.started_at.desc(), web_crawls.c.site)
        .limit(SHOWN_ROWS)
    )
    with warehouse.reading() as connection:
        found = connection.execute(wanted).mappings().all()
    return [
        {**row, "seconds": round(row["seconds"], 1), "cost": row["cost"] / 10**USD_SCALE}
        for row in found
    ]


def changes_at(
    warehouse: Warehouse, site: str, at: datetime
) -> tuple[Mapping[str, int], Sequence[Mapping[str, Any]]]:
    """Return how many changes of each kind a load of a site made, and the first of them.

    Args:
        warehouse: The database.
        site: Name of the site.
        at: Time of the load, as `web_changes` has it.
    """
    columns = web_changes.c
    own = (columns.site == site, columns.at == at)
    counted = select(columns.kind, func.count().label("rows")).where(*own).group_by(columns.kind)
    first = (
        select(*(columns[name] for name in CHANGE_COLUMNS))
        .where(*own)
        .order_by(columns.item_key, columns.field)
        .limit(SHOWN_ROWS)
    )
    with warehouse.reading() as connection:
        counts = {row.kind: row.rows for row in connection.execute(counted)}
        rows = connection.execute(first).mappings().all()
    return counts, [dict(row) for row in rows]
