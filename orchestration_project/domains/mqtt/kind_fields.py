"""Members of a kind's payload as fields that mappings fill, with types of its JSON Schema."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestration_project.domains.mqtt.kinds import Kind
from orchestration_project.engine.contracts.matching import FieldType, TargetFields

TYPES: Mapping[str, FieldType] = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
}
"""Type of a field by that of JSON Schema; others are JSON."""


def fields_of_kind(kind: Kind) -> TargetFields:
    """Return the members of a kind's payload.

    Others are refused, also where the schema would accept them: a name is misspelled more often.
    A kind whose schema names none takes any, as JSON.
    """
    properties: Mapping[str, Any] = kind.document.get("properties", {})
    required: Sequence[str] = kind.document.get("required", ())
    return TargetFields(
        {name: _choose_type(value) for name, value in properties.items()},
        frozenset(name for name in required if not _may_be_null(properties.get(name))),
        None if properties else "json",
    )


def static_problems(kind: Kind, values: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """Return the members whose values the schema refuses, each with the reason.

    Args:
        kind: A version of a kind.
        values: Members of the payload; rules of the schema for other members are not checked.
    """
    errors = kind.schema.iter_errors(dict(values))
    return [(str(error.instance_path[0]), error.message) for error in errors if error.instance_path]


def _choose_type(schema: Any) -> FieldType:
    names = [name for name in _read_types(schema) if name != "null"]
    if len(names) != 1:
        return "json"
    is_time = names == ["string"] and schema.get("format") == "date-time"
    return "timestamp" if is_time else TYPES.get(names[0], "json")


def _may_be_null(schema: Any) -> bool:
    names = _read_types(schema)
    return not names or "null" in names


def _read_types(schema: Any) -> Sequence[str]:
    """Return the types that a schema names; none: it names no type."""
    if not isinstance(schema, dict):
        return ()
    choices = schema.get("enum", ())
    default = ["string"] if choices and all(isinstance(choice, str) for choice in choices) else []
    names = schema.get("type", default)
    return [names] if isinstance(names, str) else list(names)
