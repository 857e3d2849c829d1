"""Lines of plugins, read strictly; what each may do, and how much."""

import json
from typing import Any

import pytest

from orchestration_project.domains.plugins.budgets import BudgetError, Spending
from orchestration_project.domains.plugins.judging import Judge, secret_names, shown_url
from orchestration_project.domains.plugins.manifest import Budget, Permissions
from orchestration_project.domains.plugins.protocol import (
    MAX_LINE_BYTES,
    Emit,
    Fetch,
    ProtocolError,
    Row,
    read_line,
    start_line,
)


def test_rows_are_read_as_they_were_sent():
    sent = {"type": "emit", "table": "items", "rows": [{"key": "ü", "payload": {"a": [1, None]}}]}
    assert read_line(json.dumps(sent).encode()) == Emit("items", [Row("ü", {"a": [1, None]})])


def test_defaults_of_a_request():
    assert read_line(b'{"type":"fetch","id":7,"url":"https://a.example"}') == Fetch(
        7, "https://a.example", "GET", {}, None
    )


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b'"end"',
        b'{"type":"end"',
        b'{"type":"fetch","id":true,"url":"a"}',
        b'{"type":"fetch","id":1.5,"url":"a"}',
        b'{"type":"fetch","id":1,"url":""}',
        b'{"type":"fetch","id":1,"url":"a","headers":{"a":1}}',
        b'{"type":"read","id":1,"query":"a","parameters":{"a":[]}}',
        b'{"type":"emit","table":"a","rows":{}}',
        b'{"type":"emit","table":"a","rows":[{"key":"\\u0000","payload":{}}]}',
        b'{"type":"emit","table":"a","rows":[{"key":"\\ud800","payload":{}}]}',
        b'{"type":"emit","table":"a","rows":[{"key":"a","payload":[]}]}',
        b'{"type":"log","message":1e999}',
        b'{"type":"log","message":"a","level":"x","more":[1e999]}',
        b'{"type":"log","message":' + b"9" * 5000 + b"}",
        b"[" * 1_000_000,
        b'{"type":"log","message":"' + b"a" * MAX_LINE_BYTES + b'"}',
    ],
)
def test_another_line_is_refused(line: bytes):
    with pytest.raises(ProtocolError, match=r"expected|invalid"):
        read_line(line)


def test_the_depth_of_values_is_bounded():
    def nested(depth: int) -> bytes:
        value = "[" * depth + "]" * depth
        return f'{{"type":"publish","topic":"a","key":"a","payload":{{"a":{value}}}}}'.encode()

    assert read_line(nested(30))
    with pytest.raises(ProtocolError, match="levels of nesting"):
        read_line(nested(31))


def test_the_first_line_of_the_host_has_no_secret_and_no_line_break():
    line = start_line("run", config={"a": "b\nc"}, partition=None, run_id="r")
    assert line.count(b"\n") == 1
    assert json.loads(line)["config"] == {"a": "b\nc"}


@pytest.mark.parametrize(
    ("host", "url", "is_allowed"),
    [
        ("example.org", "https://example.org/a?b=c", True),
        ("example.org", "https://EXAMPLE.org:443/", True),
        ("example.org:8443", "https://example.org:8443/", True),
        ("example.org", "https://example.org:8443/", False),
        ("example.org", "https://a.example.org/", False),
        ("example.org", "https://example.org.evil.example/", False),
        ("example.org", "https://example.org@evil.example/", False),
        ("example.org", "https://evil.example/#example.org", False),
        ("example.org", "https://evil.example\\@example.org/", False),
        ("example.org", "http://example.org/", False),
        ("example.org", "https://ex\u0430mple.org/", False),
        ("example.org", "https://example.org\n/", False),
        ("example.org", "//example.org/", False),
        ("example.org", "https://example.org:99999/", False),
        ("example.org", "https://{{secret:A}}.example.org/", False),
    ],
)
def test_a_request_goes_to_a_granted_host_alone(host: str, url: str, is_allowed: bool):
    permissions = Permissions.model_validate({"hosts": [{"host": host}]})
    refusal = Judge(permissions).refusal(Fetch(1, url))
    assert (refusal is None) == is_allowed


def test_recorded_targets_have_no_query():
    assert shown_url("https://example.org/a?token=b#c") == "https://example.org:443/a"
    assert shown_url("https://user:password@example.org/") == "(invalid URL)"


def test_secrets_are_found_in_url_and_headers():
    message = Fetch(1, "https://a.example/{{secret:A}}", headers={"X": "{{secret:B}}{{secret:A}}"})
    assert secret_names(message) == ["A", "B"]


@pytest.mark.parametrize(
    ("limits", "spend"),
    [
        ({"requests": 1}, lambda spent: [spent.add_request(), spent.add_request()]),
        ({"bytes": 10}, lambda spent: [spent.add_bytes(10), spent.add_message(1)]),
        ({"rows": 5}, lambda spent: spent.add_rows(6)),
    ],
)
def test_a_budget_names_its_limit(limits: dict[str, int], spend: Any):
    with pytest.raises(BudgetError, match=f"budget.{next(iter(limits))}: expected at most"):
        spend(Spending(Budget(**limits)))
