"""Events that this project writes itself: into mirror, entity and outbox, in one transaction.

The bridge publishes the outbox. The event that then comes back from the broker is a duplicate by
its key.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from orchestration_project.domains.mqtt.envelope import Refusal
from orchestration_project.domains.mqtt.judging import Event, Message, judge
from orchestration_project.domains.mqtt.tables import mqtt_mirror, mqtt_seen_keys
from orchestration_project.engine.outbox import Intention, add_intentions, read_latest
from orchestration_project.engine.tracing.traceparent import (
    TRACEPARENT,
    TraceContext,
    find_current_trace,
    generate_span_id,
)
from orchestration_project.resources.mqtt.arrivals import allocate_arrivals
from orchestration_project.resources.mqtt.mirroring import KeptMessages, Mirror
from orchestration_project.resources.mqtt.reading import OUTBOX_TOPIC


@dataclass(frozen=True)
class OwnEvent:
    """An event whose bytes are stored; its arrival has no number yet.

    Attributes:
        event: The event.
        kept: Its bytes in the store.
        text: Its envelope as it is published.
    """

    event: Event
    kept: KeptMessages
    text: str


def prepare_event(
    mirror: Mirror, envelope: Mapping[str, Any], *, broker: str, topic: str
) -> OwnEvent | Refusal:
    """Store the bytes of an event; return it, or why it is not one.

    Args:
        mirror: Writer of the mirror.
        envelope: The five members of an event, and any others.
        broker: Name of its origin, as the mirror's captures have it.
        topic: Topic to publish it to.

    Raises:
        OrchestrationError: The store does not take the bytes.
    """
    text = json.dumps(envelope, ensure_ascii=False)
    body = text.encode(errors="surrogatepass")
    digest = hashlib.sha256(body).hexdigest()
    message = Message(0, broker, topic, body, len(body), digest, mirror.clock.now())
    judged = judge(message, mirror.kinds, mirror.max_bytes)
    if not isinstance(judged, Event):
        return judged.refusal
    return OwnEvent(judged, mirror.keep([message]), text)


def write_event(connection: Connection, mirror: Mirror, own: OwnEvent, *, entity: str) -> None:
    """Write an event whose key was not used before, and have it published.

    Args:
        connection: A transaction that writes, with the lock of `lock_fold`.
        mirror: Writer of the mirror.
        own: The event.
        entity: Entity of the outbox, in whose order events are published.
    """
    _add_to_outbox(connection, mirror, own, entity)
    arrival_id = allocate_arrivals(connection, 1)
    mirror.write(connection, _set_arrival_id(own, arrival_id))


def is_key_used(connection: Connection, idempotency_key: str) -> bool:
    """Whether an event of this key was mirrored, or seen."""
    columns = mqtt_mirror.c.idempotency_key, mqtt_seen_keys.c.idempotency_key
    return any(
        connection.execute(select(column).where(column == idempotency_key)).first() is not None
        for column in columns
    )


def _set_arrival_id(own: OwnEvent, arrival_id: int) -> KeptMessages:
    """Return the event with the number of its arrival, and its capture under this number."""
    [capture] = own.kept.captures.values()
    message = own.event.message._replace(arrival_id=arrival_id)
    event = own.event._replace(message=message)
    capture = replace(capture, request={**capture.request, "arrival_id": arrival_id})
    return KeptMessages([event], {arrival_id: capture})


def _trace_context(event: Event) -> TraceContext:
    """Return the trace of an event: the present span is its parent, if it is in that trace."""
    trace_id, present = UUID(event.trace_id).hex, find_current_trace()
    if present is not None and present.trace_id == trace_id:
        return present
    return TraceContext(trace_id, generate_span_id())


def _add_to_outbox(connection: Connection, mirror: Mirror, own: OwnEvent, entity: str) -> None:
    message = {
        "topic": own.event.message.topic,
        "message": own.text,
        TRACEPARENT: str(_trace_context(own.event)),
    }
    number = read_latest(connection, OUTBOX_TOPIC, entity).version_number + 1
    payload = json.dumps(message, ensure_ascii=False)
    intention = Intention(OUTBOX_TOPIC, entity, number, payload)
    add_intentions(connection, [intention], now=mirror.clock.now(), run_id=mirror.run_id)
