"""The access log: a JSON object for each request where LOG_FORMAT is json, and no secret in it."""

import json
import logging
from collections.abc import Iterator

import pytest

from orchestration_project.engine.contracts.roles import Role
from orchestration_project.gateway.headers import LOG
from tests.gateway.login_client import LoginClient
from tests.programs import wait_for


class Lines(logging.Handler):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def log() -> Iterator[Lines]:
    handler, level = Lines(), LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    yield handler
    LOG.removeHandler(handler)
    LOG.setLevel(level)


def test_each_request_is_a_line_with_who_what_and_how_it_ended(
    login_client: LoginClient, log: Lines
):
    key = login_client.keys[Role.VIEWER]
    answer = login_client.ask("GET", "/session?x=1", key=key, address="203.0.113.5")
    [line] = wait_for(lambda: log.lines)
    entry = json.loads(line)
    assert entry == {
        "time": entry["time"],
        "level": "INFO",
        "logger": "orchestration_project.access",
        "event": "request_served",
        "message": "request",
        "request_id": answer.headers["x-request-id"],
        "user": "the viewer",
        "address": "203.0.113.5",
        "method": "GET",
        "path": "/session",
        "status": 200,
        "seconds": entry["seconds"],
        "trace_id": answer.headers["x-trace-id"],
        "span_id": entry["span_id"],
    }


@pytest.mark.slow
def test_no_key_cookie_or_query_is_in_a_line(login_client: LoginClient, log: Lines):
    key = login_client.key()
    cookie = login_client.log_in_without_failure(key)
    answers = [
        login_client.ask("GET", f"/runs?key={key}", cookie=cookie),
        login_client.ask("GET", f"/runs/{key}", key=key),
        login_client.ask("GET", "/session", key="op_wrong"),
        login_client.graphql("{version}", key=key),
    ]
    assert [answer.status for answer in answers] == [200, 200, 401, 200]
    lines = wait_for(lambda: len(log.lines) == 5 and "\n".join(log.lines))
    for secret in (key.secret, cookie.partition("=")[2]):
        assert secret not in lines
    assert json.loads(log.lines[-2])["user"] is None
