"""Random histories of entities, and a model of their state that shares no code with the fold."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from orchestration_project.domains.mqtt.entities import Operation

START = datetime(2026, 11, 1, tzinfo=UTC)
OPERATIONS: tuple[Operation, ...] = ("created", "updated", "updated", "updated", "deleted")
FIELDS = ("name", "status", "owner_id")


class Event(NamedTuple):
    """An event of one project."""

    arrival_id: int
    ts: datetime
    operation: Operation
    payload: dict[str, Any]


def history(seed: int, *, project_id: str = "p1", first_arrival: int = 1) -> list[Event]:
    """Return up to 14 events of a project in the order of arrival, with times in any order."""
    made = random.Random(seed)  # noqa: S311 - a test
    events: list[Event] = []
    for number in range(made.randint(1, 14)):
        operation = made.choice(OPERATIONS)
        payload: dict[str, Any] = {"project_id": project_id}
        if operation != "deleted":
            for field in FIELDS:
                if made.random() < 0.5:
                    payload[field] = made.choice([f"{field}-{number}", None])
        if made.random() < 0.3:
            payload["updated_by"] = f"user-{number}"
        ts = START + timedelta(seconds=made.randint(0, 6))
        events.append(Event(first_arrival + number, ts, operation, payload))
    return events


def expected_row(events: list[Event]) -> dict[str, Any] | None:
    """Return the row of the project, by walking back from the latest event.

    The latest deletion, and what follows it up to the next creation, is cut off; each field has
    the value of the latest event that is left and gives one.
    """
    ordered = sorted(events, key=lambda event: (event.ts, event.arrival_id))
    deletions = [place for place, event in enumerate(ordered) if event.operation == "deleted"]
    if deletions:
        ordered = ordered[deletions[-1] + 1 :]
        creations = [place for place, each in enumerate(ordered) if each.operation == "created"]
        ordered = ordered[creations[0] :] if creations else []
    if not ordered:
        return None
    latest = ordered[-1]
    found: dict[str, Any] = {
        "project_id": latest.payload["project_id"],
        "updated_by": latest.payload.get("updated_by"),
        "updated_at": latest.ts,
        "event_count": len(ordered),
        "arrival_id": latest.arrival_id,
        "description": None,
        "metadata": None,
    }
    for field in FIELDS:
        giving = [event for event in ordered if field in event.payload]
        found[field] = giving[-1].payload[field] if giving else None
    return found
