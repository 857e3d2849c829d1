"""The mirror of received messages: what is new once, what is refused with its reason."""

import base64
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import delete, select, update

from orchestration_project.domains.mqtt.tables import (
    mqtt_component_dependencies,
    mqtt_dead_letters,
    mqtt_inbox,
    mqtt_metrics,
    mqtt_mirror,
    mqtt_projects,
    mqtt_seen_keys,
)
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.warehouse.capture_log import read_blobs
from orchestration_project.resources.mqtt.health import forget_old
from orchestration_project.resources.mqtt.ranges import first_unread, waiting
from orchestration_project.tables.spine import audits, captures, rejects, work_items
from tests.resources.mqtt_syncs import NOON, TRACE, MqttSync, message


@pytest.fixture
def mqtt_sync(warehouse, clock, tmp_path) -> MqttSync:
    return MqttSync(warehouse, clock, tmp_path)


@pytest.mark.slow_after_first
def test_an_event_is_mirrored_with_its_entity(mqtt_sync):
    body = message("a", "project.created", {"project_id": "p1", "name": "Apollo"})
    mqtt_sync.receive(body)
    counts = mqtt_sync.run_and_expect_all_settled()
    [row] = mqtt_sync.rows(mqtt_mirror)
    assert row.pop("capture_id")
    assert row.pop("known_from")
    assert row == {
        "idempotency_key": "a",
        "trace_id": TRACE,
        "kind": "project.created",
        "schema_version": 1,
        "topic": "tracker/events/projects/p1",
        "ts": NOON,
        "entity_type": "project",
        "entity_id": "p1",
        "operation": "created",
        "payload": '{"name":"Apollo","project_id":"p1"}',
        "arrival_id": 1,
        "received_at": NOON,
        "arrival_hour": "2026-03-02-12:00",
        "skew_seconds": 0.0,
    }
    [project] = mqtt_sync.rows(mqtt_projects)
    assert (project["name"], project["event_count"], project["arrival_id"]) == ("Apollo", 1, 1)
    assert counts.by_topic_and_kind == {("tracker/events/projects", "project.created"): 1}
    assert counts.folded == {"project": 1}


def test_the_trace_of_a_message_precedes_that_of_its_envelope(mqtt_sync):
    of_message = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
    mqtt_sync.receive(message("a"), trace_id=of_message)
    mqtt_sync.receive(message("a"), message("b"))  # another attempt without a trace is a duplicate
    assert mqtt_sync.run_and_expect_all_settled().duplicate_count == 1
    assert [row["trace_id"] for row in mqtt_sync.rows(mqtt_mirror)] == [of_message, TRACE]


@pytest.mark.slow_on_postgresql
def test_a_forgotten_key_is_a_duplicate_whatever_its_trace(mqtt_sync):
    mqtt_sync.receive(message("a"), trace_id="4bf92f35-77b3-4da6-a3ce-929d0e0e4736")
    mqtt_sync.run_and_expect_all_settled()
    with mqtt_sync.warehouse.writing() as connection:
        connection.execute(delete(mqtt_seen_keys))
    mqtt_sync.receive(message("a"))
    assert mqtt_sync.run_and_expect_all_settled().duplicate_count == 1
    assert mqtt_sync.count(mqtt_dead_letters) == 0


@pytest.mark.slow_on_postgresql
def test_each_row_leads_to_its_bytes(mqtt_sync, tmp_path):
    bodies = [message(key) for key in ("a", "b", "c")]
    mqtt_sync.receive(*bodies)
    mqtt_sync.run_and_expect_all_settled()
    store = Captures(FolderStore(tmp_path / "artifacts"))
    with mqtt_sync.warehouse.reading() as connection:
        wanted = select(mqtt_mirror.c.idempotency_key, captures.c.sha256).join(
            captures, captures.c.capture_id == mqtt_mirror.c.capture_id
        )
        found = dict(connection.execute(wanted.order_by(mqtt_mirror.c.arrival_id)).all())
        blobs = read_blobs(connection, list(found.values()))
    assert [store.read(blobs[sha256]) for sha256 in found.values()] == bodies
    assert len({blob.storage_uri for blob in blobs.values()}) == 1


@pytest.mark.slow_on_postgresql
def test_a_key_is_mirrored_once_whatever_the_range(mqtt_sync):
    mqtt_sync.receive(message("a"), message("b"), message("a"), message("a"))
    assert mqtt_sync.run_and_expect_all_settled(max_range=2).duplicate_count == 2
    mqtt_sync.receive(message("b"), message("c"))
    assert mqtt_sync.run_and_expect_all_settled().duplicate_count == 1
    assert mqtt_sync.keys() == ["a", "b", "c"]
    seen = {
        row["idempotency_key"]: row["duplicate_count"] for row in mqtt_sync.rows(mqtt_seen_keys)
    }
    assert seen == {"a": 2, "b": 1, "c": 0}
    assert mqtt_sync.run_and_expect_all_settled().by_topic_and_kind == {}


@pytest.mark.slow_on_postgresql
def test_large_messages_are_mirrored_a_few_at_a_time(mqtt_sync):
    small = [message(f"k{number}") for number in range(7)]
    large = message("large", payload={"project_id": "p1", "description": "x" * 1_000})
    mqtt_sync.receive(*small[:5], large, *small[5:])
    assert mqtt_sync.plan(max_range=6, max_bytes=2 * len(small[0])) == [
        "000000000001-000000000002",
        "000000000003-000000000004",
        "000000000005-000000000005",
        "000000000006-000000000006",
        "000000000007-000000000008",
    ]
    mqtt_sync.run_and_expect_all_settled()
    assert mqtt_sync.count(mqtt_mirror) == 8


@pytest.mark.slow_on_postgresql
def test_a_key_that_is_used_for_another_content_is_a_dead_letter(mqtt_sync):
    first = message("a", payload={"project_id": "p1", "name": "Apollo"})
    other = message("a", payload={"project_id": "p1", "name": "Gemini"})
    mqtt_sync.receive(first, other)
    assert mqtt_sync.run_and_expect_all_settled().by_reason == {"key_reused": 1}
    [letter] = mqtt_sync.rows(mqtt_dead_letters)
    assert (letter["arrival_id"], letter["reason_code"]) == (2, "key_reused")
    assert mqtt_sync.rows(mqtt_projects)[0]["name"] == "Apollo"


@pytest.mark.slow_after_first
def test_a_repeated_publish_with_another_trace_is_a_duplicate(mqtt_sync):
    first, again = message("a"), message("a", trace_id=str(uuid4()))
    assert first != again
    mqtt_sync.receive(first, again)
    assert mqtt_sync.run_and_expect_all_settled().duplicate_count == 1
    with (
        mqtt_sync.warehouse.writing() as connection
    ):  # as versions stored it that counted the trace
        connection.execute(mqtt_seen_keys.update().values(sha256="0" * 64))
    mqtt_sync.receive(again, message("a", "project.deleted"))
    counts = mqtt_sync.run_and_expect_all_settled()
    assert (counts.duplicate_count, counts.by_reason) == (1, {"key_reused": 1})
    assert mqtt_sync.keys() == ["a"]


def test_a_cleared_retained_message_is_counted_and_is_no_dead_letter(mqtt_sync):
    mqtt_sync.receive(message("a"), b"")
    counts = mqtt_sync.run_and_expect_all_settled()
    assert (counts.cleared_count, counts.by_reason) == (1, {})
    assert mqtt_sync.keys() == ["a"]
    assert mqtt_sync.rows(mqtt_dead_letters) == []
    assert mqtt_sync.plan() == []


@pytest.mark.slow_on_postgresql
def test_a_forgotten_key_is_compared_with_the_mirror(mqtt_sync):
    first = message("a", payload={"project_id": "p1", "name": "Apollo"})
    mqtt_sync.receive(first)
    mqtt_sync.run_and_expect_all_settled()
    with mqtt_sync.warehouse.writing() as connection:
        connection.execute(mqtt_seen_keys.delete())
    mqtt_sync.receive(first, message("a", payload={"project_id": "p1", "name": "Gemini"}))
    counts = mqtt_sync.run_and_expect_all_settled()
    assert (counts.duplicate_count, counts.by_reason) == (1, {"key_reused": 1})
    assert mqtt_sync.keys() == ["a"]
    assert mqtt_sync.rows(mqtt_seen_keys)[0]["duplicate_count"] == 1


@pytest.mark.slow_after_first
def test_what_is_not_an_event_is_a_dead_letter_with_its_bytes(mqtt_sync):
    bodies = [b"\xff", b"{", b"17", message("a", "project.updated", {"project_id": 1})]
    mqtt_sync.receive(*bodies, message("b"))
    counts = mqtt_sync.run_and_expect_all_settled()
    assert counts.by_reason == {"not_utf8": 1, "not_json": 1, "not_an_object": 1, "schema": 1}
    letters = mqtt_sync.rows(mqtt_dead_letters)
    assert [base64.b64decode(letter["payload"]) for letter in letters] == bodies
    assert [letter["kind"] for letter in letters] == [None, None, None, "project.updated"]
    assert all(letter["ended_at"] is None for letter in letters)
    items = [row for row in mqtt_sync.rows(work_items) if row["topic"] == "mqtt/dead_letters"]
    assert [(row["item_key"], row["state"], row["reason_code"]) for row in items] == [
        ("000000000001", "dead", "not_utf8"),
        ("000000000002", "dead", "not_json"),
        ("000000000003", "dead", "not_an_object"),
        ("000000000004", "dead", "schema"),
    ]
    assert mqtt_sync.count(rejects) == 4
    assert mqtt_sync.keys() == ["b"]


def test_a_message_above_the_limit_is_a_dead_letter_with_its_hash(mqtt_sync):
    mqtt_sync.receive(message("a", payload={"project_id": "p1", "name": "x" * 900}), kept_bytes=100)
    assert mqtt_sync.run_and_expect_all_settled(max_bytes=500).by_reason == {"too_large": 1}
    [letter] = mqtt_sync.rows(mqtt_dead_letters)
    assert len(base64.b64decode(letter["payload"])) == 100


def test_nul_is_mirrored_as_escaped_text(mqtt_sync):
    mqtt_sync.receive(message("a", payload={"project_id": "p1", "name": "a\0b"}))
    mqtt_sync.run_and_expect_all_settled()
    assert mqtt_sync.rows(mqtt_mirror)[0]["payload"] == r'{"name":"a\u0000b","project_id":"p1"}'
    assert mqtt_sync.rows(mqtt_projects)[0]["name"] == r"a\u0000b"


@pytest.mark.slow_on_postgresql
def test_an_unknown_kind_is_mirrored_and_counted(mqtt_sync):
    mqtt_sync.receive(message("a", "invoice.sent", {"any": "thing"}))
    counts = mqtt_sync.run_and_expect_all_settled()
    assert counts.unknown == {"invoice.sent": 1}
    [row] = mqtt_sync.rows(mqtt_mirror)
    assert (row["schema_version"], row["entity_type"], row["entity_id"]) == (None, None, None)


def test_clock_skew_is_mirrored_with_a_warning(mqtt_sync):
    mqtt_sync.receive(message("a", ts=NOON + timedelta(hours=1)), message("b"))
    assert mqtt_sync.run_and_expect_all_settled().skewed_count == 1
    assert [row["skew_seconds"] for row in mqtt_sync.rows(mqtt_mirror)] == [3600.0, 0.0]
    [audit] = [row for row in mqtt_sync.rows(audits) if row["name"] == "clock_skew"]
    assert (audit["severity"], audit["outcome"]) == ("warning", "failed")
    assert '"idempotency_key": "a"' in audit["offenders"]


@pytest.mark.slow_on_postgresql
def test_late_events_fold_their_entity_again(mqtt_sync):
    def update_at(second: int, **given: str) -> bytes:
        at = NOON + timedelta(seconds=second)
        return message(f"k{second}", payload={"project_id": "p1", **given}, ts=at)

    mqtt_sync.receive(update_at(10, name="ten", status="active"), update_at(20, name="twenty"))
    mqtt_sync.run_and_expect_all_settled()
    mqtt_sync.receive(update_at(15, name="fifteen", status="paused", owner_id="ada"))
    mqtt_sync.run_and_expect_all_settled()
    [project] = mqtt_sync.rows(mqtt_projects)
    assert (project["name"], project["status"], project["owner_id"]) == ("twenty", "paused", "ada")
    assert (project["event_count"], project["arrival_id"]) == (3, 2)


@pytest.mark.slow_on_postgresql
def test_entities_with_keys_of_several_parts(mqtt_sync):
    edge = {"component_id": "c1", "depends_on_id": "c2"}
    metric = {"name": "cpu", "value": 1, "measured_at": NOON.isoformat(), "subject_id": "p1"}
    mqtt_sync.receive(
        message("a", "component_dependency.added", edge),
        message("b", "metric.recorded", metric),
        message("c", "metric.recorded", {**metric, "value": 2}, ts=NOON + timedelta(1)),
    )
    mqtt_sync.run_and_expect_all_settled()
    mqtt_sync.receive(message("d", "component_dependency.removed", edge, ts=NOON + timedelta(1)))
    mqtt_sync.run_and_expect_all_settled()
    assert mqtt_sync.rows(mqtt_component_dependencies) == []
    [row] = mqtt_sync.rows(mqtt_metrics)
    assert (row["metric_id"], row["value"]) == ("p1|cpu|2026-03-02T12:00:00Z", 2.0)


@pytest.mark.slow_on_postgresql
def test_messages_of_two_hours_are_deliveries_of_two_partitions(mqtt_sync):
    mqtt_sync.receive(message("a"))
    mqtt_sync.receive(message("b"), at=NOON + timedelta(hours=1))
    assert mqtt_sync.run_and_expect_all_settled().by_hour == {
        "2026-03-02-12:00": 1,
        "2026-03-02-13:00": 1,
    }
    with mqtt_sync.warehouse.reading() as connection:
        keys = connection.execute(select(captures.c.partition_key).distinct()).scalars()
        assert sorted(keys) == ["2026-03-02-12:00", "2026-03-02-13:00"]


@pytest.mark.slow_on_postgresql
def test_what_waits_is_counted_until_it_is_mirrored(mqtt_sync):
    assert waiting(mqtt_sync.warehouse) == (0, None, None)
    mqtt_sync.receive(message("a"), message("b"), at=NOON - timedelta(minutes=5))
    mqtt_sync.receive(message("c"))
    assert waiting(mqtt_sync.warehouse) == (3, NOON - timedelta(minutes=5), NOON)
    mqtt_sync.run_and_expect_all_settled()
    assert waiting(mqtt_sync.warehouse) == (0, None, None)
    with mqtt_sync.warehouse.writing() as connection:
        assert first_unread(connection) == 4
        is_range = work_items.c.topic == "mqtt/mirror"
        connection.execute(update(work_items).where(is_range).values(state="failed"))
    assert waiting(mqtt_sync.warehouse).message_count == 3


@pytest.mark.slow_on_postgresql
def test_old_messages_and_keys_are_removed_but_none_that_waits(mqtt_sync):
    mqtt_sync.receive(message("a"), message("b"), at=NOON - timedelta(days=40))
    mqtt_sync.run_and_expect_all_settled()
    mqtt_sync.receive(message("c"), at=NOON - timedelta(days=40))
    mqtt_sync.receive(message("d"))
    limits = {"inbox_before": NOON - timedelta(days=30), "keys_before": NOON - timedelta(days=20)}
    with mqtt_sync.warehouse.writing() as connection:
        assert forget_old(connection, **limits) == (2, 2)
    assert [row["arrival_id"] for row in mqtt_sync.rows(mqtt_inbox)] == [3, 4]
    mqtt_sync.receive(message("a"))
    counts = mqtt_sync.run_and_expect_all_settled()
    assert (counts.duplicate_count, mqtt_sync.keys()) == (1, ["a", "b", "c", "d"])
