"""Plugins: metadata of the control tower."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import func, select

from orchestration_project.domains.plugins.tables import plugins, plugins_violations
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.metadata import build_table
from orchestration_project.settings import Settings, domains_on

SHOWN = 100
"""Plugins that are shown; the table in the database has all."""

VIOLATIONS_DAYS = 28

COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("plugin", "version", "state"), pl.String),
    "share": pl.Float64,
    "violations_28d": pl.Int64,
    "reason": pl.String,
}


def describe_plugins(settings: Settings, warehouse: Warehouse, now: datetime) -> dict[str, Any]:
    """Return a table of the plugins, and what their isolation enforces; nothing without plugins.

    The modules of plugins are imported here, as most installations have none.

    Args:
        settings: The settings, of which PLUGINS_ISOLATION counts.
        warehouse: The database.
        now: The project's time.
    """
    if "plugins" not in domains_on(settings):
        return {}
    from orchestration_project.resources.plugins.isolation import isolation_status
    from orchestration_project.resources.plugins.records import of_run

    violations = plugins_violations.c
    counted = (
        select(violations.plugin, func.count().label("count"))
        .where(violations["at"] > now - timedelta(days=VIOLATIONS_DAYS), of_run(plugins_violations))
        .group_by(violations.plugin)
        .subquery()
    )
    columns = plugins.c
    query = (
        select(columns.id, columns.version, columns.state, columns.share)
        .add_columns(func.coalesce(counted.c["count"], 0), columns.reason)
        .outerjoin(counted, counted.c.plugin == columns.id)
        .order_by(columns.id)
        .limit(SHOWN)
    )
    with warehouse.reading() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    if not rows:
        return {}
    return {
        "plugins": build_table(pl.DataFrame(rows, COLUMNS, orient="row")),
        "plugins_isolation": isolation_status(settings).detail,
    }
