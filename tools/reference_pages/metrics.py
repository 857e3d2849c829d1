"""The page of metrics: each with its type and labels, and the parts of `/readyz`."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from prometheus_client.core import Metric

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.gateway.counted import DELIVERIES, GATEWAY, REQUESTS, SECONDS
from orchestration_project.gateway.health import INFORMATIONAL_FINDINGS, probes_of
from orchestration_project.gateway.metrics import StoredMetrics, parts_of
from orchestration_project.settings import Settings, load_settings
from tools.reference_pages.markdown import code, codes, page, section, table


def write() -> str:
    """Return the page."""
    with _open_installation() as (settings, instance):
        parts = probes_of(settings, instance)
        families = _families(settings, instance)
    ready = [(code(each.dependency), each.tried(), _effect(each.dependency)) for each in parts]
    return page(
        "metrics",
        [
            section(
                "`GET /metrics`",
                table(("metric", "type", "labels", "meaning"), map(_metric, families)),
            ),
            section("`GET /readyz`", table(("part", "what it did", "if it fails"), ready)),
        ],
    )


def read_families() -> list[Metric]:
    """Return all metrics by name."""
    with _open_installation() as (settings, instance):
        return _families(settings, instance)


@contextmanager
def _open_installation() -> Iterator[tuple[Settings, dg.DagsterInstance]]:
    """Open an empty installation."""
    with (
        tempfile.TemporaryDirectory() as folder,
        dg.DagsterInstance.local_temp(folder) as instance,
    ):
        yield load_settings().model_copy(update={"state_dir": Path(folder)}), instance


def _families(settings: Settings, instance: dg.DagsterInstance) -> list[Metric]:
    with open_warehouse(settings) as warehouse:
        stored = list(
            StoredMetrics(parts_of(settings, warehouse, instance, lambda: REGISTRY)).collect()
        )
    return sorted([*stored, *GATEWAY.collect()], key=lambda each: each.name)


def _metric(family: Metric) -> tuple[str, ...]:
    return (
        code(full_name(family)),
        family.type,
        codes(label_names(family)),
        family.documentation,
    )


def full_name(family: Metric) -> str:
    """Return the name of a metric as Prometheus shows it."""
    return family.name + ("_total" if family.type == "counter" else "")


def label_names(family: Metric) -> tuple[str, ...]:
    """Return the labels of a metric."""
    counted = {next(iter(each.describe())).name: each for each in (DELIVERIES, REQUESTS, SECONDS)}
    of = counted.get(family.name, family)
    return getattr(of, "_labelnames", ())  # public only in samples, if any


def _effect(dependency: str) -> str:
    return "reported only" if dependency in INFORMATIONAL_FINDINGS else "answer 503"
