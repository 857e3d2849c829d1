"""Addresses and host names of the gateway."""

from typing import Any

import pytest

from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.bind_address import place_of, require_safe
from orchestration_project.gateway.request import Place
from orchestration_project.gateway.server import server_options
from orchestration_project.settings import Settings, load_settings

SAFE = {
    "SESSION_SECRET": "r" * 32,
    "TRUSTED_PROXIES": "10.0.0.2,192.168.0.0/16",
    "PUBLIC_URL": "https://Door.example.org/",
}


def settings(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
@pytest.mark.parametrize("auth", ["on", "off"])
def test_this_machine_alone_is_served_without_any_setting(monkeypatch, host: str, auth: str):
    require_safe(settings(monkeypatch, GATEWAY_AUTH=auth), host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "door", ""])  # noqa: S104 - is refused
def test_others_are_served_with_tls_in_front_and_secrets_of_their_own_alone(monkeypatch, host: str):
    with pytest.raises(ConfigurationError) as refused:
        require_safe(settings(monkeypatch, GATEWAY_AUTH="off"), host)
    for name in ("GATEWAY_AUTH=on", "PUBLIC_URL", "TRUSTED_PROXIES", "SESSION_SECRET"):
        assert name in refused.value.expected
    require_safe(settings(monkeypatch, GATEWAY_AUTH="on", **SAFE), host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_public_address_with_tls_needs_a_trusted_proxy(monkeypatch, host: str):
    public = "https://me:planted-secret@door.example.org"
    with pytest.raises(ConfigurationError, match="proxy that is not trusted") as refused:
        require_safe(settings(monkeypatch, PUBLIC_URL=public), host)
    assert "TRUSTED_PROXIES=127.0.0.1" in str(refused.value)
    assert "planted-secret" not in str(refused.value)
    require_safe(settings(monkeypatch, PUBLIC_URL=public, TRUSTED_PROXIES="127.0.0.1"), host)


@pytest.mark.parametrize("name", SAFE)
def test_nothing_of_that_may_be_missing(monkeypatch, name: str):
    rest = {key: value for key, value in SAFE.items() if key != name}
    with pytest.raises(ConfigurationError, match="not served on"):
        require_safe(settings(monkeypatch, **rest), "0.0.0.0")  # noqa: S104 - is refused


def test_the_names_we_are_asked_for_by_are_those_of_the_settings(monkeypatch):
    behind = settings(monkeypatch, ALLOWED_HOSTS="a.example.org,B.example.org", **SAFE)
    own = {"127.0.0.1", "localhost", "::1"}
    names = {"door.example.org", "a.example.org", "b.example.org", "10.0.0.1"}
    assert place_of(behind, "10.0.0.1") == Place(
        hosts=own | names, public_origin="https://door.example.org", is_secure=True
    )


def test_without_a_proxy_no_other_origin_is_ours(monkeypatch):
    here = place_of(settings(monkeypatch), "127.0.0.1")
    assert here == Place({"127.0.0.1", "localhost", "::1"}, public_origin="", is_secure=False)


def test_only_named_proxies_are_trusted_about_other_addresses(monkeypatch):
    alone = server_options(settings(monkeypatch))
    assert (alone["proxy_headers"], alone["forwarded_allow_ips"]) == (False, [])
    behind = server_options(settings(monkeypatch, **SAFE))
    assert behind["forwarded_allow_ips"] == ["10.0.0.2", "192.168.0.0/16"]
    assert behind["proxy_headers"]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("SESSION_SECRET", "short", "expected at least 32 characters"),
        ("TRUSTED_PROXIES", "*", "expected IP addresses or networks, .* found \\*"),
        ("OIDC_CLIENT_ID", "me", "all or none"),
        ("GATEWAY_AUTH", "maybe", "expected one of on, off"),
    ],
)
def test_a_setting_of_the_door_that_cannot_be_used_is_refused(
    monkeypatch, name: str, value: str, problem: str
):
    with pytest.raises(ConfigurationError, match=problem) as refused:
        settings(monkeypatch, **{name: value})
    assert "short" not in str(refused.value).replace("shorter", "")


def test_the_secrets_of_the_door_are_not_shown(monkeypatch):
    oidc = {
        "OIDC_DISCOVERY_URL": "https://x",
        "OIDC_CLIENT_ID": "me",
        "OIDC_CLIENT_SECRET": "hunter2",
    }
    shown: Any = repr(settings(monkeypatch, **SAFE, **oidc))
    assert "hunter2" not in shown
    assert "rrrr" not in shown
