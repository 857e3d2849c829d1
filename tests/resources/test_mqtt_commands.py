"""Commands on each database: all of it or nothing, once for each request, also at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, insert

from orchestration_project.domains.mqtt.tables import (
    mqtt_dead_letters,
    mqtt_inbox,
    mqtt_metrics,
    mqtt_mirror,
    mqtt_projects,
    mqtt_seen_keys,
)
from orchestration_project.engine.tracing.traceparent import (
    begin_trace,
    read_traceparent,
    use_trace,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.mqtt import streaming
from orchestration_project.resources.mqtt.arrivals import insert_arrivals
from orchestration_project.resources.mqtt.batching import ReceivedMessage
from orchestration_project.resources.mqtt.commands import Command, RefusedCommandError, execute
from orchestration_project.resources.mqtt.metrics import MqttMetrics
from orchestration_project.resources.mqtt.streaming import last_arrival, read_arrivals
from orchestration_project.tables.spine import outbox
from tests.resources.mqtt_syncs import NOON, MqttSync, message


@pytest.fixture
def mqtt_sync(warehouse, clock, tmp_path) -> MqttSync:
    return MqttSync(warehouse, clock, tmp_path)


def command(operation: Any, entity_id: str | None = "p1", **other: Any) -> Command:
    """Return a command about a project."""
    key = other.pop("request_key", None)
    return Command(
        entity_type="project",
        operation=operation,
        entity_id=entity_id,
        fields=other,
        user_name="ada",
        request_key=key,
    )


def arrive(mqtt_sync: MqttSync, *messages: tuple[str, bytes]) -> None:
    """Have messages arrive from a broker, as the bridge stores them."""
    received = [
        ReceivedMessage(
            topic=topic,
            payload=body,
            qos=1,
            is_retained=False,
            is_duplicate=False,
            received_at=mqtt_sync.clock.now(),
            message_id=0,
        )
        for topic, body in messages
    ]
    with mqtt_sync.warehouse.writing() as connection:
        insert_arrivals(connection, "broker:1883", received, max_bytes=100_000)


def published(mqtt_sync: MqttSync) -> list[tuple[str, bytes]]:
    """Return topic and message of what waits in the outbox, in order."""
    payloads = [json.loads(row["payload"]) for row in mqtt_sync.rows(outbox)]
    return [(payload["topic"], payload["message"].encode()) for payload in payloads]


@pytest.mark.slow_after_first
def test_an_event_is_published_in_the_trace_of_its_request(mqtt_sync):
    request = begin_trace()
    with use_trace(request):
        execute(mqtt_sync.mirror(), command("created", name="Apollo"))
    execute(mqtt_sync.mirror(), command("updated", status="active"))
    rows = sorted(mqtt_sync.rows(outbox), key=lambda row: row["version_number"])
    sent = [json.loads(row["payload"]) for row in rows]
    assert sent[0]["traceparent"] == str(request)
    own = read_traceparent(sent[1]["traceparent"])
    assert own is not None
    mirrored = {UUID(row["trace_id"]).hex for row in mqtt_sync.rows(mqtt_mirror)}
    assert mirrored == {request.trace_id, own.trace_id}


@pytest.mark.slow_on_postgresql
def test_the_message_that_comes_back_from_the_broker_is_a_duplicate(mqtt_sync):
    mirror = mqtt_sync.mirror()
    execute(mirror, command("created", name="Apollo"))
    execute(mirror, command("updated", status="active", metadata={"a": 0.1, "b": "Grüße\u2028"}))
    before = mqtt_sync.rows(mqtt_projects), mqtt_sync.rows(mqtt_mirror)
    arrive(mqtt_sync, *published(mqtt_sync), *published(mqtt_sync))
    counts = mqtt_sync.run_and_expect_all_settled()
    assert (counts.duplicate_count, counts.folded.total()) == (4, 0)
    assert (mqtt_sync.rows(mqtt_projects), mqtt_sync.rows(mqtt_mirror)) == before
    assert not mqtt_sync.rows(mqtt_dead_letters)
    assert [row["duplicate_count"] for row in mqtt_sync.rows(mqtt_seen_keys)] == [2, 2]


@pytest.mark.slow_on_postgresql
def test_events_that_wait_in_the_inbox_are_mirrored_beside_commands(mqtt_sync):
    topic = "tracker/events/projects/p1"
    body = {"project_id": "p1", "name": "Apollo", "status": "planning"}
    early = mqtt_sync.clock.now() - timedelta(hours=1)
    arrive(mqtt_sync, (topic, message("created", "project.created", body, ts=early)))
    execute(mqtt_sync.mirror(), command("created", "p2", name="Gemini"))
    arrive(mqtt_sync, (topic, message("updated", payload={"project_id": "p1", "name": "Apollo 2"})))
    mqtt_sync.run_and_expect_all_settled()
    execute(mqtt_sync.mirror(), command("updated", status="active"))
    [one, two] = mqtt_sync.rows(mqtt_projects)
    assert (one["name"], one["status"], one["event_count"]) == ("Apollo 2", "active", 3)
    assert (two["project_id"], two["name"]) == ("p2", "Gemini")
    assert [row["arrival_id"] for row in mqtt_sync.rows(mqtt_inbox)] == [1, 3]


@pytest.mark.slow
def test_requests_at_once_are_each_done_once_and_in_some_order(mqtt_sync):
    execute(mqtt_sync.mirror(), command("created", name="0"))
    wanted = [command("updated", name=str(n), request_key=f"k{n % 8}") for n in range(8)] * 2
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda each: execute(mqtt_sync.mirror(), each), wanted))
    assert sum(result.is_repeated for result in results) == 8
    [row] = mqtt_sync.rows(mqtt_projects)
    assert row["event_count"] == 9
    versions = [row["version_number"] for row in mqtt_sync.rows(outbox)]
    assert versions == list(range(1, 10))
    [latest] = [
        each for each in mqtt_sync.rows(mqtt_mirror) if each["arrival_id"] == row["arrival_id"]
    ]
    assert json.loads(latest["payload"])["name"] == row["name"]
    assert sorted(row["arrival_id"] for row in mqtt_sync.rows(mqtt_mirror)) == list(range(1, 10))


@pytest.mark.slow_on_postgresql
def test_creations_of_one_project_at_once_make_it_once(mqtt_sync):
    def create(number: int) -> str:
        try:
            execute(mqtt_sync.mirror(), command("created", name=str(number)))
        except RefusedCommandError as error:
            return error.why
        return "done"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(create, range(6))) == [*(["conflict"] * 5), "done"]
    assert len(mqtt_sync.rows(mqtt_mirror)) == len(mqtt_sync.rows(outbox)) == 1


class KilledError(Exception):
    """The process ends here."""


@pytest.mark.slow
def test_a_command_that_ends_at_any_statement_writes_all_or_nothing(mqtt_sync):
    tables = (mqtt_projects, mqtt_mirror, mqtt_seen_keys, outbox)
    engine, done = mqtt_sync.warehouse._engine, 0
    for done in count():
        wanted, left = command("created", f"p{done}", name="Apollo", request_key=f"k{done}"), done

        def end(*_: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KilledError

        event.listen(engine, "before_cursor_execute", end)
        try:
            execute(mqtt_sync.mirror(), wanted)
        except KilledError:
            has_ended = True
        else:
            has_ended = False
        finally:
            event.remove(engine, "before_cursor_execute", end)
        assert {len(mqtt_sync.rows(table)) for table in tables} == {done if has_ended else done + 1}
        assert execute(mqtt_sync.mirror(), wanted).is_repeated is not has_ended
        if not has_ended:
            break
    assert done > 15
    assert {len(mqtt_sync.rows(table)) for table in tables} == {done + 1}


def test_a_kind_without_its_file_is_an_error_that_names_it(mqtt_sync, tmp_path):
    with pytest.raises(ConfigurationError, match=r"project\.created"):
        execute(mqtt_sync.mirror(kinds=tmp_path / "none"), command("created", name="Apollo"))
    assert not mqtt_sync.rows(mqtt_mirror)


@pytest.mark.slow_on_postgresql
def test_metrics_count_events_by_known_kinds_and_what_waits(mqtt_sync):
    metrics = MqttMetrics(mqtt_sync.warehouse)
    assert samples(metrics, mqtt_sync)["mqtt_waiting_messages"] == 0
    topic = "tracker/x"
    arrive(
        mqtt_sync,
        (topic, message("a")),
        (topic, message("b", "any.kind")),
        (topic, message("c", "other.kind")),
        (topic, b"\xff"),
    )
    execute(mqtt_sync.mirror(), command("created", "p2", name="Gemini"))
    now = mqtt_sync.clock.now() + timedelta(minutes=2)
    found = samples(metrics, mqtt_sync, now)
    assert (found["mqtt_waiting_messages"], found["mqtt_waiting_messages_oldest_seconds"]) == (
        4,
        120,
    )
    assert (found["mqtt_outbox_events"], found["mqtt_outbox_events_oldest_seconds"]) == (1, 120)
    mqtt_sync.run_and_expect_all_settled()
    arrive(mqtt_sync, (topic, message("d")))
    mqtt_sync.run_and_expect_all_settled()
    for _ in range(2):
        found = samples(metrics, mqtt_sync)
        assert found["mqtt_events_total", "project.updated"] == 2
        assert found["mqtt_events_total", "other"] == 2
        assert found["mqtt_events_total", "project.created"] == 1
        assert found["mqtt_dead_letters", "not_utf8"] == 1
        assert found["mqtt_waiting_messages"] == 0


def test_metrics_have_the_latest_measurement_of_each_name(mqtt_sync):
    metrics = MqttMetrics(mqtt_sync.warehouse)
    measure(mqtt_sync, ("p1", "lines", 0, 7.0), ("p1", "lines", 2, 9.0), ("p2", "lines", 1, 3.0))
    lines = ("mqtt_measured", "p1", "lines", "")
    assert samples(metrics, mqtt_sync)[lines] == 9
    measure(mqtt_sync, ("p1", "lines", 1, 8.0), ("p1", "bugs", 3, 1.0))
    found = samples(metrics, mqtt_sync)
    assert found[lines] == 9, "a late event is not a later measurement"
    assert {key: value for key, value in found.items() if key[0] == "mqtt_measured"} == {
        lines: 9,
        ("mqtt_measured", "p1", "bugs", ""): 1,
        ("mqtt_measured", "p2", "lines", ""): 3,
    }
    metrics.max_measured = 2
    measure(mqtt_sync, ("p3", "lines", 9, 5.0))
    kept = {key for key in samples(metrics, mqtt_sync) if key[0] == "mqtt_measured"}
    assert kept == {("mqtt_measured", "p3", "lines", ""), ("mqtt_measured", "p1", "bugs", "")}


def measure(mqtt_sync: MqttSync, *given: tuple[str, str, int, float]) -> None:
    """Insert measurements: subject, name, minutes after noon, value."""
    first = mqtt_sync.count(mqtt_metrics) + 1
    rows = [
        {
            "metric_id": f"{subject}|{name}|{minutes}",
            "subject_id": subject,
            "name": name,
            "measured_at": NOON + timedelta(minutes=minutes),
            "value": value,
            "unit": None,
            "updated_at": NOON,
            "event_count": 1,
            "arrival_id": number,
        }
        for number, (subject, name, minutes, value) in enumerate(given, start=first)
    ]
    with mqtt_sync.warehouse.writing() as connection:
        connection.execute(insert(mqtt_metrics), rows)


def samples(metrics: MqttMetrics, mqtt_sync: MqttSync, now: Any = None) -> dict[Any, float]:
    """Return the value of each sample, by its name, with the values of its labels if it has any."""
    return {
        (name, *sample.labels.values()) if sample.labels else name: sample.value
        for family in metrics.families(now or mqtt_sync.clock.now())
        for sample in family.samples
        for name in [sample.name.removeprefix("orchestration_")]
    }


@pytest.mark.slow_after_first
def test_a_stream_reads_valid_events_in_pages_of_bounded_size(mqtt_sync, monkeypatch):
    assert last_arrival(mqtt_sync.warehouse) == 0
    bodies = [message(f"k{n}", payload={"text": "x" * (n * 100)}) for n in range(20)]
    bodies[7], bodies[12] = b"[]", b"x" * 200_000  # refused, and above the limit
    arrive(mqtt_sync, *[("t", body) for body in bodies])
    assert last_arrival(mqtt_sync.warehouse) == 20
    for characters, rows in ((2**20, 1_000), (2_000, 1_000), (1, 1_000), (2**20, 3)):
        monkeypatch.setattr(streaming, "MAX_READ_CHARACTERS", characters)
        monkeypatch.setattr(streaming, "MAX_BATCH_MESSAGES", rows)
        found, after, is_more = list[int](), 0, True
        while is_more:
            page = read_arrivals(mqtt_sync.warehouse, after, max_bytes=100_000, seconds=10.0)
            found += [each.arrival_id for each in page.events]
            assert page.last > after or not page.is_more
            after, is_more = page.last, page.is_more
        assert found == [n for n in range(1, 21) if n not in (8, 13)]
        assert after == 20
