"""Requests of sites: robots.txt first, each redirect judged, and no way out of the site."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from orchestration_project.domains.web.extraction import Page, links
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.domains.web.tables import web_robots
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_shared_state, open_warehouse
from orchestration_project.engine.http.shared_state import BreakerState, HostKey
from orchestration_project.errors import ConfigurationError, ThrottledError, TransientError
from orchestration_project.resources.web.access import (
    MAX_REDIRECTS,
    RobotsUnreachableError,
    SiteAccess,
    WebAccess,
    base_of,
    resolved,
)
from orchestration_project.resources.web.crawl import start_urls
from orchestration_project.resources.web.sites import read_site_files
from orchestration_project.settings import load_settings
from tests.faulty_server import FaultyServer, Reply, Request

ROBOTS = Reply(body=b"User-agent: *\nDisallow: /private\n")
SHOP = "http://shop.demo"


def site_of(**changes: Any) -> Site:
    declared = {
        "site": "shop",
        "base_url": SHOP,
        "start": ["/"],
        "item": {"key": ["sku"], "fields": {"sku": {"css": ".sku", "required": True}}},
        "politeness": {"requests_per_second": 1000},
    }
    return read_site(yaml.safe_dump({**declared, **changes}))


class ShopServer:
    """A server in the place of the demo's shop, and the requests of a site."""

    def __init__(self, stack: ExitStack, settings: Any, replies: dict[str, Reply]) -> None:
        self.replies = {"/robots.txt": ROBOTS, **replies}
        self.server = stack.enter_context(FaultyServer(self._reply))
        self.warehouse = stack.enter_context(open_warehouse(settings))
        self._stack = stack
        self._web = WebAccess(WebSettings.of(settings), lambda: self.server.url)

    def open(self, **changes: Any) -> SiteAccess:
        opened = self._web.open(site_of(**changes), self.warehouse, Clock())
        return self._stack.enter_context(opened)

    @property
    def paths(self) -> list[str]:
        return [request.target for request in self.server.requests]

    def _reply(self, request: Request) -> Reply:
        return self.replies.get(request.target, Reply(404))


OpenShopServer = Callable[..., ShopServer]


@pytest.fixture
def shop_server(demo_settings: Any) -> Iterator[OpenShopServer]:
    with ExitStack() as stack:
        yield lambda **replies: ShopServer(
            stack, load_settings(), {f"/{name}": reply for name, reply in replies.items()}
        )


def moved(target: str) -> Reply:
    return Reply(302, {"Location": target})


def test_robots_are_asked_once_and_kept_for_later_runs(shop_server: OpenShopServer):
    found = shop_server(a=Reply(body=b"A"), b=Reply(body=b"B"))
    access = found.open()
    for path in ("/a", "/b"):
        answer = access.get(f"{SHOP}{path}", {"If-None-Match": '"x"'})
        assert answer.response is not None
        assert answer.response.body == path[1:].upper().encode()
    assert found.open().get(f"{SHOP}/a", {}).request_count == 1
    assert found.paths == ["/robots.txt", "/a", "/b", "/a"]
    sent = found.server.requests[1].headers
    assert sent["if-none-match"] == '"x"'
    assert "(+" in sent["user-agent"]
    with found.warehouse.reading() as connection:
        [row] = connection.execute(select(web_robots)).all()
    assert (row.origin, row.status) == (SHOP, 200)


def test_a_disallowed_url_is_not_requested(shop_server: OpenShopServer):
    found = shop_server(private=Reply())
    answer = found.open().get(f"{SHOP}/private", {})
    assert (answer.refusal, answer.response, answer.request_count) == ("disallowed", None, 0)
    assert found.paths == ["/robots.txt"]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("target", "refusal"),
    [
        ("/private", "disallowed"),
        ("http://127.0.0.1:9/", "redirected"),
        ("http://169.254.169.254/latest/meta-data", "redirected"),
        ("https://elsewhere.example/", "redirected"),
        ("//elsewhere.example/", "redirected"),
        ("file:///etc/passwd", "redirected"),
        ("http://shop.demo@10.0.0.1/", "redirected"),
        ("http://shop.demo:22/", "redirected"),
    ],
)
def test_a_redirect_is_judged_as_a_url_of_its_own(
    shop_server: OpenShopServer, target: str, refusal: str
):
    found = shop_server(a=moved(target))
    assert found.open().get(f"{SHOP}/a", {}).refusal == refusal
    assert found.paths == ["/robots.txt", "/a"]


def test_a_site_is_followed_by_redirects_up_to_a_limit(shop_server: OpenShopServer):
    found = shop_server(a=moved("/b"), b=Reply(body=b"B"), loop=moved("/loop"))
    access = found.open()
    answer = access.get(f"{SHOP}/a", {})
    assert (answer.final_url, answer.request_count, answer.refusal) == (f"{SHOP}/b", 2, "")
    answer = access.get(f"{SHOP}/loop", {})
    assert (answer.refusal, answer.request_count) == ("redirected", MAX_REDIRECTS + 1)


def test_addresses_that_a_site_file_names_are_guarded(shop_server: OpenShopServer):
    hosts = ["http://127.0.0.1:9", "http://10.0.0.1", "http://0x7f.1", "http://localhost"]
    access = shop_server().open(hosts=hosts)
    for host in hosts:
        answer = access.get(f"{host}/", {})
        assert (answer.refusal, answer.response) == ("refused", None)


@pytest.mark.slow
def test_where_robots_fail_nothing_is_requested_and_the_next_run_asks_again(
    shop_server: OpenShopServer,
):
    found = shop_server(a=Reply())
    found.replies["/robots.txt"] = Reply(503)
    with pytest.raises(RobotsUnreachableError, match="status 503"):
        found.open().get(f"{SHOP}/a", {})
    assert found.paths == ["/robots.txt"] * 3  # a 503 may pass
    found.replies["/robots.txt"] = Reply(404)
    assert found.open().get(f"{SHOP}/a", {}).response is not None


def test_robots_that_fail_say_why_and_what_to_do(shop_server: OpenShopServer):
    found = shop_server(a=Reply())
    found.replies["/robots.txt"] = moved("http://10.0.0.1/robots.txt")
    with pytest.raises(RobotsUnreachableError) as caught:
        found.open().get(f"{SHOP}/a", {})
    assert "it redirects to http://10.0.0.1/robots.txt" in caught.value.found
    assert "its address is not global; 10.0.0.1" in caught.value.found
    assert "HTTP_ALLOWED_NETWORKS" in caught.value.remedy
    with pytest.raises(RobotsUnreachableError) as caught:
        found.open(base_url="http://93.184.216.34:8080").get("http://93.184.216.34:8080/", {})
    assert "its port is not allowed; 8080" in caught.value.found
    assert caught.value.remedy == "correct the URL, or add its port to WEB_ALLOWED_PORTS"


def test_a_port_of_the_settings_may_be_requested(
    shop_server: OpenShopServer, monkeypatch: pytest.MonkeyPatch
):
    found = shop_server(a=Reply(body=b"A"))
    origin = found.server.url
    monkeypatch.setenv("WEB_ALLOWED_PORTS", origin.rpartition(":")[2])
    monkeypatch.setenv("HTTP_ALLOWED_NETWORKS", "127.0.0.0/8")
    web = WebAccess(WebSettings.of(load_settings()), lambda: "")
    with web.open(site_of(base_url=origin), found.warehouse, Clock()) as access:
        answer = access.get(f"{origin}/a", {})
    assert answer.response is not None
    assert answer.response.body == b"A"


def test_a_short_retry_after_is_waited_for_and_a_long_one_is_a_failure(shop_server: OpenShopServer):
    found = shop_server(a=Reply(429, {"Retry-After": "1"}), b=Reply(503, {"Retry-After": "7200"}))
    access = found.open()
    replies = iter([found.replies["/a"], Reply(body=b"A")])
    found.server.handler = lambda request: (
        next(replies) if request.target == "/a" else found.replies[request.target]
    )
    answer = access.get(f"{SHOP}/a", {})
    assert (answer.response and answer.response.body, answer.request_count) == (b"A", 1)
    _, first, second = found.server.requests
    assert second.arrived - first.arrived >= 1
    with pytest.raises(ThrottledError, match="status 503"):
        access.get(f"{SHOP}/b", {})
    assert found.paths == ["/robots.txt", "/a", "/a", "/b"]


@pytest.mark.slow
def test_failures_are_retried_after_a_wait_that_grows_and_is_no_fixed_one(
    shop_server: OpenShopServer,
):
    found = shop_server(a=Reply(502))
    with pytest.raises(TransientError, match="status 502"):
        found.open().get(f"{SHOP}/a", {})
    first, second, third = (
        request.arrived for request in found.server.requests if request.target == "/a"
    )
    waits = second - first, third - second
    assert waits[0] >= 0.5
    assert waits[1] >= 1
    assert round(waits[1] - 2 * waits[0], 3) != 0


def test_when_a_breaker_is_open_one_request_tries_and_its_success_lets_all_in(
    shop_server: OpenShopServer, demo_settings: Any
):
    found = shop_server(a=Reply(body=b"A"), b=Reply(body=b"B"))
    one, other = found.open(), found.open()
    for access in (one, other):
        access.get(f"{SHOP}/b", {})
    now = Clock().now()
    opened = BreakerState(5, "status 504", now - timedelta(60), now + timedelta(seconds=30))
    key = HostKey("127.0.0.1", "web")
    with closing(open_shared_state(load_settings())) as state:
        state.change_breaker(key, lambda _: (opened, None))
        with pytest.raises(TransientError, match="is not asked"):
            one.get(f"{SHOP}/a", {})
        due = opened._replace(retry_at=now)
        state.change_breaker(key, lambda _: (due, None))

        def reply(_: Request) -> Reply:
            with pytest.raises(TransientError, match="is not asked"):
                other.get(f"{SHOP}/b", {})  # while the first one tries
            return Reply(body=b"A")

        found.server.handler = reply
        assert one.get(f"{SHOP}/a", {}).response is not None
        assert state.breaker(key).retry_at is None
    found.server.handler = lambda _: Reply(body=b"B")
    assert other.get(f"{SHOP}/b", {}).response is not None
    assert found.paths == ["/robots.txt", "/b", "/b", "/a", "/b"]


def test_runs_of_a_site_have_its_concurrency_together(shop_server: OpenShopServer):
    found = shop_server()
    in_flight: list[int] = []
    lock, most = threading.Lock(), []

    def reply(_: Request) -> Reply:
        with lock:
            in_flight.append(1)
            most.append(len(in_flight))
        time.sleep(0.05)  # so that requests that may be in flight together are
        with lock:
            in_flight.pop()
        return Reply(body=b"A")

    politeness = {"requests_per_second": 1000, "concurrency": 2}
    accesses = [found.open(politeness=politeness) for _ in range(3)]
    for access in accesses:
        access.get(f"{SHOP}/first", {})
    found.server.handler = reply
    with ThreadPoolExecutor(9) as threads:
        list(threads.map(lambda number: accesses[number % 3].get(f"{SHOP}/{number}", {}), range(9)))
    assert max(most) == 2


def test_a_block_page_is_an_answer_and_not_retried(shop_server: OpenShopServer):
    found = shop_server(a=Reply(403), b=Reply(401))
    access = found.open()
    answers = [access.get(f"{SHOP}{path}", {}) for path in ("/a", "/b")]
    assert [answer.response.status for answer in answers if answer.response] == [403, 401]
    assert found.paths == ["/robots.txt", "/a", "/b"]


def test_a_body_above_the_budget_is_refused(shop_server: OpenShopServer):
    found = shop_server(a=Reply(body=b"x" * 1_000_001))
    answer = found.open(budget={"page_megabytes": 1}).get(f"{SHOP}/a", {})
    assert answer.refusal == "refused"
    assert "without end" in answer.reason


def test_a_site_of_the_demo_needs_its_profile(
    shop_server: OpenShopServer, monkeypatch: pytest.MonkeyPatch
):
    found = shop_server()
    monkeypatch.setenv("DATA_PROFILE", "real")
    web = WebAccess(WebSettings.of(load_settings()), lambda: found.server.url)
    with (
        pytest.raises(ConfigurationError, match="is of the demo"),
        web.open(site_of(), found.warehouse, Clock()),
    ):
        pass


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("?b=2&a=1#top", "http://shop.demo/list?a=1&b=2"),
        ("/x y", "http://shop.demo/x%20y"),
        ("../p/7", "http://shop.demo/p/7"),
        ("mailto:a@b.example", None),
        ("javascript:alert(1)", None),
        ("http://[::1", None),
        ("http://me:word@shop.demo/", None),
        ("/" + "x" * 2_001, None),
        (" \t/a\n/b\r", "http://shop.demo/a/b"),
        ("\\\\shop.demo\\a?b=\\c", "http://shop.demo/a?b=%5Cc"),
        ("\\p\\7", "http://shop.demo/p/7"),
        ("mailto:a\\b", None),
    ],
)
def test_a_link_has_one_spelling(href: str, url: str | None):
    assert resolved(f"{SHOP}/list", href) == url


def test_a_location_in_utf_8_is_read_as_such(shop_server: OpenShopServer):
    found = shop_server(a=moved("/k\u00f6ln".encode().decode("latin-1")))
    found.replies["/k%C3%B6ln"] = Reply(body=b"here")
    answer = found.open().get(f"{SHOP}/a", {})
    assert (answer.final_url, answer.response and answer.response.body) == (
        f"{SHOP}/k%C3%B6ln",
        b"here",
    )


@pytest.mark.parametrize(
    ("head", "url"),
    [
        ("<base href=/shop/>", "http://shop.demo/shop/p/1"),
        ("<base target=_top><base href='../x/'><base href=/y/>", "http://shop.demo/x/p/1"),
        ("<base href='http://[::1'>", "http://shop.demo/list/p/1"),
        ("<base href='data:text/html,a'>", "http://shop.demo/list/p/1"),
        ("", "http://shop.demo/list/p/1"),
    ],
)
def test_links_are_relative_to_the_base_of_their_page(head: str, url: str):
    body = f"<!doctype html><head>{head}</head><a href=p/1>1</a>".encode()
    page = Page(f"{SHOP}/list/", body, "text/html")
    [link] = links(page, site_of(follow=[{"css": "a"}]))
    assert resolved(base_of(page), link.href) == url


def test_pages_by_parameter_are_start_urls():
    paging = {"parameter": "page", "first": 1, "last": 3}
    site = site_of(start=["/list", "https://elsewhere.example/"], paging=paging)
    assert start_urls(site) == [f"{SHOP}/list?page={number}" for number in (1, 2, 3)]


def test_a_broken_file_leaves_the_others(tmp_path: Path):
    text = (
        "site: {name}\nbase_url: https://a.example\nstart: [/]\n"
        "item: {{key: [k], fields: {{k: {{css: p, required: true}}}}}}\n"
    )
    for file, name in (("a.yaml", "a"), ("b.yaml", "other"), ("c.yaml", "c")):
        (tmp_path / file).write_text(text.format(name=name))
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "d.yaml").write_text("site: [")
    found = read_site_files(tmp_path)
    assert list(found.sites) == ["a"]
    assert found.problems["b.yaml"] == "line 1: site: expected 'b', found 'other'"
    assert "UnicodeDecodeError" in found.problems["c.yaml"]
    assert "line 1: invalid YAML" in found.problems["d.yaml"]
    assert read_site_files(tmp_path / "missing").sites == {}
