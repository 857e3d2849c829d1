"""The embedded broker in a thread of a test, and clients of it."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestration_demo.mqtt.broker import Broker as DemoBroker
from orchestration_demo.mqtt.events import Event
from orchestration_demo.mqtt.publisher import Publisher
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from orchestration_project.resources.mqtt.broker import Broker


class EmbeddedBroker:
    """Runs on a port of its own; it can end and start again, with its sessions or without."""

    _broker: DemoBroker
    _server: asyncio.Server

    def __init__(self, folder: Path, window: int = 20) -> None:
        self._folder = folder
        self._window = window
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    def call(self, coroutine: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(30)

    def start(self) -> None:
        async def begin() -> None:
            self._broker = DemoBroker(self._folder, window=self._window)
            self._server = await asyncio.start_server(self._broker.serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

        self.call(begin())

    def stop(self, *, forget: bool = False) -> None:
        async def end() -> None:
            self._server.close()
            await self._broker.close()

        self.call(end())
        if forget:
            for file in self._folder.glob("sessions.sqlite*"):
                file.unlink()

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def publish(self, events: Sequence[Event]) -> None:
        """Publish with QoS 1, and wait until the broker has all."""
        self.call(Publisher(self.port, events).run())

    def unacknowledged(self, client_id: str) -> tuple[int, int]:
        """Return how many messages of a client were sent and how many wait."""

        async def counted() -> tuple[int, int]:
            session = self._broker.sessions[client_id]
            return len(session.in_flight), len(session.waiting)

        return self.call(counted())

    def wait_for_subscriber(self) -> None:
        self.call(self._broker.subscribed.wait())


@contextmanager
def embedded_broker(folder: Path, window: int = 20) -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(folder, window)
    try:
        yield broker
    finally:
        broker.close()


def broker_at(port: int, **differing: Any) -> Broker:
    """Return the bridge's view of a broker on this machine."""
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "scheme": "mqtt",
        "path": "/mqtt",
        "client_id": "orchestration-mirror",
        "version": "5",
        "topics": ("tracker/#",),
        "receive_maximum": 1_000,
        "session_seconds": 86_400,
    }
    return Broker(**{**values, **differing})


def publish_without_failure(broker: Broker, events: Sequence[Event]) -> None:
    """Publish with QoS 1 as the client that ``broker`` describes, and wait until it has all."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=broker.client_id)
    if broker.has_tls:
        client.tls_set_context(broker.tls_context())
    if broker.username:
        client.username_pw_set(broker.username, broker.password)
    client.max_inflight_messages_set(200)
    client.connect(broker.host, broker.port)
    client.loop_start()
    sent = [client.publish(event.topic, event.body, 1, event.is_retained) for event in events]
    for message in sent:
        message.wait_for_publish(60)
        assert message.is_published()
    client.disconnect()
    client.loop_stop()


def publish_with_properties_without_failure(
    broker: Broker, event: Event, *user_properties: tuple[str, str]
) -> None:
    """Publish an event by MQTT 5 with user properties, and wait until the broker has it."""
    client = Client(CallbackAPIVersion.VERSION2, client_id="sender", protocol=MQTTv5)
    client.connect(broker.host, broker.port)
    client.loop_start()
    properties = Properties(PacketTypes.PUBLISH)
    for user_property in user_properties:
        properties.UserProperty = user_property  # it adds one
    sent = client.publish(event.topic, event.body, 1, event.is_retained, properties)
    sent.wait_for_publish(60)
    assert sent.is_published()
    client.disconnect()
    client.loop_stop()


@contextmanager
def running(run: Callable[[threading.Event], None]) -> Iterator[threading.Event]:
    """Call ``run`` in a thread until the end of the block; what it raises is raised here."""
    stop, failures = threading.Event(), list[BaseException]()

    def call() -> None:
        try:
            run(stop)
        except BaseException as error:  # noqa: BLE001 - raised in the test
            failures.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(30)
    if failures:
        raise failures[0]
