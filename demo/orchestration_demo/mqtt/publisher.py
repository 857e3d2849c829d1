"""Publishes events to the broker as a client of its own, which loses its connection once."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from orchestration_demo.mqtt.events import Event
from orchestration_demo.mqtt.wire import (
    MQTT_3_1_1,
    Connect,
    Fields,
    Kind,
    Publish,
    packet,
    split,
)

CLIENT_ID = "demo-publisher"
WINDOW = 50
"""Events that are published and not acknowledged yet."""


class Publisher:
    """Publishes with QoS 1, in order; after a lost connection it repeats what is not acknowledged.

    Args:
        port: The broker's, on 127.0.0.1.
        events: What is published.
        begin: Number of events that were acknowledged before.
        lose_at: Number of acknowledged events at which it breaks the connection off.
        note: Called with the number of acknowledged events, now and then.
    """

    def __init__(
        self,
        port: int,
        events: Sequence[Event],
        *,
        begin: int = 0,
        lose_at: int | None = None,
        note: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._port = port
        self._events = events
        self._done = begin
        self._lose_at = lose_at
        self._note = note

    async def run(self, events_per_second: float = 0) -> None:
        """Publish all; 0 events per second: as fast as the broker acknowledges."""
        is_repeated = False
        while self._done < len(self._events):
            with suppress(ConnectionError):
                await self._connected(events_per_second, is_repeated)
            is_repeated = True
        self._note(self._done)

    async def _connected(self, events_per_second: float, is_repeated: bool) -> None:
        """Publish until the end, or until the connection ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        repeated_until = self._done + WINDOW if is_repeated else 0
        try:
            writer.write(Connect(MQTT_3_1_1, True, CLIENT_ID).packet())
            next_number = self._done
            buffer = bytearray()
            while self._done < len(self._events):
                while next_number < min(self._done + WINDOW, len(self._events)):
                    writer.write(self._packet(next_number, next_number < repeated_until))
                    next_number += 1
                if self._lose_at is not None and self._done >= self._lose_at:
                    self._lose_at = None
                    await writer.drain()
                    raise ConnectionResetError
                data = await reader.read(65_536)
                if not data:
                    raise ConnectionResetError
                buffer += data
                acknowledged = self._acknowledged(buffer)
                if events_per_second:
                    await asyncio.sleep(acknowledged / events_per_second)
            writer.write(packet(Kind.DISCONNECT))
            await writer.drain()
        finally:
            writer.close()

    def _packet(self, number: int, is_duplicate: bool) -> bytes:
        event = self._events[number]
        message = Publish(
            event.topic, event.body, 1, event.is_retained, is_duplicate, number % 65_535 + 1
        )
        return message.packet(MQTT_3_1_1)

    def _acknowledged(self, buffer: bytearray) -> int:
        """Count acknowledgements, which come in the order of the messages."""
        count = 0
        for found in split(buffer):
            if found.kind == Kind.PUBACK and Fields(found.body).number(2) == (
                self._done % 65_535 + 1
            ):
                self._done += 1
                count += 1
        if count:
            self._note(self._done)
        return count
