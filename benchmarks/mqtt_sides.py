"""Measured programs of MQTT: clients that drain a queue of mosquitto, each in its own process.

The queue was filled before, as a session that keeps its subscription does while its client is away.
"""

import base64
import hashlib
import http.client
import json
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime
from threading import Event, Thread
from typing import Any

import psycopg
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from sqlalchemy import func, select

from orchestration_project.domains.mqtt.tables import mqtt_inbox
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.mqtt.bridge import Bridge
from orchestration_project.resources.mqtt.broker import Broker
from orchestration_project.settings import load_settings

TOPICS = "tracker/#"
POLL_SECONDS = 0.01
PATIENCE_SECONDS = 600
WINDOW = 1_000
SESSION_SECONDS = 86_400


def subscribe(*, port: int, names: list[str]) -> dict[str, Any]:
    """Make a lasting session for each name."""
    for name in names:
        is_subscribed = Event()
        client = _client(name)
        client.on_subscribe = lambda *_, done=is_subscribed: done.set()
        _connect(client, port)
        client.loop_start()
        client.subscribe(TOPICS, 1)
        is_subscribed.wait(PATIENCE_SECONDS)
        client.disconnect()
        client.loop_stop()
    return {}


def _client(name: str, *, manual_ack: bool = False) -> Client:
    version = CallbackAPIVersion.VERSION2
    return Client(version, client_id=name, protocol=MQTTv5, manual_ack=manual_ack)


def _connect(client: Client, port: int) -> None:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = SESSION_SECONDS
    properties.ReceiveMaximum = WINDOW
    client.connect("127.0.0.1", port, clean_start=False, properties=properties)


def count(*, port: int, name: str, messages: int) -> dict[str, Any]:
    """Count and acknowledge as the client library does."""
    return _drained(_client(name), port, messages, lambda _: None)


def commit_each(*, port: int, name: str, messages: int, url: str) -> dict[str, Any]:
    """Commit a row for each message, then acknowledge it."""
    client = _client(name, manual_ack=True)
    row = "(topic, payload, sha256) VALUES"
    if url.startswith("sqlite"):
        file = sqlite3.connect(
            url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
        )
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = FULL")
        insert: Callable[[tuple[str, str, str]], object] = lambda values: file.execute(  # noqa: E731
            f"INSERT INTO each_message {row} (?, ?, ?)",
            values,
        )
        execute: Callable[[str], object] = file.execute
    else:
        server = psycopg.connect(url, autocommit=True)
        insert = lambda values: server.execute(  # noqa: E731
            f"INSERT INTO each_message {row} (%s, %s, %s)".encode(),
            values,
        )
        execute = lambda query: server.execute(query.encode())  # noqa: E731
    execute("CREATE TABLE IF NOT EXISTS each_message (topic TEXT, payload TEXT, sha256 TEXT)")

    def store(message: MQTTMessage) -> None:
        body = bytes(message.payload)
        encoded = base64.b64encode(body).decode()
        insert((message.topic, encoded, hashlib.sha256(body).hexdigest()))
        client.ack(message.mid, message.qos)

    return _drained(client, port, messages, store)


def _drained(
    client: Client, port: int, messages: int, store: Callable[[MQTTMessage], object]
) -> dict[str, Any]:
    is_done, received = Event(), 0

    def on_message(_: Client, __: Any, message: MQTTMessage) -> None:
        nonlocal received
        store(message)
        received += 1
        if received == messages:
            is_done.set()

    client.on_message = on_message
    started = time.perf_counter()
    _connect(client, port)
    client.loop_start()
    if not is_done.wait(PATIENCE_SECONDS):
        raise RuntimeError(f"{received} of {messages} messages came")
    seconds = time.perf_counter() - started
    client.disconnect()
    client.loop_stop()
    return {"seconds": seconds}


def bridge(
    *, port: int, name: str, messages: int, url: str = "", after: int | None = None
) -> dict[str, Any]:
    """Run the bridge until all messages are in the inbox of a database, else of the settings'."""
    clock = Clock()
    broker = Broker("127.0.0.1", port, "mqtt", "", name, "5", (TOPICS,), WINDOW, SESSION_SECONDS)
    newest = select(func.max(mqtt_inbox.c.arrival_id).label("newest"))
    with Warehouse(url, clock=clock) if url else open_warehouse(load_settings()) as warehouse:
        if url:
            warehouse.prepare(holds="demo")
        before = (warehouse.first(newest) or {})["newest"] or 0 if after is None else after
        stop = Event()
        running = Thread(target=Bridge(warehouse, clock, broker, max_bytes=2**20).run, args=(stop,))
        started = time.perf_counter()
        running.start()
        while ((warehouse.first(newest) or {})["newest"] or 0) - before < messages:
            if time.perf_counter() - started > PATIENCE_SECONDS:
                raise RuntimeError("the bridge does not store all messages")
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - started
        stop.set()
        running.join()
    return {"seconds": seconds, "last": before + messages}


def publish(*, port: int, per_second: float, messages: int) -> dict[str, Any]:
    """Publish so many valid events, so many a second, and await the broker's acknowledgements."""
    client = _client("publisher")
    client.max_inflight_messages_set(WINDOW)
    _connect(client, port)
    client.loop_start()
    started = time.perf_counter()
    sent = []
    for number in range(messages):
        if (early := started + number / per_second - time.perf_counter()) > 0:
            time.sleep(early)
        sent.append(client.publish("tracker/events/projects/p1", _event(number), 1))
    for each in sent:
        each.wait_for_publish(PATIENCE_SECONDS)
    seconds = time.perf_counter() - started
    client.disconnect()
    client.loop_stop()
    return {"per_second": messages / seconds}


def _event(number: int) -> str:
    payload = {"project_id": "p1", "description": "x" * 50}
    return json.dumps(
        {
            "trace_id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
            "ts": "2026-03-02T12:00:00Z",
            "kind": "project.updated",
            "idempotency_key": f"stream-{number}",
            "payload": payload,
        }
    )


def follow(*, port: int, key: str, after: int, messages: int) -> dict[str, Any]:
    """Follow the gateway's stream; return the seconds from each arrival until it was read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    headers = {"X-API-Key": key, "Last-Event-ID": str(after)}
    connection.request("GET", "/api/v1/mqtt/stream", headers=headers)
    response = connection.getresponse()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"the stream answered {response.status}: {response.read()[:300]!r}")
    clock = Clock()
    waits: list[float] = []
    while len(waits) < messages:
        line = response.readline()
        if not line:
            raise RuntimeError(f"the stream ended after {len(waits)} of {messages} events")
        if line.startswith(b"data: "):
            arrived = datetime.fromisoformat(json.loads(line[6:])["received_at"])
            waits.append((clock.now() - arrived).total_seconds())
    connection.close()
    return {"seconds": waits}
