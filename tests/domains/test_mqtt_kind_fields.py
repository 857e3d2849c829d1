"""Members of a kind's payload as fields: their types, which are required, and static values."""

import json
from typing import Any

import pytest

from orchestration_project.domains.mqtt.kind_fields import fields_of_kind, static_problems
from orchestration_project.domains.mqtt.kinds import Kind, read_kinds
from orchestration_project.engine.contracts.matching import TargetFields

PROPERTIES: dict[str, Any] = {
    "name": {"type": "string", "maxLength": 3},
    "count": {"type": "integer"},
    "share": {"type": ["number", "null"]},
    "is_new": {"type": "boolean"},
    "at": {"type": "string", "format": "date-time"},
    "status": {"enum": ["todo", "done"]},
    "level": {"enum": [1, 2]},
    "either": {"type": ["string", "integer"]},
    "tags": {"type": "array"},
    "free": True,
}


def kind(**schema: Any) -> Kind:
    content = json.dumps(schema).encode()
    [found] = read_kinds({"order.paid.v1.json": content}).named("order.paid")
    return found


def test_types_follow_from_the_schema():
    assert fields_of_kind(kind(properties=PROPERTIES)).types == {
        "name": "text",
        "count": "integer",
        "share": "number",
        "is_new": "boolean",
        "at": "timestamp",
        "status": "text",
        "level": "json",
        "either": "json",
        "tags": "json",
        "free": "json",
    }


def test_a_required_member_that_may_be_null_is_not_required_to_have_a_value():
    found = fields_of_kind(kind(properties=PROPERTIES, required=["name", "share", "free"]))
    assert found.required == {"name"}


def test_members_that_the_schema_does_not_name_are_taken_only_if_it_names_none():
    assert fields_of_kind(kind(properties=PROPERTIES)).type_of("nmae") is None
    assert fields_of_kind(kind(type="object")) == TargetFields({}, others="json")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"name": "abc", "status": "done"}, []),
        ({"name": "abcd"}, ["name"]),
        ({"status": "gone", "tags": [1]}, ["status"]),
        ({"tags": ["a"], "count": 1.5}, ["count"]),
        ({}, []),
    ],
)
def test_static_values_are_examined_without_the_members_that_deliveries_have(values, named):
    found = static_problems(kind(properties=PROPERTIES, required=["count"]), values)
    assert [name for name, _ in found] == named
    assert "abcd" not in str(found)
