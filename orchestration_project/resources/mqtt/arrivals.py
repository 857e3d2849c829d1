"""Rows of mqtt_inbox: numbered in the order in which they are committed."""

import base64
import hashlib
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select, update

from orchestration_project.domains.mqtt.tables import mqtt_inbox
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.recovery import RecordedCapture, Recovery, RecoveryEnvironment
from orchestration_project.engine.warehouse.frames import (
    build_frame,
    clean_text,
    insert_frame,
)
from orchestration_project.resources.mqtt.batching import ReceivedMessage
from orchestration_project.settings import Settings
from orchestration_project.tables.spine import leases

COUNTER = "mqtt/arrivals"
"""Row of `leases` whose token is the last arrival_id; it outlives the rows of the inbox."""

HEAD_BYTES = 1_024
"""Bytes that are kept of a message above the limit."""


def allocate_arrivals(connection: Connection, count: int) -> int:
    """Reserve ``count`` numbers of arrivals; return the first.

    The row of the counter stays locked until the transaction ends. So numbers become visible in
    their order: a reader that sees an arrival sees all before it.
    """
    last = lock_row(connection, COUNTER).token
    condition = leases.c.name == COUNTER
    connection.execute(update(leases).where(condition).values(token=last + count))
    return last + 1


def insert_arrivals(
    connection: Connection,
    broker: str,
    messages: Sequence[ReceivedMessage],
    *,
    max_bytes: int,
) -> range:
    """Insert messages into mqtt_inbox, in their order; return their numbers.

    Args:
        connection: Of the transaction that writes.
        broker: Broker, host and port; ``api`` for a command of the REST API.
        messages: What arrived.
        max_bytes: Size from which only the first 1,024 bytes of a payload are kept.
    """
    first = allocate_arrivals(connection, len(messages))
    numbers = range(first, first + len(messages))
    insert_frame(
        connection,
        mqtt_inbox,
        build_frame(list(_iterate_rows(broker, messages, numbers, max_bytes)), mqtt_inbox),
    )
    return numbers


def _iterate_rows(
    broker: str, messages: Iterable[ReceivedMessage], numbers: range, max_bytes: int
) -> Iterable[dict[str, object]]:
    for number, message in zip(numbers, messages, strict=True):
        body = message.payload
        kept_chunk = body if len(body) <= max_bytes else body[:HEAD_BYTES]
        yield {
            "arrival_id": number,
            "broker": broker,
            "topic": clean_text(message.topic),
            "qos": message.qos,
            "is_retained": message.is_retained,
            "is_duplicate": message.is_duplicate,
            "payload": base64.b64encode(kept_chunk).decode("ascii"),
            "byte_count": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "received_at": message.received_at,
            "trace_id": message.trace_id,
        }


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
