"""Arrivals of MQTT are numbered in the order in which they become visible."""

import base64
import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event, Thread

from sqlalchemy import delete, func, select

from orchestration_project.domains.mqtt.tables import mqtt_inbox
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.mqtt.arrivals import allocate_arrivals, insert_arrivals
from orchestration_project.resources.mqtt.batching import ReceivedMessage

AT = datetime(2026, 11, 2, 10, 0, 0, 123_456, tzinfo=UTC)


MESSAGE = ReceivedMessage("tracker/events/tasks/1", 1, False, False, b"", AT, 7)


def message(payload: bytes) -> ReceivedMessage:
    return replace(MESSAGE, payload=payload)


def insert(warehouse: Warehouse, *messages: ReceivedMessage) -> range:
    with warehouse.writing() as connection:
        return insert_arrivals(connection, "broker:1883", messages, max_bytes=2_000)


def test_rows_have_every_byte_in_the_order_of_arrival(warehouse: Warehouse) -> None:
    bodies = [b"", b"\0\xff not UTF-8", *(str(number).encode() for number in range(40))]
    numbers = insert(warehouse, *map(message, bodies))
    insert(warehouse, replace(message(b"last"), is_retained=True, is_duplicate=True, qos=0))
    with warehouse.reading() as connection:
        rows = connection.execute(select(mqtt_inbox).order_by(mqtt_inbox.c.arrival_id)).all()
    assert list(numbers) == list(range(1, 43))
    assert [row.arrival_id for row in rows] == list(range(1, 44))
    assert [base64.b64decode(row.payload) for row in rows] == [*bodies, b"last"]
    assert {row.received_at for row in rows} == {AT}
    assert [row.sha256 for row in rows][1] == hashlib.sha256(bodies[1]).hexdigest()
    assert (rows[-1].is_retained, rows[-1].is_duplicate, rows[-1].qos) == (True, True, 0)


def test_of_a_message_above_the_limit_stay_head_hash_and_size(warehouse: Warehouse) -> None:
    large = bytes(range(256)) * 8  # 2,048 bytes
    insert(warehouse, message(large[:2_000]), message(large))
    with warehouse.reading() as connection:
        kept, cut = connection.execute(select(mqtt_inbox).order_by(mqtt_inbox.c.arrival_id)).all()
    assert base64.b64decode(kept.payload) == large[:2_000]
    assert base64.b64decode(cut.payload) == large[:1_024]
    assert (cut.byte_count, cut.sha256) == (2_048, hashlib.sha256(large).hexdigest())


def test_a_topic_that_no_database_takes_is_stored_as_text(warehouse: Warehouse) -> None:
    insert(warehouse, replace(message(b"{}"), topic="a/\0\ud800b"))
    with warehouse.reading() as connection:
        assert connection.scalar(select(mqtt_inbox.c.topic)) == "a/\\ud800b"


def test_numbers_are_never_used_again(warehouse: Warehouse) -> None:
    insert(warehouse, message(b"1"), message(b"2"))
    with warehouse.writing() as connection:
        connection.execute(delete(mqtt_inbox))
    assert list(insert(warehouse, message(b"3"))) == [3]


def test_a_number_is_visible_only_after_all_before_it(warehouse: Warehouse) -> None:
    insert(warehouse, message(b"1"))
    is_waiting, ended = Event(), Event()

    def write_later() -> None:
        is_waiting.set()
        insert(warehouse, message(b"3"))
        ended.set()

    later = Thread(target=write_later)
    with warehouse.writing() as connection:
        assert allocate_arrivals(connection, 1) == 2
        later.start()
        is_waiting.wait(10)
        assert not ended.wait(0.2)
        with warehouse.reading() as reader:
            assert reader.scalar(select(func.max(mqtt_inbox.c.arrival_id))) == 1
    later.join(30)
    with warehouse.reading() as reader:
        assert reader.scalar(select(func.max(mqtt_inbox.c.arrival_id))) == 3
