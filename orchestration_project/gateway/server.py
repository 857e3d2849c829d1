"""The gateway as a server: what it needs before it may begin, and uvicorn with its limits."""

import asyncio
import ctypes
import gc
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from types import FrameType
from typing import Any

import dagster as dg
import uvicorn
from starlette.routing import BaseRoute
from starlette.types import ASGIApp
from uvicorn.config import LOGGING_CONFIG

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_checked_warehouse, open_clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import answer_during_outages
from orchestration_project.gateway import approvals, health, hooks, metrics, pauses
from orchestration_project.gateway.api.opening import opened_api
from orchestration_project.gateway.app import create_app
from orchestration_project.gateway.bar import installation_of
from orchestration_project.gateway.bind_address import place_of
from orchestration_project.gateway.connection_limits import ConnectionLimits, limited_protocol
from orchestration_project.gateway.counted import RequestCounter
from orchestration_project.gateway.guard import AuthServices
from orchestration_project.gateway.headers import LOG as ACCESS_LOG
from orchestration_project.gateway.limits import BODY_BYTES
from orchestration_project.registry import Registry
from orchestration_project.services.access import Access, AccessLog, read_session_secret
from orchestration_project.services.access.rules.credentials import LoginLimits
from orchestration_project.services.access.rules.members import read_rules
from orchestration_project.services.attention.reading import AttentionCounter, AttentionReader
from orchestration_project.settings import Settings

SECONDS_BETWEEN_DATES = 1.0

START_FAILURE = 3
"""Exit status of a server that could not start, which is uvicorn's."""

MALLOC_OPTIONS = ((-8, 1), (-3, 128 * 1024), (-1, 128 * 1024))
"""For glibc's `mallopt`: M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, the latter in bytes.

By default each thread allocates from an arena of its own, and the thresholds rise with the largest
block that was freed: free memory between blocks in use then grows with the number of requests.
"""


@contextmanager
def opened(
    settings: Settings,
    dagster: ASGIApp,
    host: str,
    instance: dg.DagsterInstance,
    registry: Callable[[], Registry],
) -> Iterator[ASGIApp]:
    """Give the gateway of these settings around ``dagster``, which serves ``instance``.

    Raises:
        ConfigurationError: OIDC_ROLES, the sources of webhooks or the database cannot be used.
    """
    rules, clock = read_rules(settings.oidc_roles), Clock()
    limits = LoginLimits(
        timedelta(minutes=settings.session_idle_minutes), timedelta(hours=settings.session_hours)
    )
    with open_checked_warehouse(settings) as warehouse:
        domains = [domain.lower() for domain in settings.oidc_allowed_domains]
        access = Access(warehouse, clock, limits, rules, domains)
        secret = read_session_secret(settings)
        log, place = AccessLog(warehouse, clock), place_of(settings, host)
        counter = AttentionCounter(
            lambda: AttentionReader(registry(), settings, warehouse, open_clock(settings))
        )
        installation = installation_of(settings, warehouse, counter.count)
        doors = AuthServices(access, log, place, installation, secret=secret)
        provider = _build_provider_routes(settings, doors, secret)
        readiness = health.Readiness(health.probes_of(settings, instance))
        measured = metrics.routes(metrics.parts_of(settings, warehouse, instance, registry))
        listed = [
            *pauses.routes(warehouse, doors, registry),
            *approvals.routes(warehouse, doors),
            *_build_plugin_routes(settings, warehouse, doors),
        ]
        with (
            hooks.opened_hooks(settings, warehouse) as opened_hooks,
            opened_api(settings, warehouse, doors, dagster, instance, registry) as api,
        ):
            app = create_app(
                doors,
                dagster,
                has_provider=bool(provider),
                public=[*provider, *hooks.routes(opened_hooks), *health.routes(readiness)],
                private=[*measured, *api, *listed],
                is_open=settings.gateway_auth == "off",
                origins=settings.api_allowed_origins,
            )
            yield RequestCounter(app)


def _build_plugin_routes(
    settings: Settings, warehouse: Warehouse, doors: AuthServices
) -> Sequence[BaseRoute]:
    """Return the routes of the page of plugins; none if the domain is off."""
    if not doors.installation.has_plugins:
        return []
    from orchestration_project.gateway import plugins
    from orchestration_project.resources.plugins.isolation import isolation_status

    isolation = cache(lambda: isolation_status(settings).detail)
    return plugins.routes(warehouse, doors.installation, isolation)


def _build_provider_routes(
    settings: Settings, doors: AuthServices, secret: str
) -> Sequence[BaseRoute]:
    if not settings.oidc_discovery_url or not settings.oidc_client_secret:
        return []
    from orchestration_project.gateway.oidc import Provider

    provider = Provider(
        doors,
        discovery_url=settings.oidc_discovery_url,
        client_id=settings.oidc_client_id or "",
        client_secret=settings.oidc_client_secret.get_secret_value(),
        secret=secret,
        hosted_domain=settings.oidc_hosted_domain,
    )
    return provider.routes()


def serve(app: ASGIApp, settings: Settings, host: str, port: int) -> None:
    """Serve ``app`` until a signal ends it."""
    if settings.log_format == "json":
        _write_access_log()
    spare_pauses()
    answer_during_outages()
    loggers: dict[str, Any] = LOGGING_CONFIG["loggers"]
    log_config = {
        **LOGGING_CONFIG,
        "loggers": {**loggers, "uvicorn": {**loggers["uvicorn"], "propagate": True}},
    }
    options = server_options(settings)
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", log_config=log_config, **options
    )
    server = QuietServer(config)
    with suppress(KeyboardInterrupt):  # it has ended by that signal
        server.run()
    if not server.started:
        sys.exit(START_FAILURE)


class QuietServer(uvicorn.Server):
    """A server that wakes up once a second, for the header Date; uvicorn's does ten times."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_signal = asyncio.Event()

    async def main_loop(self) -> None:
        """Serve until a signal ends it."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_signal.wait(), SECONDS_BETWEEN_DATES)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End the loop, if it has begun."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._has_signal.set)


def limit_free_memory() -> None:
    """Set MALLOC_OPTIONS; other C libraries than glibc have none of them."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in MALLOC_OPTIONS:
            mallopt(option, value)


def spare_pauses() -> None:
    """Exclude the objects loaded until now from later garbage collections.

    Dagster's modules and schema are a million objects that stay: to collect them takes a
    tenth of a second, in which no request is answered.
    """
    gc.collect()
    gc.freeze()


def server_options(settings: Settings, limits: ConnectionLimits | None = None) -> dict[str, Any]:
    """Return uvicorn's options: trusted proxies, and limits."""
    limits = limits or ConnectionLimits()
    proxies = list(settings.trusted_proxies)
    return {
        "http": limited_protocol(limits),
        "ws_max_size": BODY_BYTES,
        "limit_concurrency": limits.connections,
        "timeout_keep_alive": limits.head_seconds,
        "timeout_graceful_shutdown": limits.head_seconds,
        "proxy_headers": bool(proxies),
        "forwarded_allow_ips": proxies,
        "server_header": False,
        "access_log": False,
        "lifespan": "off",
        "reset_contextvars": True,
    }


def _write_access_log() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    ACCESS_LOG.addHandler(handler)
    ACCESS_LOG.setLevel(logging.INFO)
