"""One connection to a broker: MQTT 5 or 3.1.1, persistent session, manual acknowledgements."""

import queue
import select
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from math import isfinite
from threading import Event, Lock, Thread
from typing import Any, NamedTuple, Self
from uuid import UUID

from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.tracing.traceparent import (
    TRACEPARENT,
    TraceContext,
    read_traceparent,
)
from orchestration_project.resources.mqtt.batching import ReceivedMessage
from orchestration_project.resources.mqtt.broker import (
    Broker,
    BrokerError,
    connection_end,
    connection_failure,
    early_end,
    login_refusal,
    subscription_refusal,
)

KEEPALIVE_SECONDS = 30
CONNECT_SECONDS = 15.0
"""Time for TCP, TLS and the broker's answer to the login, each."""

POLL_SECONDS = 1.0
"""Time after which a quiet connection sends a ping where one is due."""

MAX_FIGURE_BYTES = 32

RETAINED_FOR_NEW = 1
"""Retain handling of MQTT 5: retained messages come only with a subscription that is new."""


FIGURES = {
    "$SYS/broker/clients/connected": "clients",
    "$SYS/broker/store/messages/count": "stored_messages",
    "$SYS/broker/messages/received": "received_messages",
    "$SYS/broker/messages/sent": "sent_messages",
    "$SYS/broker/publish/messages/dropped": "dropped_messages",
}
"""Topics of a broker's own figures, as mosquitto and EMQX name them; not part of the protocol."""


class Published(NamedTuple):
    """The broker's answer to a published message; ``problem`` is empty if it took it."""

    message_id: int
    problem: str


class BrokerConnection:
    """A connection from the login to its end; a thread of its own reads and writes.

    Leaving the context ends it. What was not acknowledged, the broker sends again to the next one.
    """

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        receive: Callable[[ReceivedMessage], object],
        gone_topics: Sequence[str] = (),
    ) -> None:
        """Receive messages by ``receive``, in the thread of the connection.

        A session that the broker has kept is unsubscribed from ``gone_topics``.
        """
        self._broker = broker
        self._gone_topics = gone_topics
        self._clock = clock
        self._receive = receive
        self._client = self._new_client()
        self._answered, self._ended, self._closing = Event(), Event(), Event()
        self._problem: BrokerError | None = None
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_write.setblocking(False)
        self._wake_read.setblocking(False)
        self._outgoing = Lock()
        self._message_count = 0
        self.has_session: bool | None = None
        """Whether the broker had kept the session of this client; None before it answers."""
        self.figures: dict[str, float] = {}
        """Latest figures of the broker, by the names in `FIGURES`."""
        self._subscription: int | None = 0
        self.published: queue.SimpleQueue[Published] = queue.SimpleQueue()
        """Answers to what was published."""
        self._thread = Thread(target=self._run, name="mqtt", daemon=True)

    def _new_client(self) -> Client:
        broker = self._broker
        is_newer = broker.version == "5"
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            clean_session=None if is_newer else False,
            protocol=MQTTv5 if is_newer else MQTTv311,
            transport="websockets" if broker.is_websocket else "tcp",
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_SECONDS
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password)
        if broker.has_tls:
            client.tls_set_context(broker.tls_context())
        if broker.is_websocket:
            client.ws_set_options(path=broker.path)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_socket_register_write = lambda *_: self._wake()
        return client

    def __enter__(self) -> Self:
        """Connect, log in and subscribe.

        Raises:
            BrokerError: The broker cannot be reached, or refuses it.
            ConfigurationError: A certificate or key cannot be read.
        """
        try:
            self._connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> None:
        self._broker.refuse_expired()
        properties = None
        start: dict[str, Any] = {}
        if self._broker.version == "5":
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = self._broker.session_seconds
            properties.ReceiveMaximum = self._broker.receive_maximum
            start = {"clean_start": False}
        try:
            self._client.connect(
                self._broker.host,
                self._broker.port,
                keepalive=KEEPALIVE_SECONDS,
                properties=properties,
                **start,
            )
        except (OSError, ValueError) as error:  # ValueError: no host name, or one with odd letters
            raise connection_failure(self._broker, error) from error
        self._thread.start()
        if not self._answered.wait(CONNECT_SECONDS):
            raise self._problem or early_end(self._broker, "no answer in time")
        if self._problem is not None:
            raise self._problem

    @property
    def is_connected(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.is_set()

    @property
    def problem(self) -> BrokerError | None:
        """Why it ended."""
        return self._problem

    def acknowledge(self, messages: Iterable[ReceivedMessage]) -> None:
        """Acknowledge messages of this connection; none are after its end."""
        if not self.is_connected:
            return
        with self._outgoing:
            for message in messages:
                if message.qos:
                    self._client.ack(message.message_id, message.qos)
        self._wake()

    def publish(self, topic: str, message: bytes, trace: TraceContext | None = None) -> int:
        """Send a message with QoS 1; return its number in `published`, where the answer comes.

        Args:
            topic: Its topic.
            message: Its bytes.
            trace: Its trace, as the user property `traceparent`; version 3.1.1 has none.

        Raises:
            ValueError: The topic is none, such as one with a wildcard, or the message too long.
            BrokerError: The connection has ended.
        """
        if not self.is_connected:
            raise self._problem or connection_end(self._broker, "closed")
        properties = None
        if trace is not None and self._broker.version == "5":
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = (TRACEPARENT, str(trace))
        with self._outgoing:
            number = self._client.publish(topic, message, qos=1, properties=properties).mid
        self._wake()
        return number

    def close(self) -> None:
        """Send the pending acknowledgements, and end the connection."""
        if self._thread.is_alive():
            with suppress(ValueError, OSError):
                self._client.disconnect()
            self._closing.set()
            self._wake()
            self._thread.join(CONNECT_SECONDS)
        self._ended.set()
        if (left := self._client.socket()) is not None:
            left.close()
        self._wake_read.close()
        self._wake_write.close()

    def _wake(self) -> None:
        with suppress(OSError):  # it is full, so the thread wakes anyway
            self._wake_write.send(b"\0")

    def _run(self) -> None:
        """Read and write until the connection ends."""
        try:
            while self._step():
                pass
        except Exception as error:
            self._fail(connection_end(self._broker, f"{type(error).__name__}: {error}"))
            raise
        finally:
            self._fail(early_end(self._broker, "the connection was closed"))
            self._ended.set()

    def _step(self) -> bool:
        """Wait for something to read or write, and do it; return whether the connection is open."""
        client = self._client
        connection: Any = client.socket()
        if connection is None:
            return False
        has_more = self._has_pending(connection)
        writers = [connection] if client.want_write() else []
        readable, writable, _ = select.select(
            [connection, self._wake_read], writers, [], 0 if has_more else POLL_SECONDS
        )
        if self._wake_read in readable:
            self._wake_read.recv(4096)
            writable = [connection]
        if (connection in readable or has_more) and not self._read():
            return False
        if writable and client.loop_write() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        if self._closing.is_set() and not client.want_write():
            return False
        return client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS

    @staticmethod
    def _has_pending(connection: Any) -> bool:
        """Whether TLS has read more than was asked of it, which no socket shows."""
        return bool(getattr(connection, "pending", int)())

    def _read(self) -> bool:
        """Read messages until none is there; return whether the connection is open."""
        before = -1
        while before != self._message_count:
            before = self._message_count
            if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return False
        return True

    def _fail(self, problem: BrokerError) -> None:
        if self._problem is None and not self._closing.is_set():
            self._problem = problem
        self._answered.set()

    def _on_connect(self, client: Client, _: Any, flags: Any, reason: Any, __: Any) -> None:
        if reason.is_failure:
            self._fail(login_refusal(self._broker, str(reason)))
            return
        self.has_session = bool(flags.session_present)
        if self.has_session and self._gone_topics:
            client.unsubscribe([*self._gone_topics])
        if self._broker.version == "5":
            options = SubscribeOptions(qos=1, retainHandling=RETAINED_FOR_NEW)
            _, number = client.subscribe([(topic, options) for topic in self._broker.topics])
        else:
            _, number = client.subscribe([(topic, 1) for topic in self._broker.topics])
        self._subscription = number
        if self._broker.has_figures:
            client.subscribe([(topic, 0) for topic in FIGURES])
        elif self.has_session:
            client.unsubscribe([*FIGURES])

    def _on_subscribe(self, client: Client, _: Any, number: int, reasons: Any, __: Any) -> None:
        if number != self._subscription:
            return  # that of the figures: a broker may refuse them
        refused = [
            (topic, reason)
            for topic, reason in zip(self._broker.topics, reasons, strict=False)
            if reason.is_failure
        ]
        if refused:
            topics, text = ", ".join(topic for topic, _ in refused), str(refused[0][1])
            self._fail(subscription_refusal(self._broker, topics, text))
            client.disconnect()
        self._answered.set()

    def _read_figure(self, name: str, payload: bytes) -> None:
        with suppress(ValueError):  # other brokers may write anything
            value = float(payload[:MAX_FIGURE_BYTES])
            if isfinite(value):
                self.figures[name] = value

    def _on_disconnect(self, _: Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        is_early = not self._answered.is_set()
        end = early_end if is_early else connection_end
        self._fail(end(self._broker, str(reason)))

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self._message_count += 1
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "(not UTF-8)"
        if topic in FIGURES and self._broker.has_figures:
            self._read_figure(FIGURES[topic], bytes(message.payload))
            return
        self._receive(
            ReceivedMessage(
                topic=topic,
                qos=message.qos,
                is_retained=message.retain,
                is_duplicate=message.dup,
                payload=bytes(message.payload),
                received_at=self._clock.now(),
                message_id=message.mid,
                trace_id=_trace_id(message),
            )
        )

    def _on_publish(self, _: Client, __: Any, message_id: int, reason: Any, ___: Any) -> None:
        self.published.put(Published(message_id, str(reason) if reason.is_failure else ""))


def _trace_id(message: MQTTMessage) -> str | None:
    """Return the trace of the user property `traceparent`, a UUID.

    None: the message has none, a malformed one, or several, as the W3C rejects several headers.
    """
    properties = getattr(message.properties, "UserProperty", ())  # version 3.1.1 has no properties
    texts = [value for name, value in properties if name == TRACEPARENT]
    context = read_traceparent(texts[0]) if len(texts) == 1 else None
    return None if context is None else str(UUID(context.trace_id))
