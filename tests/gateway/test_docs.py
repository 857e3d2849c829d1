"""The pages of webhooks and metrics name every one that exists."""

import re

import pytest
from prometheus_client.core import Metric

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.contracts.webhooks.schemes import SCHEMES
from orchestration_project.engine.contracts.webhooks.sources import WebhookSource
from orchestration_project.gateway.counted import GATEWAY
from orchestration_project.gateway.health import probes_of
from orchestration_project.gateway.hooks import STATUSES
from orchestration_project.gateway.metrics import StoredMetrics, parts_of
from orchestration_project.settings import PROJECT_ROOT

WEBHOOKS = (PROJECT_ROOT / "docs" / "reference" / "webhooks.md").read_text()
METRICS = (PROJECT_ROOT / "docs" / "reference" / "metrics.md").read_text()


def first_cells(text: str) -> set[str]:
    """Return what stands in backticks in the first column of the tables."""
    cells = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


@pytest.fixture
def instance(kept_instance):
    return kept_instance


def test_every_scheme_field_and_status_is_documented():
    cells = first_cells(WEBHOOKS)
    assert set(SCHEMES) <= cells
    assert set(WebhookSource.model_fields) <= cells
    assert {"received", "running", "failed", "done", "dead"} <= cells
    statuses = set(re.findall(r"^\| (\d{3}) \|", WEBHOOKS, re.MULTILINE))
    assert {str(status) for status in STATUSES.values()} <= statuses


def test_every_metric_and_each_of_its_labels_is_documented(settings, warehouse, instance):
    stored: list[Metric] = list(
        StoredMetrics(parts_of(settings, warehouse, instance, lambda: REGISTRY)).collect()
    )
    named = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in (*stored, *GATEWAY.collect())
    }
    assert named == first_cells(METRICS.partition("## `GET /readyz`")[0])


def test_every_part_of_readiness_is_documented(settings, instance):
    parts = {probe.dependency for probe in probes_of(settings, instance)}
    assert parts == first_cells(METRICS.partition("## `GET /readyz`")[2])
