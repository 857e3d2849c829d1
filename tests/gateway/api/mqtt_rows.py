"""Rows of MQTT's tables, for tests of the API."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select

from orchestration_project.domains.mqtt.tables import (
    mqtt_bridges,
    mqtt_component_dependencies,
    mqtt_components,
    mqtt_cursors,
    mqtt_dead_letters,
    mqtt_inbox,
    mqtt_metrics,
    mqtt_mirror,
    mqtt_mirror_history,
    mqtt_projects,
    mqtt_seen_keys,
    mqtt_tasks,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.spine import leases, outbox

START = datetime(2026, 11, 2, 10, tzinfo=UTC)
TRACE = "0b1e8f5e-6a53-4a0e-9b7e-0a1d3c5e7f90"
TABLES = (
    *(mqtt_bridges, mqtt_component_dependencies, mqtt_components, mqtt_cursors),
    *(mqtt_dead_letters, mqtt_inbox, mqtt_metrics, mqtt_mirror, mqtt_mirror_history),
    *(mqtt_projects, mqtt_seen_keys, mqtt_tasks),
)


def clear(warehouse: Warehouse) -> None:
    """Delete all rows of MQTT, its outbox included."""
    with warehouse.writing() as connection:
        for table in TABLES:
            connection.execute(delete(table))
        connection.execute(delete(outbox).where(outbox.c.topic == "mqtt/events"))
        connection.execute(delete(leases).where(leases.c.name.startswith("mqtt")))


def mirror_row(number: int, topic: str, **other: Any) -> dict[str, Any]:
    """Return a row of the mirror: the event of arrival ``number``, a minute after the one before.

    A ``payload`` is given as what it is, not as text.
    """
    at = START + timedelta(minutes=number)
    payload = other.pop("payload", {"project_id": str(number)})
    row = {
        "idempotency_key": f"key-{number}",
        "trace_id": str(UUID(int=number)),
        "kind": "project.updated",
        "schema_version": 1,
        "topic": topic,
        "ts": at,
        "entity_type": "project",
        "entity_id": str(number),
        "payload": json.dumps(payload, separators=(",", ":"), sort_keys=True),
        "arrival_id": number,
        "received_at": at,
        "arrival_hour": f"{at:%Y-%m-%d-%H:00}",
        "skew_seconds": 0.0,
        "capture_id": 1,
        "known_from": at,
    }
    return row | other


def dead_letter(number: int, topic: str, reason_code: str, **other: Any) -> dict[str, Any]:
    """Return a dead letter of arrival ``number``."""
    at = START + timedelta(minutes=number)
    body = b"\xff not JSON"
    row = {
        "arrival_id": number,
        "topic": topic,
        "kind": None,
        "reason_code": reason_code,
        "reason": "expected UTF-8, up to byte 0",
        "payload": base64.b64encode(body).decode(),
        "sha256": hashlib.sha256(body).hexdigest(),
        "received_at": at,
        "failed_at": at,
        "ended_at": None,
        "run_id": "run",
    }
    return row | other


def message(number: int, **other: Any) -> bytes:
    """Return a valid envelope."""
    envelope = {
        "trace_id": TRACE,
        "ts": (START + timedelta(minutes=number)).isoformat(),
        "kind": "project.updated",
        "idempotency_key": f"key-{number}",
        "payload": {"project_id": str(number), "name": f"Project {number}"},
    }
    return json.dumps(envelope | other).encode()


def receive(warehouse: Warehouse, *messages: tuple[str, bytes], broker: str = "b:1883") -> int:
    """Add messages to the inbox as a bridge does; return the last arrival_id."""
    with warehouse.writing() as connection:
        last = connection.execute(select(func.max(mqtt_inbox.c.arrival_id))).scalar() or 0
        rows = [
            {
                "arrival_id": last + number,
                "broker": broker,
                "topic": topic,
                "qos": 1,
                "is_retained": False,
                "is_duplicate": False,
                "payload": base64.b64encode(body).decode(),
                "byte_count": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
                "received_at": START + timedelta(minutes=last + number),
            }
            for number, (topic, body) in enumerate(messages, start=1)
        ]
        connection.execute(insert(mqtt_inbox), rows)
        return last + len(rows)
