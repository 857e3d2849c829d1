"""Bytes of a message as an envelope, or the reason why it is refused."""

import hashlib
import json
import math
import re
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, get_args

ReasonCode = Literal[
    "not_utf8",
    "not_json",
    "not_an_object",
    "missing_field",
    "wrong_type",
    "too_deep",
    "not_finite",
    "number_too_large",
    "schema",
    "key_reused",
    "too_large",
]
REASON_CODES: tuple[ReasonCode, ...] = get_args(ReasonCode)
"""Kinds of refusals of a message, as `mqtt_dead_letters` has them."""

MAX_NESTING = 64
"""Maximum nesting of objects and lists, the envelope included."""

MAX_INTEGER = 2**63 - 1
"""Largest integer, and with a minus sign the smallest: databases store 64 bits."""

MAX_REASON_LENGTH = 300
MEMBERS = ("trace_id", "ts", "kind", "idempotency_key", "payload")

KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
MAX_KIND_LENGTH = 100
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
KEY = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
FIRST_YEAR = 1970


class Envelope(NamedTuple):
    """A valid envelope.

    Attributes:
        trace_id: UUID in lower case.
        ts: Time of the event by its sender, UTC.
        kind: Kind as the sender wrote it, with or without a version.
        idempotency_key: Key of the event, 1 to 200 characters.
        payload: The payload.
        payload_json: Payload as canonical JSON.
        sha256: SHA-256 of the envelope without its trace in canonical JSON, hex. The trace is
            not content, as each attempt of a sender may have its own.
    """

    trace_id: str
    ts: datetime
    kind: str
    idempotency_key: str
    payload: dict[str, Any]
    payload_json: str
    sha256: str


class Refusal(NamedTuple):
    """Why a message is not an event.

    Attributes:
        reason_code: Kind of the refusal.
        reason: The refusal in words, up to 300 characters.
        kind: Kind of the event, if it was readable.
    """

    reason_code: ReasonCode
    reason: str
    kind: str | None = None


class _RefusedError(Exception):
    def __init__(self, reason_code: ReasonCode, reason: str) -> None:
        super().__init__(reason)
        self.reason_code: ReasonCode = reason_code
        self.reason = reason


def read_envelope(
    payload: bytes, *, max_bytes: int, byte_count: int | None = None
) -> Envelope | Refusal:
    """Return the envelope of a message, or the first reason why it is not valid.

    Args:
        payload: Bytes of the message, or of its head.
        max_bytes: Size limit of a message.
        byte_count: Size of the whole message; None: that of ``payload``.
    """
    kind = None
    try:
        size = len(payload) if byte_count is None else byte_count
        if size > max_bytes:
            raise _RefusedError("too_large", f"expected up to {max_bytes} bytes, found {size}")
        parsed = _parse_object(payload)
        kind = _read_kind(parsed)
        return _read_envelope(parsed, kind)
    except _RefusedError as error:
        return Refusal(error.reason_code, error.reason[:MAX_REASON_LENGTH], kind)


def canonical_json(value: Any) -> str:
    """Return a value as JSON with sorted members and without spaces.

    NUL and other control characters are escaped, so any database stores the text exactly.
    """
    return _ENCODER.encode(value)


def parse_time(text: str) -> datetime | None:
    """Return the time of an ISO 8601 text with a zone, UTC; None: it is not one."""
    if not TIME.fullmatch(text):
        return None
    try:
        astimezone = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return astimezone if astimezone.year >= FIRST_YEAR else None


def _parse_object(payload: bytes) -> dict[str, Any]:
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise _RefusedError("not_utf8", f"expected UTF-8, up to byte {error.start}") from error
    try:
        parsed = _DECODER.decode(text)
    except RecursionError as error:
        raise _RefusedError("too_deep", _TOO_DEEP) from error
    except ValueError as error:
        raise _RefusedError("not_json", f"expected JSON: {error}") from error
    if not isinstance(parsed, dict):
        name = _TYPE_NAMES.get(type(parsed), "null")
        raise _RefusedError("not_an_object", f"expected a JSON object, found {name}")
    # A message has at least as many brackets as levels: few messages are walked.
    if text.count("{") + text.count("[") > MAX_NESTING and _is_too_deep(parsed):
        raise _RefusedError("too_deep", _TOO_DEEP)
    return parsed


def _read_envelope(found: dict[str, Any], kind: str | None) -> Envelope:
    for name in MEMBERS:
        if name not in found:
            raise _RefusedError("missing_field", f"{name}: expected a value, found none")
    if kind is None:
        raise _RefusedError("wrong_type", "kind: expected a name, e.g. project.updated")
    trace_id = _read_text(found, "trace_id", UUID, "a UUID")
    key = _read_text(found, "idempotency_key", KEY, "1 to 200 characters, no control characters")
    ts, payload = found["ts"], found["payload"]
    time = parse_time(ts) if isinstance(ts, str) else None
    if time is None:
        raise _RefusedError(
            "wrong_type", "ts: expected a time with its zone, e.g. 2026-11-01T00:00:00Z"
        )
    if not isinstance(payload, dict):
        raise _RefusedError("wrong_type", "payload: expected a JSON object")
    try:
        payload_json = canonical_json(payload)
        whole = _render_envelope(found, payload_json).encode()
    except UnicodeEncodeError as error:
        raise _RefusedError(
            "not_utf8", "expected UTF-8, found an escape of half a surrogate pair"
        ) from error
    return Envelope(
        trace_id.lower(),
        time,
        kind,
        key,
        payload,
        payload_json,
        hashlib.sha256(whole).hexdigest(),
    )


def _render_envelope(found: dict[str, Any], payload_json: str) -> str:
    """Return the canonical JSON of an envelope without its trace; its payload is written."""
    members = (
        f"{canonical_json(name)}:{payload_json if name == 'payload' else canonical_json(value)}"
        for name, value in sorted(found.items())
        if name != "trace_id"
    )
    return f"{{{','.join(members)}}}"


def _read_text(found: dict[str, Any], name: str, pattern: re.Pattern[str], expected: str) -> str:
    value = found[name]
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _RefusedError("wrong_type", f"{name}: expected {expected}")
    return value


def _read_kind(found: dict[str, Any]) -> str | None:
    kind = found.get("kind")
    if not isinstance(kind, str) or len(kind) > MAX_KIND_LENGTH or not KIND.fullmatch(kind):
        return None
    return kind


def _is_too_deep(found: Any) -> bool:
    level = [found]
    for _ in range(MAX_NESTING):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def _read_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is given twice in an object")
    return members


def _parse_integer(text: str) -> int:
    if (
        len(text) > len(str(MAX_INTEGER)) + 1
        or not -MAX_INTEGER <= (number := int(text)) <= MAX_INTEGER
    ):
        raise _RefusedError("number_too_large", f"expected integers of 64 bits, found {text[:24]}")
    return number


def _parse_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _RefusedError(
            "number_too_large", f"expected numbers up to 1.7e308, found {text[:24]}"
        )
    return number


def _refuse_constant(name: str) -> float:
    raise _RefusedError("not_finite", f"expected finite numbers, found {name}")


_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_DECODER = json.JSONDecoder(
    object_pairs_hook=_read_members,
    parse_int=_parse_integer,
    parse_float=_parse_float,
    parse_constant=_refuse_constant,
)
_TOO_DEEP = f"expected up to {MAX_NESTING} levels of objects and lists"
_TYPE_NAMES = {
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}
