"""The bridge against the embedded broker: what is acknowledged is stored, whatever ends."""

import base64
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event as Switch
from threading import Thread
from typing import Any

import pytest
from orchestration_demo.mqtt.events import Event
from orchestration_demo.mqtt.wire import Kind, packet
from sqlalchemy import Row, insert, select, update

from orchestration_project.domains.mqtt.tables import mqtt_bridges, mqtt_inbox
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import TransientError
from orchestration_project.resources.mqtt.bridge import Bridge
from orchestration_project.resources.mqtt.broker import BrokerError
from orchestration_project.resources.mqtt.connection import BrokerConnection
from orchestration_project.resources.mqtt.metrics import MqttMetrics
from orchestration_project.resources.mqtt.publishing import OutboxPublisher
from orchestration_project.resources.mqtt.reading import OUTBOX_TOPIC
from orchestration_project.tables.spine import leases, outbox
from tests.mqtt_broker import (
    EmbeddedBroker,
    broker_at,
    embedded_broker,
    publish_with_properties_without_failure,
    running,
)
from tests.programs import wait_for

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADER = f"00-{TRACE}-00f067aa0ba902b7-01"
TRACE_ID = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
AT = datetime(2026, 11, 2, 10, tzinfo=UTC)

OWN_FIGURES = [
    Event("$SYS/broker/clients/connected", b"7"),
    Event("$SYS/broker/messages/sent", b"12.5"),
    Event("$SYS/broker/messages/received", b"1e999"),
    Event("$SYS/broker/store/messages/count", b"many"),
]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with embedded_broker(tmp_path) as broker:
        yield broker


@pytest.fixture
def clock() -> Clock:
    """A clock that advances: leases end by it."""
    return Clock()


def bridge_of(warehouse: Any, broker: EmbeddedBroker, **differing) -> Bridge:
    version = differing.pop("version", "5")
    options = {"max_bytes": 2_000, "lease_seconds": 1.5, "first_delay_seconds": 0.02}
    topics = differing.pop("topics", ("tracker/#",))
    given = broker_at(broker.port, version=version, topics=topics)
    return Bridge(warehouse, Clock(), given, **{**options, **differing})


class MovedWarehouse:
    """A database that cannot be written while ``away`` is set."""

    def __init__(self, warehouse: Warehouse, away: Switch) -> None:
        self._warehouse = warehouse
        self._away = away
        self.reading = warehouse.reading

    @contextmanager
    def writing(self):
        if self._away.is_set():
            raise TransientError("the database is away", remedy="wait")
        with self._warehouse.writing() as connection:
            yield connection


def events(*names: str) -> list[Event]:
    return [Event(f"tracker/events/tasks/{name}", name.encode()) for name in names]


def rows(warehouse: Warehouse) -> Sequence[Row[Any]]:
    with warehouse.reading() as connection:
        return connection.execute(select(mqtt_inbox).order_by(mqtt_inbox.c.arrival_id)).all()


def bodies(warehouse: Warehouse) -> list[str]:
    """Return the stored payloads in the order of their arrival."""
    return [base64.b64decode(row.payload).decode() for row in rows(warehouse)]


def state(warehouse: Warehouse) -> Mapping[Any, Any]:
    """Return the row of the bridge; empty: none is there."""
    return warehouse.first(select(mqtt_bridges)) or {}


def is_connected(warehouse: Warehouse) -> bool:
    return state(warehouse).get("connected_since") is not None


ON_SQLITE = pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)


@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("warehouse", "version"), [("sqlite", "3.1.1"), ("postgresql", "5")], indirect=["warehouse"]
)
def test_messages_arrive_in_order_beyond_the_window(warehouse, broker, version) -> None:
    names = [f"n{number}" for number in range(100)]  # the broker's window is 20
    with running(bridge_of(warehouse, broker, version=version).run):
        broker.wait_for_subscriber()
        broker.publish(events(*names))
        wait_for(lambda: len(bodies(warehouse)) >= 100)
    assert bodies(warehouse) == names
    assert state(warehouse)["message_count"] == 100
    assert state(warehouse)["problem"] == "the bridge was stopped"


@pytest.mark.slow_after_first
@ON_SQLITE
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_the_brokers_own_figures_are_metrics_and_no_messages(warehouse, broker, version) -> None:
    wanted = replace(broker_at(broker.port, version=version), has_figures=True)
    with running(Bridge(warehouse, Clock(), wanted, max_bytes=2_000, lease_seconds=0.3).run):
        broker.wait_for_subscriber()
        broker.publish(events("a"))

        def has_figures() -> Any:  # published again, as brokers do: it subscribes to them later
            broker.publish(OWN_FIGURES)
            return bodies(warehouse) and state(warehouse)["broker_figures"]

        wait_for(has_figures)
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in MqttMetrics(warehouse).families(AT)
            for sample in family.samples
            if "mqtt_broker" in sample.name
        }
    assert bodies(warehouse) == ["a"]
    assert found == {
        ("orchestration_mqtt_broker_clients", wanted.name): 7,
        ("orchestration_mqtt_broker_messages_total", wanted.name, "sent"): 12.5,
    }
    assert state(warehouse)["broker_figures"] is None, "it is not connected"


@ON_SQLITE
def test_messages_of_a_time_without_bridge_come_later(warehouse, broker) -> None:
    with running(bridge_of(warehouse, broker).run):
        broker.wait_for_subscriber()
    broker.publish(events("while it was away"))
    with running(bridge_of(warehouse, broker).run):
        wait_for(lambda: bodies(warehouse))
    assert bodies(warehouse) == ["while it was away"]
    assert state(warehouse)["session_lost_at"] is None


@pytest.mark.slow_after_first
@ON_SQLITE
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_topic_that_is_no_longer_wanted_sends_nothing(warehouse, broker, version) -> None:
    both = broker_at(broker.port, version=version, topics=("tracker/#", "other/#"))
    with running(Bridge(warehouse, Clock(), both, max_bytes=2_000).run):
        broker.wait_for_subscriber()
        broker.publish([Event("other/1", b"wanted"), *events("a")])
        wait_for(lambda: len(bodies(warehouse)) == 2)
    assert state(warehouse)["topics"] == "tracker/#,other/#"
    with running(bridge_of(warehouse, broker, version=version).run):
        wait_for(lambda: is_connected(warehouse))
        assert state(warehouse)["topics"] == "tracker/#"
        broker.publish([Event("other/1", b"no longer wanted"), *events("b")])
        wait_for(lambda: len(bodies(warehouse)) > 2)
    assert bodies(warehouse) == ["wanted", "a", "b"]


@ON_SQLITE
def test_a_retained_message_is_marked_and_large_ones_are_cut(warehouse, broker) -> None:
    broker.publish([Event("tracker/large", b"x" * 3_000, is_retained=True)])
    with running(bridge_of(warehouse, broker).run):
        wait_for(lambda: bodies(warehouse))
    [row] = rows(warehouse)
    assert (row.is_retained, row.byte_count, row.qos) == (True, 3_000, 1)
    assert bodies(warehouse) == ["x" * 1_024]


@ON_SQLITE
def test_nothing_is_acknowledged_while_the_database_is_away(warehouse, broker) -> None:
    names = [f"n{number}" for number in range(60)]
    away = Switch()
    bridge = bridge_of(MovedWarehouse(warehouse, away), broker)
    with running(bridge.run):
        broker.wait_for_subscriber()
        wait_for(lambda: is_connected(warehouse))
        away.set()
        broker.publish(events(*names))
        wait_for(lambda: broker.unacknowledged("orchestration-mirror") == (20, 40))
        assert bodies(warehouse) == []
        away.clear()
        wait_for(lambda: len(bodies(warehouse)) >= 60)
        wait_for(lambda: broker.unacknowledged("orchestration-mirror") == (0, 0))
    assert bodies(warehouse) == names


@pytest.mark.slow
@ON_SQLITE
def test_a_broker_that_restarts_is_connected_again(warehouse, broker) -> None:
    with running(bridge_of(warehouse, broker).run):
        broker.wait_for_subscriber()
        broker.publish(events("before"))
        wait_for(lambda: bodies(warehouse))
        broker.stop()
        wait_for(lambda: state(warehouse)["problem"])
        broker.start()
        broker.publish(events("after"))
        wait_for(lambda: len(bodies(warehouse)) == 2)
        wait_for(lambda: is_connected(warehouse))
    assert bodies(warehouse) == ["before", "after"]
    assert state(warehouse)["session_lost_at"] is None


@ON_SQLITE
def test_a_lost_session_is_recorded_with_the_start_of_the_gap(warehouse, broker) -> None:
    with running(bridge_of(warehouse, broker).run):
        broker.wait_for_subscriber()
        broker.publish(events("before"))
        wait_for(lambda: bodies(warehouse))
    [received] = rows(warehouse)
    broker.stop(forget=True)
    broker.start()
    with running(bridge_of(warehouse, broker).run):
        found = wait_for(lambda: state(warehouse)["session_lost_at"])
    assert received.received_at <= found <= Clock().now()


@ON_SQLITE
def test_a_session_that_a_failed_login_began_again_is_a_lost_one(warehouse, broker) -> None:
    with running(bridge_of(warehouse, broker).run):
        broker.wait_for_subscriber()
        broker.publish(events("before"))
        wait_for(lambda: bodies(warehouse))
    assert state(warehouse)["session_lost_at"] is None
    broker.stop()
    with socket.create_server(("127.0.0.1", broker.port)) as listener:

        def begin_again_and_keep() -> None:
            for has_session in (False, True):
                client, _ = listener.accept()
                with client:
                    client.recv(4_096)  # the login
                    client.sendall(packet(Kind.CONNACK, bytes([has_session, 0, 0])))
                    number = client.recv(4_096)[2:4]
                    if has_session:
                        client.sendall(packet(Kind.SUBACK, number + b"\0\1"))
                        while client.recv(4_096):  # until the bridge leaves
                            pass

        serving = Thread(target=begin_again_and_keep)
        serving.start()
        with running(bridge_of(warehouse, broker).run):
            wait_for(lambda: is_connected(warehouse))
            wait_for(lambda: state(warehouse)["session_lost_at"])
        serving.join(10)
    broker.start()


@ON_SQLITE
def test_one_of_two_bridges_leads_and_the_other_one_follows(warehouse, broker) -> None:
    first, second = bridge_of(warehouse, broker), bridge_of(warehouse, broker)
    with running(second.run):
        wait_for(lambda: is_connected(warehouse))
        with running(first.run):
            broker.publish(events("a"))
            wait_for(lambda: bodies(warehouse))
            assert state(warehouse)["holder"] == second.holder
            with warehouse.writing() as connection:  # as if it was silent for longer than its lease
                ended = AT - timedelta(days=1)
                connection.execute(
                    update(leases)
                    .where(leases.c.holder == second.holder)
                    .values(holder="", expires_at=ended)
                )
            wait_for(lambda: state(warehouse)["holder"] == first.holder)
            broker.publish(events("b"))
            wait_for(lambda: len(bodies(warehouse)) >= 2)
    assert bodies(warehouse) == ["a", "b"]


def planned(entity: str, payload: str) -> dict[str, object]:
    """Return a row of the outbox."""
    return {
        "topic": OUTBOX_TOPIC,
        "entity": entity,
        "version_number": 1,
        "payload": payload,
        "cause": "source",
        "state": "waiting",
        "attempt_count": 0,
        "reason": None,
        "run_id": "",
        **dict.fromkeys(("planned_at", "due_at", "changed_at"), AT),
    }


def outbox_rows(warehouse: Warehouse) -> Sequence[Row[Any]]:
    with warehouse.reading() as connection:
        return connection.execute(select(outbox)).all()


def outcomes(warehouse: Warehouse) -> dict[str, tuple[str, int]]:
    """Return state and failed attempts of each row of the outbox."""
    with warehouse.reading() as connection:
        return {
            row.entity: (row.state, row.attempt_count) for row in connection.execute(select(outbox))
        }


@pytest.mark.parametrize("warehouse", ["postgresql"], indirect=True)
def test_events_of_the_outbox_are_done_once_the_broker_has_them(warehouse, broker) -> None:
    sent = json.dumps({"topic": "tracker/events/projects/1", "message": '{"exact": "ü"}'})
    wrong = json.dumps({"topic": "tracker/#", "message": "{}"})
    with warehouse.writing() as connection:
        rows = [planned("project|1", sent), planned("project|2", wrong), planned("x", "[]")]
        connection.execute(insert(outbox), rows)
    publisher = OutboxPublisher(warehouse, Clock())
    with running(bridge_of(warehouse, broker, meanwhile=publisher.start).run):
        wait_for(lambda: bodies(warehouse))
        wait_for(lambda: set(outcomes(warehouse).values()) == {("done", 0), ("waiting", 1)})
    assert bodies(warehouse) == ['{"exact": "ü"}']
    with warehouse.reading() as connection:
        found = {row.entity: row for row in connection.execute(select(outbox))}
    assert found["project|1"].state == "done"
    assert "wildcards" in found["project|2"].reason
    assert "expected a JSON object with topic and message" in found["x"].reason
    assert found["x"].due_at > AT


@ON_SQLITE
def test_an_event_of_before_the_clock_was_set_back_is_published(warehouse, broker) -> None:
    ahead = dict.fromkeys(("planned_at", "due_at", "changed_at"), AT + timedelta(days=36_500))
    sent = json.dumps({"topic": "tracker/events/projects/1", "message": "{}"})
    later = planned("project|2", sent) | {"due_at": AT + timedelta(days=36_500)}
    with warehouse.writing() as connection:
        connection.execute(insert(outbox), [planned("project|1", sent) | ahead, later])
    publisher = OutboxPublisher(warehouse, Clock())
    with running(bridge_of(warehouse, broker, meanwhile=publisher.start).run):
        wait_for(lambda: outcomes(warehouse)["project|1"] == ("done", 0))
    assert outcomes(warehouse)["project|2"] == ("waiting", 0)


@ON_SQLITE
def test_what_plugins_publish_is_sent_below_their_topic(warehouse, broker) -> None:
    event = planned("item 1", '{"title": "ü"}') | {"topic": "plugins/rss/new"}
    action = planned("item 1", "{}") | {"topic": "plugins_actions/rss/post"}
    with warehouse.writing() as connection:
        connection.execute(insert(outbox), [event, event | {"version_number": 2}, action])
    publisher = OutboxPublisher(warehouse, Clock())
    bridge = bridge_of(warehouse, broker, topics=("plugins/rss/#",), meanwhile=publisher.start)
    with running(bridge.run):
        wait_for(lambda: len(bodies(warehouse)) == 2)
        wait_for(lambda: [row.state for row in outbox_rows(warehouse)].count("done") == 2)
    assert [json.loads(body) for body in bodies(warehouse)] == [
        {"key": "item 1", "version_number": number, "payload": {"title": "ü"}} for number in (1, 2)
    ]
    assert {row.topic for row in rows(warehouse)} == {"plugins/rss/new"}
    left = {row.topic: row.state for row in outbox_rows(warehouse)}
    assert left == {"plugins/rss/new": "done", "plugins_actions/rss/post": "waiting"}


@pytest.mark.slow_after_first
@ON_SQLITE
@pytest.mark.parametrize(("version", "stored"), [("5", TRACE_ID), ("3.1.1", None)])
def test_an_event_of_the_outbox_has_its_trace_as_user_property(
    warehouse, broker, version, stored
) -> None:
    sent = {"topic": "tracker/events/projects/1", "message": "{}", "traceparent": HEADER}
    with warehouse.writing() as connection:
        connection.execute(insert(outbox), [planned("project|1", json.dumps(sent))])
    publisher = OutboxPublisher(warehouse, Clock())
    with running(bridge_of(warehouse, broker, version=version, meanwhile=publisher.start).run):
        wait_for(lambda: bodies(warehouse))
    assert [row.trace_id for row in rows(warehouse)] == [stored]


@pytest.mark.slow_after_first
@ON_SQLITE
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_the_user_property_traceparent_is_the_trace_of_a_message(
    warehouse, broker, version
) -> None:
    key, other = "traceparent", HEADER.replace("4b", "5c")
    given = [
        [(key, HEADER)],
        [("tenant", "a"), (key, HEADER), ("tracestate", "x=1")],
        [],
        [(key, HEADER), (key, other)],
        [(key, f"00-{'0' * 32}-00f067aa0ba902b7-01")],
        [(key, "\u2028" * 600)],
        [("Traceparent", HEADER)],
    ]
    with running(bridge_of(warehouse, broker, version=version).run):
        broker.wait_for_subscriber()
    for number, properties in enumerate(given):  # the broker keeps them in the session
        event = Event("tracker/events/tasks/1", b"%d" % number)
        publish_with_properties_without_failure(broker_at(broker.port), event, *properties)
    broker.stop()
    broker.start()
    with running(bridge_of(warehouse, broker, version=version).run):
        wait_for(lambda: len(bodies(warehouse)) == len(given))
    valid = TRACE_ID if version == "5" else None
    assert [row.trace_id for row in rows(warehouse)] == [valid, valid, *[None] * 5]


@ON_SQLITE
def test_a_crash_after_the_brokers_answer_sends_the_same_event_again(warehouse, broker) -> None:
    sent = json.dumps({"topic": "tracker/events/projects/1", "message": '{"key": 1}'})
    with warehouse.writing() as connection:
        connection.execute(insert(outbox), [planned("project|1", sent)])
    given = broker_at(broker.port)
    with BrokerConnection(given, Clock(), lambda _: None) as connection:
        assert OutboxPublisher(warehouse, Clock()).publish_due(connection) == 1
        assert connection.published.get(timeout=30).problem == ""
    assert outcomes(warehouse) == {"project|1": ("waiting", 0)}  # it ended before its record
    publisher = OutboxPublisher(warehouse, Clock())
    with running(bridge_of(warehouse, broker, meanwhile=publisher.start).run):
        wait_for(lambda: outcomes(warehouse) == {"project|1": ("done", 0)})
        wait_for(lambda: len(bodies(warehouse)) == 2)
    assert bodies(warehouse) == ['{"key": 1}'] * 2


def test_a_refused_subscription_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(4_096)  # the login
                client.sendall(packet(Kind.CONNACK, bytes(3)))
                number = client.recv(4_096)[2:4]
                client.sendall(packet(Kind.SUBACK, number + b"\0\x87"))
                client.recv(4_096)

        refusing = Thread(target=refuse)
        refusing.start()
        broker = broker_at(listener.getsockname()[1], topics=("billing/#",))
        with (
            pytest.raises(BrokerError, match="refused a subscription") as raised,
            BrokerConnection(broker, Clock(), lambda _: None),
        ):
            pass
        refusing.join(10)
    assert "billing/#" in str(raised.value)
    assert "Not authorized" in str(raised.value)
