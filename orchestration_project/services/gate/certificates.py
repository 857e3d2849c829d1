"""Probe of the certificate of PUBLIC_URL: it is for its host, and does not expire soon."""

from datetime import datetime, timedelta
from functools import lru_cache
from urllib.parse import urlsplit

from orchestration_project.engine.connections.certificates import (
    Certificate,
    fetch_certificate,
    read_certificate,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.registry import Answer, Probe
from orchestration_project.settings import Settings

EXPIRES_SOON = timedelta(days=14)
HTTPS_PORT = 443
SECONDS_PER_HOUR = 3600


def build_certificate_probe(settings: Settings, clock: Clock) -> Probe:
    """Return the probe of the certificate that people and senders of webhooks see."""

    def run() -> Answer:
        parts = urlsplit(settings.public_url)
        host = parts.hostname or ""
        file = settings.public_certificate_path
        if file is not None:
            certificate = read_certificate(file, "PUBLIC_CERTIFICATE_FILE")
        elif parts.scheme != "https":
            return Answer("PUBLIC_URL is served without TLS", is_applicable=False)
        else:
            try:
                certificate = _fetch_served(
                    host, parts.port or HTTPS_PORT, _count_hours(clock.now())
                )
            except TransientError as error:
                return Answer(f"{error.what}: {error.found}", is_applicable=False)
        return _judge_certificate(certificate, host, clock.now())

    name = "read until when the certificate of PUBLIC_URL is valid"
    return Probe("certificate", (), lambda: name, run)


def _judge_certificate(found: Certificate, host: str, now: datetime) -> Answer:
    ends = f"{found.ends_at:%Y-%m-%d %H:%M} UTC"
    if host and not found.is_for(host):
        raise ConfigurationError(
            f"the certificate at {found.place} is not for the host of PUBLIC_URL",
            expected=host,
            found=", ".join(found.names) or "no names",
            remedy="install the certificate of this host and reload the proxy, or correct "
            "PUBLIC_URL",
        )
    if found.ends_at - now < EXPIRES_SOON:
        is_over = found.ends_at <= now
        raise ConfigurationError(
            f"the certificate of {host or found.place} {'has expired' if is_over else 'expires'}",
            expected=f"{EXPIRES_SOON.days} days or more",
            found=ends,
            remedy="renew it and reload the proxy; if the proxy renews it itself, read its log",
        )
    return Answer(f"valid until {ends}")


@lru_cache(maxsize=4)
def _fetch_served(host: str, port: int, _hour: int) -> Certificate:
    """Return the served certificate, requested once an hour; a failed request is repeated."""
    return fetch_certificate(host, port)


def _count_hours(now: datetime) -> int:
    return int(now.timestamp()) // SECONDS_PER_HOUR
