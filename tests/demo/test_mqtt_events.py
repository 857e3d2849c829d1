"""The demo's events of MQTT: valid ones, poison with its reason, and the state that follows."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from orchestration_demo.mqtt.events import Story
from orchestration_demo.mqtt.faults import Publication, with_faults
from orchestration_demo.mqtt.wire import Packet, Publish, matches, split

from orchestration_project.domains.mqtt.envelope import Envelope, Refusal, read_envelope
from orchestration_project.settings import PROJECT_ROOT

START = datetime(2026, 11, 2, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def story() -> Story:
    return Story(seed=7, count=1_000, start=START)


@pytest.fixture(scope="module")
def publication(story: Story) -> Publication:
    return with_faults(story)


def test_the_same_seed_and_start_give_the_same_bytes(publication: Publication) -> None:
    assert with_faults(Story(7, 1_000, START)).events == publication.events
    assert with_faults(Story(8, 1_000, START)).events != publication.events


def test_each_event_is_an_envelope_with_a_key_of_its_own(story: Story) -> None:
    found = [read_envelope(event.body, max_bytes=10**6) for event in story.events]
    assert all(isinstance(message, Envelope) for message in found)
    keys = {message.idempotency_key for message in found if isinstance(message, Envelope)}
    assert len(keys) == 1_000


def test_poison_is_refused_for_the_reason_that_the_manifest_names(publication) -> None:
    refused = Counter(
        found.reason_code
        for event in publication.events
        if isinstance(found := read_envelope(event.body, max_bytes=10**6), Refusal)
    )
    expected = dict(publication.poison_counts)
    assert expected.pop("schema") > 0  # its envelope is valid, its payload is not
    assert refused == expected
    assert 0.02 < sum(publication.poison_counts.values()) / 1_000 < 0.04


def test_events_are_repeated_and_out_of_order(publication: Publication) -> None:
    found = [read_envelope(event.body, max_bytes=10**6) for event in publication.events]
    events = [message for message in found if isinstance(message, Envelope)]
    counts = Counter(event.sha256 for event in events)
    assert len(events) - len(counts) == publication.duplicate_count > 30
    times = [event.ts for event in events]
    assert times != sorted(times)
    assert publication.reused_key_count >= 1
    assert sum(event.is_retained for event in publication.events) == 5


def test_the_expected_state_follows_from_the_events_alone(story: Story, publication) -> None:
    first: dict[str, Envelope] = {}
    for event in publication.events:
        found = read_envelope(event.body, max_bytes=10**6)
        if isinstance(found, Envelope) and not found.idempotency_key.startswith("poison"):
            first.setdefault(found.idempotency_key, found)
    folded: dict[str, dict[str, Any]] = {"project": {}, "component": {}, "task": {}}
    pairs: set[tuple[str, str]] = set()
    for event in sorted(first.values(), key=lambda value: value.ts):
        entity_type, operation = event.kind.split(".")
        values = dict(event.payload)
        if entity_type == "component_dependency":
            pair = (values["component_id"], values["depends_on_id"])
            (pairs.add if operation == "added" else pairs.discard)(pair)
        elif entity_type in folded:
            rows, entity_id = folded[entity_type], values.pop(f"{entity_type}_id")
            if operation == "deleted":
                del rows[entity_id]
            else:
                rows[entity_id] = rows.get(entity_id, {}) | values
    state = story.state()
    assert folded == {
        "project": state["projects"],
        "component": state["components"],
        "task": state["tasks"],
    }
    assert sorted(map(list, pairs)) == state["component_dependencies"]
    metrics = [value for value in first.values() if value.kind == "metric.recorded"]
    assert len(metrics) == len(state["metrics"])
    assert len(state["projects"]) == 20


def test_every_kind_of_the_project_occurs(story: Story) -> None:
    published = {json.loads(event.body)["kind"] for event in story.events}
    shipped = {
        file.name.rsplit(".v", 1)[0] for file in (PROJECT_ROOT / "config/kinds").glob("*.json")
    }
    assert published <= shipped
    assert shipped - published <= {"project.deleted", "component.deleted"}


@pytest.mark.parametrize(
    ("topic_filter", "topic", "is_match"),
    [
        ("#", "a/b", True),
        ("a/#", "a", True),
        ("a/+/c", "a/b/c", True),
        ("a/+", "a/b/c", False),
        ("+/b", "/b", True),
        ("#", "$SYS/uptime", False),
        ("+/uptime", "$SYS/uptime", False),
        ("$SYS/#", "$SYS/uptime", True),
        ("a", "A", False),
    ],
)
def test_topic_filters_match_as_the_standard_says(topic_filter, topic, is_match) -> None:
    assert matches(topic_filter, topic) is is_match


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("size", [0, 100, 127, 128, 16_383, 2_097_152])
def test_packets_are_read_as_they_were_written(version: int, size: int) -> None:
    sent = Publish("a/ü", b"x" * size, 1, True, True, 65_535)
    buffer = bytearray(sent.packet(version) + b"\xc0\x00\x30")  # a ping, and a part
    message, ping = split(buffer)
    assert Publish.read(message, version) == sent
    assert (ping, bytes(buffer)) == (Packet(12, 0, b""), b"\x30")
