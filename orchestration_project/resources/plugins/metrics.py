"""Metrics of plugins: their states, and calls and violations of the latest 24 hours."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Table, func, select

from orchestration_project.domains.plugins.tables import plugins, plugins_calls, plugins_violations
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.plugins.records import of_run
from orchestration_project.services.metrics.families import gauge

if TYPE_CHECKING:
    from prometheus_client.core import Metric

WINDOW = timedelta(hours=24)


class PluginMetrics:
    """Reads the metrics of a database; it costs as much as a day has calls, however old it is."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def families(self, now: datetime) -> list[Metric]:
        """Return the metrics; ``now`` is the machine's time.

        Raises:
            OrchestrationError: The database cannot be read.
        """
        with self._warehouse.reading() as connection:
            states = {
                row.id: row.state
                for row in connection.execute(select(plugins.c.id, plugins.c.state))
            }
            names, since = sorted(states), now - WINDOW
            calls, violations = plugins_calls.c, plugins_violations.c
            called = _count_by_plugin(connection, plugins_calls, names, since, calls.verdict)
            violated = _count_by_plugin(
                connection,
                plugins_violations,
                names,
                since,
                violations.permission,
                of_run(plugins_violations),
            )
        by_state: dict[tuple[str, ...], float] = {}
        for state in states.values():
            by_state[(state,)] = by_state.get((state,), 0.0) + 1
        return list(_build_families(by_state, called, violated))


def _build_families(
    by_state: dict[tuple[str, ...], float],
    called: dict[tuple[str, ...], float],
    violated: dict[tuple[str, ...], float],
) -> Iterable[Metric]:
    def add(one: float, other: float) -> float:
        return one + other

    yield gauge("plugins", "Plugins, by state.", ("state",), by_state, together=add)
    yield gauge(
        "plugin_calls",
        "Calls of plugins to the host in the last 24 hours.",
        ("plugin", "verdict"),
        called,
        together=add,
    )
    yield gauge(
        "plugin_violations",
        "Refused calls and exceeded limits of plugins in runs of the last 24 hours.",
        ("plugin", "permission"),
        violated,
        together=add,
    )


def _count_by_plugin(
    connection: Connection,
    table: Table,
    names: list[str],
    since: datetime,
    label: ColumnElement[Any],
    *conditions: ColumnElement[bool],
) -> dict[tuple[str, ...], float]:
    """Count the rows of some plugins since a time, which an index finds."""
    columns = table.c
    query = (
        select(columns.plugin, label, func.count())
        .where(columns.plugin.in_(names), columns["at"] >= since, *conditions)
        .group_by(columns.plugin, label)
    )
    return {(plugin, value): count for plugin, value, count in connection.execute(query)}
