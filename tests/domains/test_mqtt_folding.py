"""State of entities: folded by ts, then arrival, whatever the order of arrival."""

import random
from datetime import timedelta

import pytest

from orchestration_project.domains.mqtt.entities import ENTITIES, Operation
from orchestration_project.domains.mqtt.folding import Change, entity_row, fold, state_of
from tests.domains.mqtt_model import START, Event, expected_row, history

PROJECT = ENTITIES["project"]


def change(event: Event) -> Change:
    _, columns = PROJECT.read(event.payload)
    return Change(event.ts, event.arrival_id, event.operation, columns)


def at(second: int, arrival: int, operation: Operation, **payload: object) -> Change:
    _, columns = PROJECT.read({"project_id": "p1", **payload})
    return Change(START + timedelta(seconds=second), arrival, operation, columns)


def row(*changes: Change):
    return entity_row(PROJECT, "p1", fold(changes))


def check(seed: int) -> None:
    events = history(seed)
    changes = [change(event) for event in events]
    random.Random(seed).shuffle(changes)  # noqa: S311 - a test
    assert entity_row(PROJECT, "p1", fold(changes)) == expected_row(events), f"seed {seed}"


@pytest.mark.parametrize("seed", range(300))
def test_a_random_history_has_the_state_of_the_model(seed):
    check(seed)


@pytest.mark.histories
def test_5000_random_histories_have_the_state_of_the_model():
    for seed in range(1_000, 6_000):
        check(seed)


def test_a_field_keeps_its_value_until_an_event_gives_another():
    found = row(
        at(0, 1, "created", name="Apollo", status="planning", updated_by="ada"),
        at(1, 2, "updated", status="active"),
        at(2, 3, "updated", owner_id="bob"),
    )
    assert found == {
        "project_id": "p1",
        "name": "Apollo",
        "description": None,
        "status": "active",
        "owner_id": "bob",
        "metadata": None,
        "updated_by": None,
        "updated_at": START + timedelta(seconds=2),
        "event_count": 3,
        "arrival_id": 3,
    }


def test_an_update_before_its_creation_is_kept():
    found = row(at(0, 1, "updated", status="active"), at(1, 2, "created", name="Apollo"))
    assert found is not None
    assert (found["name"], found["status"], found["event_count"]) == ("Apollo", "active", 2)


def test_equal_times_are_ordered_by_arrival():
    found = row(at(0, 2, "updated", name="b"), at(0, 1, "updated", name="a"))
    assert found is not None
    assert found["name"] == "b"


def test_a_deleted_entity_has_no_row_until_it_is_created_again():
    deleted = [at(0, 1, "created", name="Apollo", status="active"), at(1, 2, "deleted")]
    assert row(*deleted) is None
    assert row(*deleted, at(2, 3, "updated", name="ghost")) is None
    again = row(*deleted, at(2, 3, "updated", name="ghost"), at(3, 4, "created", name="Gemini"))
    assert again is not None
    assert (again["name"], again["status"], again["event_count"]) == ("Gemini", None, 1)


def test_a_fold_continues_from_a_stored_row():
    events = [at(0, 1, "created", name="Apollo"), at(1, 2, "updated", status="active")]
    stored = row(*events[:1])
    assert stored is not None
    continued = fold(events[1:], state_of(PROJECT, stored))
    assert entity_row(PROJECT, "p1", continued) == row(*events)


@pytest.mark.parametrize(
    ("entity_type", "payload", "columns"),
    [
        (
            "component",
            {"component_id": "c", "progress": 50.0, "status": "blocked", "position": 2},
            {"component_id": "c", "progress": 50, "status": "blocked", "position": 2},
        ),
        (
            "task",
            {"task_id": "t", "due_at": "2026-11-01T02:00:00+02:00", "title": "a\0b"},
            {"task_id": "t", "due_at": START, "title": r"a\u0000b"},
        ),
        (
            "project",
            {"project_id": "p", "metadata": {"b": [1], "a": "é"}},
            {"project_id": "p", "metadata": '{"a":"é","b":[1]}'},
        ),
        (
            "metric",
            {"name": "cpu", "value": 3, "measured_at": "2026-11-01T00:00:00Z", "unit": "%"},
            {
                "metric_id": "|cpu|2026-11-01T00:00:00Z",
                "subject_id": "",
                "name": "cpu",
                "measured_at": START,
                "value": 3.0,
                "unit": "%",
            },
        ),
    ],
)
def test_values_become_columns(entity_type, payload, columns):
    entity = ENTITIES[entity_type]
    entity_id, read = entity.read(payload)
    found = entity_row(entity, entity_id, fold([Change(START, 1, "updated", read)]))
    assert found is not None
    assert {name: found[name] for name in columns} == columns
    assert list(found) == [column.name for column in entity.table.columns]
