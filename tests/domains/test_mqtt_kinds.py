"""Kinds of events: shipped ones, versions, and files that are broken."""

import json
from pathlib import Path

import pytest

from orchestration_project.domains.mqtt.entities import ENTITIES
from orchestration_project.domains.mqtt.envelope import Refusal
from orchestration_project.domains.mqtt.kinds import KindMatch, read_kinds
from orchestration_project.resources.mqtt.kinds import read_kind_files

SHIPPED = read_kind_files(Path(__file__).resolve().parents[2] / "config/kinds")

STRICT = {"type": "object", "required": ["note"], "properties": {"note": {"type": "string"}}}


def kinds_of(**files: object):
    return read_kinds(
        {
            f"{name.replace('__', '.')}.json": file
            if isinstance(file, bytes)
            else json.dumps(file).encode()
            for name, file in files.items()
        }
    )


def test_the_shipped_kinds_are_valid():
    assert SHIPPED.problems == {}
    assert sorted(SHIPPED.versions) == [
        *("component.created", "component.deleted", "component.updated"),
        *("component_dependency.added", "component_dependency.removed", "metric.recorded"),
        *("project.created", "project.deleted", "project.updated"),
        *("task.created", "task.deleted", "task.updated"),
    ]


@pytest.mark.parametrize(
    ("kind", "payload", "entity_type", "entity_id", "operation"),
    [
        ("project.created", {"project_id": "p1", "name": "Apollo"}, "project", "p1", "created"),
        (
            "project.updated",
            {"project_id": "p1", "metadata": {"a": [1]}},
            "project",
            "p1",
            "updated",
        ),
        ("project.deleted", {"project_id": "p1", "updated_by": "u"}, "project", "p1", "deleted"),
        ("component.updated", {"component_id": "c", "progress": 50.0}, "component", "c", "updated"),
        ("task.updated", {"task_id": "t", "due_at": None}, "task", "t", "updated"),
        (
            "component_dependency.added",
            {"component_id": "c1", "depends_on_id": "c2"},
            "component_dependency",
            "c1|c2",
            "added",
        ),
        (
            "metric.recorded",
            {"name": "cpu", "value": 1, "measured_at": "2026-11-01T02:00:00+02:00"},
            "metric",
            "|cpu|2026-11-01T00:00:00Z",
            "recorded",
        ),
    ],
)
def test_a_payload_leads_to_its_entity(kind, payload, entity_type, entity_id, operation):
    expected = (kind, 1, entity_type, entity_id, operation)
    for name in (kind, f"{kind}.v1"):
        match = SHIPPED.match(name, payload)
        assert isinstance(match, KindMatch)
        assert match[:5] == expected
        assert match.columns == ENTITIES[entity_type].read(payload)[1]


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        (
            "project.created",
            {"project_id": "p1"},
            'project.created.v1: payload: "name" is a required',
        ),
        ("project.updated", {"project_id": 1}, "project_id: the value is not of type"),
        ("project.updated", {"project_id": "a|b"}, "project_id: the value does not match"),
        (
            "component.updated",
            {"component_id": "c", "progress": 101},
            "progress: the value is greater",
        ),
        (
            "component.updated",
            {"component_id": "c", "progress": 0.5},
            "progress: the value is not of",
        ),
        ("task.updated", {"task_id": "t", "status": "blocked"}, "status: the value is not one of"),
        (
            "task.updated",
            {"task_id": "t", "due_at": "soon"},
            'due_at: the value is not a "date-time"',
        ),
        ("task.updated", {"task_id": "t", "due_at": "2026-11-01T23:59:60Z"}, "due_at: "),
        (
            "metric.recorded",
            {"name": "a", "value": "1", "measured_at": "2026-11-01T00:00:00Z"},
            "value",
        ),
    ],
)
def test_a_payload_that_no_version_accepts_is_refused(kind, payload, reason):
    found = SHIPPED.match(kind, payload)
    assert isinstance(found, Refusal)
    assert (found.reason_code, found.kind) == ("schema", kind)
    assert reason in found.reason


def test_without_version_the_newest_that_accepts_is_taken():
    kinds = kinds_of(
        note__added__v1={"type": "object"},
        note__added__v2=STRICT,
        note__added__v10={**STRICT, "required": ["note", "author"]},
    )
    assert kinds.match("note.added", {"note": "a", "author": "b"}) == KindMatch("note.added", 10)
    assert kinds.match("note.added", {"note": "a"}) == KindMatch("note.added", 2)
    assert kinds.match("note.added", {}) == KindMatch("note.added", 1)
    assert isinstance(kinds.match("note.added.v2", {}), Refusal)


def test_an_unknown_kind_is_accepted_as_it_was_written():
    assert SHIPPED.match("invoice.sent", {}) == KindMatch("invoice.sent")
    assert SHIPPED.match("project.updated.v9", {}) == KindMatch("project.updated.v9")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "Expecting property name"),
        (b"\xff", "'utf-8' codec can't decode"),
        (b"[" * 100_000, "recursion"),
        ([], "expected a JSON object"),
        ({"type": "objectt"}, "is not valid under any of the schemas"),
        ({"$ref": "https://example.org/a.json"}, "Retrieval is disabled"),
        ({"$ref": "file:///etc/passwd"}, "Retrieval is disabled"),
        ({"properties": {"a": {"format": "colour"}}}, "Unknown format"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "invalid $schema"),
        ({"x-entity": "invoice", "x-operation": "created"}, "invalid x-entity"),
        ({"x-entity": ["project"], "x-operation": "created"}, "invalid x-entity"),
        ({"x-entity": "project", "x-operation": "renamed"}, "invalid x-operation"),
        ({"x-operation": "created"}, "invalid x-operation"),
        ({"x-entity": "project"}, "invalid x-operation"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_broken_file_is_named_and_the_others_stay(content, problem):
    kinds = kinds_of(note__added__v1=STRICT, note__broken__v1=content)
    assert list(kinds.versions) == ["note.added"]
    assert list(kinds.problems) == ["note.broken.v1.json"]
    assert problem in kinds.problems["note.broken.v1.json"]


@pytest.mark.parametrize("name", ["note", "note__added", "note__added__v0", "Note__added__v1"])
def test_a_file_name_without_kind_and_version_is_named(name):
    kinds = kinds_of(**{name: STRICT})
    assert "expected <kind>.v<version>.json" in kinds.problems[f"{name.replace('__', '.')}.json"]


def test_a_kind_of_the_user_must_fit_the_entity_that_it_changes():
    kinds = kinds_of(project__moved__v1={"x-entity": "project", "x-operation": "updated"})
    payload = {"project_id": "p1", "name": "Apollo"}
    assert kinds.match("project.moved", payload) == KindMatch(
        "project.moved", 1, "project", "p1", "updated", payload
    )
    for payload, reason in (
        ({}, "project_id: expected a value, found none"),
        ({"project_id": "p1", "name": 5}, "name: expected a text"),
    ):
        found = kinds.match("project.moved", payload)
        assert isinstance(found, Refusal)
        assert reason in found.reason


def test_files_of_a_folder(tmp_path):
    (tmp_path / "note.added.v1.json").write_text(json.dumps(STRICT))
    (tmp_path / "big.one.v1.json").write_bytes(b" " * 1_000_001)
    (tmp_path / "folder.one.v1.json").mkdir()
    kinds = read_kind_files(tmp_path)
    assert list(kinds.versions) == ["note.added"]
    assert kinds.problems == {
        "big.one.v1.json": "expected up to 1000000 bytes",
        "folder.one.v1.json": "not readable: Is a directory",
    }
    assert read_kind_files(tmp_path / "missing").versions == {}
