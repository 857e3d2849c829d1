"""Whether everything that work depends on is ready, and which configuration is in effect."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.assets.operations.catalogue import (
    READINESS,
    build_asset_spec,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.dagster_private.daemon_state import read_daemon_state
from orchestration_project.engine.options import JobOptions
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Probe, Registry
from orchestration_project.services.alerts import Alerts
from orchestration_project.services.gate.rules import Finding
from orchestration_project.services.metadata import (
    check_spec,
    mark_not_applicable,
    summarize_result,
)
from orchestration_project.services.presets import ConfigValue, Presets, read_applied
from orchestration_project.services.probes import open_all_probes
from orchestration_project.services.verification import (
    Drift,
    describe_finding,
    record_verification,
    verify_dependencies,
)
from orchestration_project.settings import Settings, load_shared_settings
from orchestration_project.tables.operations_deployment import operations_readiness

DRIFT = "has_not_drifted"

ReadinessEvent = dg.AssetCheckResult | dg.MaterializeResult[Any]


class Verification(JobOptions):
    """How a run verifies."""

    send_test_message: bool = Field(
        default=False,
        description=(
            "Send a test message to each alert channel; otherwise channels are only checked."
        ),
    )


def check_name(dependency: str) -> str:
    """Return the name of the check of a dependency."""
    return f"finds_{dependency}_ready"


DRIFT_CHECK = check_spec(
    DRIFT,
    asset=READINESS,
    description="The configuration is the one that was last verified.",
    severity=dg.AssetCheckSeverity.WARN,
    remedy="verify, if the change of configuration is meant",
)


def _build_check(probe: Probe) -> dg.AssetCheckSpec:
    return check_spec(
        check_name(probe.dependency),
        asset=READINESS,
        description=f"We {probe.tried()}.",
        remedy="follow the remedy in the metadata of the result",
    )


def build_verification_asset(registry: Registry) -> dg.AssetsDefinition:
    """Return the asset that verifies every dependency; their names make its checks."""
    probes = open_all_probes(
        registry, load_shared_settings(), lambda: read_daemon_state(dg.DagsterInstance.get())
    )

    @dg.multi_asset(
        name="verify_operations",
        specs=[build_asset_spec(READINESS, operations_readiness, "findings")],
        check_specs=[*map(_build_check, probes), DRIFT_CHECK],
    )
    def verification(
        context: dg.AssetExecutionContext,
        config: Verification,
        alerts: dg.ResourceParam[Alerts],
        clock: dg.ResourceParam[Clock],
        settings: dg.ResourceParam[Settings],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> Iterator[ReadinessEvent]:
        """Verify every dependency and report it, stored or not; then report what drifted."""
        findings = verify_dependencies(
            registry,
            settings,
            warehouse,
            partial(read_daemon_state, context.instance),
            alerts if config.send_test_message else None,
        )
        yield from map(_check_result, findings)
        drift = record_verification(settings, warehouse, findings, run_id=context.run.run_id)
        yield _check_drift(drift)
        entries = {**drift.config.entries, **read_applied(Presets(warehouse, clock))}
        metadata = {
            **_list_rows("findings", map(describe_finding, findings)),
            "config_hash": drift.config.config_hash,
            **render_entries(entries),
        }
        yield dg.MaterializeResult(asset_key=READINESS, metadata=metadata)

    return verification


def render_entries(shown: Mapping[str, ConfigValue]) -> dict[str, Any]:
    """Return settings and values of applied presets as a table of the UI."""
    return _list_rows("entries", [{"name": name, **asdict(entry)} for name, entry in shown.items()])


def _check_result(finding: Finding) -> dg.AssetCheckResult:
    values = describe_finding(finding)
    if finding.outcome == "not_applicable":
        values |= mark_not_applicable(finding.got)
    return dg.AssetCheckResult(
        asset_key=READINESS,
        check_name=check_name(finding.dependency),
        passed=finding.outcome != "failed",
        description=summarize_result(values),
        metadata=values,
    )


def _check_drift(drift: Drift) -> dg.AssetCheckResult:
    outcome = {"outcome": drift.outcome}
    return dg.AssetCheckResult(
        asset_key=READINESS,
        check_name=DRIFT,
        passed=not drift.changes,
        severity=dg.AssetCheckSeverity.WARN,
        description=summarize_result(outcome),
        metadata={
            **outcome,
            **_list_rows("differences", map(asdict, drift.changes or ())),
        },
    )


def _list_rows(label: str, rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return rows as a table of the UI, nothing where there is none."""
    records = [dg.TableRecord(row) for row in rows]
    return {label: dg.MetadataValue.table(records)} if records else {}
