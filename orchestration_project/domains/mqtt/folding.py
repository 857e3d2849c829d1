"""State of entities, folded from their events in the order of ts, then arrival."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from orchestration_project.domains.mqtt.entities import CREATING, DELETING, Entity, Operation


class Change(NamedTuple):
    """An event of an entity.

    Attributes:
        ts: Time of the event, UTC.
        arrival_id: Number of its arrival.
        operation: How it changes the entity.
        columns: Columns that it gives, as `Entity.read` returns them.
    """

    ts: datetime
    arrival_id: int
    operation: Operation
    columns: Mapping[str, Any]

    @property
    def place(self) -> tuple[datetime, int]:
        """Its place in the order of the fold."""
        return self.ts, self.arrival_id


class State(NamedTuple):
    """State of an entity after some events.

    Attributes:
        row: Columns that events gave; None: it is not there.
        is_deleted: Whether it was deleted, so that only a creation makes it again.
        event_count: Events that the row is made of.
        place: Place of the latest of them; None: none was folded.
    """

    row: Mapping[str, Any] | None
    is_deleted: bool
    event_count: int
    place: tuple[datetime, int] | None


UNKNOWN = State(None, False, 0, None)
"""State of an entity of which no event is known."""

DELETED = State(None, True, 0, None)


def fold(changes: Iterable[Change], start: State = UNKNOWN) -> State:
    """Return the state of an entity after events, in whichever order they are given.

    An update of an unknown entity makes a row of what it gives; a creation adds to that row. A
    deletion removes the row. Of a deleted entity, updates have no effect, and a creation starts
    a new row.

    Args:
        changes: Events of one entity, all later than those of ``start``.
        start: State before them.
    """
    state = start
    for change in sorted(changes, key=lambda each: each.place):
        if change.operation in DELETING:
            state = DELETED
        elif not state.is_deleted or change.operation in CREATING:
            row = {**(state.row or {}), **change.columns}
            row["updated_by"] = change.columns.get("updated_by")
            state = State(row, False, state.event_count + 1, change.place)
    return state


def entity_row(entity: Entity, entity_id: str, state: State) -> dict[str, Any] | None:
    """Return the row of an entity with all columns of its table; None: it is not there."""
    if state.row is None or state.place is None:
        return None
    values = {**state.row, **_build_own_columns(entity, entity_id, state)}
    return {column.name: values.get(column.name) for column in entity.table.columns}


def state_of(entity: Entity, row: Mapping[str, Any]) -> State:
    """Return the state that a row of the entity's table was made of."""
    columns = {name: row[name] for name in (*entity.keys, *entity.fields) if name in row}
    return State(columns, False, row["event_count"], (row["updated_at"], row["arrival_id"]))


def _build_own_columns(entity: Entity, entity_id: str, state: State) -> dict[str, Any]:
    updated_at, arrival_id = state.place or (None, None)
    return {
        **({"metric_id": entity_id} if entity.type == "metric" else {}),
        "updated_at": updated_at,
        "event_count": state.event_count,
        "arrival_id": arrival_id,
    }
