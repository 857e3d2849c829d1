"""Recomputes mirrored events, dead letters and entities from messages, by the kinds' schemas."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.oracle.archive import Capture, Delivery, Row
from tests.oracle.history import write_moment

ENVELOPE = {"trace_id": str, "ts": str, "kind": str, "idempotency_key": str, "payload": dict}
MAX_DEPTH, MAX_PAYLOAD = 64, 1024
ENTITIES = {
    "project": ("name", "description", "status", "owner_id", "metadata"),
    "component": ("project_id", "name", "status", "progress", "position"),
    "component_dependency": ("depends_on_id",),
    "task": (
        *("project_id", "component_id", "title", "status", "assignee_id", "due_at"),
        "completed_at",
    ),
    "metric": ("subject_id", "name", "measured_at", "value", "unit"),
}
TYPES = {"string": str, "object": dict, "number": (int, float), "integer": int, "null": type(None)}


def read_kinds(folder: Path) -> dict[str, Row]:
    """Return the newest schema of each kind, with its version."""
    kinds = {}
    for file in sorted(folder.glob("*.json")):
        kind, _, version = file.stem.rpartition(".v")
        kinds[kind] = json.loads(file.read_text()) | {"version": int(version)}
    return kinds


def canonical(value: object) -> str:
    """Return a value as canonical JSON."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def moment(text: str) -> str:
    """Return a time as the exports write it."""
    return write_moment(datetime.fromisoformat(text))


def judge(content: bytes, kinds: dict[str, Row]) -> tuple[Any, str | None]:
    """Return what a message contains, and why it is not a valid event."""
    event, reason = read_json(content)
    if reason:
        return None, reason
    for name, kind in ENVELOPE.items():
        if name not in event or not isinstance(event[name], kind):
            return event, "wrong_type" if name in event else "missing_field"
    schema = kinds.get(event["kind"])
    return event, None if schema is None or is_valid(event["payload"], schema) else "schema"


def read_json(content: bytes) -> tuple[Any, str | None]:
    """Return the JSON object of a message, or why it is none."""
    constants: list[str] = []
    try:
        event = json.loads(content.decode(), parse_constant=constants.append)
    except UnicodeDecodeError:
        return None, "not_utf8"
    except (ValueError, RecursionError) as error:
        return None, "too_deep" if isinstance(error, RecursionError) else "not_json"
    reasons = {
        "not_finite": bool(constants),
        "not_an_object": not isinstance(event, dict),
        "too_deep": depth(event) > MAX_DEPTH,
        "number_too_large": any(abs(number) >= 2**63 for number in integers(event)),
    }
    return event, next((reason for reason, is_so in reasons.items() if is_so), None)


def depth(value: object) -> int:
    """Return the levels of objects and lists."""
    if not isinstance(value, dict | list):
        return 0
    members = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, members), default=0)


def integers(value: object) -> Iterable[int]:
    """Yield the integers in a value."""
    if isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from integers(member)
    elif isinstance(value, int):
        yield value


def is_valid(payload: Row, schema: Row) -> bool:
    """Return whether a payload has the required members, each of its schema."""
    if any(name not in payload for name in schema["required"]):
        return False
    return all(
        is_valid_member(payload[name], rule)
        for name, rule in schema["properties"].items()
        if name in payload
    )


def is_valid_member(value: Any, rule: Row) -> bool:
    """Return whether a value obeys the rules that the kinds use."""
    names = rule.get("type", [])
    types = [TYPES[name] for name in ([names] if isinstance(names, str) else names)]
    if types and (isinstance(value, bool) or not any(isinstance(value, kind) for kind in types)):
        return False
    if "enum" in rule and value not in rule["enum"]:
        return False
    if isinstance(value, str):
        size = rule.get("minLength", 0) <= len(value) <= rule.get("maxLength", len(value))
        return size and bool(re.search(rule.get("pattern", ""), value))
    if isinstance(value, int | float):
        return rule.get("minimum", value) <= value <= rule.get("maximum", value)
    return True


def mirror(delivery: Delivery, kinds: dict[str, Row]) -> tuple[list[Row], list[Row]]:
    """Return the mirrored events and the dead letters of an hour's messages, by arrival."""
    events: dict[str, tuple[Row, str]] = {}
    dead = []
    for capture in sorted(delivery.captures, key=lambda capture: capture.request["arrival_id"]):
        event, reason = judge(capture.content, kinds)
        if reason is None:
            key, digest = event["idempotency_key"], canonical(event)
            if key not in events:
                events[key] = mirrored(event, capture, delivery, kinds), digest
            elif events[key][1] != digest:
                reason = "key_reused"
        if reason:
            dead.append(dead_letter(event, capture, reason))
    return [row for row, _ in events.values()], dead


def topic_of(capture: Capture) -> str:
    """Return the topic of a message: the path of its address."""
    return unquote(urlsplit(capture.url).path.removeprefix("/"))


def mirrored(event: Row, capture: Capture, delivery: Delivery, kinds: dict[str, Row]) -> Row:
    """Return the row of `mqtt_mirror` of a valid event."""
    schema, payload = kinds.get(event["kind"], {}), event["payload"]
    entity = schema.get("x-entity")
    sent, received = (datetime.fromisoformat(text) for text in (event["ts"], capture.fetched_at))
    return {
        "idempotency_key": event["idempotency_key"],
        "trace_id": event["trace_id"],
        "kind": event["kind"],
        "schema_version": schema.get("version"),
        "topic": topic_of(capture),
        "ts": write_moment(sent),
        "entity_type": entity,
        "entity_id": entity and entity_id(entity, payload),
        "operation": schema.get("x-operation"),
        "payload": canonical(payload),
        "arrival_id": capture.request["arrival_id"],
        "received_at": capture.fetched_at,
        "arrival_hour": received.astimezone(UTC).strftime("%Y-%m-%d-%H:00"),
        "skew_seconds": (sent - received).total_seconds(),
        "capture_id": capture.capture_id,
        "known_from": delivery.landed_at,
    }


def entity_id(entity: str, payload: Row) -> str:
    """Return the ID of an entity; a metric's and a dependency's are joined by |."""
    if entity == "metric":
        parts = (payload.get("subject_id") or "", payload["name"], moment(payload["measured_at"]))
        return "|".join(parts)
    if entity == "component_dependency":
        return f"{payload['component_id']}|{payload['depends_on_id']}"
    return payload[f"{entity}_id"]


def dead_letter(event: Any, capture: Capture, reason: str) -> Row:
    """Return the row of `mqtt_dead_letters` of a message, without the reason in words."""
    kind = event.get("kind") if isinstance(event, dict) else None
    return {
        "arrival_id": capture.request["arrival_id"],
        "topic": topic_of(capture),
        "kind": kind,
        "reason_code": reason,
        "payload": base64.b64encode(capture.content[:MAX_PAYLOAD]).decode(),
        "sha256": hashlib.sha256(capture.content).hexdigest(),
        "received_at": capture.fetched_at,
    }


def fold(entity: str, events: Sequence[Row]) -> list[Row]:
    """Return the entities of a type: events by ts, then arrival; a removed one is gone."""
    states: dict[str, Row] = {}
    counts: dict[str, int] = {}
    of_type = (event for event in events if event["entity_type"] == entity)
    for event in sorted(of_type, key=lambda event: (event["ts"], event["arrival_id"])):
        place, payload = event["entity_id"], json.loads(event["payload"])
        counts[place] = counts.get(place, 0) + 1
        if event["operation"] in ("deleted", "removed"):
            states.pop(place, None)
            continue
        state = states.setdefault(place, dict.fromkeys((*ENTITIES[entity], "updated_by")))
        state |= {name: value for name, value in payload.items() if name in state}
        for name in ("due_at", "completed_at", "measured_at"):
            if state.get(name):
                state[name] = moment(state[name])
        state["updated_by"] = payload.get("updated_by")
        state |= {"updated_at": event["ts"], "arrival_id": event["arrival_id"]}
        state["event_count"] = counts[place]
    return [finish(entity, place, state) for place, state in states.items()]


def finish(entity: str, place: str, state: Row) -> Row:
    """Return the row of an entity."""
    if entity == "metric":
        row = {name: value for name, value in state.items() if name != "updated_by"}
        return row | {"metric_id": place, "subject_id": state["subject_id"] or ""}
    if entity == "component_dependency":
        return state | {"component_id": place.split("|")[0]}
    if entity == "project" and state["metadata"] is not None:
        state["metadata"] = canonical(state["metadata"])
    return state | {f"{entity}_id": place}
