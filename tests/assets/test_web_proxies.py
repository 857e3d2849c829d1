"""Crawls by way of WEB_PROXIES: of sites that allow it, robots.txt included, and never to evade."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_crawls, web_frontier
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import load_settings
from tests import databases
from tests.assets.test_web_operation import LINKS, PAGE, site_of, small_site
from tests.assets.web_shop import materialize_and_check_success
from tests.faulty_server import FaultyServer, Reply, Request
from tests.resources.test_http import free_url

DAY = "2026-02-01"
BLOCK = Reply(
    headers={"Content-Type": "text/html"},
    body=b"<title>Just a moment...</title><div id=challenge-running></div>",
)


def allowed() -> Site:
    return small_site(1000).model_copy(update={"proxy": "allowed"})


def forward(request: Request) -> Reply:
    answer = httpx.get(request.target, trust_env=False)
    return Reply(answer.status_code, {"Content-Type": "text/html"}, answer.content)


class Proxies:
    """Proxies of plain HTTP, set as WEB_PROXIES."""

    def __init__(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        self._stack, self._monkeypatch = stack, monkeypatch

    def start(self, *handlers: Callable[[Request], Any]) -> list[FaultyServer]:
        servers = [self._stack.enter_context(FaultyServer(handler)) for handler in handlers]
        self.set(*(server.url for server in servers))
        return servers

    def set(self, *urls: str) -> None:
        given = [url.replace("://", "://me:hidden-word@") for url in urls]
        self._monkeypatch.setenv("WEB_PROXIES", ",".join(given))


@pytest.fixture
def proxies(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxies]:
    monkeypatch.setenv("DEMO_CLOCK_NOW", f"{DAY}T09:00:00+00:00")
    with ExitStack() as stack:
        yield Proxies(stack, monkeypatch)


def outcome(url: str) -> Any:
    [found] = databases.rows(url, select(web_crawls.c.outcome, web_crawls.c.reason))
    return found


def paths(server: FaultyServer) -> list[str]:
    return sorted(request.target.rpartition("/")[2] for request in server.requests)


REPLIES: Mapping[str, Reply] = {"/": LINKS, "/a": PAGE, "/b": PAGE}


@pytest.mark.slow
def test_a_site_that_allows_it_is_requested_by_proxy_and_its_robots_txt_too(url, instance, proxies):
    [proxy, spare] = proxies.start(forward, forward)
    with site_of(REPLIES, {}) as (server, access):
        materialize_and_check_success(instance, allowed(), DAY, web=access)
        assert paths(proxy) == paths(server) == ["", "a", "b", "robots.txt"]
    assert spare.requests == []
    assert outcome(url) == ("complete", None)


@pytest.mark.slow
def test_a_site_that_does_not_allow_it_is_requested_directly(url, instance, proxies):
    [proxy] = proxies.start(forward)
    with site_of(REPLIES, {}) as (server, access):
        materialize_and_check_success(instance, small_site(1000), DAY, web=access)
        assert len(server.requests) == 4
    assert proxy.requests == []


@pytest.mark.slow
@pytest.mark.parametrize("answer", [BLOCK, pytest.param(Reply(403), marks=pytest.mark.slow)])
def test_a_block_page_ends_the_crawl_and_no_other_proxy_is_asked(url, instance, proxies, answer):
    [proxy, spare] = proxies.start(forward, forward)
    with site_of({**REPLIES, "/a": answer}, {}) as (server, access):
        materialize_and_check_success(instance, allowed(), DAY, web=access)
        assert [request.target for request in server.requests].count("/a") == 1
        materialize_and_check_success(instance, allowed(), "2026-02-02", web=access)
    assert spare.requests == []
    assert {found for (found,) in databases.rows(url, select(web_crawls.c.outcome))} == {"blocked"}
    assert proxy.requests


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_crawl_without_a_proxy_that_works_is_stopped_and_continues_later(
    url, instance, proxies, count
):
    proxies.set(*(free_url() for _ in range(count)))
    with site_of(REPLIES, {}) as (server, access):
        materialize_and_check_success(instance, allowed(), DAY, web=access)
        assert server.requests == []
    ended, reason = outcome(url)
    assert ended == "stopped"
    assert "proxy" in reason
    assert "hidden" not in reason
    proxies.start(forward)
    with site_of(REPLIES, {}) as (_, access):
        materialize_and_check_success(instance, allowed(), DAY, web=access)
    assert outcome(url) == ("complete", None)
    verdicts = databases.rows(url, select(web_frontier.c.url, web_frontier.c.verdict))
    assert {verdict for _, verdict in verdicts} == {"page"}


@pytest.mark.parametrize(
    "given", ["socks5://a.example:1080", "http://a.example", "a.example:3128", "http://a:1/x"]
)
def test_an_invalid_proxy_is_refused_without_its_password(demo_settings, monkeypatch, given):
    monkeypatch.setenv("WEB_PROXIES", given.replace("://", "://me:hidden-word@"))
    with pytest.raises(ConfigurationError) as caught:
        WebSettings.of(load_settings())
    assert "WEB_PROXIES" in str(caught.value)
    assert "expected up to 20 http:// or https:// URLs with a port" in str(caught.value)
    assert "hidden" not in str(caught.value)
    monkeypatch.delenv("WEB_PROXIES")
