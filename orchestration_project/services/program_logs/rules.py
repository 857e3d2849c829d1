"""Log lines as a request of OTLP over HTTP, in its JSON encoding; and its answer.

The encoding needs no library: field names are in lowerCamelCase, 64-bit numbers are texts, and IDs
of traces are hex digits.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

SEVERITIES: Mapping[str, int] = {"DEBUG": 5, "INFO": 9, "WARNING": 13, "ERROR": 17, "CRITICAL": 21}

RESOURCE_FIELDS: Mapping[str, str] = {
    "service": "service.name",
    "host": "host.name",
    "release": "service.version",
}
"""Attributes of the resource, by the field of a line."""

ATTRIBUTES: Mapping[str, str] = {
    "event": "event.name",
    "exception": "exception.stacktrace",
    "method": "http.request.method",
    "path": "url.path",
    "status": "http.response.status_code",
    "address": "client.address",
    "user": "user.name",
}
"""Attributes with a name in OpenTelemetry's conventions; others have that of their field."""

HEX_DIGITS = frozenset("0123456789abcdef")

OF_RECORD = frozenset(
    {"time", "level", "message", "trace_id", "span_id", "logger", *RESOURCE_FIELDS}
)
"""Fields that are not attributes of a record."""


class NumberedLine(NamedTuple):
    """A line and its ID, which the same line has in each request."""

    uid: str
    fields: Mapping[str, Any]


def encode_request(lines: Sequence[NumberedLine], observed: datetime) -> bytes:
    """Return the request for lines; ``observed`` is the time of reading."""
    resources: dict[tuple[str, ...], dict[str, list[dict[str, Any]]]] = {}
    for line in lines:
        key = tuple(str(line.fields.get(name, "")) for name in RESOURCE_FIELDS)
        scope = str(line.fields.get("logger", ""))
        resources.setdefault(key, {}).setdefault(scope, []).append(_record(line, observed))
    found = [
        {
            "resource": {
                "attributes": _attributes(zip(RESOURCE_FIELDS.values(), key, strict=True))
            },
            "scopeLogs": [
                {"scope": {"name": name}, "logRecords": records} for name, records in scopes.items()
            ],
        }
        for key, scopes in resources.items()
    ]
    return json.dumps({"resourceLogs": found}).encode()


def _record(line: NumberedLine, observed: datetime) -> dict[str, Any]:
    fields = line.fields
    level = str(fields.get("level", ""))
    others = ((ATTRIBUTES.get(name, name), value) for name, value in fields.items())
    own = [(name, value) for name, value in others if name not in OF_RECORD]
    record = {
        "timeUnixNano": _nanoseconds(fields.get("time")) or _nanoseconds(observed.isoformat()),
        "observedTimeUnixNano": _nanoseconds(observed.isoformat()),
        "severityNumber": SEVERITIES.get(level, 0),
        "severityText": level,
        "body": {"stringValue": str(fields.get("message", ""))},
        "attributes": _attributes([*own, ("log.record.uid", line.uid)]),
    }
    ids = {"traceId": fields.get("trace_id"), "spanId": fields.get("span_id")}
    lengths = {"traceId": 32, "spanId": 16}
    return record | {name: each for name, each in ids.items() if _is_hex(each, lengths[name])}


def _is_hex(value: object, length: int) -> bool:
    return isinstance(value, str) and len(value) == length and set(value) <= HEX_DIGITS


def _nanoseconds(text: object) -> str:
    try:
        seconds = datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return ""
    return str(round(seconds * 1_000_000) * 1000) if seconds > 0 else ""


def _attributes(pairs: Iterable[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in pairs if value is not None]


def _value(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)} if abs(value) < 2**63 else {"stringValue": str(value)}
    if isinstance(value, float):
        is_finite = value - value == 0
        return {"doubleValue": value} if is_finite else {"stringValue": str(value)}
    return {"stringValue": value if isinstance(value, str) else json.dumps(value)}


def rejected_count(content_type: str, body: bytes, sent_count: int) -> int | None:
    """Return how many of the sent records an accepting answer rejects; None: it is not OTLP's.

    Args:
        content_type: Its Content-Type.
        body: Its body, which is empty if all was accepted, as protobuf has it.
        sent_count: Number of records in the request.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not body or kind == "application/x-protobuf":
        return 0
    try:
        answer = json.loads(body)
        partial = (answer.get("partialSuccess") or {}) if isinstance(answer, dict) else None
        rejected = int(partial.get("rejectedLogRecords") or 0) if partial is not None else None
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    return None if rejected is None else max(0, min(rejected, sent_count))
