"""Messages of the inbox in their order, as the events that a stream sends."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select

from orchestration_project.domains.mqtt.envelope import Envelope, read_envelope
from orchestration_project.domains.mqtt.tables import mqtt_inbox
from orchestration_project.engine.warehouse import Warehouse

MAX_BATCH_MESSAGES = 1_000
MAX_READ_CHARACTERS = 2**20
"""Characters of the payloads that are read at once; at least one message is."""


class Arrival(NamedTuple):
    """A valid event as it arrived."""

    arrival_id: int
    topic: str
    is_retained: bool
    received_at: datetime
    message_trace_id: str | None
    envelope: Envelope

    @property
    def trace_id(self) -> str:
        """Trace of the event, as the mirror has it."""
        return self.message_trace_id or self.envelope.trace_id


class Arrivals(NamedTuple):
    """Valid events in the order of arrival.

    Attributes:
        last: Arrival up to which messages were read.
        is_more: Whether there are more messages now.
    """

    events: Sequence[Arrival]
    last: int
    is_more: bool


def read_arrivals(warehouse: Warehouse, after: int, *, max_bytes: int, seconds: float) -> Arrivals:
    """Return the valid events that arrived after ``after``; other messages are left out.

    Args:
        warehouse: Database of the inbox.
        after: An arrival; 0: from the first.
        max_bytes: Size limit of a message.
        seconds: Time limit of the read.

    Raises:
        TimeoutError: The read took longer than ``seconds``.
    """
    columns = mqtt_inbox.c
    sizes = (
        select(columns.arrival_id, func.length(columns.payload))
        .where(columns.arrival_id > after)
        .order_by(columns.arrival_id)
        .limit(MAX_BATCH_MESSAGES)
    )
    with warehouse.reading(seconds=seconds) as connection:
        records = connection.execute(sizes).all()
        last, characters, count = after, 0, 0
        for arrival_id, length in records:
            characters += length
            if count and characters > MAX_READ_CHARACTERS:
                break
            last, count = arrival_id, count + 1
        if not count:
            return Arrivals((), after, is_more=False)
        query = (
            select(
                columns.arrival_id,
                columns.topic,
                columns.is_retained,
                columns.received_at,
                columns.trace_id,
                columns.payload,
                columns.byte_count,
            )
            .where(columns.arrival_id > after, columns.arrival_id <= last)
            .order_by(columns.arrival_id)
        )
        rows = connection.execute(query).all()
    events = []
    for row in rows:
        body = base64.b64decode(row.payload)
        envelope = read_envelope(body, max_bytes=max_bytes, byte_count=row.byte_count)
        if isinstance(envelope, Envelope):
            events.append(Arrival(*row[:5], envelope))
    return Arrivals(events, last, is_more=count < len(records) or count == MAX_BATCH_MESSAGES)


def last_arrival(warehouse: Warehouse) -> int:
    """Return the last arrival of the inbox; 0: it is empty."""
    with warehouse.reading() as connection:
        return connection.execute(select(func.max(mqtt_inbox.c.arrival_id))).scalar() or 0
