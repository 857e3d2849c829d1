"""Outgoing requests of rules: which addresses they may reach, and what they follow."""

import socket
import ssl
from collections.abc import Sequence
from typing import Any

import pytest

from orchestration_project.domains.events.tables import events_routing_dead_letters
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.events.routing.examining import RuleExaminer
from tests.faulty_server import FaultyServer, Reply
from tests.resources.routing_setup import PARTNER, SECRET, Receiver, Router
from tests.tls import make_certificate

NAME = "partner.example.test"


@pytest.fixture
def router(warehouse, clock, monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_PROFILE", "real")
    monkeypatch.setenv("HTTP_ALLOWED_NETWORKS", "127.0.0.1")
    monkeypatch.setenv("ROUTING_SECRET_PARTNER", SECRET)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    return Router(warehouse, clock, Receiver(), "http://127.0.0.1:9/hooks")


def point_to(router: Router, url: str) -> None:
    """Declare another URL of the target."""
    router.targets.declared = {"partner": {"action": "http_request", "url": url}}


@pytest.fixture
def resolved(monkeypatch) -> Any:
    """Return what has names resolve to addresses in turn, and keeps which were asked."""
    requested: list[str] = []

    def resolve_to(*answers: str) -> list[str]:
        waiting = list(answers)
        real = socket.getaddrinfo

        def resolve(host: str, port: Any, *given: Any, **named: Any) -> Sequence[Any]:
            if host != NAME:
                return real(host, port, *given, **named)
            requested.append(host)
            address = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        return requested

    return resolve_to


@pytest.mark.slow_after_first
@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "192.168.1.1"])
def test_a_name_that_resolves_to_a_private_address_gets_no_request(
    router: Router, resolved, address: str
):
    resolved(address)
    point_to(router, f"https://{NAME}/hooks")
    router.edit(PARTNER)
    router.deliver("d1")
    [result] = router.apply().results
    assert result.outcome == "waiting"
    assert "its address is not global" in result.detail


@pytest.mark.slow_on_postgresql
def test_a_name_is_resolved_once_for_a_request(router: Router, resolved, monkeypatch, tmp_path):
    key, certificate = make_certificate(tmp_path / "tls", NAME)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    requested = resolved("127.0.0.1", "10.0.0.1")
    with FaultyServer(router.receiver, context) as server:
        point_to(router, f"https://{NAME}:{server.url.rpartition(':')[2]}/hooks")
        router.edit(PARTNER)
        router.deliver("d1")
        assert router.apply().counts == {("http_request", "done"): 1}
        assert requested == [NAME]
        router.deliver("d2")
        [result] = router.apply().results
    assert "its address is not global" in result.detail, "the name was rebound meanwhile"
    assert len(router.receiver.requests) == 1


@pytest.mark.slow_after_first
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(router: Router, status: int):
    def redirect(_: Any) -> Reply:
        return Reply(status, {"Location": f"{other.url}/elsewhere"})

    with FaultyServer(router.receiver) as other, FaultyServer(redirect) as server:
        point_to(router, f"{server.url}/hooks")
        router.edit(PARTNER)
        router.deliver("d1")
        assert router.apply().counts == {("http_request", "dead"): 1}
    assert router.receiver.requests == []
    [letter] = router.rows(events_routing_dead_letters)
    assert f"HTTP {status}" in letter.reason


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/hooks",
        "https://[::ffff:10.0.0.1]/hooks",
        "https://0x7f.1/hooks",
        "https://2130706433/hooks",
        "https://metadata@169.254.169.254/hooks",
        "http://partner.example.org/hooks",
        "ftp://partner.example.org/hooks",
    ],
)
def test_a_target_whose_url_cannot_be_used_is_refused_at_edit(router: Router, url: str):
    point_to(router, url)
    examiner = RuleExaminer(router.targets, {}.get)
    with pytest.raises(ConfigurationError) as caught:
        router.edit(PARTNER, examine=examiner.problems_of)
    assert "target: " in caught.value.found


def test_a_target_without_a_secret_leaves_a_doubt_at_edit(router: Router, monkeypatch):
    monkeypatch.delenv("ROUTING_SECRET_PARTNER")
    point_to(router, "https://partner.example.org/hooks")
    examiner = RuleExaminer(router.targets, {}.get)
    router.edit(PARTNER, examine=examiner.problems_of)
    assert examiner.doubts == {
        "partner": "ROUTING_SECRET_PARTNER is not set; expected: ROUTING_SECRET_PARTNER or "
        "ROUTING_SECRET_PARTNER_FILE; what to do: set it, or end the rules of the target"
    }
