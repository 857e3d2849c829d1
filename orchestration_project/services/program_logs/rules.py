"""Log lines as a request of OTLP over HTTP, in protobuf; and its answer.

VictoriaLogs takes no JSON. The encoding needs no library: a field is its number and type, then its
value. Numbers of fields are those of opentelemetry-proto, by which the tests decode requests.
"""

import json
import struct
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

PROTOBUF = "application/x-protobuf"

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
    resources: dict[tuple[str, ...], dict[str, list[bytes]]] = {}
    for line in lines:
        key = tuple(str(line.fields.get(name, "")) for name in RESOURCE_FIELDS)
        scope = str(line.fields.get("logger", ""))
        resources.setdefault(key, {}).setdefault(scope, []).append(_record(line, observed))
    return b"".join(_encode_bytes(1, _encode_resource(*item)) for item in resources.items())


def _encode_resource(values: tuple[str, ...], scopes: Mapping[str, Sequence[bytes]]) -> bytes:
    resource = _encode_attributes(1, zip(RESOURCE_FIELDS.values(), values, strict=True))
    scope_logs = (
        _encode_bytes(1, _encode_text(1, name))
        + b"".join(_encode_bytes(2, record) for record in records)
        for name, records in scopes.items()
    )
    return _encode_bytes(1, resource) + b"".join(_encode_bytes(2, log) for log in scope_logs)


def _record(line: NumberedLine, observed: datetime) -> bytes:
    fields = line.fields
    level = str(fields.get("level", ""))
    other_pairs = ((ATTRIBUTES.get(name, name), value) for name, value in fields.items())
    own = [(name, value) for name, value in other_pairs if name not in OF_RECORD]
    observed_at = _parse_nanoseconds(observed.isoformat())
    ids = {9: (fields.get("trace_id"), 32), 10: (fields.get("span_id"), 16)}
    return b"".join(
        [
            _encode_fixed(1, _parse_nanoseconds(fields.get("time")) or observed_at),
            _encode_number(2, SEVERITIES.get(level, 0)),
            _encode_text(3, level),
            _encode_bytes(5, _encode_text(1, str(fields.get("message", "")))),
            _encode_attributes(6, [*own, ("log.record.uid", line.uid)]),
            *(
                _encode_bytes(name, bytes.fromhex(str(x)))
                for name, (x, n) in ids.items()
                if _is_hex(x, n)
            ),
            _encode_fixed(11, observed_at),
        ]
    )


def _is_hex(value: object, length: int) -> bool:
    return isinstance(value, str) and len(value) == length and set(value) <= HEX_DIGITS


def _parse_nanoseconds(text: object) -> int:
    try:
        seconds = datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return 0
    return round(seconds * 1_000_000) * 1000 if seconds > 0 else 0


def _encode_attributes(field: int, pairs: Iterable[tuple[str, Any]]) -> bytes:
    encoded = (
        _encode_text(1, key) + _encode_bytes(2, _encode_value(item))
        for key, item in pairs
        if item is not None
    )
    return b"".join(_encode_bytes(field, chunk) for chunk in encoded)


def _encode_value(value: object) -> bytes:
    if isinstance(value, bool):
        return _encode_number(2, value)
    if isinstance(value, int):
        return _encode_number(3, value) if abs(value) < 2**63 else _encode_text(1, str(value))
    if isinstance(value, float):
        is_finite = value - value == 0
        return _encode_fixed(4, value) if is_finite else _encode_text(1, str(value))
    return _encode_text(1, value if isinstance(value, str) else json.dumps(value))


VARINT, FIXED_64, BYTES = 0, 1, 2
"""Types of protobuf's fields."""


def _encode_number(field: int, value: int) -> bytes:
    return _encode_varint(field << 3 | VARINT) + _encode_varint(value % 2**64)


def _encode_fixed(field: int, value: float) -> bytes:
    return _encode_varint(field << 3 | FIXED_64) + struct.pack(
        "<d" if isinstance(value, float) else "<Q", value
    )


def _encode_text(field: int, value: str) -> bytes:
    return _encode_bytes(field, value.encode(errors="replace"))


def _encode_bytes(field: int, value: bytes) -> bytes:
    return _encode_varint(field << 3 | BYTES) + _encode_varint(len(value)) + value


def _encode_varint(value: int) -> bytes:
    """Return a number in groups of 7 bits, the lowest first; each but the last has a mark."""
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


def count_rejected(content_type: str, body: bytes, sent_count: int) -> int | None:
    """Return how many of the sent records an accepting answer rejects; None: it is not OTLP's.

    Args:
        content_type: Its Content-Type.
        body: Its body; an empty one accepts all.
        sent_count: Number of records in the request.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        return 0
    if kind == PROTOBUF:
        return _count_protobuf_rejects(body, sent_count)
    try:
        answer = json.loads(body)
        partial = (answer.get("partialSuccess") or {}) if isinstance(answer, dict) else None
        rejected = int(partial.get("rejectedLogRecords") or 0) if partial is not None else None
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    return None if rejected is None else max(0, min(rejected, sent_count))


def _count_protobuf_rejects(body: bytes, sent_count: int) -> int | None:
    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.message import DecodeError
    from google.protobuf.unknown_fields import UnknownFieldSet

    counts = [0]
    try:
        for partial in UnknownFieldSet(Empty.FromString(body)):
            if partial.field_number == 1:
                fields = UnknownFieldSet(Empty.FromString(partial.data))
                counts += [int(field.data) for field in fields if field.field_number == 1]
    except (DecodeError, TypeError, ValueError):
        return None
    is_negative = counts[-1] >= 2**63
    return 0 if is_negative else min(counts[-1], sent_count)
