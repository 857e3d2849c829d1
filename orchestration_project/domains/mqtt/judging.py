"""Messages as events or refusals, and which events are new by their keys."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from orchestration_project.domains.mqtt.envelope import Envelope, Refusal, read_envelope
from orchestration_project.domains.mqtt.kinds import KindMatch, Kinds

RULE_VERSION = "1"


class Message(NamedTuple):
    """A message as it arrived.

    Attributes:
        arrival_id: Number of its arrival.
        broker: Broker, host and port.
        topic: Its topic.
        payload: Its bytes; of a message above the limit, their head.
        byte_count: Size of the whole message.
        sha256: SHA-256 of the whole message, hex.
        received_at: UTC time of its arrival.
        trace_id: Trace that its transport names, a UUID; None: that of its envelope counts.
    """

    arrival_id: int
    broker: str
    topic: str
    payload: bytes
    byte_count: int
    sha256: str
    received_at: datetime
    trace_id: str | None = None


class Event(NamedTuple):
    """A message that is an event, and the kind that it is of."""

    message: Message
    envelope: Envelope
    match: KindMatch

    @property
    def trace_id(self) -> str:
        """Trace of the event: the transport knows the sender's span, the envelope may be older."""
        return self.message.trace_id or self.envelope.trace_id

    @property
    def skew_seconds(self) -> float:
        """Time of the event minus time of the arrival."""
        return (self.envelope.ts - self.message.received_at).total_seconds()


class DeadLetter(NamedTuple):
    """A message that is not an event, and why."""

    message: Message
    refusal: Refusal


@dataclass
class NewEvents:
    """Judged messages by what has to be stored of them.

    Attributes:
        events: Events whose key was not seen before, in the order of arrival.
        dead_letters: Messages that were refused.
        duplicates: Number of further arrivals with the same content, by key.
    """

    events: list[Event] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    duplicates: dict[str, int] = field(default_factory=dict)

    @property
    def duplicate_count(self) -> int:
        """Number of all duplicates."""
        return sum(self.duplicates.values())


def judge(message: Message, kinds: Kinds, max_bytes: int) -> Event | DeadLetter:
    """Return a message as an event of its kind, or why it is not one.

    Args:
        message: The message.
        kinds: Current kinds.
        max_bytes: Size limit of a message.
    """
    if len(message.payload) < message.byte_count <= max_bytes:
        reason = f"expected all bytes, found the first {len(message.payload)}: the others are gone"
        return DeadLetter(message, Refusal("too_large", reason))
    envelope = read_envelope(message.payload, max_bytes=max_bytes, byte_count=message.byte_count)
    if isinstance(envelope, Refusal):
        return DeadLetter(message, envelope)
    match = kinds.match(envelope.kind, envelope.payload)
    if isinstance(match, Refusal):
        return DeadLetter(message, match)
    return Event(message, envelope, match)


def new_events(judged: Iterable[Event | DeadLetter], seen: Mapping[str, str]) -> NewEvents:
    """Return the new events; a seen key is a duplicate, or was used for another content.

    Args:
        judged: Messages in the order of arrival.
        seen: SHA-256 of the envelope by key, of the keys that were seen before.
    """
    events = NewEvents()
    known_names = dict(seen)
    for item in judged:
        if isinstance(item, DeadLetter):
            events.dead_letters.append(item)
            continue
        key, sha256 = item.envelope.idempotency_key, item.envelope.sha256
        if key not in known_names:
            known_names[key] = sha256
            events.events.append(item)
        elif known_names[key] == sha256:
            events.duplicates[key] = events.duplicates.get(key, 0) + 1
        else:
            reason = "the idempotency_key was used for another content"
            refusal = Refusal("key_reused", reason, item.envelope.kind)
            events.dead_letters.append(DeadLetter(item.message, refusal))
    return events


def by_hour(messages: Sequence[Event | DeadLetter]) -> Mapping[str, list[Event | DeadLetter]]:
    """Return messages by the partition of their arrival, such as ``2026-11-01-10:00``."""
    values: dict[str, list[Event | DeadLetter]] = {}
    for message in sorted(messages, key=lambda one: one.message.arrival_id):
        values.setdefault(hour_of(message.message.received_at), []).append(message)
    return values


def hour_of(moment: datetime) -> str:
    """Return the partition of a UTC time."""
    return moment.isoformat("-", "hours")[:13] + ":00"
