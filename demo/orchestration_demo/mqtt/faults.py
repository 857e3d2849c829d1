"""Faults of a publisher: disorder, duplicates, retained events and poison."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random

from orchestration_demo.mqtt.events import Event, Story

POISON_SHARE, DUPLICATE_SHARE = 0.03, 0.05
DISORDER = 8
"""An event is published so many places later than its time says, at most."""

RETAINED_PROJECTS = 5


def _changed(body: bytes, **values: object) -> bytes:
    return json.dumps({**json.loads(body), **values}).encode()


def _without(body: bytes, name: str) -> bytes:
    envelope = json.loads(body)
    del envelope[name]
    return json.dumps(envelope).encode()


POISON: Mapping[str, Callable[[bytes], bytes]] = {
    "not_utf8": lambda body: body[:40] + b"\xff\xfe" + body[40:],
    "not_json": lambda body: body[:-5],
    "not_an_object": lambda _: b"42",
    "missing_field": lambda body: _without(body, "ts"),
    "wrong_type": lambda body: _changed(body, payload="text"),
    "too_deep": lambda body: body[:-1] + b', "deep": ' + b"[" * 2_000 + b"]" * 2_000 + b"}",
    "not_finite": lambda body: body.replace(b'"payload": {', b'"payload": {"value": NaN, ', 1),
    "number_too_large": lambda body: body.replace(
        b'"payload": {', b'"payload": {"position": 123456789012345678901234567890, ', 1
    ),
    "schema": lambda body: _changed(body, kind="project.created", payload={"name": 7}),
}
"""By reason: how a valid message becomes one that is refused for it."""


@dataclass(frozen=True)
class Publication:
    """Events in the order in which they are published, and counts of what was done to them."""

    events: list[Event]
    duplicate_count: int
    reused_key_count: int
    poison_counts: Mapping[str, int]


def with_faults(story: Story) -> Publication:
    """Return the events of a story with faults, by its seed."""
    random = Random(f"faults {story.seed}")  # noqa: S311 - no secret
    retained = set(sorted(story.last_of_project.values())[:RETAINED_PROJECTS])
    placed: list[tuple[float, Event]] = []
    poison: Counter[str] = Counter()
    duplicate_count = reused_key_count = 0
    for number, original in enumerate(story.events):
        event = replace(original, is_retained=number in retained)
        place = number + random.uniform(0, DISORDER)
        placed.append((place, event))
        drawn = random.random()
        if drawn < DUPLICATE_SHARE:
            duplicate_count += 1
            placed.append((place + random.uniform(0.1, 40), original))
        elif drawn < DUPLICATE_SHARE + POISON_SHARE:
            reason = sorted(POISON)[sum(poison.values()) % len(POISON)]
            poison[reason] += 1
            body = POISON[reason](_changed(original.body, idempotency_key=f"poison-{number}"))
            placed.append((place, replace(original, body=body)))
        elif number % 500 == 250:  # the key of an event that was published before
            reused_key_count += 1
            body = _changed(original.body, ts="2026-01-01T00:00:00.000000Z")
            placed.append((place + 60, replace(original, body=body)))
    placed.sort(key=lambda each: each[0])
    events = [event for _, event in placed]
    return Publication(events, duplicate_count, reused_key_count, dict(poison))
