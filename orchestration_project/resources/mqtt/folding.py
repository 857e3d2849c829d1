"""Rows of entities in the database, folded from the mirror: as events arrive, or of a time.

A fold reads what it needs by indexes: the entity's row, and of late events what follows them. So
its time does not depend on the size of the mirror.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby, islice
from typing import Any, NamedTuple

import polars as pl
from sqlalchemy import Connection, Row, and_, delete, or_, select, union_all

from orchestration_project.domains.mqtt.entities import DELETING, ENTITIES, OPERATIONS, Entity
from orchestration_project.domains.mqtt.folding import (
    DELETED,
    UNKNOWN,
    Change,
    State,
    entity_row,
    fold,
    state_of,
)
from orchestration_project.domains.mqtt.tables import mqtt_mirror
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse.frames import (
    build_frame,
    delete_rows,
    insert_frame,
    read_keys,
)
from orchestration_project.tables.catalogue import relation, relation_as_of
from orchestration_project.tables.schema import key_names

FOLD_LOCK = "mqtt/fold"
"""Row of `leases` that every transaction locks which writes the mirror and folds."""

IDS_PER_STATEMENT = 500
ROWS_PER_BATCH = 20_000

_OF_CHANGE = ("entity_id", "ts", "arrival_id", "operation", "payload")
_Place = tuple[datetime, int]


class EntityEvent(NamedTuple):
    """An event that was added to the mirror, and the entity that it changes."""

    entity_type: str
    entity_id: str
    change: Change


def lock_fold(connection: Connection) -> None:
    """Have others that write the mirror wait until this transaction ends."""
    lock_row(connection, FOLD_LOCK)


def fold_events(connection: Connection, events: Iterable[EntityEvent]) -> Mapping[str, int]:
    """Bring the rows of entities up to date with events that this transaction added to the mirror.

    Args:
        connection: A transaction that writes, and has called `lock_fold` before it wrote.
        events: The events that it added.

    Returns:
        The number of entities that were folded, by type.
    """
    by_type: dict[str, dict[str, list[Change]]] = {}
    for event in events:
        of_type = by_type.setdefault(event.entity_type, {})
        of_type.setdefault(event.entity_id, []).append(event.change)
    for entity_type, changes in sorted(by_type.items()):
        entity = ENTITIES[entity_type]
        stored = _read_stored_states(connection, entity, list(changes))
        states = _fold_states(connection, entity, changes, stored)
        rows = [entity_row(entity, entity_id, state) for entity_id, state in states.items()]
        delete_rows(connection, entity.table, _split_keys(entity, list(stored)))
        _insert(connection, entity, [row for row in rows if row is not None])
    return {entity_type: len(changes) for entity_type, changes in by_type.items()}


def fold_again(connection: Connection, entity_type: str) -> int:
    """Replace all rows of a type of entity by those that the mirror has events of.

    Args:
        connection: A transaction that writes, and has called `lock_fold`.
        entity_type: The type.

    Returns:
        The number of rows.
    """
    entity = ENTITIES[entity_type]
    connection.execute(delete(entity.table))
    count = 0
    rows = _fold_rows_as_of(connection, entity, None)
    while some := list(islice(rows, ROWS_PER_BATCH)):
        _insert(connection, entity, some)
        count += len(some)
    return count


def rows_as_of(connection: Connection, entity_type: str, at: datetime) -> pl.DataFrame:
    """Return the rows of a type of entity, folded from the events that the mirror had at a time."""
    entity = ENTITIES[entity_type]
    return build_frame(list(_fold_rows_as_of(connection, entity, at)), entity.table)


def _fold_rows_as_of(
    connection: Connection, entity: Entity, at: datetime | None
) -> Iterator[dict[str, Any]]:
    name = mqtt_mirror.name
    source = relation(name) if at is None else relation_as_of(name, at)
    parts = [
        select(*(part.rows.c[column] for column in _OF_CHANGE)).where(
            *part.conditions, part.rows.c.entity_type == entity.type
        )
        for part in source.parts
    ]
    statement = union_all(*parts) if len(parts) > 1 else parts[0]
    ordered = statement.order_by(statement.selected_columns.entity_id)
    records = connection.execute(ordered.execution_options(yield_per=ROWS_PER_BATCH))
    for entity_id, rows in groupby(records, key=lambda row: row.entity_id):
        row = entity_row(entity, entity_id, fold(_change(entity, item) for item in rows))
        if row is not None:
            yield row


def _fold_states(
    connection: Connection,
    entity: Entity,
    changes: Mapping[str, list[Change]],
    stored: Mapping[str, State],
) -> Mapping[str, State]:
    """Return the state of each entity after its new events."""
    states: dict[str, State] = {}
    late: dict[str, _Place] = {}
    for entity_id, new in changes.items():
        before, first = stored.get(entity_id), min(change.place for change in new)
        if before is not None and before.place is not None and before.place < first:
            states[entity_id] = fold(new, before)
        else:
            late[entity_id] = first
    deletions = _find_deletions(connection, entity, late)
    whole = [name for name in late if name not in deletions and name not in stored]
    histories = _read_histories(connection, entity, whole)
    for entity_id in whole:
        states[entity_id] = fold(histories[entity_id], UNKNOWN)
    for entity_id in late.keys() - set(whole):
        start, pair = _start(entity_id, late, deletions, stored)
        tail = _read_history_from(connection, entity, entity_id, pair)
        if start is not DELETED:
            new = {change.arrival_id for change in changes[entity_id]}
            counted = sum(change.arrival_id not in new for change in tail)
            start = start._replace(event_count=start.event_count - counted)
        states[entity_id] = fold(tail, start)
    return states


def _start(
    entity_id: str,
    late: Mapping[str, _Place],
    deletions: Mapping[str, _Place],
    stored: Mapping[str, State],
) -> tuple[State, _Place]:
    """Return the state that events from a place on are folded on, and the place.

    After a deletion nothing before it counts. Without one, the stored row has all values of the
    events before the place; those after it give theirs again.
    """
    if entity_id in deletions:
        return DELETED, deletions[entity_id]
    return stored[entity_id], late[entity_id]


def _read_stored_states(
    connection: Connection, entity: Entity, entity_ids: Sequence[str]
) -> Mapping[str, State]:
    rows = read_keys(connection, entity.table, _split_keys(entity, entity_ids))
    key = key_names(entity.table)
    return {
        "|".join(row[name] for name in key): state_of(entity, row)
        for row in rows.iter_rows(named=True)
    }


def _split_keys(entity: Entity, entity_ids: Sequence[str]) -> pl.DataFrame:
    """Return the keys of the table's rows of entities."""
    key = key_names(entity.table)
    parts = [[identifier] if len(key) == 1 else identifier.split("|") for identifier in entity_ids]
    return pl.DataFrame(parts, dict.fromkeys(key, pl.String()), orient="row")


def _find_deletions(
    connection: Connection, entity: Entity, before: Mapping[str, _Place]
) -> Mapping[str, _Place]:
    """Return the place of the latest deletion of each entity before a place, if there is one."""
    columns = mqtt_mirror.c
    deletions: dict[str, _Place] = {}
    for some in _iterate_slices(list(before)):
        row_query = select(columns.entity_id, columns.ts, columns.arrival_id).where(
            columns.entity_type == entity.type,
            columns.entity_id.in_(some),
            columns.operation.in_(sorted(DELETING)),
        )
        for entity_id, ts, arrival_id in connection.execute(row_query):
            pair = (ts, arrival_id)
            if pair < before[entity_id]:
                deletions[entity_id] = max(deletions.get(entity_id, pair), pair)
    return deletions


def _read_histories(
    connection: Connection, entity: Entity, entity_ids: Sequence[str]
) -> Mapping[str, list[Change]]:
    """Return all events of each entity."""
    columns = mqtt_mirror.c
    histories: dict[str, list[Change]] = {entity_id: [] for entity_id in entity_ids}
    for some in _iterate_slices(entity_ids):
        query = select(*(columns[name] for name in _OF_CHANGE)).where(
            columns.entity_type == entity.type, columns.entity_id.in_(some)
        )
        for row in connection.execute(query):
            histories[row.entity_id].append(_change(entity, row))
    return histories


def _read_history_from(
    connection: Connection, entity: Entity, entity_id: str, place: _Place
) -> list[Change]:
    """Return the events of an entity from a place on."""
    columns = mqtt_mirror.c
    ts, arrival_id = place
    query = select(*(columns[name] for name in _OF_CHANGE)).where(
        columns.entity_type == entity.type,
        columns.entity_id == entity_id,
        columns.operation.in_(OPERATIONS),  # so that the index finds the range of times
        columns.ts >= ts,
        or_(columns.ts > ts, and_(columns.ts == ts, columns.arrival_id >= arrival_id)),
    )
    return [_change(entity, row) for row in connection.execute(query)]


def _iterate_slices(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), IDS_PER_STATEMENT):
        yield ids[start : start + IDS_PER_STATEMENT]


def _change(entity: Entity, row: Row[Any]) -> Change:
    _, columns = entity.read(json.loads(row.payload))
    return Change(row.ts, row.arrival_id, row.operation, columns)


def _insert(connection: Connection, entity: Entity, rows: Sequence[Mapping[str, Any]]) -> None:
    insert_frame(connection, entity.table, build_frame(rows, entity.table))
