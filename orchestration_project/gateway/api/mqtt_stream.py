"""MQTT's messages as they arrive, as server-sent events."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import Field
from starlette.responses import Response

from orchestration_project.domains.mqtt.settings import MqttSettings
from orchestration_project.domains.mqtt.topics import read_topic_filter
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.api.data import Text
from orchestration_project.gateway.api.feeds import SSE, Entry, FeedPage, NumberedSource
from orchestration_project.gateway.api.mqtt import topic_filter
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.resources.mqtt.streaming import Arrival, last_arrival, read_arrivals

FEED = "mqtt"
ALL_TOPICS = read_topic_filter("#")


class StreamWanted(Parameters):
    """Topics to follow."""

    topic: Text | None = Field(
        None, description="Topic filter, with the wildcards + and # of MQTT; default: #"
    )


async def follow_mqtt_events(call: Call[StreamWanted, Body]) -> Response:
    """Follow valid events as they arrive, as server-sent events.

    An event `event` has the arrival as its ID, and as data the envelope with arrival_id, topic,
    received_at, is_retained and `state: received`: the mirror may not have it yet. Last-Event-ID
    goes on where a connection broke off, as far back as messages are kept. Duplicates are sent.
    """
    expected_topic_filter = topic_filter(call.query.topic) or ALL_TOPICS
    after = ArrivalSource.read_cursor(call.request.headers.get("last-event-id"))
    max_bytes = MqttSettings.of(call.services.settings).mqtt_max_message_bytes
    source = ArrivalSource(call.services.warehouse, max_bytes, call.services.read_seconds)
    return call.services.follow(
        call.services.feed_of(FEED, source),
        call.request.scope,
        after=after,
        selects=expected_topic_filter.matches,
    )


@dataclass(frozen=True)
class ArrivalSource(NumberedSource):
    """Valid events of the inbox; a cursor is the number of an arrival."""

    warehouse: Warehouse
    max_message_bytes: int
    read_seconds: float
    event_type: str = "event"

    def read(self, after: int) -> FeedPage[int]:
        """Return the events after an arrival."""
        page = read_arrivals(
            self.warehouse, after, max_bytes=self.max_message_bytes, seconds=self.read_seconds
        )
        return FeedPage(list(map(self._entry, page.events)), page.last, page.is_more)

    def read_end(self) -> int:
        """Return the number of the last arrival now."""
        return last_arrival(self.warehouse)

    def _entry(self, arrival: Arrival) -> Entry[int]:
        number, text = arrival.arrival_id, json.dumps(_render_arrival(arrival))
        return Entry(number, arrival.topic, text, self.write_event(text, number))


def _render_arrival(arrival: Arrival) -> dict[str, Any]:
    envelope = arrival.envelope
    return {
        "arrival_id": arrival.arrival_id,
        "state": "received",
        "topic": arrival.topic,
        "received_at": arrival.received_at.isoformat(),
        "is_retained": arrival.is_retained,
        "trace_id": arrival.trace_id,
        "ts": envelope.ts.isoformat(),
        "kind": envelope.kind,
        "idempotency_key": envelope.idempotency_key,
        "payload": envelope.payload,
    }


OPERATIONS = (
    Operation(
        "GET",
        "/mqtt/stream",
        "viewer",
        "Follow MQTT events",
        follow_mqtt_events,
        query=StreamWanted,
        media={SSE: {"type": "string"}},
        headers={"Last-Event-ID": "The ID of the last event that was received"},
    ),
)
