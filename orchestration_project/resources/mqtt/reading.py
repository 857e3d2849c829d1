"""Events of the mirror and dead letters by topic filter, kind, trace and time; what waits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, Table, func, select

from orchestration_project.domains.mqtt.tables import (
    mqtt_dead_letters,
    mqtt_mirror,
)
from orchestration_project.domains.mqtt.topics import TopicFilter
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.spine import outbox

Row = Mapping[str, Any]

OUTBOX_TOPIC = "mqtt/events"
"""Topic of the outbox with the events of commands."""

PLUGIN_TOPICS = "plugins/"
"""Begin of the topics with what plugins publish: each is the topic at the broker, too."""

MAX_BATCH_MESSAGES = 500
MAX_ROWS_READ = 10_000
"""Rows with the prefix of a filter that are read for a page: it then ends, and has a cursor."""

MAX_PAGE_CHARACTERS = 8 * 2**20
"""Characters of all payloads of a page; it has at least one row."""


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """Filter of events or dead letters; None: no condition.

    Attributes:
        since: The first time that is selected.
        until: The first time after these.
        before: An arrival: only earlier ones.
    """

    topic: TopicFilter | None = None
    kind: str | None = None
    trace_id: str | None = None
    reason_code: str | None = None
    is_dead: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    limit: int = 100


class FoundRows(NamedTuple):
    """Rows, the latest arrival first.

    Attributes:
        next_before: Arrival before which the next page begins; None: nothing is left.
    """

    rows: list[Row]
    next_before: int | None


class Waiting(NamedTuple):
    """Count of what waits, and the time of the oldest."""

    row_count: int
    oldest_at: datetime | None


def find_events(warehouse: Warehouse, wanted: EventFilter, *, seconds: float) -> FoundRows:
    """Return events of the mirror.

    Raises:
        TimeoutError: A read took longer than ``seconds``.
    """
    columns = mqtt_mirror.c
    exact = {columns.kind: wanted.kind, columns.trace_id: wanted.trace_id}
    conditions = _build_conditions(mqtt_mirror, wanted, exact, columns.ts)
    return _find_rows(warehouse, mqtt_mirror, conditions, wanted, seconds)


def find_dead_letters(warehouse: Warehouse, wanted: EventFilter, *, seconds: float) -> FoundRows:
    """Return dead letters.

    Raises:
        TimeoutError: A read took longer than ``seconds``.
    """
    columns = mqtt_dead_letters.c
    exact = {columns.kind: wanted.kind, columns.reason_code: wanted.reason_code}
    conditions = _build_conditions(mqtt_dead_letters, wanted, exact, columns.failed_at)
    if wanted.is_dead is not None:
        is_dead = columns.ended_at.is_(None)
        conditions.append(is_dead if wanted.is_dead else ~is_dead)
    return _find_rows(warehouse, mqtt_dead_letters, conditions, wanted, seconds)


def waiting_outbox(connection: Connection) -> Waiting:
    """Return the events of commands and plugins that are not published yet."""
    query = select(func.count(), func.min(outbox.c.planned_at)).where(
        outbox.c.topic.in_(published_topics(connection)), outbox.c.state == "waiting"
    )
    return Waiting(*connection.execute(query).one())


def published_topics(connection: Connection) -> list[str]:
    """Return the topics of the outbox that the bridge publishes.

    Each is found by one look into the index: a condition on the begin of a topic would read all
    rows, however old, each time that the bridge looks.
    """
    topics, topic = [OUTBOX_TOPIC], PLUGIN_TOPICS
    while True:
        following = select(func.min(outbox.c.topic)).where(outbox.c.topic > topic)
        topic = connection.execute(following).scalar() or ""
        if not topic.startswith(PLUGIN_TOPICS):
            return topics
        topics.append(topic)


def has_topic(column: ColumnElement[str], wanted: TopicFilter) -> list[ColumnElement[bool]]:
    """Return the conditions that each selected topic meets; others may meet them, too."""
    if wanted.is_exact:
        return [column == wanted.text]
    prefix = wanted.prefix
    return [func.substr(column, 1, len(prefix)) == prefix] if prefix else []


def _build_conditions(
    table: Table,
    wanted: EventFilter,
    exact: Mapping[Column[Any], str | None],
    at: ColumnElement[Any],
) -> list[ColumnElement[bool]]:
    conditions = [column == value for column, value in exact.items() if value is not None]
    if wanted.topic is not None:
        conditions += has_topic(table.c.topic, wanted.topic)
    if wanted.since is not None:
        conditions.append(at >= wanted.since)
    if wanted.until is not None:
        conditions.append(at < wanted.until)
    return conditions


def _find_rows(
    warehouse: Warehouse,
    table: Table,
    conditions: Sequence[ColumnElement[bool]],
    wanted: EventFilter,
    seconds: float,
) -> FoundRows:
    with warehouse.reading(seconds=seconds) as connection:
        arrivals, next_before = _find_arrivals(connection, table, conditions, wanted)
        rows: dict[int, Row] = {}
        for position in range(0, len(arrivals), MAX_BATCH_MESSAGES):
            some = arrivals[position : position + MAX_BATCH_MESSAGES]
            statement = select(table).where(table.c.arrival_id.in_(some))
            records = connection.execute(statement).mappings()
            rows |= {row["arrival_id"]: dict(row) for row in records}
    return FoundRows([rows[arrival] for arrival in arrivals], next_before)


def _find_arrivals(
    connection: Connection,
    table: Table,
    conditions: Sequence[ColumnElement[bool]],
    wanted: EventFilter,
) -> tuple[list[int], int | None]:
    """Return the arrivals of a page, and the one before which the next begins."""
    numbers: list[int] = []
    last, size = wanted.before, 0
    for number, (arrival_id, topic, length) in enumerate(
        _iterate_candidates(connection, table, conditions, wanted)
    ):
        if wanted.topic is None or wanted.topic.matches(topic):
            size += length
            if len(numbers) == wanted.limit or (numbers and size > MAX_PAGE_CHARACTERS):
                return numbers, last
            numbers.append(arrival_id)
        last = arrival_id
        if number + 1 == MAX_ROWS_READ:
            return numbers, last
    return numbers, None


def _iterate_candidates(
    connection: Connection,
    table: Table,
    conditions: Sequence[ColumnElement[bool]],
    wanted: EventFilter,
) -> Iterator[tuple[int, str, int]]:
    """Yield arrival, topic and characters of payload; without a filter, few more than a page."""
    columns, before = table.c, wanted.before
    is_exact = wanted.topic is None or wanted.topic.is_exact
    limit = wanted.limit + 1 if is_exact else MAX_BATCH_MESSAGES
    statement = (
        select(columns.arrival_id, columns.topic, func.length(columns.payload))
        .where(*conditions)
        .order_by(columns.arrival_id.desc())
        .limit(limit)
    )
    while True:
        requested_query = (
            statement if before is None else statement.where(columns.arrival_id < before)
        )
        rows = connection.execute(requested_query).all()
        for row in rows:
            yield row[0], row[1], row[2]
        if len(rows) < limit:
            return
        before = rows[-1][0]
