"""`GET /metrics`: what is measured, in Prometheus' words.

Runs happen in other processes, so all but the gateway's own requests is read from where it is
stored. That is done once for all who ask within some seconds.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from threading import Lock

import dagster as dg
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.log_files import FOLDER
from orchestration_project.engine.environment import read_systems
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.gateway.counted import GATEWAY
from orchestration_project.registry import Registry
from orchestration_project.services.dagster_instance import list_storage_errors
from orchestration_project.services.metrics.dagster_state import measure_dagster
from orchestration_project.services.metrics.database import (
    measure_database,
    measure_work_items,
)
from orchestration_project.services.metrics.deployment import measure_programs, measure_queues
from orchestration_project.services.metrics.families import (
    MetricsReader,
    gauge,
    measure_host,
    measure_logs,
    measure_systems,
)
from orchestration_project.services.metrics.objectives import (
    LoadSeconds,
    measure_domains,
    measure_host_samples,
    measure_objectives,
)
from orchestration_project.services.metrics.stored import measure_stored_rows
from orchestration_project.settings import Settings

LOG = logging.getLogger(__name__)

MAX_AGE_SECONDS = 5.0
"""Cache time of metrics: Prometheus scrapes every 15 s or less often."""

OPENMETRICS = "application/openmetrics-text"

Part = Callable[[], Iterable[Metric]]


class StoredMetrics(Collector):
    """Collects ``parts``; an unreadable one is reported as such, next to the others."""

    def __init__(
        self, parts: Mapping[str, Part], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._parts = parts
        self._monotonic = monotonic
        self._lock = Lock()
        self._read_at = float("-inf")
        self._families: Sequence[Metric] = ()

    def collect(self) -> Iterable[Metric]:
        """Return the families, read now or within the last seconds."""
        with self._lock:
            if self._monotonic() - self._read_at >= MAX_AGE_SECONDS:
                self._families = self._read()
                self._read_at = self._monotonic()
            return self._families

    def _read(self) -> list[Metric]:
        families: list[Metric] = []
        is_read: dict[tuple[str, ...], float] = {}
        seconds: dict[tuple[str, ...], float] = {}
        for name, part in self._parts.items():
            started = self._monotonic()
            metrics = self._families_of(name, part)
            families += metrics or []
            is_read[(name,)] = float(metrics is not None)
            seconds[(name,)] = self._monotonic() - started
        return [
            *families,
            gauge("scrape_ok", "1: this part of the metrics could be read.", ("part",), is_read),
            gauge("scrape_seconds", "How long that took.", ("part",), seconds),
        ]

    @staticmethod
    def _families_of(name: str, part: Part) -> list[Metric] | None:
        try:
            return list(part())
        except (OrchestrationError, *list_storage_errors(), dg.DagsterError, OSError) as error:
            LOG.error(
                "the metrics of %s cannot be read: %s",
                name,
                error,
                extra={"event": "metrics_unavailable"},
            )
            return None


class _Counted(Collector):
    """Metrics of this process, to be read with the stored ones."""

    def collect(self) -> Iterable[Metric]:
        return GATEWAY.collect()


def parts_of(
    settings: Settings,
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    registry: Callable[[], Registry],
) -> Mapping[str, Part]:
    """Return where metrics are read, by name."""
    clock = Clock()  # the machine's: what is aged was dated by it
    load_seconds = LoadSeconds(warehouse)

    @cache
    def readers() -> Sequence[Callable[[datetime], Iterable[Metric]]]:
        return [
            metrics.open(warehouse)
            for domain in registry().domains
            if domain.has_source(settings)
            for metrics in domain.registered(MetricsReader)
        ]

    return {
        "database": lambda: measure_stored_rows(warehouse, clock.now()),
        "objectives": lambda: measure_objectives(warehouse, clock.now()),
        "health": lambda: measure_domains(warehouse, clock.now()),
        "loads": lambda: load_seconds.families(clock.now()),
        "hosts": lambda: measure_host_samples(warehouse, clock.now()),
        "database_server": lambda: measure_database(warehouse),
        "work_items": lambda: measure_work_items(warehouse),
        "dagster": lambda: measure_dagster(instance, clock.now()),
        "programs": lambda: measure_programs(warehouse, clock.now()),
        "queues": lambda: measure_queues(instance, clock.now()),
        "domains": lambda: [metric for read in readers() for metric in read(clock.now())],
        "sources": lambda: measure_systems(read_systems(settings)),
        "host": partial(measure_host, settings.state_path),
        "logs": partial(measure_logs, settings.state_path / FOLDER),
    }


def routes(parts: Mapping[str, Part]) -> list[Route]:
    """Return the route of the metrics of ``parts``, and of what the gateway itself counted.

    A client that accepts OpenMetrics, as Prometheus does, gets that: only there are exemplars.
    """
    stored = StoredMetrics(parts)
    registry = CollectorRegistry()
    registry.register(stored)
    registry.register(_Counted())

    def metrics(request: Request) -> Response:
        if OPENMETRICS in request.headers.get("accept", ""):
            text = openmetrics.generate_latest(registry)
            return Response(text, media_type=openmetrics.CONTENT_TYPE_LATEST)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return [Route("/metrics", metrics, methods=["GET"])]
