"""The alerts in our database: raised once per cause, delivered once per channel."""

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, update

from orchestration_project.domains.operations.alerts import (
    Decision,
    OpenAlert,
    Problem,
    Severity,
    admits,
    decide,
    wait_after,
)
from orchestration_project.domains.operations.channels import Channel
from orchestration_project.domains.operations.messages import Message
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.warehouse import Warehouse
from orchestration_project.resources.warehouse.frames import insert_absent, storable
from orchestration_project.tables.operations import (
    operations_alert_deliveries as deliveries,
)
from orchestration_project.tables.operations import operations_alerts as alerts
from orchestration_project.tables.operations import operations_evaluations as evaluations

LEASE = timedelta(minutes=5)
"""For how long a delivery that was begun belongs to its process; after that it may be dead."""

Wording = Callable[[Decision], Sequence[Message]]
"""Puts a decision into words."""


@dataclass(frozen=True)
class Standing:
    """How an open alert stands."""

    alert_id: str
    severity: Severity
    title: str
    raised_at: datetime
    repeated_count: int
    undelivered: Sequence[str]


@dataclass(frozen=True)
class Delivery:
    """An alert that is to be sent to a channel, and the attempts that were begun."""

    alert_id: str
    channel: str
    attempts: int
    message: Message


class Inbox:
    """Stores alerts for ``channels``; each method is one transaction."""

    def __init__(
        self,
        warehouse: Warehouse,
        channels: Sequence[Channel],
        *,
        clock: Clock,
        window: timedelta,
    ) -> None:
        self._warehouse = warehouse
        self._channels = channels
        self._clock = clock
        self._window = window

    def evaluated(self, causes: Collection[str]) -> set[str]:
        """Return those of ``causes`` that were looked at."""
        wanted = select(evaluations.c.cause).where(evaluations.c.cause.in_(causes))
        with self._warehouse.reading() as connection:
            return set(connection.execute(wanted).scalars())

    def take(
        self,
        cause: str,
        bad: frozenset[Problem],
        is_well: Callable[[Problem], bool],
        words: Wording,
    ) -> list[Message]:
        """Store what ``cause`` raises, repeats and recovers, once; return what is told of it."""
        now = self._clock.now()
        with self._warehouse.writing() as connection:
            if _is_evaluated(connection, cause):
                return []
            insert_absent(connection, evaluations, [{"cause": cause, "evaluated_at": now}])
            known = _open_alerts(connection)
            decision = decide(bad, is_well, known, now=now, window=self._window)
            told = list(words(decision))
            for message in told:
                self._store(connection, cause, message, now)
            _settle(connection, decision, now)
        return told

    def tell(self, cause: str, message: Message) -> None:
        """Store a message that is about no problem; once per cause."""
        with self._warehouse.writing() as connection:
            self._store(connection, cause, message, self._clock.now())

    def open_problems(self, kind: str) -> set[Problem]:
        """Return the problems of this kind that open alerts tell of."""
        with self._warehouse.reading() as connection:
            known = _open_alerts(connection)
        return {problem for alert in known for problem in alert.problems if problem.kind == kind}

    def standing(self) -> list[Standing]:
        """Return the open alerts, the latest first."""
        waiting = select(deliveries.c.alert_id, deliveries.c.channel).where(
            deliveries.c.state != "delivered"
        )
        found = select(alerts).where(alerts.c.state == "open").order_by(alerts.c.raised_at.desc())
        with self._warehouse.reading() as connection:
            undelivered = connection.execute(waiting).all()
            return [
                Standing(
                    alert_id=row.alert_id,
                    severity=row.severity,
                    title=row.title,
                    raised_at=row.raised_at,
                    repeated_count=row.repeated_count,
                    undelivered=[name for alert, name in undelivered if alert == row.alert_id],
                )
                for row in connection.execute(found)
            ]

    def due(self, channel: str, limit: int) -> list[Delivery]:
        """Return the deliveries to ``channel`` whose time has come, the oldest alert first."""
        wanted = (
            select(deliveries.c.channel, deliveries.c.attempt_count, alerts)
            .join(alerts, alerts.c.alert_id == deliveries.c.alert_id)
            .where(
                deliveries.c.channel == channel,
                deliveries.c.state == "pending",
                deliveries.c.next_attempt_at <= self._clock.now(),
            )
            .order_by(alerts.c.raised_at, alerts.c.alert_id)
            .limit(limit)
        )
        with self._warehouse.reading() as connection:
            return [
                Delivery(row.alert_id, row.channel, row.attempt_count, _message(row))
                for row in connection.execute(wanted)
            ]

    def waiting(self) -> dict[str, int]:
        """Return how many deliveries are pending, by channel."""
        wanted = (
            select(deliveries.c.channel, func.count())
            .where(deliveries.c.state == "pending")
            .group_by(deliveries.c.channel)
            .order_by(deliveries.c.channel)
        )
        with self._warehouse.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(wanted)}

    def claim(self, delivery: Delivery) -> bool:
        """Begin an attempt; False if another process was quicker."""
        return self._change(
            delivery,
            delivery.attempts,
            attempt_count=delivery.attempts + 1,
            next_attempt_at=self._clock.now() + LEASE,
        )

    def delivered(self, delivery: Delivery) -> None:
        """Record that the channel took it."""
        self._change(
            delivery,
            delivery.attempts + 1,
            state="delivered",
            delivered_at=self._clock.now(),
            last_error=None,
        )

    def refused(self, delivery: Delivery, reason: str) -> None:
        """Record why an attempt was in vain, and when the next one is due."""
        self._change(
            delivery,
            delivery.attempts + 1,
            last_error=reason,
            next_attempt_at=self._clock.now() + wait_after(delivery.attempts + 1),
        )

    def give_up_others(self, names: Sequence[str]) -> None:
        """Give up what is pending for channels that are none of ``names``."""
        statement = (
            update(deliveries)
            .where(deliveries.c.state == "pending", deliveries.c.channel.not_in(names))
            .values(state="failed", last_error="the channel is no longer in ALERT_URLS")
        )
        with self._warehouse.writing() as connection:
            connection.execute(statement)

    def _change(self, delivery: Delivery, attempts: int, **values: Any) -> bool:
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
        with self._warehouse.writing() as connection:
            return connection.execute(statement).rowcount == 1

    def _store(self, connection: Connection, cause: str, message: Message, now: datetime) -> None:
        alert_id = hashlib.sha256(f"{message.kind} {cause}".encode()).hexdigest()[:32]
        insert_absent(connection, alerts, [_row(alert_id, message, now)])
        wanted = [each for each in self._channels if admits(each.least, message.severity)]
        empty = {"state": "pending", "attempt_count": 0, "last_error": None, "delivered_at": None}
        insert_absent(
            connection,
            deliveries,
            [
                {"alert_id": alert_id, "channel": each.name, "next_attempt_at": now, **empty}
                for each in wanted
            ],
        )


def _is_evaluated(connection: Connection, cause: str) -> bool:
    wanted = select(evaluations.c.cause).where(evaluations.c.cause == cause)
    return connection.execute(wanted).first() is not None


def _open_alerts(connection: Connection) -> list[OpenAlert]:
    wanted = select(alerts).where(alerts.c.state == "open").order_by(alerts.c.raised_at)
    return [
        OpenAlert(
            alert_id=row.alert_id,
            severity=row.severity,
            title=row.title,
            problems=_problems(row.open_problems),
            told_at=row.raised_at,
        )
        for row in connection.execute(wanted)
    ]


def _settle(connection: Connection, decision: Decision, now: datetime) -> None:
    """Write what a decision says of alerts that were open before it."""
    for alert in decision.repeated:
        connection.execute(
            update(alerts)
            .where(alerts.c.alert_id == alert.alert_id)
            .values(repeated_count=alerts.c.repeated_count + 1, repeated_at=now)
        )
    recovered = {alert.alert_id for alert in decision.recovered}
    for alert_id, left in decision.remaining.items():
        ended = {} if left else {"ended_at": now}
        state = "open" if left else "recovered" if alert_id in recovered else "replaced"
        connection.execute(
            update(alerts)
            .where(alerts.c.alert_id == alert_id)
            .values(open_problems=_json(sorted(left)), state=state, **ended)
        )


def _row(alert_id: str, message: Message, now: datetime) -> dict[str, Any]:
    return {
        "alert_id": alert_id,
        "kind": message.kind,
        "severity": message.severity,
        "title": storable(message.title),
        "body": storable(message.body),
        "run_id": message.run_id,
        "job": message.job,
        "assets": _json(list(message.assets)),
        "partitions": _json(list(message.partitions)),
        "link": message.link,
        "state": "open" if message.problems else "told",
        "open_problems": _json(sorted(message.problems)),
        "repeated_count": 0,
        "raised_at": now,
        "repeated_at": None,
        "ended_at": None,
    }


def _message(row: Any) -> Message:
    return Message(
        kind=row.kind,
        severity=row.severity,
        title=row.title,
        body=row.body,
        problems=_problems(row.open_problems),
        run_id=row.run_id,
        job=row.job,
        assets=json.loads(row.assets),
        partitions=json.loads(row.partitions),
        link=row.link,
    )


def _problems(text: str) -> frozenset[Problem]:
    return frozenset(Problem(*each) for each in json.loads(text))


def _json(value: object) -> str:
    return json.dumps(value)
