"""A database that is away: logins are refused with a sentence that says why."""

import logging
from collections.abc import Iterator

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.app import create_app
from orchestration_project.gateway.guard import UNAVAILABLE_MESSAGE, AuthServices
from orchestration_project.gateway.request import Place
from orchestration_project.services.access import Access, AccessLog
from orchestration_project.services.access.rules.credentials import Key
from tests.gateway.login_client import INSTALLATION, LIMITS, SECRET, requested

KEY = str(Key("0" * 12, "A" * 43))


@pytest.fixture
def login_client() -> Iterator[tuple[ASGIApp, str]]:
    """A gateway without its database, and a cookie that it signed before."""
    clock = Clock()
    with Warehouse("postgresql://me:hunter2@127.0.0.1:1/x", clock=clock) as away:
        place = Place(hosts={"127.0.0.1"})
        access, log = Access(away, clock, LIMITS), AccessLog(away, clock)
        auth_services = AuthServices(access, log, place, INSTALLATION, secret=SECRET)
        app = create_app(auth_services, PlainTextResponse("Dagster"))
        yield app, f"session={auth_services.signed('token')}"


def test_a_client_with_a_session_or_a_key_gets_a_retry_after(login_client, caplog):
    app, cookie = login_client
    for headers in ({"cookie": cookie}, {"x-api-key": KEY}):
        answer = requested(app, "GET", "/session", headers=headers)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json() == {"errors": [{"message": UNAVAILABLE_MESSAGE}]}
    problems = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "the database did not do what was asked" in problems[0].getMessage()
    assert "hunter2" not in caplog.text
    assert not any(record.exc_info for record in caplog.records)


def test_a_browser_is_shown_a_page_that_says_so(login_client):
    app, cookie = login_client
    page = requested(app, "GET", "/runs", headers={"cookie": cookie, "accept": "text/html"})
    assert (page.status_code, page.headers["retry-after"]) == (503, "5")
    assert f'<p role="alert" id="problem">{UNAVAILABLE_MESSAGE}</p>' in page.text


def test_the_login_page_is_there_and_says_so_when_a_key_is_sent(login_client):
    app, _ = login_client
    assert requested(app, "GET", "/login").status_code == 200
    page = requested(app, "POST", "/login", data={"key": KEY, "next": "/runs"})
    assert (page.status_code, "set-cookie" in page.headers) == (503, False)
    assert f'<p role="alert" id="problem">{UNAVAILABLE_MESSAGE}</p>' in page.text
    assert '<input type="hidden" name="next" value="/runs">' in page.text
    assert KEY not in page.text


def test_who_brings_nothing_is_led_to_the_login_all_the_same(login_client):
    app, _ = login_client
    assert requested(app, "GET", "/runs").status_code == 401
    assert requested(app, "GET", "/runs", headers={"accept": "text/html"}).status_code == 303
