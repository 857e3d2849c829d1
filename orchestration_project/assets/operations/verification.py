"""Whether everything that work depends on is ready, and which configuration is in effect."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.assets.operations.catalogue import (
    READINESS,
    asset_spec,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.effective_config import (
    ConfigDifference,
    ConfigValue,
    differences,
)
from orchestration_project.engine.options import JobOptions
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Registry
from orchestration_project.services.alerts import Alerts
from orchestration_project.services.gate import Gate
from orchestration_project.services.gate.rules import Finding, are_ready
from orchestration_project.services.metadata import check_spec, not_applicable, summary_of
from orchestration_project.services.pauses import read_pauses, silence_paused_probes
from orchestration_project.services.presets import (
    Presets,
    effective_config,
    in_force,
    last_verified,
    record_verified_config,
)
from orchestration_project.services.probes import every_probe, open_database_probe, sending_probe
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


def verification_asset(registry: Registry) -> dg.AssetsDefinition:
    """Return the asset that verifies every dependency; their names make its checks."""
    probes = every_probe(registry, load_shared_settings(), dg.DagsterInstance.get)
    order = [probe.dependency for probe in probes]

    @dg.multi_asset(
        name="verify_operations",
        specs=[asset_spec(READINESS, operations_readiness, "findings")],
        check_specs=[
            *(
                check_spec(
                    check_name(each.dependency),
                    asset=READINESS,
                    description=f"We {each.tried()}.",
                    remedy="follow the remedy in the metadata of the result",
                )
                for each in probes
            ),
            check_spec(
                DRIFT,
                asset=READINESS,
                description="The configuration is the one that was last verified.",
                severity=dg.AssetCheckSeverity.WARN,
                remedy="verify, if the change of configuration is meant",
            ),
        ],
    )
    def verification(
        context: dg.AssetExecutionContext,
        config: Verification,
        alerts: dg.ResourceParam[Alerts],
        clock: dg.ResourceParam[Clock],
        gate: dg.ResourceParam[Gate],
        settings: dg.ResourceParam[Settings],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> Iterator[ReadinessEvent]:
        """Verify every dependency and report it, stored or not; then report what drifted."""
        also = [open_database_probe(settings, warehouse, compares_tables=True)]
        if config.send_test_message:
            also.append(sending_probe(lambda: alerts))
        pauses = read_pauses(lambda: nullcontext(warehouse))
        sources = silence_paused_probes(pauses, registry.probes(settings))
        findings = gate.verify(instead=[*sources, *also])
        findings.sort(key=lambda finding: order.index(finding.dependency))
        yield from (_check_result(each) for each in findings)
        gate.register.keep(findings, run_id=context.run.run_id)
        now, before = effective_config(settings), last_verified(warehouse)
        yield _drift_result(differences(before, now) if before else [], is_first=before is None)
        if are_ready(findings):
            record_verified_config(
                warehouse, now, at=findings[0].checked_at, run_id=context.run.run_id
            )
        shown_config_values = {**now.entries, **in_force(Presets(warehouse, clock))}
        table = _table("findings", [_shown(each) for each in findings])
        metadata = {**table, "config_hash": now.config_hash, **entries_table(shown_config_values)}
        yield dg.MaterializeResult(asset_key=READINESS, metadata=metadata)

    return verification


def entries_table(shown: Mapping[str, ConfigValue]) -> dict[str, Any]:
    """Return settings and values of applied presets as a table of the UI."""
    return _table("entries", [{"name": name, **asdict(entry)} for name, entry in shown.items()])


def _shown(finding: Finding) -> dict[str, Any]:
    names = ("outcome", "dependency", "tried", "got", "remedy", "seconds")
    attributes = {name: getattr(finding, name) for name in names}
    return {**attributes, "seconds": round(finding.seconds, 3)}


def _check_result(finding: Finding) -> dg.AssetCheckResult:
    values = _shown(finding)
    if finding.outcome == "not_applicable":
        values |= not_applicable(finding.got)
    return dg.AssetCheckResult(
        asset_key=READINESS,
        check_name=check_name(finding.dependency),
        passed=finding.outcome != "failed",
        description=summary_of(values),
        metadata=values,
    )


def _drift_result(found: Sequence[ConfigDifference], *, is_first: bool) -> dg.AssetCheckResult:
    text = "nothing was verified before" if is_first else f"{len(found)} values differ"
    outcome = not_applicable(text) if is_first else {"outcome": text}
    return dg.AssetCheckResult(
        asset_key=READINESS,
        check_name=DRIFT,
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        description=summary_of(outcome),
        metadata={
            **outcome,
            **_table("differences", map(asdict, found)),
        },
    )


def _table(label: str, rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return rows as a table of the UI, nothing where there is none."""
    records = [dg.TableRecord(row) for row in rows]
    return {label: dg.MetadataValue.table(records)} if records else {}
