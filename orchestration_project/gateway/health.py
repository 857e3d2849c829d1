"""Health checks: `GET /healthz` (liveness) and `GET /readyz` (readiness).

Anybody may ask, so the answer names no address and gives no reason; the log does.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock

import dagster as dg
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.dagster_private.daemon_state import read_daemon_state
from orchestration_project.registry import Probe
from orchestration_project.services.gate.gate import ProbeResult, examine
from orchestration_project.services.inbox.senders import build_webhooks_probe
from orchestration_project.services.probes import open_probes
from orchestration_project.settings import Settings

LOG = logging.getLogger(__name__)

GATEWAY_DEPENDENCIES = ("database", "disk", "artifacts", "daemon")
"""Dependencies of the gateway and its webhooks, among those of loads."""

INFORMATIONAL_FINDINGS = frozenset({"webhooks"})
"""Reported findings that do not affect readiness: a source without its secret answers 503 by
itself, while pages and other sources are served."""

MAX_AGE_SECONDS = 5.0
"""Time for which probe results are cached."""


class Readiness:
    """Looks at ``probes``, all side by side, at most every five seconds."""

    def __init__(
        self, probes: Sequence[Probe], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._probes = probes
        self._monotonic = monotonic
        self._lock = Lock()
        self._polled_at = float("-inf")
        self._found: Mapping[str, str] = {}

    def found(self) -> Mapping[str, str]:
        """Return of each dependency whether it passed, failed or is not applicable."""
        with self._lock:
            if self._monotonic() - self._polled_at >= MAX_AGE_SECONDS:
                self._found = self._poll()
                self._polled_at = self._monotonic()
            return self._found

    def _poll(self) -> dict[str, str]:
        with ThreadPoolExecutor(len(self._probes)) as pool:
            examined = list(pool.map(_examine_probe, self._probes))
        for probe_result in examined:
            if probe_result.error is not None:
                LOG.warning(
                    "not ready, %s: %s",
                    probe_result.finding.dependency,
                    probe_result.error,
                    extra={"event": "dependency_not_ready"},
                )
        return {
            probe_result.finding.dependency: probe_result.finding.outcome
            for probe_result in examined
        }


def _examine_probe(probe: Probe) -> ProbeResult:
    return examine(probe, Clock(), "")


def probes_of(settings: Settings, instance: dg.DagsterInstance) -> list[Probe]:
    """Return the probes on which a gateway's readiness depends."""
    shared = open_probes(settings, partial(read_daemon_state, instance))
    known_probes = {probe.dependency: probe for probe in shared}
    return [*(known_probes[name] for name in GATEWAY_DEPENDENCIES), build_webhooks_probe(settings)]


def routes(readiness: Readiness) -> list[Route]:
    """Return the routes of both questions."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok")

    def readyz(_: Request) -> Response:
        names = readiness.found()
        is_ready = all(names[name] != "failed" for name in names.keys() - INFORMATIONAL_FINDINGS)
        return JSONResponse({"is_ready": is_ready, **names}, 200 if is_ready else 503)

    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
    ]
