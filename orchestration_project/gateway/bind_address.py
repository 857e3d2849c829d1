"""Bind address: which addresses are safe, and whether one is free."""

import socket

from orchestration_project.engine.contracts.addresses import (
    OWN_NAMES,
    is_loopback,
    parse_host,
    parse_origin,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.request import Place
from orchestration_project.settings import Settings, without_secrets


def require_safe(settings: Settings, host: str) -> None:
    """Refuse to serve on an address that others reach without what protects them.

    Raises:
        ConfigurationError: Naming all that is missing.
    """
    if is_loopback(host):
        _require_trusted_proxy(settings)
        return
    missing = []
    if settings.gateway_auth == "off":
        missing.append("GATEWAY_AUTH=on")
    if not settings.public_url.startswith("https://"):
        missing.append("PUBLIC_URL beginning with https://, which a proxy in front serves")
    if not settings.trusted_proxies:
        missing.append("TRUSTED_PROXIES with the address of that proxy")
    if settings.session_secret is None:
        missing.append("SESSION_SECRET")
    if missing:
        raise ConfigurationError(
            f"the UI is not served on {host}, where others than this machine reach it",
            expected="; ".join(missing),
            remedy="set these, or serve on 127.0.0.1; see docs/how-to/run-in-production.md",
        )


def _require_trusted_proxy(settings: Settings) -> None:
    """Refuse a public address with TLS, which only a proxy can serve, if no proxy is trusted.

    All requests would seem to come from this machine, and without TLS.
    """
    if settings.public_url.startswith("https://") and not settings.trusted_proxies:
        raise ConfigurationError(
            "the UI is served behind a proxy that is not trusted",
            expected="TRUSTED_PROXIES with the address of the proxy that serves PUBLIC_URL",
            found=f"PUBLIC_URL={without_secrets(settings.public_url)}, TRUSTED_PROXIES not set",
            remedy="set TRUSTED_PROXIES=127.0.0.1 for a proxy on this machine",
        )


def place_of(settings: Settings, host: str) -> Place:
    """Return where we are served: by which names, and whether by TLS alone."""
    names = {parse_host(parse_origin(settings.public_url).partition("://")[2]), host.lower()}
    has_proxy = bool(settings.trusted_proxies)
    return Place(
        hosts=frozenset({*OWN_NAMES, *names, *map(str.lower, settings.allowed_hosts)} - {""}),
        public_origin=parse_origin(settings.public_url) if has_proxy else "",
        is_secure=not is_loopback(host) or settings.public_url.startswith("https://"),
    )


def refuse_taken(host: str, port: int) -> None:
    """Make sure that nothing else is served there.

    Raises:
        ConfigurationError: It is, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise ConfigurationError(
            f"the UI cannot be served on {origin(host, port)}",
            found=error.strerror or str(error),
            remedy="stop what uses that port, or choose another: make ui PORT=3001",
        ) from error


def origin(host: str, port: int) -> str:
    """Return host and port as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
