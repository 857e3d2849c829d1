"""Bodies of webhook deliveries that are loaded, and reasons why others are rejected."""

from datetime import UTC, datetime

import pytest

from orchestration_project.domains.events.deliveries import (
    MAX_BODY_BYTES,
    MAX_NESTING,
    WebhookEvent,
    checked_events,
)
from orchestration_project.engine.contracts.audits import Validated

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def checked(body: bytes) -> Validated:
    [checked] = checked_events([WebhookEvent("git", "1", NOON, None, body)])
    return checked


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b' {"b": 1.50, "a": "\xc3\xa9 \\u0000 \\ud800"}\n',
        b'{"a": ' * MAX_NESTING + b"1" + b"}" * MAX_NESTING,
        b'{"a": [' * (MAX_NESTING // 2) + b"]}" * (MAX_NESTING // 2),
    ],
)
def test_a_json_object_is_stored_letter_by_letter(body):
    found = checked(body)
    assert found.rows.rows() == [("git", "1", NOON, None, body.decode(), 1)]
    assert found.rejects.is_empty()


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        (b"", "json", "the body is not JSON: Expecting value"),
        (b'{"a": 1', "json", "the body is not JSON: Expecting ',' delimiter"),
        (b"{} {}", "json", "the body is not JSON: Extra data"),
        (b'{"a": NaN}', "json", "the body is not JSON: NaN is not a JSON number"),
        (b'{"a": -Infinity}', "json", "-Infinity is not a JSON number"),
        (b"\xef\xbb\xbf{}", "json", "BOM"),
        (b'{"a": "\xff"}', "encoding", "the body is not UTF-8, from byte 7 on"),
        (b"[]", "object", "the body is a JSON list, not an object"),
        (b"null", "object", "the body is a JSON NoneType, not an object"),
        (b'"{}"', "object", "the body is a JSON str, not an object"),
        (b'{"a": ' * (MAX_NESTING + 1) + b"1" + b"}" * (MAX_NESTING + 1), "depth", "more than 64"),
        (b"[" * 200_000 + b"]" * 200_000, "depth", "more than 64"),
        (b'{"a": "' + b"x" * MAX_BODY_BYTES + b'"}', "size", "more than 5242880"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str | bytes) else None,
)
def test_anything_else_is_rejected_with_its_reason(body, code, reason):
    found = checked(body)
    assert found.rows.is_empty()
    [reject] = found.rejects.to_dicts()
    assert (reject["part_number"], reject["line_number"], reject["byte_offset"]) == (1, 1, 0)
    assert reject["reason_code"] == code
    assert reason in reject["reason"]
    assert len(reject["record"]) < 20_000
