"""How an audit stands over many partitions, as the result of the asset's check."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestration_project.contracts.rules import OFFENDERS_KEPT, AuditSummary

SHOWN_OF_A_FAILURE = ("partition_key", "expected", "found", "offenders", "group_id", "run_id")
KEYS_NAMED = 5
"""Of partitions that fail a check, in the line that alerts quote."""


def check_result(
    asset: dg.AssetKey,
    summary: AuditSummary,
    severity: dg.AssetCheckSeverity,
    *,
    of: str = "partitions",
    problem: Mapping[str, str] | None = None,
) -> dg.AssetCheckResult:
    """Return what the latest delivery of each partition did in an audit.

    ``of`` is what the metadata calls the keys of deliveries, which are a run's partitions or, of
    prices, symbols. ``problem`` fails the check too, whatever the deliveries did.
    """
    metadata: dict[str, Any] = {
        f"{of}_passed": summary.passed_count,
        f"{of}_not_applicable": summary.not_applicable_count,
        f"{of}_failed": len(summary.failed),
    }
    if len(summary.limits) == 1:  # Record-Total differs from partition to partition
        metadata["limit"] = summary.limits[0]
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=summary.audit,
        passed=not (summary.failed or problem),
        severity=severity,
        metadata=metadata | _failures(summary) | dict(problem or {}),
    )


def evaluated(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    """Return a result as a step may yield it that does not define the check.

    A check with a job of its own has a step of its own. A load evaluates it within its own step,
    because Dagster skips what follows a step that fails, also where that materialized partitions.
    """
    if result.asset_key is None or result.check_name is None:
        raise AssertionError("the result names its asset and its check")
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=bool(result.passed),
        severity=result.severity,
        metadata=dict(result.metadata),
    )


def _failures(summary: AuditSummary) -> dict[str, Any]:
    if not summary.failed:
        return {}
    keys = sorted({str(failure["partition_key"]) for failure in summary.failed})
    more = len(keys) - KEYS_NAMED
    offenders = [
        dg.TableRecord({name: str(failure[name]) for name in SHOWN_OF_A_FAILURE})
        for failure in summary.failed[:OFFENDERS_KEPT]
    ]
    return {
        "failed": ", ".join(keys[:KEYS_NAMED]) + (f" and {more} more" * (more > 0)),
        "failures": dg.MetadataValue.table(offenders),
    }
