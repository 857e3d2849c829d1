"""Metrics of MQTT: events by kind, what waits, dead letters, bridges, brokers, and measurements."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, case, func, select

from orchestration_project.domains.mqtt.tables import (
    mqtt_bridges,
    mqtt_dead_letters,
    mqtt_metrics,
    mqtt_mirror,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.mqtt.ranges import first_unread, waiting
from orchestration_project.resources.mqtt.reading import waiting_outbox
from orchestration_project.services.metrics.families import counter, gauge

if TYPE_CHECKING:
    from prometheus_client.core import Metric

OTHER = "other"
"""Label of all kinds without a schema: senders may write any."""

MAX_MEASURED = 200
"""Measured metrics that are shown: the latest ones."""

MAX_ROWS = 10_000
"""Measurements that one call reads: the latest ones."""


@dataclass
class MqttMetrics:
    """Reads the metrics of a database.

    Events are counted as Prometheus counts: from the first call on. So a call reads what was
    mirrored since the one before, however much the mirror has.
    """

    warehouse: Warehouse
    max_measured: int = MAX_MEASURED
    """Measurements that are kept, the newest."""
    _events: dict[tuple[str, ...], float] = field(default_factory=dict)
    _counted: int | None = None
    """Arrival up to which events are counted."""
    _measured: dict[tuple[str, ...], tuple[datetime, float]] = field(default_factory=dict)
    _measured_to: int = 0
    """Arrival up to which measurements are read."""

    def families(self, now: datetime) -> list[Metric]:
        """Return the metrics; ``now`` is the machine's time.

        Raises:
            OrchestrationError: The database cannot be read.
        """
        unread = waiting(self.warehouse)
        with self.warehouse.reading() as connection:
            self._count(connection)
            self._measure(connection)
            publishing = waiting_outbox(connection)
            return [
                counter(
                    "mqtt_events",
                    "Events that were mirrored since the gateway started; `other`: unknown kinds.",
                    ("kind",),
                    self._events,
                ),
                *_measure_waiting(
                    "mqtt_waiting_messages",
                    "Messages of brokers that are not mirrored yet.",
                    unread.message_count,
                    unread.oldest_at,
                    now,
                ),
                *_measure_waiting(
                    "mqtt_outbox_events",
                    "Events of commands that are not published yet.",
                    publishing.row_count,
                    publishing.oldest_at,
                    now,
                ),
                _count_dead_letters(connection),
                *_measure_bridges(connection, now),
                gauge(
                    "mqtt_measured",
                    f"Latest measurements of mqtt_metrics, the newest {self.max_measured}.",
                    ("subject", "name", "unit"),
                    {labels: value for labels, (_, value) in self._measured.items()},
                    together=max,
                ),
            ]

    def _count(self, connection: Connection) -> None:
        last = first_unread(connection) - 1
        if self._counted is None:
            self._counted = last
        columns = mqtt_mirror.c
        kind = case((columns.schema_version.is_(None), OTHER), else_=columns.kind)
        rows = connection.execute(
            select(kind, func.count())
            .where(columns.arrival_id > self._counted, columns.arrival_id <= last)
            .group_by(kind)
        ).all()
        for name, count in rows:
            self._events[(name,)] = self._events.get((name,), 0.0) + count
        self._counted = max(last, self._counted)

    def _measure(self, connection: Connection) -> None:
        """Read the measurements that were folded since the call before."""
        columns = mqtt_metrics.c
        rows = connection.execute(
            select(mqtt_metrics)
            .where(columns.arrival_id > self._measured_to)
            .order_by(columns.arrival_id.desc())
            .limit(MAX_ROWS)
        ).all()
        for row in rows:
            labels = (row.subject_id, row.name, row.unit or "")
            latest = (row.measured_at, row.value)
            self._measured[labels] = max(self._measured.get(labels, latest), latest)
            self._measured_to = max(self._measured_to, row.arrival_id)
        if len(self._measured) > self.max_measured:
            newest = sorted(self._measured.items(), key=lambda each: each[1], reverse=True)
            self._measured = dict(newest[: self.max_measured])


def _measure_waiting(
    name: str, what: str, count: int, oldest_at: datetime | None, now: datetime
) -> Iterable[Metric]:
    yield gauge(name, what, (), {(): count})
    age = 0.0 if oldest_at is None else max(0.0, (now - oldest_at).total_seconds())
    yield gauge(f"{name}_oldest_seconds", "Age of the oldest of these; 0: none.", (), {(): age})


def _count_dead_letters(connection: Connection) -> Metric:
    columns = mqtt_dead_letters.c
    query = (
        select(columns.reason_code, func.count())
        .where(columns.ended_at.is_(None))
        .group_by(columns.reason_code)
    )
    return gauge(
        "mqtt_dead_letters",
        "Messages that are dead letters, by reason code.",
        ("reason",),
        {(reason,): count for reason, count in connection.execute(query)},
        together=lambda one, other: one + other,
    )


def _measure_bridges(connection: Connection, now: datetime) -> Iterable[Metric]:
    rows = connection.execute(select(mqtt_bridges)).all()
    yield gauge(
        "mqtt_bridge_connected",
        "Bridge: 1 while it is connected to its broker.",
        ("broker",),
        {(row.broker,): float(row.connected_since is not None) for row in rows},
        together=min,
    )
    yield gauge(
        "mqtt_bridge_silence_seconds",
        "Time since the latest message of the broker.",
        ("broker",),
        {
            (row.broker,): max(0.0, (now - row.last_message_at).total_seconds())
            for row in rows
            if row.last_message_at is not None
        },
    )
    figures = {row.broker: _read_figures(row.broker_figures) for row in rows}
    yield gauge(
        "mqtt_broker_clients",
        "Clients that the broker has, by its own count.",
        ("broker",),
        {(name,): counts["clients"] for name, counts in figures.items() if "clients" in counts},
    )
    yield gauge(
        "mqtt_broker_stored_messages",
        "Messages that the broker keeps, by its own count.",
        ("broker",),
        {
            (name,): counts["stored_messages"]
            for name, counts in figures.items()
            if "stored_messages" in counts
        },
    )
    yield counter(
        "mqtt_broker_messages",
        "Messages since the broker started, by its own count: received, sent or dropped.",
        ("broker", "outcome"),
        {
            (name, outcome): counts[f"{outcome}_messages"]
            for name, counts in figures.items()
            for outcome in ("received", "sent", "dropped")
            if f"{outcome}_messages" in counts
        },
    )


def _read_figures(stored: str | None) -> Mapping[str, float]:
    return json.loads(stored) if stored else {}
