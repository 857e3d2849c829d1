"""Messages into the mirror: new events, dead letters and seen keys in one transaction, once each.

The bytes of messages are captured before, those of a range together in a pack. All writers of the
mirror hold one lock from their first look at the keys to their commit.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, bindparam, update

from orchestration_project.domains.mqtt.folding import Change
from orchestration_project.domains.mqtt.judging import (
    RULE_VERSION,
    DeadLetter,
    Event,
    Message,
    NewEvents,
    by_hour,
    hour_of,
    judge,
    new_events,
)
from orchestration_project.domains.mqtt.kinds import Kinds
from orchestration_project.domains.mqtt.tables import mqtt_mirror, mqtt_seen_keys
from orchestration_project.engine.captures import Capture, Captures, build_capture
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import (
    MAX_OFFENDERS,
    Audit,
    Validated,
    format_outcome,
)
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.contracts.rules import escape_bytes
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse import Delivery, TableSpec, Warehouse
from orchestration_project.engine.warehouse.delivery import require_written
from orchestration_project.engine.warehouse.frames import build_frame, insert_frame, read_keys
from orchestration_project.engine.warehouse.loading import ScopeDelivery, write_scopes
from orchestration_project.engine.warehouse.target import BOOKKEEPING, skip_summary
from orchestration_project.resources.mqtt.dead_letters import record_dead_letters
from orchestration_project.resources.mqtt.folding import EntityEvent, fold_events, lock_fold

SPEC = TableSpec(
    table=mqtt_mirror, rule_version=RULE_VERSION, summarise=skip_summary, write_disposition="append"
)

DATASET = "messages"
CLOCK_SKEW = "clock_skew"
"""Audit of the times of events against their arrival."""

ROW_SCHEMA = {
    **{name: kind for name, kind in derive_schema(mqtt_mirror).items() if name not in BOOKKEEPING},
    "part_number": pl.Int64(),
}


@dataclass(frozen=True)
class KeptMessages:
    """Judged messages whose bytes are stored.

    Attributes:
        judged: Events and dead letters, in the order of arrival.
        captures: The captures of their bytes, by arrival_id.
        cleared_count: Number of empty messages, each of which ends a retained value.
    """

    judged: Sequence[Event | DeadLetter]
    captures: Mapping[int, Capture]
    cleared_count: int = 0


@dataclass
class MirrorCounts:
    """Counts of what was written.

    Attributes:
        by_topic_and_kind: New events.
        by_reason: Dead letters by reason code.
        by_hour: New events and dead letters by partition.
        duplicate_count: Further arrivals of events.
        unknown: New events of unknown kinds, by kind.
        folded: Entities that were folded, by type.
        skewed_count: New events whose time differs by more than the limit.
        cleared_count: Empty messages, which ended a retained value.
        refused_ids: Arrivals of the dead letters of one transaction.
    """

    by_topic_and_kind: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_reason: Counter[str] = field(default_factory=Counter)
    by_hour: Counter[str] = field(default_factory=Counter)
    duplicate_count: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    folded: Counter[str] = field(default_factory=Counter)
    skewed_count: int = 0
    cleared_count: int = 0
    refused_ids: frozenset[int] = frozenset()

    @property
    def went_to(self) -> dict[str, int]:
        """Numbers of messages by their result."""
        return {
            "events": self.by_topic_and_kind.total(),
            "duplicates": self.duplicate_count,
            "dead_letters": self.by_reason.total(),
            "cleared": self.cleared_count,
        }

    def add(self, other: "MirrorCounts") -> None:
        """Add the counts of another transaction."""
        self.by_topic_and_kind += other.by_topic_and_kind
        self.by_reason += other.by_reason
        self.by_hour += other.by_hour
        self.duplicate_count += other.duplicate_count
        self.unknown += other.unknown
        self.folded += other.folded
        self.skewed_count += other.skewed_count
        self.cleared_count += other.cleared_count


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """Writes messages into the mirror, and folds their entities.

    Attributes:
        warehouse: The database.
        captures: The store of their bytes.
        clock: Its time.
        kinds: Current kinds.
        max_bytes: Size limit of a message.
        max_skew_seconds: Difference of an event's time to its arrival from which an audit warns.
        source: Source of the messages, as captures name it.
        run_id: Dagster's run, or the request that writes.
    """

    warehouse: Warehouse
    captures: Captures
    clock: Clock
    kinds: Kinds
    max_bytes: int
    max_skew_seconds: float
    source: str
    run_id: str

    def keep(self, messages: Sequence[Message]) -> KeptMessages:
        """Judge messages, and store their bytes; small ones lie together in packs.

        An empty message removes a retained value at the broker (MQTT 5.0, 3.3.1.3). It has no
        bytes to store, and `mqtt_inbox` has its arrival.

        Raises:
            OrchestrationError: The store does not take the bytes.
        """
        cleared_count = sum(message.byte_count == 0 for message in messages)
        messages = [message for message in messages if message.byte_count]
        fetched = [_capture(each) for each in messages]
        stored = self.captures.keep_all(fetched, self.warehouse.known_blobs) if fetched else []
        captures = {
            message.arrival_id: capture for message, capture in zip(messages, stored, strict=True)
        }
        return KeptMessages(
            [judge(message, self.kinds, self.max_bytes) for message in messages],
            captures,
            cleared_count,
        )

    def write(self, connection: Connection, kept: KeptMessages) -> MirrorCounts:
        """Write the new events: mirror, dead letters and seen keys, and the rows of entities.

        Args:
            connection: A transaction that writes.
            kept: Messages, each of which may have been written before.

        Raises:
            SupersededError: Another transaction wrote the same partition meanwhile.
        """
        lock_fold(connection)
        events = new_events(kept.judged, self._seen(connection, kept.judged))
        now = self.clock.now()
        self._load(connection, events, kept.captures)
        record_dead_letters(connection, events.dead_letters, now=now, run_id=self.run_id)
        _record_keys(connection, kept.judged, events, now)
        folded = fold_events(
            connection,
            [
                entity_event
                for entity_event in map(_build_entity_event, events.events)
                if entity_event
            ],
        )
        return self._counts(events, folded, kept.cleared_count)

    def _seen(
        self, connection: Connection, judged: Sequence[Event | DeadLetter]
    ) -> Mapping[str, str]:
        """Return the SHA-256 of the envelopes of keys that were seen.

        A key that is forgotten but mirrored is compared by the columns of the mirror. So is one
        whose SHA-256 differs: earlier versions included the trace, which is not content.
        """
        events = [event for event in judged if isinstance(event, Event)]
        keys = pl.DataFrame(
            {"idempotency_key": list({event.envelope.idempotency_key for event in events})},
            {"idempotency_key": pl.String()},
        )
        rows = read_keys(connection, mqtt_seen_keys, keys)
        iter_rows: dict[str, str] = dict(rows.select("idempotency_key", "sha256").iter_rows())
        equal = {
            event.envelope.idempotency_key
            for event in events
            if iter_rows.get(event.envelope.idempotency_key) == event.envelope.sha256
        }
        other_frame = keys.filter(~pl.col("idempotency_key").is_in(list(equal)))
        mirrored = {
            row["idempotency_key"]: (row["kind"], row["ts"], row["payload"])
            for row in read_keys(connection, mqtt_mirror, other_frame).iter_rows(named=True)
        }
        for key in mirrored:
            iter_rows.setdefault(key, "")
        for event in events:
            envelope = event.envelope
            content = (event.match.kind, envelope.ts, envelope.payload_json)
            if mirrored.get(envelope.idempotency_key) == content:
                iter_rows[envelope.idempotency_key] = envelope.sha256
        return iter_rows

    def _load(
        self, connection: Connection, found: NewEvents, captures: Mapping[int, Capture]
    ) -> None:
        """Append the new events to the mirror, a delivery for each hour of arrival."""
        hours = by_hour([*found.events, *found.dead_letters])
        deliveries = [self._delivery(hour, judged, captures) for hour, judged in hours.items()]
        require_written(
            write_scopes(connection, SPEC, deliveries, run_id=self.run_id, now=self.clock.now())
        )

    def _delivery(
        self, hour: str, judged: Sequence[Event | DeadLetter], captures: Mapping[int, Capture]
    ) -> ScopeDelivery:
        first, last = judged[0].message.arrival_id, judged[-1].message.arrival_id
        delivery = Delivery(
            source=self.source,
            dataset=DATASET,
            source_version=f"arrivals {first} to {last}",
            captures=[captures[item.message.arrival_id] for item in judged],
        )
        return ScopeDelivery(hour, {"arrival_hour": hour}, delivery, self._validated(judged))

    def _validated(self, judged: Sequence[Event | DeadLetter]) -> Validated:
        rows: list[tuple[Any, ...]] = []
        rejects: list[tuple[Any, ...]] = []
        skewed: list[dict[str, object]] = []
        for number, item in enumerate(judged, start=1):
            if isinstance(item, DeadLetter):
                reason = (item.refusal.reason_code, item.refusal.reason)
                rejects.append((number, 1, *reason, 0, escape_bytes(item.message.payload, 1_024)))
                continue
            rows.append((*_build_row(item).values(), number))
            if abs(item.skew_seconds) > self.max_skew_seconds:
                key = item.envelope.idempotency_key
                skewed.append({"idempotency_key": key, "skew_seconds": item.skew_seconds})
        audit = Audit(
            CLOCK_SKEW,
            format_outcome(not skewed),
            f"times up to {self.max_skew_seconds:g} s from the arrival",
            f"{len(skewed)} others",
            skewed[:MAX_OFFENDERS],
            severity="warning",
        )
        return Validated(
            pl.DataFrame(rows, ROW_SCHEMA, orient="row"),
            pl.DataFrame(rejects, REJECT_SCHEMA, orient="row"),
            [audit],
        )

    def _counts(
        self, found: NewEvents, folded: Mapping[str, int], cleared_count: int
    ) -> MirrorCounts:
        counts = MirrorCounts(
            duplicate_count=found.duplicate_count,
            cleared_count=cleared_count,
            folded=Counter(folded),
            refused_ids=frozenset(letter.message.arrival_id for letter in found.dead_letters),
        )
        for event in found.events:
            counts.by_topic_and_kind[_cut_topic(event.message.topic), event.match.kind] += 1
            counts.skewed_count += abs(event.skew_seconds) > self.max_skew_seconds
            if event.match.schema_version is None:
                counts.unknown[event.match.kind] += 1
        counts.by_reason.update(letter.refusal.reason_code for letter in found.dead_letters)
        hours = by_hour([*found.events, *found.dead_letters])
        counts.by_hour.update({hour: len(those) for hour, those in hours.items()})
        return counts


def _capture(message: Message) -> Capture:
    return build_capture(
        message.payload,
        url=f"mqtt://{message.broker}/{message.topic}",
        request={"arrival_id": message.arrival_id},
        fetched_at=message.received_at,
        row_count=1,
    )


def _build_row(event: Event) -> dict[str, Any]:
    """Return the columns of the mirror, in their order, without those of bookkeeping."""
    message, envelope, match = event
    return {
        "idempotency_key": envelope.idempotency_key,
        "trace_id": event.trace_id,
        "kind": match.kind,
        "schema_version": match.schema_version,
        "topic": message.topic,
        "ts": envelope.ts,
        "entity_type": match.entity_type,
        "entity_id": match.entity_id,
        "operation": match.operation,
        "payload": envelope.payload_json,
        "arrival_id": message.arrival_id,
        "received_at": message.received_at,
        "arrival_hour": hour_of(message.received_at),
        "skew_seconds": event.skew_seconds,
    }


def _build_entity_event(event: Event) -> EntityEvent | None:
    match = event.match
    if match.entity_type is None or match.entity_id is None or match.operation is None:
        return None
    columns = match.columns or {}
    change = Change(event.envelope.ts, event.message.arrival_id, match.operation, columns)
    return EntityEvent(match.entity_type, match.entity_id, change)


def _record_keys(
    connection: Connection, judged: Sequence[Event | DeadLetter], found: NewEvents, now: datetime
) -> None:
    """Record new keys, and count duplicates; a key that was forgotten is recorded again."""
    first = {
        item.envelope.idempotency_key: item for item in reversed(judged) if isinstance(item, Event)
    }
    new = {event.envelope.idempotency_key: event for event in found.events}
    again = {
        key: event for key, event in first.items() if key in found.duplicates and key not in new
    }
    there = set[str]()
    if again:
        expected_frame = pl.DataFrame({"idempotency_key": list(again)})
        there = set(read_keys(connection, mqtt_seen_keys, expected_frame)["idempotency_key"])
    rows = [
        {
            "idempotency_key": key,
            "sha256": event.envelope.sha256,
            "duplicate_count": found.duplicates.get(key, 0),
            "seen_at": now if key in again else event.message.received_at,
        }
        for key, event in {**new, **{k: v for k, v in again.items() if k not in there}}.items()
    ]
    insert_frame(connection, mqtt_seen_keys, build_frame(rows, mqtt_seen_keys))
    if there:
        remaining_condition = mqtt_seen_keys.c.duplicate_count + bindparam("more")
        connection.execute(
            update(mqtt_seen_keys)
            .where(mqtt_seen_keys.c.idempotency_key == bindparam("key"))
            .values(duplicate_count=remaining_condition),
            [{"key": key, "more": found.duplicates[key]} for key in sorted(there)],
        )


def _cut_topic(topic: str) -> str:
    """Return a topic up to its third level, so that the topics of entities count together."""
    return "/".join(topic.split("/")[:3])
