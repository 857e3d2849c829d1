"""The outbox of events: published with QoS 1, done after the broker's acknowledgement.

A process that ends between the acknowledgement and its record publishes the event again, with the
same idempotency key.
"""

import json
import logging
import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Thread
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update

from orchestration_project.connections.clock import Clock
from orchestration_project.engine.outbox import is_due
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import storable
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.mqtt.bridge import backoff_seconds
from orchestration_project.resources.mqtt.broker import BrokerError
from orchestration_project.resources.mqtt.connection import BrokerConnection, Published
from orchestration_project.resources.mqtt.reading import PLUGIN_TOPICS, published_topics
from orchestration_project.tables.spine import outbox
from orchestration_project.tracing.traceparent import (
    TRACEPARENT,
    TraceContext,
    read_traceparent,
)

LOG = logging.getLogger(__name__)

MAX_IN_FLIGHT = 100
"""Events that are published and not acknowledged yet."""

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 1.0, 3_600.0
"""Delay after a failed attempt: it doubles. A row never becomes dead, as the broker may return."""

UNANSWERED = "the connection ended before the broker's answer"
POLL_SECONDS = 0.2
FAILURE_SECONDS = 5.0
MAX_REASON = 1_000


class EventKey(NamedTuple):
    """Key of a row of the outbox."""

    topic: str
    entity: str
    version_number: int


class Attempt(NamedTuple):
    """An event that was published, or could not be; ``problem`` is empty if the broker has it."""

    key: EventKey
    attempt_count: int
    problem: str


@dataclass
class OutboxPublisher:
    """Publishes what waits in the outbox, over one connection after the other.

    Attributes:
        warehouse: Database with the outbox.
        clock: Times at which attempts are due.
    """

    warehouse: Warehouse
    clock: Clock
    _in_flight: dict[int, tuple[EventKey, int]] = field(default_factory=dict, init=False)
    _ended: list[Attempt] = field(default_factory=list, init=False)

    def start(self, connection: BrokerConnection) -> Callable[[], None]:
        """Publish by a connection in a thread, until what is returned is called."""
        stop = Event()
        thread = Thread(target=self._run, args=(connection, stop), name="outbox", daemon=True)
        thread.start()

        def end() -> None:
            stop.set()
            thread.join()

        return end

    def _run(self, connection: BrokerConnection, stop: Event) -> None:
        while connection.is_connected and not stop.is_set():
            try:
                self.publish_due(connection)
                self.settle(connection, POLL_SECONDS)
            except BrokerError:
                break
            except OrchestrationError as error:
                LOG.warning("%s", error, extra={"event": "mqtt_outbox_unavailable"})
                stop.wait(FAILURE_SECONDS)
            except Exception:  # the bridge goes on receiving, and an alert names what waits
                LOG.exception("publishing failed", extra={"event": "mqtt_publishing_failed"})
                stop.wait(FAILURE_SECONDS)
        self._take_back(connection)

    def _take_back(self, connection: BrokerConnection) -> None:
        """Record the last answers; whatever has none is a failed attempt if the connection failed.

        Some brokers end the connection because of an event that they do not allow: without a delay
        it would end each of the next ones.
        """
        self._collect(connection, 0)
        if connection.problem is not None:
            self._ended += [Attempt(*each, UNANSWERED) for each in self._in_flight.values()]
        self._in_flight.clear()
        try:
            self.settle(connection, 0)
        except OrchestrationError as error:  # the next connection records them
            LOG.warning("%s", error, extra={"event": "mqtt_answers_not_recorded"})

    def publish_due(self, connection: BrokerConnection) -> int:
        """Publish events that are due and not on their way; return how many.

        Raises:
            BrokerError: The connection has ended.
            TransientError: The database is away.
        """
        room = MAX_IN_FLIGHT - len(self._in_flight)
        if room <= 0:
            return 0
        on_their_way = {key for key, _ in self._in_flight.values()}
        on_their_way |= {each.key for each in self._ended}
        count = 0
        for row in self._due(room + len(on_their_way)):
            key = EventKey(row["topic"], row["entity"], row["version_number"])
            if key in on_their_way:
                continue
            if row["attempt_count"] and (count or self._in_flight):
                break  # one that failed goes alone: it may end the connection of the others
            self._publish(connection, key, row)
            count += 1
            if row["attempt_count"]:
                break
        return count

    def _due(self, limit: int) -> Sequence[Mapping[Any, Any]]:
        columns = outbox.c
        wanted = (
            select(
                *(columns.topic, columns.entity, columns.version_number),
                *(columns.payload, columns.attempt_count),
            )
            .where(columns.state == "waiting", is_due(self.clock.now()))
            .order_by(columns.due_at, columns.topic, columns.entity, columns.version_number)
            .limit(limit)
        )
        with self.warehouse.reading() as reader:
            own = columns.topic.in_(published_topics(reader))
            return reader.execute(wanted.where(own)).mappings().all()

    def _publish(self, connection: BrokerConnection, key: EventKey, row: Mapping[Any, Any]) -> None:
        attempts = row["attempt_count"]
        try:
            number = connection.publish(*_read(key, row["payload"]))
        except ValueError as error:
            self._ended.append(Attempt(key, attempts, f"not published: {error}"))
        else:
            self._in_flight[number] = key, attempts

    def _collect(self, connection: BrokerConnection, timeout_seconds: float) -> None:
        for answer in _answers(connection, timeout_seconds):
            if (found := self._in_flight.pop(answer.message_id, None)) is not None:
                self._ended.append(Attempt(*found, answer.problem))

    def settle(self, connection: BrokerConnection, timeout_seconds: float) -> int:
        """Record the broker's answers, waiting for the first so long; return how many.

        Raises:
            TransientError: The database is away; they are recorded by the next call.
        """
        self._collect(connection, 0 if self._ended else timeout_seconds)
        if not self._ended:
            return 0
        now = self.clock.now()
        own = (
            outbox.c.topic == bindparam("of_topic"),
            outbox.c.entity == bindparam("of_entity"),
            outbox.c.version_number == bindparam("of_version"),
            outbox.c.state == "waiting",
        )
        done = [_keys(each) for each in self._ended if not each.problem]
        failed = [
            {
                **_keys(each),
                "attempt_count": each.attempt_count + 1,
                "reason": storable(each.problem)[:MAX_REASON],
                "due_at": now + timedelta(seconds=_delay_seconds(each.attempt_count)),
            }
            for each in self._ended
            if each.problem
        ]
        with self.warehouse.writing() as writer:
            if done:
                writer.execute(
                    update(outbox).where(*own).values(state="done", changed_at=now), done
                )
            if failed:
                changes = {name: bindparam(name) for name in ("attempt_count", "reason", "due_at")}
                writer.execute(update(outbox).where(*own).values(changed_at=now, **changes), failed)
        count = len(self._ended)
        self._ended.clear()
        return count


def _delay_seconds(attempt_count: int) -> float:
    """Return the delay after a failed attempt that ``attempt_count`` others came before."""
    return backoff_seconds(attempt_count, FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, draw=0)


def _keys(attempt: Attempt) -> dict[str, Any]:
    key = attempt.key
    return {"of_topic": key.topic, "of_entity": key.entity, "of_version": key.version_number}


def _read(key: EventKey, payload: str) -> tuple[str, bytes, TraceContext | None]:
    """Return topic, message and trace of a row; older rows have no trace.

    The payload of an event is a JSON object of topic, message and traceparent. That of a plugin is
    any JSON; its message is an object of it with key and version_number.

    Raises:
        ValueError: It has none.
    """
    if key.topic.startswith(PLUGIN_TOPICS):
        message = {"key": key.entity, "version_number": key.version_number}
        message["payload"] = json.loads(payload)
        return key.topic, json.dumps(message, ensure_ascii=False).encode(errors="replace"), None
    try:
        found = json.loads(payload)
        trace = read_traceparent(str(found.get(TRACEPARENT, "")))
        return str(found["topic"]), str(found["message"]).encode(), trace
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            "invalid payload: expected a JSON object with topic and message"
        ) from error


def _answers(connection: BrokerConnection, timeout_seconds: float) -> list[Published]:
    """Return all answers that are there, and wait for the first of them so long."""
    found: list[Published] = []
    try:
        found.append(
            connection.published.get(timeout=timeout_seconds or None, block=bool(timeout_seconds))
        )
        while True:
            found.append(connection.published.get_nowait())
    except queue.Empty:
        return found
