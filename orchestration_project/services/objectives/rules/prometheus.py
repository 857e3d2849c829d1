"""Prometheus rules of objectives: generated from slo.yaml, so that both have the same limits."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from orchestration_project.services.objectives.rules.objectives import (
    BURN_ALERTS,
    BurnAlert,
    GatewayLatency,
    Objective,
)

HEAD = """\
# Generated from slo.yaml by `orchestrate objectives rules`: change slo.yaml, not this file.
"""

SILENT_SECONDS = 1800
"""Age of an evaluation beyond which its figures say nothing."""


def render_rules(objectives: Sequence[Objective]) -> str:
    """Return the rules of objectives as a file of Prometheus, YAML.

    Objectives of the gateway's latency have recorded rules of its histogram, too: those are of
    Prometheus' own samples, and also there while the database is down.
    """
    recorded = [objective for objective in objectives if isinstance(objective, GatewayLatency)]
    groups = [
        (
            "objectives_recorded",
            [rule for gateway_latency in recorded for rule in _render_latency(gateway_latency)],
        ),
        (
            "objectives_burning",
            [_build_alert(objective, alert) for objective in objectives for alert in BURN_ALERTS],
        ),
        ("objectives_silent", [_build_silent_alert()] if objectives else []),
    ]
    content = {"groups": [{"name": name, "rules": rules} for name, rules in groups if rules]}
    return HEAD + yaml.safe_dump(content, sort_keys=False, width=100)


def _render_latency(objective: GatewayLatency) -> Iterable[Mapping[str, Any]]:
    name, bound = "orchestration_gateway_request_seconds", f"{float(objective.max_seconds)}"
    for window in ("5m", "1h"):
        good = f'sum(rate({name}_bucket{{le="{bound}"}}[{window}]))'
        yield {
            "record": f"orchestration:gateway_in_time:ratio_rate{window}",
            "expr": f"{good} / sum(rate({name}_count[{window}]))",
            "labels": {"objective": objective.name},
        }


def _build_alert(objective: Objective, alert: BurnAlert) -> Mapping[str, Any]:
    burn = [
        f'orchestration_objective_burn{{objective="{objective.name}",window="{window}"}}'
        f" >= {alert.rate:g}"
        for window in (alert.long, alert.short)
    ]
    events = (
        f'orchestration_objective_window_events{{objective="{objective.name}",'
        f'window="{alert.long}"}} >= {objective.min_events}'
    )
    return {
        "alert": "ObjectiveBurning",
        "expr": f"{burn[0]} and ignoring (window) {burn[1]} and ignoring (window) {events}",
        "labels": {
            "severity": "error",
            "objective": objective.name,
            "window": alert.long,
            "covered_by": "objective_burning",
        },
        "annotations": {
            "summary": f"{objective.name} spends its error budget {alert.rate:g} times as fast as "
            f"its target of {objective.target:g} allows, within {alert.long}",
            "description": "Read `orchestrate objectives list`, then the control tower's verdict "
            f"of {objective.domain_name}.",
        },
    }


def _build_silent_alert() -> Mapping[str, Any]:
    return {
        "alert": "ObjectivesNotEvaluated",
        "expr": f"max(orchestration_objective_age_seconds) >= {SILENT_SECONDS}",
        "labels": {"severity": "error"},
        "annotations": {
            "summary": "No objective was evaluated for 30 minutes",
            "description": "See whether the sensor operations_on_objective_due ticks.",
            "runbook": "docs/how-to/runbooks/tick-failed.md",
        },
    }
