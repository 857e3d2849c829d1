"""Captured messages, derived again from the table of arrivals."""

import base64

from sqlalchemy import select

from orchestration_project.engine.recovery import RecordedCapture, Recovery, RecoveryEnvironment
from orchestration_project.settings import Settings
from orchestration_project.tables.mqtt import mqtt_inbox


def _is_message(capture: RecordedCapture, _: Settings) -> bool:
    is_mqtt = capture.url.startswith("mqtt://")
    return is_mqtt and isinstance(capture.request.get("arrival_id"), int)


def _read(capture: RecordedCapture, given: RecoveryEnvironment) -> bytes | None:
    """Return the payload of the arrival; None: its row is gone."""
    own = mqtt_inbox.c.arrival_id == capture.request["arrival_id"]
    with given.warehouse.reading() as connection:
        found = connection.execute(select(mqtt_inbox.c.payload).where(own)).scalar()
    return None if found is None else base64.b64decode(found)


RECOVERIES = [Recovery(way="derived", applies=_is_message, read=_read)]
"""Payloads of messages, which `mqtt_inbox` has as they arrived."""
