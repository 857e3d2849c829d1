"""Recomputes mirrored events, dead letters and entities from messages, by the kinds' schemas."""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.oracle.inputs import Row, columns_of, key_of

ENVELOPE = {"trace_id": str, "ts": str, "kind": str, "idempotency_key": str, "payload": dict}
MAX_DEPTH, MAX_PAYLOAD = 64, 1024
TYPES = {"string": str, "object": dict, "number": (int, float), "integer": int, "null": type(None)}
ENTITIES = {
    "mqtt_projects": "project",
    "mqtt_components": "component",
    "mqtt_component_dependencies": "component_dependency",
    "mqtt_tasks": "task",
    "mqtt_metrics": "metric",
}
"""Tables of entities, and their types."""

PARTS_OF_ID = {
    "metric": ("subject_id", "name", "measured_at"),
    "component_dependency": ("component_id", "depends_on_id"),
}
"""By type of entity: members of a payload whose values, joined by |, are its ID."""


def read_kinds(folder: Path) -> dict[str, Row]:
    """Return the newest schema of each kind, with its version."""
    kinds = {}
    for file in sorted(folder.glob("*.json")):
        kind, _, version = file.stem.rpartition(".v")
        kinds[kind] = json.loads(file.read_text()) | {"version": int(version)}
    return kinds


def canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def moment(text: str) -> str:
    """Return a time as the exports write it."""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def judge(content: bytes, kinds: dict[str, Row]) -> tuple[Any, str | None]:
    """Return what a message contains, and why it is not a valid event."""
    constants: list[str] = []
    try:
        event = json.loads(content.decode(), parse_constant=constants.append)
    except UnicodeDecodeError:
        return None, "not_utf8"
    except (ValueError, RecursionError) as error:
        return None, "too_deep" if isinstance(error, RecursionError) else "not_json"
    members = list(walk(event, 1))
    numbers = [member for _, member in members if isinstance(member, int)]
    reasons = {
        "not_finite": constants,
        "not_an_object": not isinstance(event, dict),
        "too_deep": max(depth for depth, _ in members) > MAX_DEPTH,
        "number_too_large": any(abs(number) >= 2**63 for number in numbers),
    }
    for reason in (reason for reason, is_so in reasons.items() if is_so):
        return None, reason
    for name, kind in ENVELOPE.items():
        if not isinstance(event.get(name), kind):
            return event, "wrong_type" if name in event else "missing_field"
    schema = kinds.get(event["kind"])
    return event, None if schema is None or is_valid(event["payload"], schema) else "schema"


def walk(value: Any, depth: int) -> Iterator[tuple[int, Any]]:
    """Yield a value and all in it, each with the levels of objects and lists around it."""
    yield depth, value
    members = value.values() if isinstance(value, dict) else value
    for member in members if isinstance(value, dict | list) else ():
        yield from walk(member, depth + isinstance(member, dict | list))


def is_valid(payload: Row, schema: Row) -> bool:
    """Return whether a payload has the required members, each of its schema."""
    rules = schema["properties"]
    return set(schema["required"]) <= payload.keys() and all(
        is_valid_member(payload[name], rules[name]) for name in rules.keys() & payload.keys()
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


def mirror(deliveries: Iterable[Row], kinds: dict[str, Row]) -> tuple[list[Row], list[Row]]:
    """Return mirrored events, and dead letters without the reason in words, of all hours."""
    rows, dead = [], []
    for delivery in (row for row in deliveries if row["table_name"] == "mqtt_mirror"):
        events: dict[str, Row] = {}
        for capture in delivery["captures"]:
            content = capture["content"]
            event, reason = judge(content, kinds)
            if reason is None and events.setdefault(event["idempotency_key"], event) != event:
                reason = "key_reused"
            row = {
                "arrival_id": capture["request"]["arrival_id"],
                "received_at": capture["fetched_at"],
                "topic": unquote(urlsplit(capture["url"]).path.removeprefix("/")),
                "kind": event.get("kind") if event else None,
            }
            if reason:
                payload = base64.b64encode(content[:MAX_PAYLOAD]).decode()
                row |= {"payload": payload, "sha256": hashlib.sha256(content).hexdigest()}
                dead.append(row | {"reason_code": reason})
            elif events[event["idempotency_key"]] is event:
                row |= mirrored(event, capture, kinds.get(event["kind"], {}))
                rows.append(row | {"known_from": delivery["landed_at"]})
    return rows, dead


def mirrored(event: Row, capture: Row, schema: Row) -> Row:
    """Return the further columns of `mqtt_mirror` of a valid event."""
    entity, payload = schema.get("x-entity"), event["payload"]
    sent, received = (datetime.fromisoformat(text) for text in (event["ts"], capture["fetched_at"]))
    return {name: event[name] for name in ("idempotency_key", "trace_id")} | {
        "schema_version": schema.get("version"),
        "ts": moment(event["ts"]),
        "entity_type": entity,
        "entity_id": entity and entity_id(entity, payload),
        "operation": schema.get("x-operation"),
        "payload": canonical(payload),
        "arrival_hour": received.astimezone(UTC).strftime("%Y-%m-%d-%H:00"),
        "skew_seconds": (sent - received).total_seconds(),
        "capture_id": capture["capture_id"],
    }


def entity_id(entity: str, payload: Row) -> str:
    """Return the ID of an entity."""
    names = PARTS_OF_ID.get(entity, (f"{entity}_id",))
    return "|".join(exported(name, payload.get(name)) or "" for name in names)


def exported(name: str, value: Any) -> Any:
    """Return a value of a payload as exported: times in UTC, objects as canonical JSON."""
    is_time = value and name in ("due_at", "completed_at", "measured_at")
    return moment(value) if is_time else canonical(value) if isinstance(value, dict) else value


def fold_entities(table: str, events: Sequence[Row]) -> list[Row]:
    """Return the entities of a table: events by ts, then arrival; a removed one begins again."""
    columns, key = columns_of(table), key_of(table)
    states: dict[str, Row | None] = {}  # None: it was removed, and its creation alone makes it
    counts: Counter[str] = Counter()
    of_type = (event for event in events if event["entity_type"] == ENTITIES[table])
    for event in sorted(of_type, key=lambda event: (event["ts"], event["arrival_id"])):
        place, payload = event["entity_id"], json.loads(event["payload"])
        if event["operation"] in ("deleted", "removed"):
            states[place], counts[place] = None, 0
            continue
        if states.get(place, payload) is None and event["operation"] not in ("created", "added"):
            continue
        counts[place] += 1
        state = states[place] = states.get(place) or dict.fromkeys(columns)
        state |= {name: exported(name, value) for name, value in payload.items() if name in state}
        state |= {"updated_at": event["ts"], "event_count": counts[place]}
        state |= {"arrival_id": event["arrival_id"]} | ({key[0]: place} if len(key) == 1 else {})
        author, subject_id = payload.get("updated_by"), state.get("subject_id") or ""
        blank = {"updated_by": author, "subject_id": subject_id}
        state |= {name: value for name, value in blank.items() if name in state}
    return [state for state in states.values() if state is not None]
