"""Messages that are events, and the reason of each that is not one."""

import hashlib
import json
from datetime import UTC, datetime

import pytest

from orchestration_project.domains.mqtt.envelope import (
    MAX_NESTING,
    REASON_CODES,
    Envelope,
    Refusal,
    read_envelope,
)

TRACE = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
VALID = {
    "trace_id": TRACE,
    "ts": "2026-11-01T10:00:00.5+02:00",
    "kind": "project.updated",
    "idempotency_key": "p1-7",
    "payload": {"project_id": "p1", "name": "Apollo"},
}


def read(message: object, **options: int) -> Envelope | Refusal:
    content = message if isinstance(message, bytes) else json.dumps(message).encode()
    return read_envelope(content, **{"max_bytes": 1_000_000, **options})


def raw(payload: str) -> bytes:
    return (
        json.dumps({**VALID, "payload": 0})
        .replace('"payload": 0', f'"payload": {payload}')
        .encode()
    )


def test_an_envelope_is_read_with_its_time_in_utc():
    found = read({**VALID, "trace_id": TRACE.upper()})
    content = {name: value for name, value in VALID.items() if name != "trace_id"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert found == Envelope(
        TRACE,
        datetime(2026, 11, 1, 8, 0, 0, 500_000, UTC),
        "project.updated",
        "p1-7",
        {"project_id": "p1", "name": "Apollo"},
        '{"name":"Apollo","project_id":"p1"}',
        hashlib.sha256(canonical.encode()).hexdigest(),
    )


def test_the_hash_is_of_the_content_not_of_its_notation():
    one = read(json.dumps(VALID, indent=4).encode())
    other = read(dict(reversed(VALID.items())))
    changed = read({**VALID, "payload": {"project_id": "p1", "name": "Gemini"}})
    assert isinstance(one, Envelope)
    assert isinstance(other, Envelope)
    assert isinstance(changed, Envelope)
    assert one.sha256 == other.sha256 != changed.sha256


def test_nul_and_letters_of_any_script_stay_exact():
    found = read(raw(r'{"name": "a\u0000b", "owner": "Ærø \ud83d\ude80"}'))
    assert isinstance(found, Envelope)
    assert found.payload_json == r'{"name":"a\u0000b","owner":"Ærø 🚀"}'
    assert found.payload["name"] == "a\0b"


def nested(levels: int) -> bytes:
    return raw('{"a": ' * levels + "1" + "}" * levels)


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        (b"\xff\xfe{}", "not_utf8", "expected UTF-8, up to byte 0"),
        (raw(r'{"name": "\ud800"}'), "not_utf8", "half a surrogate pair"),
        (b"", "not_json", "expected JSON: Expecting value"),
        (b'{"a": 1', "not_json", "expected JSON"),
        (b"{} {}", "not_json", "Extra data"),
        (b"\xef\xbb\xbf{}", "not_json", "expected JSON"),
        (b'{"a": "\x00"}', "not_json", "Invalid control character"),
        (raw('{"a": 1, "a": 2}'), "not_json", "a name is given twice"),
        (b"17", "not_an_object", "found a number"),
        (b"null", "not_an_object", "found null"),
        (b"true", "not_an_object", "found a boolean"),
        (b'"{}"', "not_an_object", "found a string"),
        (b"[{}]", "not_an_object", "found a list"),
        (nested(MAX_NESTING), "too_deep", "up to 64 levels"),
        (b"[" * 200_000 + b"]" * 200_000, "too_deep", "up to 64 levels"),
        (raw('{"a": NaN}'), "not_finite", "found NaN"),
        (raw('{"a": -Infinity}'), "not_finite", "found -Infinity"),
        (raw('{"a": 1e400}'), "number_too_large", "up to 1.7e308"),
        (raw('{"a": 9223372036854775808}'), "number_too_large", "64 bits"),
        (raw('{"a": ' + "9" * 100_000 + "}"), "number_too_large", "64 bits"),
        *(
            ({k: v for k, v in VALID.items() if k != name}, "missing_field", f"{name}: ")
            for name in VALID
        ),
        ({**VALID, "trace_id": 7}, "wrong_type", "trace_id: expected a UUID"),
        ({**VALID, "trace_id": "{" + TRACE + "}"}, "wrong_type", "trace_id: expected a UUID"),
        ({**VALID, "ts": "2026-11-01T10:00:00"}, "wrong_type", "ts: expected a time with its zone"),
        ({**VALID, "ts": 1_793_527_200}, "wrong_type", "ts: expected"),
        ({**VALID, "ts": "2026-02-30T10:00:00Z"}, "wrong_type", "ts: expected"),
        ({**VALID, "ts": "9999-12-31T23:59:59-12:00"}, "wrong_type", "ts: expected"),
        ({**VALID, "ts": "0001-01-01T00:00:00Z"}, "wrong_type", "ts: expected"),
        ({**VALID, "kind": "Project Updated"}, "wrong_type", "kind: expected a name"),
        ({**VALID, "kind": None}, "wrong_type", "kind: expected a name"),
        ({**VALID, "idempotency_key": ""}, "wrong_type", "idempotency_key: expected 1 to 200"),
        ({**VALID, "idempotency_key": "a\0"}, "wrong_type", "no control characters"),
        ({**VALID, "idempotency_key": "x" * 201}, "wrong_type", "idempotency_key"),
        ({**VALID, "payload": []}, "wrong_type", "payload: expected a JSON object"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_anything_else_is_refused_with_its_reason(message, code, reason):
    found = read(message)
    assert isinstance(found, Refusal)
    assert found.reason_code == code
    assert reason in found.reason
    assert len(found.reason) <= 300
    assert code in REASON_CODES


def test_the_deepest_payload_that_is_allowed():
    assert isinstance(read(nested(MAX_NESTING - 1)), Envelope)


def test_brackets_in_texts_are_not_levels():
    assert isinstance(read({**VALID, "payload": {"text": "[" * 100}}), Envelope)


def test_a_message_above_the_limit_is_refused_by_the_size_of_the_whole():
    head = read(b'{"trace_id"', max_bytes=100, byte_count=101)
    assert head == Refusal("too_large", "expected up to 100 bytes, found 101")


def test_a_refusal_has_the_kind_if_it_was_readable():
    found = read({**VALID, "ts": "yesterday"})
    assert isinstance(found, Refusal)
    assert found.kind == "project.updated"
