"""Entities that events change: their tables, their keys, and values of payloads as columns."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sqlalchemy import Table

from orchestration_project.domains.mqtt.envelope import MAX_INTEGER, canonical_json, parse_time
from orchestration_project.domains.mqtt.tables import (
    mqtt_component_dependencies,
    mqtt_components,
    mqtt_metrics,
    mqtt_projects,
    mqtt_tasks,
)

EntityType = Literal["project", "component", "component_dependency", "task", "metric"]
Operation = Literal["created", "updated", "deleted", "added", "removed", "recorded"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
CREATING = frozenset({"created", "added"})
"""Operations that start an entity: what it had before is dropped."""
DELETING = frozenset({"deleted", "removed"})

ID = re.compile(r"[^|\x00-\x1f\x7f]{1,200}")
"""IDs of entities: an ID of several parts joins them by |."""

COMPONENT_STATUSES = ("pending", "in_progress", "completed", "blocked")
TASK_STATUSES = ("todo", "in_progress", "review", "done")

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Entity:
    """A type of entity.

    Attributes:
        type: Its name.
        table: Table with one row per entity that is there.
        topics: Level of its topics, as in ``tracker/events/<level>/<id>``.
        keys: Members of the payload that its ID is made of, with the function that reads each.
        fields: Other members of the payload that are columns, with the function that reads each.
            A value that is not as expected raises ``ValueError`` with what was expected.
    """

    type: EntityType
    table: Table
    topics: str
    keys: Mapping[str, Convert]
    fields: Mapping[str, Convert]

    def read(self, payload: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the entity's ID, and the columns that a payload gives.

        Raises:
            ValueError: A key is missing, or a value is not as its column expects.
        """
        columns: dict[str, Any] = {}
        for name, convert in self.keys.items():
            if payload.get(name) is None and name != "subject_id":
                raise ValueError(f"{name}: expected a value, found none")
            columns[name] = _convert_value(name, convert, payload.get(name))
        entity_id = "|".join(_format_key(columns[name]) for name in self.keys)
        for name, convert in self.fields.items():
            if name in payload:
                columns[name] = _convert_value(name, convert, payload[name])
        return entity_id, columns


def stored_text(text: str) -> str:
    """Return a text as a column stores it: with NUL, as escaped JSON text."""
    return json.dumps(text, ensure_ascii=False)[1:-1] if "\0" in text else text


def _convert_value(name: str, convert: Convert, value: Any) -> Any:
    try:
        return convert(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _format_key(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)


def _read_id(value: Any) -> str:
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise ValueError("expected 1 to 200 characters without | and control characters")
    return value


def _read_subject(value: Any) -> str:
    return "" if value is None or value == "" else _read_id(value)


def _read_text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError("expected a text")
    return None if value is None else stored_text(value)


def _read_one_of(*values: str) -> Convert:
    def convert(value: Any) -> str | None:
        if value is not None and value not in values:
            raise ValueError(f"expected {', '.join(values)}")
        return value

    return convert


def _read_integer(first: int, last: int) -> Convert:
    def convert(value: Any) -> int | None:
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not first <= value <= last or value != int(value):
            raise ValueError(f"expected an integer from {first} to {last}")
        return int(value)

    return convert


def _read_number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError("expected a number")
    return float(value)


def _read_time(value: Any) -> datetime | None:
    if value is None:
        return None
    time = parse_time(value) if isinstance(value, str) else None
    if time is None:
        raise ValueError("expected a time with its zone, e.g. 2026-11-01T00:00:00Z")
    return time


def _read_object(value: Any) -> str | None:
    if value is not None and not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return None if value is None else canonical_json(value)


_POSITION = _read_integer(0, MAX_INTEGER)

ENTITIES: Mapping[str, Entity] = {
    entity.type: entity
    for entity in (
        Entity(
            "project",
            mqtt_projects,
            "projects",
            {"project_id": _read_id},
            {
                "name": _read_text,
                "description": _read_text,
                "status": _read_text,
                "owner_id": _read_text,
                "metadata": _read_object,
                "updated_by": _read_text,
            },
        ),
        Entity(
            "component",
            mqtt_components,
            "components",
            {"component_id": _read_id},
            {
                "project_id": _read_text,
                "name": _read_text,
                "status": _read_one_of(*COMPONENT_STATUSES),
                "progress": _read_integer(0, 100),
                "position": _POSITION,
                "updated_by": _read_text,
            },
        ),
        Entity(
            "component_dependency",
            mqtt_component_dependencies,
            "component_dependencies",
            {"component_id": _read_id, "depends_on_id": _read_id},
            {"updated_by": _read_text},
        ),
        Entity(
            "task",
            mqtt_tasks,
            "tasks",
            {"task_id": _read_id},
            {
                "project_id": _read_text,
                "component_id": _read_text,
                "title": _read_text,
                "status": _read_one_of(*TASK_STATUSES),
                "assignee_id": _read_text,
                "due_at": _read_time,
                "completed_at": _read_time,
                "updated_by": _read_text,
            },
        ),
        Entity(
            "metric",
            mqtt_metrics,
            "metrics",
            {"subject_id": _read_subject, "name": _read_id, "measured_at": _read_time},
            {"value": _read_number, "unit": _read_text},
        ),
    )
}
"""Entities by type."""
