"""MQTT's messages as they arrive, as server-sent events."""

import json
from functools import partial

from pydantic import Field
from starlette.responses import Response

from orchestration_project.domains.mqtt.topics import read_topic_filter
from orchestration_project.gateway.api.data import Text
from orchestration_project.gateway.api.logs import SSE
from orchestration_project.gateway.api.mqtt import topic_filter
from orchestration_project.gateway.api.mqtt_feed import Entry, Feed, FeedPage, FeedResponse
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.gateway.api.services import Services
from orchestration_project.resources.mqtt.streaming import Arrival, last_arrival, read_arrivals
from orchestration_project.settings.domains.mqtt import MqttSettings

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
    wanted = topic_filter(call.query.topic) or ALL_TOPICS
    after = _after(call.request.headers.get("last-event-id"))
    feed = call.services.feeds.get(FEED)
    if not isinstance(feed, Feed):
        feed = call.services.feeds[FEED] = open_feed(call.services)
    return FeedResponse(
        feed,
        after=after,
        selects=wanted.matches,
        still_known=partial(call.services.still_known, call.request.scope),
        recheck_seconds=call.services.recheck_seconds,
        heartbeat_seconds=call.services.heartbeat_seconds,
    )


def open_feed(services: Services) -> Feed:
    """Return the feed of the inbox."""
    max_bytes = MqttSettings.of(services.settings).mqtt_max_message_bytes

    def read(after: int) -> FeedPage:
        found = read_arrivals(
            services.warehouse, after, max_bytes=max_bytes, seconds=services.read_seconds
        )
        return FeedPage([_entry(each) for each in found.events], found.last, found.is_more)

    return Feed(
        read,
        lambda: last_arrival(services.warehouse),
        services.in_thread,
        limits=services.feed_limits,
    )


def _entry(arrival: Arrival) -> Entry:
    envelope = arrival.envelope
    data = {
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
    text = f"id: {arrival.arrival_id}\nevent: event\ndata: {json.dumps(data)}\n\n"
    return Entry(arrival.arrival_id, arrival.topic, text.encode())


def _after(written: str | None) -> int | None:
    if written is None:
        return None
    if not (written.isascii() and written.isdigit() and len(written) < 19):
        raise ProblemError(
            422,
            "invalid Last-Event-ID",
            expected="the ID of an event of this stream, e.g. 1200",
        )
    return int(written)


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
