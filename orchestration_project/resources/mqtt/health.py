"""Counts, late messages, bridges and components for operators; retention of old messages."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, select

from orchestration_project.domains.mqtt.graph import Node
from orchestration_project.domains.mqtt.tables import (
    mqtt_bridges,
    mqtt_component_dependencies,
    mqtt_components,
    mqtt_dead_letters,
    mqtt_inbox,
    mqtt_mirror,
    mqtt_projects,
    mqtt_seen_keys,
)
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.engine.contracts.work_items import DONE_STATES
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.mqtt.ranges import TOPIC, first_unread, waiting
from orchestration_project.tables.spine import work_items

LATE_AFTER = timedelta(minutes=15)
"""A message that waits longer for the mirror is late."""

OUTBOX_LATE_AFTER = timedelta(minutes=1)
"""An event that waits longer for the broker is late."""

RATE_WINDOW = timedelta(hours=1)
ROWS_PER_STATEMENT = 5_000


class LetterRate(NamedTuple):
    """Dead letters of the latest hour, and the messages of it."""

    letter_count: int
    message_count: int
    by_reason: Mapping[str, int]


class Removed(NamedTuple):
    """Number of messages and keys that were deleted, as they are older than their settings."""

    inbox_count: int
    key_count: int


def oldest_waiting(warehouse: Warehouse, now: datetime) -> OldestMissing | None:
    """Return the messages that wait for the mirror longer than `LATE_AFTER`; None: none does."""
    found = waiting(warehouse)
    if found.oldest_at is None or found.oldest_at > now - LATE_AFTER:
        return None
    what = "messages wait" if found.message_count > 1 else "message waits"
    return OldestMissing(
        "mqtt/mirror",
        found.oldest_at.strftime("%Y-%m-%d-%H:00"),
        found.oldest_at + LATE_AFTER,
        missing_count=found.message_count,
        unit="message",
        remedy="start mqtt_mirror, or switch the sensor mqtt_on_arrival on",
        reason=f"{found.message_count:,} {what}, the oldest since "
        f"{found.oldest_at:%Y-%m-%d %H:%M} UTC",
        job="mqtt_mirror",
    )


def dead_letters_by_reason(warehouse: Warehouse) -> Mapping[str, int]:
    """Return the number of messages that are dead letters now, by reason code."""
    letters = mqtt_dead_letters.c
    query = (
        select(letters.reason_code, func.count())
        .where(letters.ended_at.is_(None))
        .group_by(letters.reason_code)
        .order_by(letters.reason_code)
    )
    with warehouse.reading() as connection:
        return dict(connection.execute(query).all())


def letter_rate(warehouse: Warehouse, now: datetime) -> LetterRate:
    """Return the dead letters of the messages that arrived in the latest hour."""
    letters, since = mqtt_dead_letters.c, now - RATE_WINDOW
    of_hour = (
        select(letters.reason_code, func.count())
        .where(letters.failed_at >= since, letters.received_at >= since)
        .where(letters.ended_at.is_(None))
        .group_by(letters.reason_code)
    )
    arrivals = mqtt_inbox.c.arrival_id
    arrived = select(func.max(arrivals) - func.min(arrivals) + 1).where(
        mqtt_inbox.c.received_at >= since
    )
    with warehouse.reading() as connection:
        by_reason = dict(connection.execute(of_hour).all())
        message_count = connection.execute(arrived).scalar() or 0
    return LetterRate(sum(by_reason.values()), message_count, by_reason)


def read_bridges(warehouse: Warehouse) -> Sequence[Mapping[str, Any]]:
    """Return the state of each bridge, by broker."""
    with warehouse.reading() as connection:
        rows = connection.execute(select(mqtt_bridges).order_by(mqtt_bridges.c.broker))
        return [dict(row) for row in rows.mappings()]


def is_silent(bridge: Mapping[str, Any], now: datetime, limit: timedelta) -> bool:
    """Whether a bridge is not connected, or has received nothing for longer than a limit."""
    last = max(filter(None, (bridge["connected_since"], bridge["last_message_at"])), default=None)
    return bridge["connected_since"] is None or last is None or last < now - limit


def mirror_counts(warehouse: Warehouse, hour: datetime) -> Sequence[Mapping[str, Any]]:
    """Return the mirrored events of an hour of arrival by topic and kind, the most first."""
    columns = mqtt_mirror.c
    bounds = select(func.min(mqtt_inbox.c.arrival_id), func.max(mqtt_inbox.c.arrival_id)).where(
        mqtt_inbox.c.received_at >= hour, mqtt_inbox.c.received_at < hour + timedelta(hours=1)
    )
    with warehouse.reading() as connection:
        first, last = connection.execute(bounds).one()
        if first is None:
            return []
        query = (
            select(columns.kind, func.count().label("event_count"))
            .where(columns.arrival_id.between(first, last))
            .group_by(columns.kind)
            .order_by(func.count().desc(), columns.kind)
        )
        return [dict(row) for row in connection.execute(query).mappings()]


def forget_old(connection: Connection, *, inbox_before: datetime, keys_before: datetime) -> Removed:
    """Delete messages that are mirrored, and keys, which are older; return their numbers.

    A run deletes some rows of each, so that its transaction is short; the next one goes on.
    """
    read = mqtt_inbox.c.arrival_id < first_unread(connection)
    old = select(mqtt_inbox.c.arrival_id).where(mqtt_inbox.c.received_at < inbox_before, read)
    numbers = list(
        connection.execute(old.order_by(mqtt_inbox.c.received_at).limit(ROWS_PER_STATEMENT))
        .scalars()
        .all()
    )
    deleted = 0
    if numbers:
        deleted = connection.execute(
            delete(mqtt_inbox).where(mqtt_inbox.c.arrival_id.in_(numbers))
        ).rowcount
    keys = (
        select(mqtt_seen_keys.c.idempotency_key)
        .where(mqtt_seen_keys.c.seen_at < keys_before)
        .order_by(mqtt_seen_keys.c.seen_at)
        .limit(ROWS_PER_STATEMENT)
    )
    forgotten = connection.execute(
        delete(mqtt_seen_keys).where(mqtt_seen_keys.c.idempotency_key.in_(keys.subquery().select()))
    ).rowcount
    is_old_range = (
        work_items.c.topic == TOPIC,
        work_items.c.state.in_(DONE_STATES),
        work_items.c.changed_at < inbox_before,
    )
    connection.execute(delete(work_items).where(*is_old_range))
    return Removed(deleted, forgotten)


def read_nodes(warehouse: Warehouse) -> list[Node]:
    """Return all components, each with the name of its project."""
    columns = mqtt_components.c
    query = select(
        columns.component_id,
        func.coalesce(columns.name, columns.component_id),
        func.coalesce(mqtt_projects.c.name, columns.project_id),
        columns.status,
        columns.progress,
    ).outerjoin_from(
        mqtt_components, mqtt_projects, mqtt_projects.c.project_id == columns.project_id
    )
    with warehouse.reading() as connection:
        return [Node(*row) for row in connection.execute(query.order_by(columns.component_id))]


def read_edges(warehouse: Warehouse) -> list[tuple[str, str]]:
    """Return pairs of a component and one that it needs first."""
    columns = mqtt_component_dependencies.c
    query = select(columns.component_id, columns.depends_on_id)
    with warehouse.reading() as connection:
        rows = connection.execute(query.order_by(columns.component_id, columns.depends_on_id))
        return [(row.component_id, row.depends_on_id) for row in rows]
