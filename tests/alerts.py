"""Alerts of a database without any channel."""

from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.alerts.alerts import Alerts
from orchestration_project.services.alerts.policy import Links
from orchestration_project.services.alerts.rules.notification import Policy
from orchestration_project.services.alerts.sending import LastResortLog
from orchestration_project.tables.operations_alerts import operations_alerts


def alerts_of(warehouse: Warehouse, folder: Path) -> Alerts:
    """Return what stores the alerts of a database; its state lies in ``folder``."""
    return Alerts(
        Policy([], timedelta(hours=24)),
        lambda: warehouse,
        clock=Clock(),
        links=Links("http://127.0.0.1:3000"),
        conditions=lambda _: (),
        last_resort_log=LastResortLog(folder / "notified.json"),
    )


def stored_alerts(warehouse: Warehouse) -> list[dict[str, object]]:
    """Return all alerts, the oldest first."""
    with warehouse.reading() as connection:
        found = connection.execute(
            select(operations_alerts).order_by(operations_alerts.c.raised_at)
        )
        return [dict(row) for row in found.mappings()]
