"""Commands through the API: entity, mirror and outbox together, and each request once."""

import json
from typing import Any

import pytest
from sqlalchemy import Table, insert, select

from orchestration_project.client import ApiError, Client
from orchestration_project.domains.mqtt.tables import (
    mqtt_mirror,
    mqtt_projects,
    mqtt_seen_keys,
    mqtt_tasks,
)
from orchestration_project.tables.access import access_audit
from orchestration_project.tables.spine import outbox
from tests.gateway.api.conftest import HOME
from tests.gateway.api.mqtt_rows import clear, mirror_row


@pytest.fixture
def tracker(api):
    """An installation without events."""
    clear(api.services.warehouse)
    yield api
    clear(api.services.warehouse)


def rows(api: Any, table: Table) -> list[dict[str, Any]]:
    """Return the rows of a table by its key."""
    with api.services.warehouse.reading() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
        return [dict(row) for row in found]


def published(api: Any) -> list[tuple[str, int, str, dict[str, Any]]]:
    """Return entity, version, topic and envelope of each row of the outbox."""
    found = []
    for row in rows(api, outbox):
        if row["topic"] == "mqtt/events":
            payload = json.loads(row["payload"])
            envelope = json.loads(payload["message"])
            found.append((row["entity"], row["version_number"], payload["topic"], envelope))
    return found


def test_a_command_writes_entity_mirror_seen_key_and_outbox(tracker):
    body = {"name": "Apollo", "status": "planning", "metadata": {"b": [1, 0.5], "a": "Grüße"}}
    answer = tracker.ask("POST", "/mqtt/projects", json=body)
    assert answer.status_code == 201, answer.text
    entity = answer.json()
    project_id, key = entity["entity_id"], entity["idempotency_key"]
    assert not entity["is_repeated"]
    assert entity["row"]["metadata"] == '{"a":"Grüße","b":[1,0.5]}'
    [row] = rows(tracker, mqtt_projects)
    assert (row["project_id"], row["name"], row["status"]) == (project_id, "Apollo", "planning")
    assert (row["updated_by"], row["event_count"]) == ("the operator", 1)
    [mirrored] = rows(tracker, mqtt_mirror)
    assert (mirrored["idempotency_key"], mirrored["kind"]) == (key, "project.created")
    assert (mirrored["topic"], mirrored["operation"]) == (
        f"tracker/events/projects/{project_id}",
        "created",
    )
    [(name, version, topic, envelope)] = published(tracker)
    assert (name, version, topic) == (f"project|{project_id}", 1, mirrored["topic"])
    assert envelope["idempotency_key"] == key
    assert envelope["payload"] == {
        "project_id": project_id,
        **body,
        "updated_by": "the operator",
    }
    assert json.loads(mirrored["payload"]) == envelope["payload"]
    [seen] = rows(tracker, mqtt_seen_keys)
    assert seen["idempotency_key"] == key
    assert tracker.get(f"/mqtt/projects/{project_id}")["row"] == entity["row"]
    download = tracker.ask("GET", f"/artifacts/{_capture_sha256(tracker)}", "viewer")
    assert json.loads(download.content) == envelope


def _capture_sha256(api: Any) -> str:
    [capture] = api.get("/artifacts?where=source=demo&where=dataset=messages&limit=1")["captures"]
    return capture["sha256"]


@pytest.mark.slow
def test_an_entity_is_created_updated_deleted_and_created_again(tracker):
    tracker.post("/mqtt/projects", {"project_id": "p", "name": "P"})
    tracker.post("/mqtt/tasks", {"task_id": "a/b+c", "project_id": "p", "title": "T"})
    assert tracker.expect_problem("POST", "/mqtt/tasks/none", json={"title": "U"})["status"] == 404
    tracker.post("/mqtt/components", {"component_id": "c", "project_id": "p", "name": "C"})
    changed = tracker.post("/mqtt/components/c", {"status": "blocked", "progress": 40})
    assert (changed["row"]["name"], changed["row"]["progress"]) == ("C", 40)
    changed = tracker.post("/mqtt/components/c", {"progress": 0, "position": None})
    assert (changed["row"]["progress"], changed["row"]["position"]) == (0, None)
    gone = tracker.ask("DELETE", "/mqtt/components/c")
    assert (gone.status_code, gone.json()["row"]) == (200, None)
    assert tracker.expect_problem("GET", "/mqtt/components/c", "viewer")["status"] == 404
    assert tracker.expect_problem("DELETE", "/mqtt/components/c")["status"] == 404
    assert (
        tracker.expect_problem("POST", "/mqtt/components/c", json={"progress": 1})["status"] == 404
    )
    again = tracker.post("/mqtt/components", {"component_id": "c", "project_id": "p", "name": "D"})
    assert (again["row"]["name"], again["row"]["progress"]) == ("D", None)
    assert again["row"]["event_count"] == 1
    versions = [(entity, version) for entity, version, _, _ in published(tracker)]
    of_component = [("component|c", version) for version in range(1, 6)]
    assert versions == [*of_component, ("project|p", 1), ("task|a/b+c", 1)]
    [*_, (_, _, topic, _)] = published(tracker)
    assert topic == "tracker/events/tasks/a%2Fb%2Bc"
    arrivals = [row["arrival_id"] for row in rows(tracker, mqtt_mirror)]
    assert sorted(arrivals) == list(range(min(arrivals), min(arrivals) + 7))


@pytest.mark.slow
def test_a_request_is_done_once_for_its_key_and_another_one_with_it_is_refused(tracker):
    key = {"Idempotency-Key": "first"}
    made = tracker.post("/mqtt/projects", {"name": "Apollo"}, **key)
    again = tracker.post("/mqtt/projects", {"name": "Apollo"}, **key)
    assert again == {**made, "is_repeated": True}
    other = tracker.expect_problem("POST", "/mqtt/projects", json={"name": "Gemini"}, headers=key)
    assert (other["status"], other["category"]) == (409, "conflict")
    by_another = tracker.post("/mqtt/projects", {"name": "Gemini"}, "admin", **key)
    assert not by_another["is_repeated"]
    assert len(rows(tracker, mqtt_projects)) == len(published(tracker)) == 2
    path = f"/mqtt/projects/{made['entity_id']}"
    for is_repeated in (False, True):
        done = tracker.ask("DELETE", path, headers={"Idempotency-Key": "gone"}).json()
        assert (done["row"], done["is_repeated"]) == (None, is_repeated)
    headers = {"Idempotency-Key": "with blanks"}
    assert tracker.expect_problem("DELETE", path, headers=headers)["status"] == 422


def test_a_project_is_created_once_and_its_id_is_taken_then(tracker):
    tracker.post("/mqtt/projects", {"project_id": "p", "name": "Apollo"})
    problem = tracker.expect_problem(
        "POST", "/mqtt/projects", json={"project_id": "p", "name": "B"}
    )
    assert (problem["status"], problem["detail"]) == (409, "project already exists: p")
    assert len(rows(tracker, mqtt_mirror)) == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/mqtt/projects", {}),
        ("POST", "/mqtt/projects", {"name": ""}),
        ("POST", "/mqtt/projects", {"name": "x", "nothing": 1}),
        ("POST", "/mqtt/projects", {"name": "a\0b"}),
        ("POST", "/mqtt/projects", {"name": "x", "project_id": "a|b"}),
        ("POST", "/mqtt/projects", {"name": "x", "metadata": {"n": 2**64}}),
        ("POST", "/mqtt/projects", {"name": "x", "metadata": [1]}),
        ("POST", "/mqtt/projects", {"name": "x", "status": "banana"}),
        ("POST", "/mqtt/projects/1", {}),
        ("POST", "/mqtt/projects/1", {"name": None}),
        ("POST", "/mqtt/components", {"project_id": "p", "name": "C", "progress": 101}),
        ("POST", "/mqtt/components", {"project_id": "p", "name": "C", "status": "open"}),
        ("POST", "/mqtt/tasks", {"project_id": "p", "title": "T", "due_at": "tomorrow"}),
        ("POST", "/mqtt/tasks", {"project_id": "p", "title": "T", "due_at": "1066-10-14T00:00Z"}),
    ],
)
def test_an_invalid_command_changes_nothing_and_says_what_is_expected(tracker, method, path, body):
    problem = tracker.expect_problem(method, path, json=body)
    assert problem["status"] == 422
    assert problem["errors"][0]["problem"]
    assert not rows(tracker, mqtt_mirror)
    assert not published(tracker)


def test_deep_nesting_and_numbers_that_json_lacks_are_refused(tracker):
    headers = {"content-type": "application/json"}
    deep = '{"a":' * 70 + "1" + "}" * 70
    for metadata in (deep, '{"n": NaN}', '{"n": 1e999}'):
        content = f'{{"name": "x", "metadata": {metadata}}}'
        answer = tracker.ask("POST", "/mqtt/projects", content=content, headers=headers)
        assert answer.status_code == 422, (metadata[:10], answer.text)


def test_who_may_only_read_sends_no_commands_and_each_is_audited(tracker):
    body = {"name": "Apollo"}
    assert tracker.expect_problem("POST", "/mqtt/projects", "viewer", json=body)["status"] == 403
    assert tracker.audited() == ("POST /mqtt/projects", "refused", "the viewer")
    assert tracker.expect_problem("DELETE", "/mqtt/projects/1", "viewer")["status"] == 403
    made = tracker.post("/mqtt/projects", body)
    assert tracker.audited() == ("POST /mqtt/projects", "done", "the operator")
    tracker.expect_problem("DELETE", "/mqtt/tasks/none")
    assert tracker.audited() == ("DELETE /mqtt/tasks", "failed", "the operator")
    row = access_audit.c
    wanted = select(row.outcome, row.target).where(row.target.contains(made["entity_id"]))
    with tracker.services.warehouse.reading() as connection:
        [found] = connection.execute(wanted).all()
    assert found.outcome == "done"
    assert "Apollo" not in found.target


def test_a_command_counts_after_an_event_whose_clock_is_ahead(tracker):
    ahead = "2999-01-01T00:00:00Z"
    made = tracker.post("/mqtt/projects", {"project_id": "p", "name": "first"})
    payload = {"project_id": "p", "name": "of the future"}
    late = {"ts": tracker.services.clock.now().replace(year=2999), "operation": "updated"}
    row = mirror_row(9_000_000, "tracker/events/projects/p", entity_id="p", payload=payload, **late)
    with tracker.services.warehouse.writing() as connection:
        connection.execute(insert(mqtt_mirror), row)
        connection.execute(
            mqtt_projects.update().values(name="of the future", updated_at=late["ts"])
        )
    found = tracker.post("/mqtt/projects/p", {"name": "ours"})
    assert found["row"]["name"] == "ours"
    assert found["row"]["updated_at"][:4] == ahead[:4]
    assert made["row"]["name"] == "first"


@pytest.mark.slow
def test_a_field_names_an_entity_that_exists(tracker):
    tracker.post("/mqtt/projects", {"project_id": "p", "name": "P"})
    component = {"component_id": "c", "project_id": "q", "name": "C"}
    problem = tracker.expect_problem("POST", "/mqtt/components", json=component)
    assert problem["status"] == 422
    assert "project_id: expected a project that exists, found 'q'" in str(problem)
    tracker.post("/mqtt/components", {**component, "project_id": "p"})
    tracker.post("/mqtt/tasks", {"task_id": "t", "project_id": "p", "title": "T"})
    for path, body in (("components/c", {"project_id": "q"}), ("tasks/t", {"component_id": "d"})):
        assert tracker.expect_problem("POST", f"/mqtt/{path}", json=body)["status"] == 422
    assert tracker.post("/mqtt/tasks/t", {"component_id": "c"})["row"]["component_id"] == "c"
    assert tracker.post("/mqtt/tasks/t", {"component_id": None})["row"]["component_id"] is None
    tracker.ask("DELETE", "/mqtt/projects/p")
    assert tracker.post("/mqtt/components/c", {"progress": 7})["row"]["progress"] == 7


@pytest.mark.slow
def test_times_of_a_task_are_in_utc(tracker):
    tracker.post("/mqtt/projects", {"project_id": "p", "name": "P"})
    body = {"project_id": "p", "title": "T", "due_at": "2026-11-02T12:00:00+02:00"}
    made = tracker.post("/mqtt/tasks", body)
    assert made["row"]["due_at"] == "2026-11-02T10:00:00Z"
    [row] = rows(tracker, mqtt_tasks)
    assert row["status"] is None


@pytest.mark.slow
def test_the_client_sends_commands_that_are_safe_to_repeat(tracker):
    with Client(HOME, str(tracker.keys["operator"]), transport=tracker) as client:
        made = client.mqtt_create("projects", {"name": "Apollo"}, idempotency_key="k")
        assert client.mqtt_create("projects", {"name": "Apollo"}, idempotency_key="k").is_repeated
        path = made.entity_id
        assert made.row is not None
        changed = client.mqtt_update("projects", path, {"description": "Moon", "owner_id": "a"})
        changed = client.mqtt_update("projects", path, {"description": None})
        assert changed.row is not None
        assert (changed.row["description"], changed.row["owner_id"]) == (None, "a")
        assert client.mqtt_delete("projects", path).row is None
        with pytest.raises(ApiError, match="404"):
            client.mqtt_delete("projects", path)
    assert [version for _, version, _, _ in published(tracker)] == [1, 2, 3, 4]
