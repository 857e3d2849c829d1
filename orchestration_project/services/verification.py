"""Verification of all dependencies and settings, by a job or a command; it imports no Dagster."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.dagster_private.daemon_state import DaemonState
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Registry
from orchestration_project.services.alerts import Alerts
from orchestration_project.services.gate import Register, examine_all
from orchestration_project.services.gate.rules import Finding, are_ready
from orchestration_project.services.ledger.rules.entries import NOT_APPLICABLE
from orchestration_project.services.pauses import read_pauses, skip_paused_probes
from orchestration_project.services.presets import (
    ConfigDifference,
    EffectiveConfig,
    compare_configs,
    read_verified_config,
    record_verified_config,
    resolve_config,
)
from orchestration_project.services.probes import build_sending_probe, open_all_probes
from orchestration_project.settings import Settings

SHOWN_FIELDS = ("outcome", "dependency", "tried", "got", "remedy", "seconds")


def describe_finding(finding: Finding) -> dict[str, Any]:
    """Return the shown fields of a finding by name."""
    shown_fields = {name: getattr(finding, name) for name in SHOWN_FIELDS}
    return {**shown_fields, "seconds": round(finding.seconds, 3)}


@dataclass(frozen=True)
class Drift:
    """Difference between the settings and those that were last verified.

    Attributes:
        config: The settings.
        changes: Values that differ; None: nothing was verified before.
    """

    config: EffectiveConfig
    changes: Sequence[ConfigDifference] | None

    @property
    def outcome(self) -> str:
        """The difference in a few words."""
        if self.changes is None:
            return f"{NOT_APPLICABLE}: nothing was verified before"
        return f"{len(self.changes)} values differ"


def verify_dependencies(
    registry: Registry,
    settings: Settings,
    warehouse: Warehouse,
    read_state: Callable[[], DaemonState],
    send_to: Alerts | None = None,
) -> list[Finding]:
    """Probe every dependency, except sources that are paused; store nothing.

    Args:
        registry: Domains whose sources are probed.
        settings: Settings of this process.
        warehouse: Database, opened or not.
        read_state: Returns the state of Dagster's daemon.
        send_to: Channels that get a test message; None: they are checked only.
    """
    probes = open_all_probes(registry, settings, read_state, warehouse)
    sources = [probe.dependency for probe in registry.probes(settings)]
    pauses = read_pauses(lambda: nullcontext(warehouse))
    replaced = skip_paused_probes(
        pauses, [probe for probe in probes if probe.dependency in sources]
    )
    if send_to is not None:
        replaced.append(build_sending_probe(lambda: send_to))
    instead = {probe.dependency: probe for probe in replaced}
    examined = examine_all(
        [instead.get(probe.dependency, probe) for probe in probes],
        Clock(),
        resolve_config(settings).full_hash,
    )
    return [probe_result.finding for probe_result in examined]


def record_verification(
    settings: Settings, warehouse: Warehouse, findings: Sequence[Finding], *, run_id: str
) -> Drift:
    """Store findings, and the settings as verified if no dependency failed; return the drift.

    Args:
        settings: Settings of this process.
        warehouse: Database that keeps findings and settings.
        findings: Findings of `verify_dependencies`.
        run_id: Dagster run that verified; empty: a command.

    Raises:
        OrchestrationError: The database cannot be used.
    """
    Register(warehouse).keep(findings, run_id=run_id)
    config, before = resolve_config(settings), read_verified_config(warehouse)
    if are_ready(findings):
        record_verified_config(warehouse, config, at=findings[0].checked_at, run_id=run_id)
    return Drift(config, None if before is None else compare_configs(before, config))
