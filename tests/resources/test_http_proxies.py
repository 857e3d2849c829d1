"""Proxies of a client: their scores, rests and probes, by real proxies on this machine."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from orchestration_project.engine.http import HttpClient
from orchestration_project.engine.http.addresses import AddressGuard
from orchestration_project.engine.http.proxies import (
    MAX_FAILURES,
    PROBE_SECONDS,
    NoProxyLeftError,
    Proxy,
    ProxyPool,
)
from orchestration_project.engine.http.shared_state import (
    CLOSED,
    BreakerState,
    HostKey,
    SharedState,
    SqliteState,
)
from orchestration_project.errors import ConfigurationError, TransientError
from tests.faulty_server import FaultyServer, Reply, Request, dropped
from tests.http_clients import make_client
from tests.resources.test_http import Tunnels, Wall, authority, free_url, no_proxies, tls
from tests.resources.test_http_state import opened, store  # noqa: F401 - fixtures

__all__ = ["authority", "no_proxies", "tls"]  # fixtures

NOW = datetime(2026, 1, 1, tzinfo=UTC)
URL = "http://shop.example/"
A, B = Proxy.of("http://me:hidden-word@a.example:3128"), Proxy.of("https://b.example:443")


def health(state: SharedState, proxy: Proxy) -> BreakerState:
    """Return the failures of a proxy that clients of the web share."""
    return state.breaker(HostKey(proxy.name, "web_proxy"))


def score(state: SharedState, proxy: Proxy) -> int:
    """Return the score of a proxy, 0 to 100: 10 less for each failure."""
    return 100 - 10 * health(state, proxy).failure_count


class Pool:
    """Two proxies at a time that a test sets."""

    def __init__(self, state: SharedState) -> None:
        self.now, self.state = NOW, state
        self.pool = ProxyPool([A, B], state, system="web", now=lambda: self.now)

    def chosen(self, *avoided: Proxy) -> tuple[str, bool]:
        proxy, is_probe = self.pool.choose(avoided, url=URL)
        return proxy.name[0], is_probe

    def scores(self) -> list[int]:
        return [score(self.state, each) for each in (A, B)]

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def two(opened: Callable[[], SharedState]) -> Pool:  # noqa: F811 - a fixture
    return Pool(opened())


def test_a_proxy_that_fails_rests_for_twice_as_long_each_time_and_one_request_tries_it(two):
    assert two.chosen() == ("a", False)
    for rest in (1, 2, 4):
        two.pool.failed(A, "refused")
        assert two.chosen() == ("b", False)
        two.pass_seconds(rest - 0.1)
        assert two.chosen() == ("b", False)
        two.pass_seconds(0.2)
        assert [two.chosen(), two.chosen()] == [("a", True), ("b", False)]
    assert two.scores() == [70, 100]
    two.pool.succeeded(A)
    assert two.scores() == [80, 100]
    assert two.chosen() == ("b", False)  # the better one
    two.pool.failed(B, "refused")
    assert two.chosen() == ("a", False)


def test_scores_stay_between_0_and_100_and_are_shared(two, opened):  # noqa: F811
    other = Pool(opened())
    for _ in range(MAX_FAILURES + 5):
        two.pool.failed(A, "refused")
        two.pool.succeeded(B)
    assert other.scores() == [0, 100]
    shared = health(other.state, A)
    assert (shared.last_failure, shared.retry_at) == ("refused", NOW + timedelta(seconds=512))
    for _ in range(MAX_FAILURES):
        other.pool.succeeded(A)
    assert two.scores() == [100, 100]


def test_a_probe_whose_process_was_killed_is_made_again(two):
    two.pool.failed(A, "refused")
    two.pass_seconds(1.1)
    assert two.chosen() == ("a", True)
    two.pass_seconds(PROBE_SECONDS - 1)
    assert two.chosen() == ("b", False)
    two.pass_seconds(2)
    assert two.chosen() == ("a", True)
    two.pool.give_up(A)  # interrupted, without a result
    two.pass_seconds(0.001)
    assert two.chosen() == ("a", True)


def test_without_a_proxy_that_may_be_used_the_error_names_each_without_its_password(two):
    two.pool.failed(A, "it refuses our password")
    two.pool.failed(B, "no route")
    with pytest.raises(NoProxyLeftError) as caught:
        two.chosen()
    error = caught.value
    assert error.what == "web is not asked, because no proxy may be used"
    assert error.found == (
        "a.example:3128 rests for 1 s: it refuses our password; "
        "b.example:443 rests for 1 s: no route"
    )
    assert error.retry_in_seconds == 1
    assert "hidden" not in repr(A) + str(error)
    two.pass_seconds(-7200)  # the clock was set back
    assert two.chosen() == ("a", True)


def test_an_avoided_proxy_is_chosen_if_no_other_may_be(two):
    assert two.chosen(A) == ("b", False)
    assert two.chosen(A, B) == ("a", False)
    two.pool.failed(B, "refused")
    assert two.chosen(A) == ("a", False)


@pytest.mark.parametrize(
    "url", ["socks5://a.example:1080", "http://a.example", "http://:80", "http://a:1/x", "a:3128"]
)
def test_a_proxy_needs_a_scheme_that_is_spoken_and_a_port(url):
    with pytest.raises(ConfigurationError, match="invalid proxy: expected a URL with a port"):
        Proxy.of(url)


class ProxySetup:
    """A client, its proxies, and a server that they reach."""

    def __init__(self, stack: ExitStack, folder: Any) -> None:
        self.stack, self.wall, self.folder = stack, Wall(), folder
        self.reply = Reply(body=b"whole")
        self.server = stack.enter_context(FaultyServer(lambda _: self.reply))

    def proxy(self, fault: Callable[[], Any] = lambda: None) -> FaultyServer:
        """Start a proxy of plain HTTP that answers with its fault, or passes a request on."""

        def forward(request: Request) -> Any:
            if (found := fault()) is not None:
                return found
            answer = httpx.get(request.target, trust_env=False)
            return Reply(answer.status_code, body=answer.content)

        return self.stack.enter_context(FaultyServer(forward))

    def client(self, *proxies: str, **changes: Any) -> HttpClient:
        usual = {"now": self.wall, "max_attempts": 3, "failures": 1}
        found = [Proxy.of(proxy) for proxy in proxies]
        client = make_client(self.folder, "web", proxies=found, **usual | changes)
        return self.stack.enter_context(client)

    def scores(self, *proxies: str) -> list[int]:
        found = [Proxy.of(proxy) for proxy in proxies]
        with closing(SqliteState(self.folder)) as state:
            return [score(state, each) for each in found]


@pytest.fixture
def proxy_setup(tmp_path) -> Iterator[ProxySetup]:
    with ExitStack() as stack:
        yield ProxySetup(stack, tmp_path)


def test_a_request_goes_on_by_the_next_proxy_if_one_cannot_be_connected(proxy_setup):
    gone, there = free_url(), proxy_setup.proxy()
    client = proxy_setup.client(gone, there.url)
    for _ in range(2):
        assert client.request("GET", proxy_setup.server.url).body == b"whole"
    assert [request.target for request in there.requests] == [f"{proxy_setup.server.url}"] * 2
    assert len(proxy_setup.server.requests) == 2
    assert proxy_setup.scores(gone, there.url) == [90, 100]


def test_a_proxy_that_refuses_our_password_is_at_fault(proxy_setup, caplog):
    caplog.set_level(logging.DEBUG)
    refusing, there = proxy_setup.proxy(lambda: Reply(407)), proxy_setup.proxy()
    with_password = refusing.url.replace("://", "://me:hidden-word@")
    client = proxy_setup.client(with_password, there.url)
    assert client.request("GET", proxy_setup.server.url).status == 200
    assert refusing.requests[0].headers["proxy-authorization"] == "Basic bWU6aGlkZGVuLXdvcmQ="
    assert proxy_setup.scores(refusing.url, there.url) == [90, 100]
    assert "hidden-word" not in caplog.text
    assert "bWU6aGlkZGVuLXdvcmQ=" not in caplog.text


@pytest.mark.slow_after_first
@pytest.mark.parametrize("status", [200, 403, 404, 429, 451, 500, 503])
def test_no_status_of_the_site_changes_the_proxy(proxy_setup, status):
    first, second = proxy_setup.proxy(), proxy_setup.proxy()
    client = proxy_setup.client(first.url, second.url, statuses=(500,))
    proxy_setup.reply = Reply(status, {"Retry-After": "0"} if status in (429, 503) else {})
    for _ in range(2):
        try:
            client.request(
                "GET", proxy_setup.server.url, may_pass=lambda found: found.status == 503
            )
        except TransientError:
            assert status == 500
            break
    assert len(first.requests) >= 2
    assert second.requests == []
    assert proxy_setup.scores(first.url, second.url) == [100, 100]


@pytest.mark.parametrize("fault", [lambda: Reply(502), dropped])
def test_a_fault_that_may_be_the_servers_is_the_proxys_if_another_one_is_answered(
    proxy_setup, fault
):
    bad, good = proxy_setup.proxy(fault), proxy_setup.proxy()
    client = proxy_setup.client(bad.url, good.url, statuses=(502,))
    assert client.request("GET", proxy_setup.server.url).body == b"whole"
    assert proxy_setup.scores(bad.url, good.url) == [90, 100]


def test_a_server_that_is_down_moves_no_score(proxy_setup):
    proxies = [proxy_setup.proxy(lambda: Reply(502)) for _ in range(2)]
    urls = [proxy.url for proxy in proxies]
    with pytest.raises(TransientError, match="status 502"):
        proxy_setup.client(*urls, statuses=(502,)).request("GET", proxy_setup.server.url)
    assert all(proxy.requests for proxy in proxies)
    assert proxy_setup.scores(*urls) == [100, 100]


def test_without_proxies_nothing_is_sent_and_the_site_is_not_at_fault(proxy_setup):
    proxies = [free_url(), free_url()]
    client = proxy_setup.client(*proxies)
    proxy_setup.server.requests.clear()
    with pytest.raises(TransientError) as caught:
        client.request("GET", proxy_setup.server.url)
    assert "proxy" in str(caught.value)
    assert proxy_setup.server.requests == []
    with closing(SqliteState(proxy_setup.folder)) as state:
        assert state.breaker(HostKey("127.0.0.1", "web")) == CLOSED
    proxy_setup.wall.pass_seconds(600)
    assert max(proxy_setup.scores(*proxies)) < 100


def test_a_rest_that_is_short_is_waited_for(proxy_setup):
    faults = iter([Reply(407)])
    proxy = proxy_setup.proxy(lambda: next(faults, None))
    client = proxy_setup.client(proxy.url, now=lambda: datetime.now(tz=UTC))  # noqa: TID251
    assert client.request("GET", proxy_setup.server.url).body == b"whole"
    assert len(proxy.requests) == 2
    assert proxy_setup.scores(proxy.url) == [100]


def test_a_tunnel_leads_to_a_server_of_tls(proxy_setup, tls, authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    refusing = proxy_setup.stack.enter_context(FaultyServer(lambda _: Reply(403)))
    server = proxy_setup.stack.enter_context(FaultyServer(lambda _: Reply(body=b"secret"), tls))
    with closing(Tunnels()) as tunnels:
        client = proxy_setup.client(refusing.url, f"http://me:word-of-mine@{tunnels.address}")
        assert client.request("GET", server.url).body == b"secret"
        [requested] = tunnels.requested
    assert b"CONNECT 127.0.0.1:" in requested
    assert proxy_setup.scores(refusing.url) == [90]


def test_a_guard_refuses_proxies_that_are_not_named_and_private_addresses(proxy_setup):
    proxy = proxy_setup.proxy()
    refusing = proxy_setup.client(proxy.url, guard=AddressGuard())
    with pytest.raises(ConfigurationError, match="by way of a proxy"):
        refusing.request("GET", "http://shop.example/")
    name = Proxy.of(proxy.url).name
    guarded = proxy_setup.client(proxy.url, guard=AddressGuard(proxies=[name]))
    with pytest.raises(ConfigurationError, match="its address is not global"):
        guarded.request("GET", proxy_setup.server.url)
    assert proxy.requests == []
