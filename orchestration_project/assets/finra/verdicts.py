"""How an audit stands over many partitions, as the result of the asset's check."""

from typing import Any

import dagster as dg

from orchestration_project.contracts import OFFENDERS_KEPT
from orchestration_project.domains.finra.audits import Verdict

SHOWN_OF_A_FAILURE = ("partition_key", "expected", "found", "offenders", "group_id", "run_id")
KEYS_NAMED = 5
"""Of partitions that fail a check, in the line that alerts quote."""


def check_result(
    asset: dg.AssetKey, verdict: Verdict, severity: dg.AssetCheckSeverity
) -> dg.AssetCheckResult:
    """Return what the latest delivery of every retained partition did in an audit."""
    metadata: dict[str, Any] = {
        "partitions_passed": verdict.passed_count,
        "partitions_not_applicable": verdict.not_applicable_count,
        "partitions_failed": len(verdict.failed),
    }
    if len(verdict.limits) == 1:  # Record-Total differs from partition to partition
        metadata["limit"] = verdict.limits[0]
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=verdict.audit,
        passed=verdict.holds,
        severity=severity,
        metadata=metadata | _failures(verdict),
    )


def _failures(verdict: Verdict) -> dict[str, Any]:
    if verdict.holds:
        return {}
    keys = sorted({str(failure["partition_key"]) for failure in verdict.failed})
    more = len(keys) - KEYS_NAMED
    offenders = [
        dg.TableRecord({name: str(failure[name]) for name in SHOWN_OF_A_FAILURE})
        for failure in verdict.failed[:OFFENDERS_KEPT]
    ]
    return {
        "failed": ", ".join(keys[:KEYS_NAMED]) + (f" and {more} more" * (more > 0)),
        "failures": dg.MetadataValue.table(offenders),
    }
