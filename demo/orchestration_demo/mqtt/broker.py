"""An MQTT broker for one machine: QoS 0 and 1, wildcards, retained messages, lasting sessions."""

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from orchestration_demo.mqtt.sessions import Session, SessionFile, Waiting
from orchestration_demo.mqtt.wire import (
    MAXIMUM_QOS,
    MQTT_5,
    RECEIVE_MAXIMUM,
    Connect,
    Fields,
    Kind,
    MalformedPacketError,
    Packet,
    Publish,
    matches,
    packet,
    short,
    split,
)

LOG = logging.getLogger(__name__)

CHUNK_BYTES = 65_536
MAX_BUFFERED_BYTES = 1_000_000
"""Bytes to a client that does not read, from which nothing more is sent to it."""

RETAIN_IF_NEW, RETAIN_NEVER = 1, 2
NO_SUBSCRIPTION = 0x11


class Client:
    """A connection and its session, once it has logged in."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.session: Session | None = None
        self.is_over = False

    def send(self, data: bytes) -> None:
        """Send bytes, unless the connection is over."""
        if not self.is_over:
            self.writer.write(data)

    def end(self) -> bytes:
        """Have the connection end without an answer."""
        self.is_over = True
        return b""


class Broker:
    """Routes messages between clients.

    Args:
        folder: Sessions and messages are kept in a file of it.
        window: Messages that are sent to a client without an acknowledgement.
    """

    def __init__(self, folder: Path, *, window: int = 20) -> None:
        self._file = SessionFile(folder / "sessions.sqlite")
        self._window = window
        self.sessions = self._file.load()
        """Sessions by client."""
        self._clients: dict[str, Client] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.subscribed = asyncio.Event()
        """Set once a client with a lasting session has subscribed."""
        if any(session.subscriptions for session in self.sessions.values()):
            self.subscribed.set()
        self.last_request = time.monotonic()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        task = asyncio.current_task()
        assert task  # noqa: S101 - it is awaited in one
        self._tasks.add(task)
        client, buffer = Client(writer), bytearray()
        try:
            while not client.is_over and (data := await reader.read(CHUNK_BYTES)):
                self.last_request = time.monotonic()
                buffer += data
                answers = [self._answer(client, each) for each in split(buffer)]
                self._file.commit()  # before anything is acknowledged
                client.send(b"".join(answers))
                self._deliver()
                await writer.drain()
        except (MalformedPacketError, ConnectionError) as error:
            LOG.info("connection closed: %s", error, extra={"event": "demo_mqtt_closed"})
        finally:
            self._leave(client)
            self._tasks.discard(task)

    async def close(self) -> None:
        """End all connections; sessions are kept."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._file.close()

    def _leave(self, client: Client) -> None:
        client.is_over = True
        session = client.session
        if session is not None and self._clients.get(session.client_id) is client:
            del self._clients[session.client_id]
            if not session.is_kept:
                self.sessions.pop(session.client_id, None)
                self._file.forget(session)
                self._file.commit()
        with suppress(RuntimeError):  # the loop is closed
            client.writer.close()

    def _answer(self, client: Client, found: Packet) -> bytes:
        """Do what a packet requests, and return the answer."""
        if client.session is None:
            if found.kind != Kind.CONNECT:
                raise MalformedPacketError("the first packet is not a login")
            return self._connect(client, Connect.read(found.body))
        known = {
            Kind.PUBLISH: self._publish,
            Kind.PUBACK: self._acknowledged,
            Kind.SUBSCRIBE: self._subscribe,
            Kind.UNSUBSCRIBE: self._unsubscribe,
            Kind.PINGREQ: lambda *_: packet(Kind.PINGRESP),
            Kind.DISCONNECT: lambda *_: client.end(),
        }
        if found.kind not in known:
            raise MalformedPacketError(f"packet {found.kind} is not known")
        return known[Kind(found.kind)](client.session, found)

    def _acknowledged(self, session: Session, found: Packet) -> bytes:
        waiting = session.in_flight.pop(Fields(found.body).number(2), None)
        if waiting is not None:
            self._file.remove(waiting)
        return b""

    def _connect(self, client: Client, login: Connect) -> bytes:
        client_id = login.client_id or f"unnamed-{id(client)}"
        if (other := self._clients.pop(client_id, None)) is not None:
            other.is_over = True
            other.writer.close()
        known = self.sessions.get(client_id)
        if known is not None and login.is_clean:
            self._file.forget(known)
            known = None
        session = known or Session(client_id)
        session.is_kept, session.version = login.keeps_session, login.version
        session.window = min(self._window, login.properties.get(RECEIVE_MAXIMUM, self._window))
        again = [  # what was sent and not acknowledged goes first, under the same number
            Waiting(each.row, replace(each.message, is_duplicate=True, number=number))
            for number, each in session.in_flight.items()
        ]
        session.in_flight.clear()
        session.waiting.extendleft(reversed(again))
        if session.is_kept:
            self._file.save(session)
        self.sessions[client_id] = session
        self._clients[client_id] = client
        client.session = session
        properties = bytes([2, MAXIMUM_QOS, 1]) if login.version == MQTT_5 else b""
        return packet(Kind.CONNACK, bytes([known is not None, 0]) + properties)

    def _publish(self, sender: Session, found: Packet) -> bytes:
        message = Publish.read(found, sender.version)
        if message.is_retained:
            self._file.retain(message)
        sent = replace(message, is_retained=False, is_duplicate=False, number=0)
        for session in self.sessions.values():
            granted = [
                qos for wanted, qos in session.subscriptions.items() if matches(wanted, sent.topic)
            ]
            if granted:
                self._hand_over(session, replace(sent, qos=min(sent.qos, max(granted))))
        return packet(Kind.PUBACK, short(message.number)) if message.qos else b""

    def _hand_over(self, session: Session, message: Publish) -> None:
        """Add a message to a session; one with QoS 0 is sent now or never."""
        if message.qos:
            self._file.add(session, message)
        elif (client := self._clients.get(session.client_id)) is not None:
            client.send(message.packet(session.version))

    def _subscribe(self, session: Session, found: Packet) -> bytes:
        fields = Fields(found.body)
        number = fields.take(2)
        if session.version == MQTT_5:
            fields.properties()
        granted = bytearray()
        while fields.has_more:
            wanted, options = fields.text(), fields.number(1)
            is_new = wanted not in session.subscriptions
            session.subscriptions[wanted] = min(options & 3, 1)
            granted.append(session.subscriptions[wanted])
            handling = options >> 4 & 3 if session.version == MQTT_5 else 0
            if handling != RETAIN_NEVER and (is_new or handling != RETAIN_IF_NEW):
                self._send_retained(session, wanted)
        if session.is_kept:
            self._file.save(session)
            self.subscribed.set()
        properties = b"\0" if session.version == MQTT_5 else b""
        return packet(Kind.SUBACK, number + properties + granted)

    def _send_retained(self, session: Session, wanted: str) -> None:
        for message in self._file.retained():
            if matches(wanted, message.topic):
                self._hand_over(session, replace(message, qos=session.subscriptions[wanted]))

    def _unsubscribe(self, session: Session, found: Packet) -> bytes:
        fields = Fields(found.body)
        number = fields.take(2)
        if session.version == MQTT_5:
            fields.properties()
        reasons = bytearray()
        while fields.has_more:
            is_known = session.subscriptions.pop(fields.text(), None) is not None
            reasons.append(0 if is_known else NO_SUBSCRIPTION)
        if session.is_kept:
            self._file.save(session)
        answer = number + b"\0" + reasons if session.version == MQTT_5 else number
        return packet(Kind.UNSUBACK, answer)

    def _deliver(self) -> None:
        """Send what waits to all clients whose window has room."""
        for client in self._clients.values():
            if client.session is not None and not client.is_over:
                client.send(b"".join(self._due(client, client.session)))

    @staticmethod
    def _due(client: Client, session: Session) -> Iterable[bytes]:
        size = client.writer.transport.get_write_buffer_size()
        while session.waiting and len(session.in_flight) < session.window:
            if size > MAX_BUFFERED_BYTES:
                return
            waiting = session.waiting.popleft()
            number = waiting.message.number or session.next_number()
            waiting.message = replace(waiting.message, number=number)
            session.in_flight[number] = waiting
            data = waiting.message.packet(session.version)
            size += len(data)
            yield data
