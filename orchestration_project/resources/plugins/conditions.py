"""Conditions of plugins for alerts: one that the project disabled; and what the tower shows."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from orchestration_project.domains.plugins.tables import plugins, plugins_violations
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import AlertCondition, Answer, Probe
from orchestration_project.resources.plugins.state import BY_VIOLATIONS
from orchestration_project.services.alerts.rows import open_subjects

ALERT_KIND = "plugin_disabled"

SHOWN_VIOLATIONS = 3
"""The latest violations that an alert quotes."""


def plugin_conditions(connection: Connection) -> Sequence[AlertCondition]:
    """Return a condition for each disabled plugin, and for each one with an open alert."""
    rows = {row.id: row for row in connection.execute(_select_disabled())}
    names = sorted(rows.keys() | open_subjects(connection, ALERT_KIND))
    alert_conditions: list[AlertCondition] = []
    for name in names:
        violations = _read_latest_violations(connection, name) if name in rows else ""
        judge = partial(_judge, rows.get(name), violations)
        probe = Probe(ALERT_KIND, (), lambda: "read the state of plugins", judge)
        alert_conditions.append(AlertCondition(ALERT_KIND, probe, subject=name))
    return alert_conditions


def disabled_plugins(warehouse: Warehouse) -> Sequence[OldestMissing]:
    """Return for the control tower the plugins that the project disabled."""
    with warehouse.reading() as connection:
        return [
            OldestMissing(
                f"plugins/{row.id}",
                "",
                row.changed_at,
                unit="plugin",
                remedy=_describe_remedy(row.id),
                reason=f"the plugin {row.id} is disabled: {row.reason}",
            )
            for row in connection.execute(_select_disabled())
        ]


def _select_disabled() -> "Select[Any, Any, Any]":
    columns = plugins.c
    return (
        select(columns.id, columns.reason, columns.changed_at)
        .where(columns.state == "disabled", columns.changed_by == BY_VIOLATIONS)
        .order_by(columns.id)
    )


def _read_latest_violations(connection: Connection, plugin: str) -> str:
    columns = plugins_violations.c
    latest = (
        select(columns.permission, columns.what)
        .where(columns.plugin == plugin)
        .order_by(columns["at"].desc(), columns.number.desc())
        .limit(SHOWN_VIOLATIONS)
    )
    return "; ".join(f"{row.permission}: {row.what}" for row in connection.execute(latest))


def _judge(row: Row[Any, Any, Any] | None, violations: str) -> Answer:
    if row is None:
        return Answer("the plugin is enabled, removed, or disabled by a user")
    raise ConfigurationError(
        f"the plugin {row.id} was disabled",
        expected="a plugin that asks only for what it was granted",
        found=f"{row.reason}" + (f"; the latest violations: {violations}" if violations else ""),
        remedy=_describe_remedy(row.id),
    )


def _describe_remedy(plugin: str) -> str:
    return (
        f"read plugins_violations; then grant what it needs and enable it again by `orchestrate "
        f"plugins enable {plugin}`, or remove it"
    )
