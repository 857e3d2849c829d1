"""MQTT through the API: events of the mirror, dead letters, bridges and project state."""

import base64
from datetime import timedelta
from urllib.parse import quote

import pytest
from sqlalchemy import insert, update

from orchestration_project.client import Client
from orchestration_project.domains.mqtt.tables import (
    mqtt_bridges,
    mqtt_component_dependencies,
    mqtt_components,
    mqtt_cursors,
    mqtt_dead_letters,
    mqtt_metrics,
    mqtt_mirror,
    mqtt_projects,
    mqtt_tasks,
)
from orchestration_project.resources.mqtt import reading
from orchestration_project.tables.spine import outbox
from tests.gateway.api import mqtt_rows
from tests.gateway.api.conftest import HOME
from tests.gateway.api.mqtt_rows import START, clear, dead_letter, mirror_row, receive

FOLDED = {"updated_at": START, "event_count": 1, "arrival_id": 1, "updated_by": None}


@pytest.fixture(scope="module")
def tracker(api):
    """Ten events of projects and tasks, two dead letters, a bridge and some project state."""
    warehouse = api.services.warehouse
    clear(warehouse)
    events = [mirror_row(n, f"tracker/events/projects/{n}") for n in range(1, 7)]
    events += [
        mirror_row(n, f"tracker/events/tasks/{n}", kind="task.created", entity_type="task")
        for n in range(7, 10)
    ]
    strange = {"a": "\0 Grüße 👋🏽", "b": [1, None, {"c": 0.5}]}
    events.append(mirror_row(10, "$SYS/x", kind="a.b", schema_version=None, payload=strange))
    letters = [
        dead_letter(11, "tracker/events/projects/1", "not_json"),
        dead_letter(12, "tracker/other", "schema", kind="project.updated", ended_at=START),
    ]
    bridge = {
        "broker": "b:1883",
        "holder": "host:1",
        "connected_since": START,
        "last_message_at": START,
        "receive_maximum": 20,
        "topics": "tracker/#",
        "backlog_count": 0,
        "message_count": 12,
        "session_lost_at": None,
        "problem": None,
        "changed_at": START,
    }
    project = {"description": None, "owner_id": "ada", "metadata": '{"a":1}', **FOLDED}
    component = {"progress": 10, "position": 1, **FOLDED}
    task = {"assignee_id": "bob", "due_at": START, "completed_at": None, **FOLDED}
    metric = {key: FOLDED[key] for key in ("updated_at", "event_count", "arrival_id")}
    with warehouse.writing() as connection:
        for table, rows in (
            (mqtt_mirror, events),
            (mqtt_dead_letters, letters),
            (mqtt_bridges, [bridge]),
            (
                mqtt_projects,
                [
                    {**project, "project_id": each, "name": f"P {each}", "status": status}
                    for each, status in (("1", "planning"), ("2", "active"), ("a b", "active"))
                ],
            ),
            (
                mqtt_components,
                [
                    {**component, "component_id": name, "project_id": "1", "name": "C"}
                    | {"status": "blocked"}
                    for name in ("c1", "c2")
                ],
            ),
            (
                mqtt_component_dependencies,
                [{"component_id": "c1", "depends_on_id": "c2", **FOLDED}],
            ),
            (
                mqtt_tasks,
                [
                    {**task, "task_id": "t1", "project_id": "1", "component_id": "c1"}
                    | {"title": "T", "status": "todo"}
                ],
            ),
            (
                mqtt_metrics,
                [
                    {"metric_id": "1|x|t", "subject_id": "1", "name": "x", "measured_at": START}
                    | {"value": 0.5, "unit": None, **metric}
                ],
            ),
        ):
            connection.execute(insert(table), rows)
    yield api
    clear(warehouse)


def _expect_all_arrivals(api, query):
    found = api.get(f"/mqtt/events?{query}")
    assert found["next_cursor"] is None
    return [event["arrival_id"] for event in found["events"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (f"topic={quote('tracker/#')}", [9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (f"topic={quote('#')}", [9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (f"topic={quote('+/events/tasks/+')}", [9, 8, 7]),
        ("topic=tracker/events/projects/3", [3]),
        ("topic=tracker/events/projects", []),
        (f"topic={quote('$SYS/#')}", [10]),
        ("kind=task.created", [9, 8, 7]),
        ("trace=00000000-0000-0000-0000-000000000004", [4]),
        ("since=2026-11-02T10:08:00Z", [10, 9, 8]),
        ("since=2026-11-02T11:02:00%2B01:00&until=2026-11-02T10:04:00Z", [3, 2]),
        (f"kind=task.created&topic={quote('tracker/events/projects/#')}", []),
    ],
)
def test_events_are_selected_by_topic_kind_trace_and_time(tracker, query, found):
    assert _expect_all_arrivals(tracker, query) == found


def test_an_event_is_shown_as_the_mirror_has_it(tracker):
    [event] = tracker.get("/mqtt/events?kind=a.b")["events"]
    assert event["payload"] == {"a": "\0 Grüße 👋🏽", "b": [1, None, {"c": 0.5}]}
    assert event["schema_version"] is None
    assert event["ts"] == "2026-11-02T10:10:00Z"
    assert event["idempotency_key"] == "key-10"


def test_pages_of_events_have_each_one_once_whatever_the_page_reads(tracker, monkeypatch):
    whole = _expect_all_arrivals(tracker, f"topic={quote('tracker/+/projects/#')}")
    for limits in ((500, 10_000, 2**20), (2, 3, 2**20), (1, 1, 2**20), (500, 10_000, 10)):
        names = ("MAX_BATCH_MESSAGES", "MAX_ROWS_READ", "MAX_PAGE_CHARACTERS")
        for name, limit in zip(names, limits, strict=True):
            monkeypatch.setattr(reading, name, limit)
        paged, cursor = [], ""
        while cursor is not None:
            query = f"topic={quote('tracker/+/projects/#')}&limit=4{cursor and '&cursor='}{cursor}"
            page = tracker.get(f"/mqtt/events?{query}")
            assert len(page["events"]) <= 4
            paged += [event["arrival_id"] for event in page["events"]]
            cursor = page["next_cursor"]
        assert paged == whole


def test_dead_letters_are_selected_by_reason_topic_time_and_state(tracker):
    for query, found in (
        ("", [12, 11]),
        ("reason=not_json", [11]),
        ("kind=project.updated", [12]),
        ("state=dead", [11]),
        ("state=replayed", [12]),
        (f"topic={quote('tracker/events/#')}", [11]),
        ("since=2026-11-02T10:12:00Z", [12]),
        ("until=2026-11-02T10:12:00Z", [11]),
    ):
        letters = tracker.get(f"/mqtt/dead-letters?{query}")["letters"]
        assert [letter["arrival_id"] for letter in letters] == found, query
    assert base64.b64decode(letters[0]["payload"]) == b"\xff not JSON"


def test_bridges_are_shown_with_what_waits(tracker):
    warehouse = tracker.services.warehouse
    nothing = tracker.get("/mqtt/bridges")
    assert [bridge["broker"] for bridge in nothing["bridges"]] == ["b:1883"]
    assert (nothing["waiting_count"], nothing["oldest_waiting_at"]) == (0, None)
    assert (nothing["outbox_count"], nothing["oldest_outbox_at"]) == (0, None)
    receive(warehouse, *[("tracker/x", mqtt_rows.message(n)) for n in range(3)])
    waiting = {
        "topic": "mqtt/events",
        "entity": "project|1",
        "payload": "{}",
        "cause": "source",
        "attempt_count": 0,
        "reason": None,
        "due_at": START,
        "changed_at": START,
        "run_id": "",
    }
    with warehouse.writing() as connection:
        for number, state in enumerate(("done", "waiting", "waiting"), start=1):
            at = START + timedelta(hours=number)
            row = {"version_number": number, "state": state, "planned_at": at}
            connection.execute(insert(outbox), waiting | row)
    found = tracker.get("/mqtt/bridges")
    assert (found["waiting_count"], found["oldest_waiting_at"]) == (3, "2026-11-02T10:01:00Z")
    assert (found["outbox_count"], found["oldest_outbox_at"]) == (2, "2026-11-02T12:00:00Z")
    with warehouse.writing() as connection:
        row = {"consumer": "mirror", "arrival_id": 2, "changed_at": START}
        connection.execute(insert(mqtt_cursors), row)
    assert tracker.get("/mqtt/bridges")["waiting_count"] == 1
    with warehouse.writing() as connection:
        connection.execute(update(mqtt_cursors).values(arrival_id=3))
    assert tracker.get("/mqtt/bridges")["oldest_waiting_at"] is None


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("projects", ["1", "2", "a b"]),
        ("projects?status=active", ["2", "a b"]),
        ("projects?status=active&owner_id=bob", []),
        ("components?project_id=1&status=blocked", ["c1", "c2"]),
        ("component-dependencies?depends_on_id=c2", ["c1"]),
        ("tasks?assignee_id=bob&component_id=c1&project_id=1&status=todo", ["t1"]),
        ("metrics?subject_id=1&name=x", ["1|x|t"]),
    ],
)
def test_project_state_is_listed_by_its_columns(tracker, path, keys):
    found = tracker.get(f"/mqtt/{path}")
    assert [next(iter(row.values())) for row in found["rows"]] == keys


def test_one_entity_is_read_by_its_id(tracker):
    found = tracker.get("/mqtt/projects/a%20b")
    assert (found["entity_type"], found["entity_id"]) == ("project", "a b")
    assert found["row"]["name"] == "P a b"
    assert found["row"]["updated_at"] == "2026-11-02T10:00:00Z"
    assert tracker.get("/mqtt/components/c1")["row"]["progress"] == 10
    assert tracker.get("/mqtt/tasks/t1")["row"]["due_at"] == "2026-11-02T10:00:00Z"
    for path in ("projects/none", "components/none", "tasks/none"):
        assert tracker.expect_problem("GET", f"/mqtt/{path}", "viewer")["status"] == 404


def test_the_client_returns_frames_with_the_types_of_their_columns(tracker):
    with Client(HOME, str(tracker.keys["viewer"]), transport=tracker) as client:
        events = client.mqtt_events(topic="tracker/events/projects/#", since=START, max_rows=3)
        assert list(events["arrival_id"]) == [6, 5, 4]
        assert list(events["payload"]) == [f'{{"project_id": "{n}"}}' for n in (6, 5, 4)]
        assert str(events["ts"].dtype) == "datetime64[us, UTC]"
        assert client.mqtt_events(kind="metric.recorded").dtypes.equals(events.dtypes)
        letters = client.mqtt_dead_letters(reason="not_json")
        assert list(letters["arrival_id"]) == [11]
        assert list(letters["ended_at"].isna()) == [True]
        assert [bridge.broker for bridge in client.mqtt_bridges().bridges] == ["b:1883"]
        assert list(client.mqtt_projects(status="active")["project_id"]) == ["2", "a b"]
        assert str(client.mqtt_components()["progress"].dtype) == "Int64"
        assert list(client.mqtt_dependencies()["depends_on_id"]) == ["c2"]
        assert list(client.mqtt_tasks()["due_at"]) == [START]
        assert list(client.mqtt_metrics()["value"]) == [0.5]
        assert client.mqtt_projects(status="none").empty
        assert client.mqtt_entity("tasks", "t1").entity_id == "t1"


def test_invalid_filters_and_cursors_are_problems(tracker):
    for query, field in (
        (f"topic={quote('a/#/b')}", "topic"),
        ("cursor=x", "cursor"),
        ("cursor=-1", "cursor"),
        ("since=yesterday", "since"),
        ("limit=0", "limit"),
        ("nothing=1", "nothing"),
    ):
        problem = tracker.expect_problem("GET", f"/mqtt/events?{query}", "viewer")
        assert (problem["status"], problem["errors"][0]["field"]) == (422, field)
    assert tracker.expect_problem("GET", "/mqtt/projects?cursor=no", "viewer")["status"] == 422


def test_raw_messages_and_their_keys_are_not_served_as_tables(tracker):
    for name in ("mqtt_inbox", "mqtt_seen_keys"):
        assert tracker.expect_problem("GET", f"/tables/{name}", "admin")["status"] == 404
    assert tracker.get("/tables/mqtt_mirror?limit=1")["rows"]
