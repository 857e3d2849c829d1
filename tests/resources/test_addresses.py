"""Requests to URLs that users declare: which addresses they may reach, and do reach."""

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.engine.environment import build_address_guard
from orchestration_project.engine.http import HttpClient
from orchestration_project.engine.http.addresses import (
    AddressGuard,
    Endpoint,
    is_global,
    resolve_host,
)
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.settings import child_environment, load_settings
from tests.faulty_server import FaultyServer, Reply
from tests.http_clients import make_client
from tests.properties import bounded
from tests.tls import make_certificate

NAME = "hooks.example.test"
OK = Reply(body=b"whole")


class Names:
    """A resolver: answers in turn, the last one for ever; keeps what was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.requested: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.requested.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def guard_of(*answers: Sequence[str], allow: Sequence[str] = ()) -> AddressGuard:
    return AddressGuard(allow=allow, resolve=Names(*answers))


def reached(guard: AddressGuard, url: str) -> Sequence[str]:
    return guard.addresses(guard.check(url))


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111"),
        *("::ffff:8.8.8.8", "64:ff9b::808:808"),
    ],
)
def test_an_address_of_the_internet_is_global(address: str):
    assert is_global(ip_address(address))
    assert reached(guard_of([address]), f"https://{NAME}/x") == [str(ip_address(address))]


NOT_GLOBALLY_REACHABLE = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "224.0.0.0/4"),
    *("::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/32"),
    *("2001:2::/48", "2001:10::/28", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16"),
    *("fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "::ffff:0:0:0/96"),
)
"""Networks of IANA's registries of special-purpose addresses that no host of the internet has."""


@pytest.mark.parametrize("network", NOT_GLOBALLY_REACHABLE)
def test_no_address_of_a_special_purpose_registry_is_global(network: str):
    known = ip_network(network)
    size = known.num_addresses
    for place in (0, min(1, size - 1), size // 2, size - 1):
        assert not is_global(known[place]), known[place]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
        *("192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "192.0.2.1", "224.0.0.1"),
        *("239.255.255.250", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
        *("::1", "::", "fe80::1", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::1", "2001::1"),
    ],
)
def test_an_address_of_this_machine_or_a_private_network_is_refused(address: str):
    assert not is_global(ip_address(address))
    with pytest.raises(ConfigurationError, match="its address is not global") as refused:
        reached(guard_of([address]), f"https://{NAME}/x")
    assert "HTTP_ALLOWED_NETWORKS" in refused.value.remedy
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(ConfigurationError, match="its address is not global"):
        guard_of().check(f"http://{host}:8080/x")


def test_one_refused_address_among_several_refuses_the_name():
    guard = guard_of(["8.8.8.8", "10.0.0.1", "2606:4700:4700::1111"])
    with pytest.raises(ConfigurationError) as refused:
        reached(guard, f"https://{NAME}/")
    assert refused.value.found == "10.0.0.1"


@pytest.mark.parametrize(
    "url",
    [
        *("http://0x7f.1/", "http://127.1/", "http://2130706433/", "http://0177.0.0.1/"),
        *("http://0x7f000001/", "http://127.0.0.1.5/", "http://1.2.3.4.:x/", "http://8.8.8.08/"),
        *("http://a.example/\\@10.0.0.1", "http://a.example\\.b.example/", "http://a..example/"),
        *("http://me@a.example/", "http://me:s3cr3t@a.example/", "http://a.example@10.0.0.1/"),
        *("http://[fe80::1%25eth0]/", "http://127%2e0%2e0%2e1/", "http://a.example:0/"),
        *("http://a.example:99999/", "ftp://a.example/", "file:///etc/passwd", "//a.example/"),
        *("a.example/x", "http:///x", "http://-a.example/", "http://a_b.\x00example/", ""),
        *("http://a.example\n/", "javascript:alert(1)", "http://a.example /"),
    ],
)
def test_a_url_that_programs_read_differently_is_refused_without_showing_it(url: str):
    guard = guard_of(["8.8.8.8"])
    with pytest.raises(ConfigurationError, match="invalid URL of a request") as refused:
        guard.check(url)
    assert "e.g. https://hooks.example.org/path" in refused.value.expected
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://Hooks.Example.TEST./x?y#z", Endpoint("https", NAME, 443, None)),
        ("http://a_b.example:8080", Endpoint("http", "a_b.example", 8080, None)),
        ("https://bücher.example/", Endpoint("https", "xn--bcher-kva.example", 443, None)),
        ("http://8.8.8.8./", Endpoint("http", "8.8.8.8", 80, ip_address("8.8.8.8"))),
        (
            "https://[2606:4700:4700:0::1111]/",
            Endpoint("https", "2606:4700:4700:0::1111", 443, ip_address("2606:4700:4700::1111")),
        ),
    ],
)
def test_a_host_has_one_spelling(url: str, endpoint: Endpoint):
    assert guard_of().check(url) == endpoint


@pytest.mark.parametrize("url", ["http://127。0。0。1/", "http://localhost./", "http://LOCALHOST/"])
def test_other_spellings_of_this_machine_are_refused(url: str):
    with pytest.raises(ConfigurationError, match="its address is not global"):
        reached(AddressGuard(resolve=resolve_host), url)


def test_what_is_allowed_is_a_network_an_address_or_a_host_and_nothing_else():
    allow = ["10.1.0.0/16", "192.168.7.7", "fd00::/8", "Jira.Intern.test"]
    for address in ("10.1.2.3", "192.168.7.7", "fd00::7", "::ffff:10.1.2.3"):
        assert reached(guard_of([address], allow=allow), f"http://{NAME}/")
    for address in ("10.2.0.1", "192.168.7.8", "fc00::7", "127.0.0.1"):
        with pytest.raises(ConfigurationError):
            reached(guard_of([address], allow=allow), f"http://{NAME}/")
    assert reached(guard_of(["127.0.0.1"], allow=allow), "http://jira.intern.test./")
    for entry in ("10.1.0.0/8", "0x7f.1", "a b", "", "10.0.0.256"):
        with pytest.raises(ValueError, match="invalid address to allow"):
            AddressGuard(allow=[entry])


def test_the_demo_alone_may_be_on_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DATA_PROFILE", "demo")
    assert build_address_guard(load_settings()).check("http://127.0.0.1:8000/")
    monkeypatch.setenv("DATA_PROFILE", "real")
    with pytest.raises(ConfigurationError):
        build_address_guard(load_settings()).check("http://127.0.0.1:8000/")
    monkeypatch.setenv("HTTP_ALLOWED_NETWORKS", "127.0.0.1,10.0.0.0/8")
    assert build_address_guard(load_settings()).check("http://127.0.0.1:8000/")


def test_only_the_given_ports_may_be_requested():
    guard = AddressGuard(ports=[80, 443], resolve=Names(["8.8.8.8"]))
    for url in (f"http://{NAME}/", f"https://{NAME}/", f"http://{NAME}:443/"):
        assert reached(guard, url) == ["8.8.8.8"]
    for url in (f"http://{NAME}:22/", "http://8.8.8.8:8080/"):
        with pytest.raises(ConfigurationError, match="its port is not allowed") as refused:
            guard.check(url)
        assert refused.value.expected == "port 80, 443"


def test_the_demo_alone_may_request_its_one_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    for profile, is_allowed in (("demo", True), ("real", False)):
        monkeypatch.setenv("DATA_PROFILE", profile)
        guard = build_address_guard(load_settings(), ports=[80], demo_server="127.0.0.1:8123")
        refused = ["http://127.0.0.1:8124/", "http://127.0.0.2:8123/", "http://127.0.0.1/"]
        if is_allowed:
            assert reached(guard, "http://127.0.0.1:8123/x") == ["127.0.0.1"]
        else:
            refused.append("http://127.0.0.1:8123/x")
        for url in (*refused, "http://localhost:8123/"):
            with pytest.raises(ConfigurationError):
                reached(guard, url)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HTTP_ALLOWED_NETWORKS", "10.0.0.1/8", "expected IP addresses or networks"),
        ("HTTP_ALLOWED_NETWORKS", "intern.test", "expected IP addresses or networks"),
        ("HTTP_FILTERING_PROXIES", "http://proxy:3128", "expected host:port"),
    ],
)
def test_settings_of_the_guard_are_checked(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=expected):
        load_settings()


# --- connections

Client = Callable[..., HttpClient]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in child_environment():
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)


@pytest.fixture
def client_of(tmp_path: Path) -> Iterator[Client]:
    with ExitStack() as stack:

        def make(guard: AddressGuard) -> HttpClient:
            return stack.enter_context(
                make_client(
                    tmp_path,
                    "hooks",
                    now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
                    max_attempts=1,
                    guard=guard,
                )
            )

        yield make


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer(lambda _: OK) as server:
        yield server


def port_of(server: FaultyServer) -> str:
    return server.url.rpartition(":")[2]


def test_it_connects_to_the_checked_address_in_the_name_of_the_host(
    server: FaultyServer, client_of: Client
):
    names = Names(["127.0.0.1"])
    client = client_of(AddressGuard(allow=["127.0.0.1"], resolve=names))
    url = f"http://{NAME}:{port_of(server)}/hook?a=b"
    assert client.request("POST", url, json={"x": 1}).body == b"whole"
    [requested] = server.requests
    assert (requested.method, requested.target, requested.body) == ("POST", "/hook?a=b", b'{"x":1}')
    assert requested.headers["host"] == f"{NAME}:{port_of(server)}"
    assert names.requested == [(NAME, int(port_of(server)))]


def test_a_name_that_resolves_to_another_address_later_gains_nothing(
    server: FaultyServer, client_of: Client
):
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    client = client_of(AddressGuard(allow=["127.0.0.1"], resolve=names))
    url = f"http://{NAME}:{port_of(server)}/"
    assert client.request("GET", url).status == 200
    with pytest.raises(ConfigurationError, match="not global"):
        client.request("GET", url)
    assert (len(names.requested), len(server.requests)) == (2, 1)


def test_a_redirect_to_a_private_address_is_refused(client_of: Client):
    target = "http://10.0.0.5/latest/meta-data"
    with FaultyServer(lambda _: Reply(302, {"Location": target})) as server:
        client = client_of(AddressGuard(allow=["127.0.0.1"], resolve=Names(["127.0.0.1"])))
        answer = client.request("GET", f"http://{NAME}:{port_of(server)}/")
        assert answer.status == 302
        with pytest.raises(ConfigurationError, match="not global"):
            client.request("GET", answer.headers["location"])
        assert len(server.requests) == 1


def test_a_refusal_opens_no_breaker_and_is_not_retried(client_of: Client):
    names = Names(*[["10.0.0.1"]] * 8, ["127.0.0.1"])
    client = client_of(AddressGuard(allow=["127.0.0.1"], resolve=names))
    for _ in range(8):
        with pytest.raises(ConfigurationError, match="not global"):
            client.request("GET", f"http://{NAME}:9/")
    with pytest.raises(TransientError, match="did not answer"):
        client.request("GET", f"http://{NAME}:9/")


def test_the_next_address_is_tried_where_one_does_not_answer(
    server: FaultyServer, client_of: Client
):
    guard = guard_of(["127.0.0.2", "127.0.0.1"], allow=["127.0.0.0/8"])
    url = f"http://{NAME}:{port_of(server)}/"
    assert client_of(guard).request("GET", url).status == 200


def test_a_name_that_does_not_resolve_is_a_transient_error(client_of: Client):
    def no_such_name(host: str, port: int) -> Sequence[str]:
        raise OSError("Name or service not known")

    with pytest.raises(TransientError, match="did not answer") as failed:
        client_of(AddressGuard(resolve=no_such_name)).request("GET", f"https://{NAME}/")
    assert "does not resolve" in failed.value.found


def test_credentials_in_a_url_are_refused_and_not_shown(client_of: Client):
    with pytest.raises(ConfigurationError) as refused:
        client_of(guard_of(["8.8.8.8"])).request("GET", f"https://me:s3cr3t-word@{NAME}/")
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("is_of_its_name", [True, False])
def test_the_certificate_is_the_names_and_not_the_addresses(
    is_of_its_name: bool, client_of: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    name = NAME if is_of_its_name else "other.test"
    key, certificate = make_certificate(tmp_path / "tls", name)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    named: list[str | None] = []
    context.sni_callback = lambda _, name, __: named.append(name)
    with FaultyServer(lambda _: OK, context) as server:
        url = f"https://{NAME}.:{port_of(server)}/"
        client = client_of(guard_of(["127.0.0.1"], allow=["127.0.0.1"]))
        if is_of_its_name:
            assert client.request("GET", url).status == 200
        else:
            with pytest.raises(ConfigurationError, match="certificate"):
                client.request("GET", url)
    assert named == [NAME]


def test_a_proxy_that_is_not_declared_is_refused(
    server: FaultyServer, client_of: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", server.url)
    names = Names(["8.8.8.8"])
    with pytest.raises(ConfigurationError, match="by way of a proxy") as refused:
        client_of(AddressGuard(resolve=names)).request("GET", f"http://{NAME}/x")
    assert refused.value.found == f"127.0.0.1:{port_of(server)}"
    client = client_of(AddressGuard(resolve=names, proxies=[f"127.0.0.1:{port_of(server)}"]))
    assert client.request("GET", f"http://{NAME}/x").status == 200
    with pytest.raises(ConfigurationError, match="not global"):
        client.request("GET", "http://10.0.0.1/x")
    assert [requested.target for requested in server.requests] == [f"http://{NAME}/x"]
    assert names.requested == []


@bounded
@given(
    st.text(st.sampled_from("ab1.-@:[]%\\ ?#/é\t"), max_size=9),
    st.text(st.sampled_from("ab1.-@:[]%\\ ?#/é\t"), max_size=9),
)
def test_a_url_leads_where_the_client_connects(name: str, path: str):
    url = f"http://{NAME}{name}/{path}"
    try:
        endpoint = guard_of(["8.8.8.8"]).check(url)
    except ConfigurationError:
        return
    parsed = httpx.URL(url)
    host = parsed.raw_host.decode().lower().removesuffix(".")
    assert (endpoint.host, endpoint.port) == (host, parsed.port or 80)


@pytest.mark.parametrize("tail", ["/a\\b", "/\x7f", "/a\n", "/é\u2028"])
def test_no_path_hides_what_is_refused_behind_an_address_that_was_requested(tail: str):
    guard = guard_of(["8.8.8.8"])
    assert guard.check(f"http://{NAME}/").host == NAME
    with pytest.raises(ConfigurationError, match="invalid URL of a request"):
        guard.check(f"http://{NAME}{tail}")
