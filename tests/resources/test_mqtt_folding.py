"""Rows of entities in the database: random histories in any order of arrival, and as of a time."""

import random
from datetime import timedelta
from pathlib import Path

import pytest

from orchestration_project.domains.mqtt.entities import ENTITIES
from orchestration_project.domains.mqtt.tables import mqtt_mirror, mqtt_projects
from orchestration_project.resources.mqtt.folding import fold_again, lock_fold, rows_as_of
from tests.domains.mqtt_model import Event, expected_row, history
from tests.resources.mqtt_syncs import MqttSync, message, tolerant_kinds


@pytest.fixture
def mqtt_sync(warehouse, clock, tmp_path) -> MqttSync:
    return MqttSync(warehouse, clock, tmp_path)


@pytest.fixture
def kinds(tmp_path) -> Path:
    return tolerant_kinds(tmp_path / "kinds")


def shuffled(first_seed: int, count: int) -> list[Event]:
    """Return the events of many projects, numbered in a random order of arrival."""
    events = [
        event
        for number in range(count)
        for event in history(first_seed + number, project_id=f"p{number:03}")
    ]
    random.Random(first_seed).shuffle(events)  # noqa: S311 - a test
    return [event._replace(arrival_id=place) for place, event in enumerate(events, start=1)]


def by_project(events: list[Event]) -> list[dict]:
    of_each: dict[str, list[Event]] = {}
    for event in events:
        of_each.setdefault(event.payload["project_id"], []).append(event)
    rows = [expected_row(each) for _, each in sorted(of_each.items())]
    return [row for row in rows if row is not None]


def receive(mqtt_sync: MqttSync, events: list[Event]) -> None:
    mqtt_sync.receive(
        *(
            message(str(event.arrival_id), f"project.{event.operation}", event.payload, ts=event.ts)
            for event in events
        )
    )


def check(mqtt_sync: MqttSync, kinds: Path, seed: int, count: int) -> None:
    events = shuffled(seed, count)
    done = 0
    while done < len(events):
        some = events[done : done + 40]
        receive(mqtt_sync, some)
        mqtt_sync.run_and_expect_all_settled(max_range=25, kinds=kinds)
        done += len(some)
        assert mqtt_sync.rows(mqtt_projects) == by_project(events[:done])


@pytest.mark.slow_on_postgresql
def test_random_histories_in_any_order_of_arrival_have_the_state_of_the_model(mqtt_sync, kinds):
    check(mqtt_sync, kinds, seed=1, count=16)
    before = mqtt_sync.rows(mqtt_projects)
    with mqtt_sync.warehouse.writing() as connection:
        lock_fold(connection)
        assert fold_again(connection, "project") == len(before)
    assert mqtt_sync.rows(mqtt_projects) == before


@pytest.mark.slow
@pytest.mark.parametrize("seed", [100_000, 200_000, 300_000, 400_000])
def test_more_random_histories_have_the_state_of_the_model(mqtt_sync, kinds, seed):
    check(mqtt_sync, kinds, seed, count=150)


@pytest.mark.slow_after_first
def test_rows_as_of_a_time_are_folded_from_what_the_mirror_had(mqtt_sync, kinds):
    events = shuffled(7, 6)
    half = len(events) // 2
    receive(mqtt_sync, events[:half])
    mqtt_sync.run_and_expect_all_settled(kinds=kinds)
    at = max(row["known_from"] for row in mqtt_sync.rows(mqtt_mirror))
    receive(mqtt_sync, events[half:])
    mqtt_sync.run_and_expect_all_settled(kinds=kinds)
    with mqtt_sync.warehouse.reading() as connection:
        then = rows_as_of(connection, "project", at)
        never = rows_as_of(connection, "project", at - timedelta(days=1))
    assert sorted(then.to_dicts(), key=lambda row: row["project_id"]) == by_project(events[:half])
    assert then.columns == [column.name for column in ENTITIES["project"].table.columns]
    assert never.is_empty()
