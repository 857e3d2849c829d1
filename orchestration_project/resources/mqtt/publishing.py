"""The outbox of events: published with QoS 1, done after the broker's acknowledgement.

A process that ends between the acknowledgement and its record publishes the event again, with the
same idempotency key.
"""

import json
import logging
import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Thread

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.outbox import Entry, OutboxWindow
from orchestration_project.engine.tracing.traceparent import (
    TRACEPARENT,
    TraceContext,
    read_traceparent,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.mqtt.broker import BrokerError
from orchestration_project.resources.mqtt.connection import BrokerConnection, Published
from orchestration_project.resources.mqtt.reading import PLUGIN_TOPICS, published_topics

LOG = logging.getLogger(__name__)

MAX_IN_FLIGHT = 100
"""Events that are published and not acknowledged yet."""

FIRST_WAIT = timedelta(seconds=1)
"""Wait after the first failed attempt."""

UNANSWERED = "the connection ended before the broker's answer"
POLL_SECONDS = 0.2
FAILURE_SECONDS = 5.0


@dataclass
class OutboxPublisher:
    """Publishes the waiting entries of the outbox, over one connection after the other.

    Attributes:
        warehouse: Database with the outbox.
        clock: Times at which attempts are due.
    """

    warehouse: Warehouse
    clock: Clock
    _window: OutboxWindow = field(init=False)

    def __post_init__(self) -> None:
        self._window = OutboxWindow(
            self.warehouse, self.clock, published_topics, MAX_IN_FLIGHT, FIRST_WAIT
        )

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
                if not self._window.settle():
                    self._collect(connection, POLL_SECONDS)
                    self._window.settle()
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
        self._window.close(None if connection.problem is None else UNANSWERED)
        try:
            self._window.settle()
        except OrchestrationError as error:  # the next connection records them
            LOG.warning("%s", error, extra={"event": "mqtt_answers_not_recorded"})

    def publish_due(self, connection: BrokerConnection) -> int:
        """Publish events that are due and not on their way; return how many.

        Raises:
            BrokerError: The connection has ended.
            TransientError: The database is away.
        """
        return self._window.send_due(lambda entry: connection.publish(*_read(entry)))

    def _collect(self, connection: BrokerConnection, timeout_seconds: float) -> None:
        """Note the broker's answers, waiting for the first so long."""
        for answer in _collect_answers(connection, timeout_seconds):
            self._window.answer(answer.message_id, answer.problem)


def _read(entry: Entry) -> tuple[str, bytes, TraceContext | None]:
    """Return topic, message and trace of a row; older rows have no trace.

    The payload of an event is a JSON object of topic, message and traceparent. That of a plugin is
    any JSON; its message is an object of it with key and version_number.

    Raises:
        ValueError: It has none.
    """
    if entry.topic.startswith(PLUGIN_TOPICS):
        message = {"key": entry.entity, "version_number": entry.version_number}
        message["payload"] = json.loads(entry.payload)
        return entry.topic, json.dumps(message, ensure_ascii=False).encode(errors="replace"), None
    try:
        document = json.loads(entry.payload)
        trace = read_traceparent(str(document.get(TRACEPARENT, "")))
        return str(document["topic"]), str(document["message"]).encode(), trace
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            "invalid payload: expected a JSON object with topic and message"
        ) from error


def _collect_answers(connection: BrokerConnection, timeout_seconds: float) -> list[Published]:
    """Return all answers that are there, and wait for the first of them so long."""
    answers: list[Published] = []
    try:
        answers.append(
            connection.published.get(timeout=timeout_seconds or None, block=bool(timeout_seconds))
        )
        while True:
            answers.append(connection.published.get_nowait())
    except queue.Empty:
        return answers
