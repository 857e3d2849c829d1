"""Alerts and their deliveries as rows, within a transaction of the inbox's."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from orchestration_project.engine.contracts.problems import Problem
from orchestration_project.engine.warehouse.frames import clean_text, insert_absent
from orchestration_project.services.alerts.rules.decisions import (
    AlertDecision,
    Notification,
    OpenAlert,
)
from orchestration_project.services.alerts.rules.digest import AlertDelivery
from orchestration_project.services.alerts.rules.messages import Message
from orchestration_project.services.alerts.rules.notification import EVERYTHING
from orchestration_project.tables.operations_alerts import operations_alert_deliveries as deliveries
from orchestration_project.tables.operations_alerts import operations_alerts as alerts
from orchestration_project.tables.operations_alerts import operations_evaluations as evaluations

NEW_DELIVERY: dict[str, Any] = {
    "state": "pending",
    "attempt_count": 0,
    "last_error": None,
    "delivered_at": None,
    "told_at": None,
    "failed_at": None,
    "digest_count": None,
}

TOLD_BEFORE = "told_before"
"""State of a delivery to a channel that an earlier alert notified within the window."""


def change(connection: Connection, delivery: AlertDelivery, attempts: int, **values: Any) -> bool:
    """Change a delivery of which so many attempts were begun; False if it has another count now."""
    statement = (
        update(deliveries)
        .where(
            deliveries.c.alert_id == delivery.alert_id,
            deliveries.c.channel == delivery.channel,
            deliveries.c.state == "pending",
            deliveries.c.attempt_count == attempts,
        )
        .values(**values)
    )
    return connection.execute(statement).rowcount == 1


def store(
    connection: Connection, cause: str, message: Message, hearers: Mapping[str, str], now: datetime
) -> str:
    """Store an alert, and that it waits for ``hearers``; return its id."""
    alert_id = hashlib.sha256(f"{message.kind} {cause}".encode()).hexdigest()[:32]
    insert_absent(connection, alerts, [_build_row(alert_id, message, now)])
    waiting = [
        {**NEW_DELIVERY, "alert_id": alert_id, "channel": channel, "rule": rule}
        for channel, rule in hearers.items()
    ]
    insert_absent(connection, deliveries, [{**entry, "next_attempt_at": now} for entry in waiting])
    return alert_id


def keep(connection: Connection, alert_id: str, decision: AlertDecision, now: datetime) -> None:
    """Store which channels an alert does not notify, as an older one has."""
    rows = [
        {
            **NEW_DELIVERY,
            "alert_id": alert_id,
            "channel": channel,
            "rule": notification.rule,
            "state": TOLD_BEFORE,
            "next_attempt_at": now,
            "told_at": notification.at,
        }
        for channel, notification in decision.kept.items()
    ]
    insert_absent(connection, deliveries, rows)


def is_evaluated(connection: Connection, cause: str) -> bool:
    """Whether a cause was looked at."""
    query = select(evaluations.c.cause).where(evaluations.c.cause == cause)
    return connection.execute(query).first() is not None


def open_alerts(connection: Connection) -> list[OpenAlert]:
    """Return the open alerts, the oldest first, without their notifications."""
    c = alerts.c
    query = select(c.alert_id, c.severity, c.title, c.open_problems, c.raised_at)
    return [
        OpenAlert(
            alert_id=row.alert_id,
            severity=row.severity,
            title=row.title,
            problems=_parse_problems(row.open_problems),
            raised_at=row.raised_at,
        )
        for row in connection.execute(query.where(c.state == "open").order_by(c.raised_at))
    ]


def open_subjects(connection: Connection, kind: str) -> set[str]:
    """Return the subjects of open alerts of a kind."""
    return {
        problem.subject
        for alert in open_alerts(connection)
        for problem in alert.problems
        if problem.kind == kind
    }


def attach_notifications(connection: Connection, known: Sequence[OpenAlert]) -> list[OpenAlert]:
    """Return these alerts with their notifications, sent or due."""
    query = select(deliveries).where(
        deliveries.c.alert_id.in_([alert.alert_id for alert in known]),
        deliveries.c.state != "failed",
    )
    raised = {alert.alert_id: alert.raised_at for alert in known}
    entries: dict[str, dict[str, Notification]] = {alert_id: {} for alert_id in raised}
    for row in connection.execute(query) if known else ():
        at = row.told_at or raised[row.alert_id]
        entries[row.alert_id][row.channel] = Notification(row.rule or EVERYTHING.name, at)
    return [replace(alert, notifications=entries[alert.alert_id]) for alert in known]


def count_repeated(connection: Connection, decision: AlertDecision, now: datetime) -> None:
    """Count the alerts that were repeated within their window."""
    for alert in decision.repeated:
        connection.execute(
            update(alerts)
            .where(alerts.c.alert_id == alert.alert_id)
            .values(repeated_count=alerts.c.repeated_count + 1, repeated_at=now)
        )


def settle(connection: Connection, decision: AlertDecision, now: datetime) -> None:
    """Write a decision about alerts that were open before it."""
    recovered = {alert.alert_id for alert in decision.recovered}
    for alert_id, left in decision.remaining.items():
        ended = {} if left else {"ended_at": now}
        state = "open" if left else "recovered" if alert_id in recovered else "replaced"
        connection.execute(
            update(alerts)
            .where(alerts.c.alert_id == alert_id)
            .values(open_problems=_write_json(sorted(left)), state=state, **ended)
        )


def _build_row(alert_id: str, message: Message, now: datetime) -> dict[str, Any]:
    return {
        "alert_id": alert_id,
        "kind": message.kind,
        "severity": message.severity,
        "title": clean_text(message.title),
        "body": clean_text(message.body),
        "run_id": message.run_id,
        "job": message.job,
        "assets": _write_json(list(message.assets)),
        "partitions": _write_json(list(message.partitions)),
        "link": message.link,
        "state": "open" if message.problems else "told",
        "open_problems": _write_json(sorted(message.problems)),
        "repeated_count": 0,
        "raised_at": now,
        "repeated_at": None,
        "ended_at": None,
        "trace_id": message.trace_id,
    }


def parse_message(row: Any) -> Message:
    """Return the message of an alert's row."""
    return Message(
        kind=row.kind,
        severity=row.severity,
        title=row.title,
        body=row.body,
        problems=_parse_problems(row.open_problems),
        run_id=row.run_id,
        job=row.job,
        assets=json.loads(row.assets),
        partitions=json.loads(row.partitions),
        link=row.link,
        trace_id=row.trace_id,
    )


def _parse_problems(text: str) -> frozenset[Problem]:
    return frozenset(Problem(*load) for load in json.loads(text))


def _write_json(value: object) -> str:
    return json.dumps(value)
