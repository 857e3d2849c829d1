"""Whether the source still is what we know: its tiers and its fields."""

from dataclasses import asdict

import dagster as dg

from orchestration_project.assets.factory import NO_FIELDS
from orchestration_project.assets.finra.catalogue import RETRY_ONCE, WEEKLY_SUMMARY
from orchestration_project.domains.finra.contract import KNOWN_FIELDS
from orchestration_project.domains.finra.selection import unknown_tiers
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.contract import detect_drift
from orchestration_project.engine.deliveries import remember_fields
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.api import CURRENT
from orchestration_project.resources.finra.source import FinraSource
from orchestration_project.services.metadata import (
    build_table_if_any,
    describe_check,
    mark_not_applicable,
    summarize_result,
)


@dg.asset_check(
    asset=WEEKLY_SUMMARY,
    **describe_check(
        "The source lists only tiers that are loaded: T1, T2 and OTCE.",
        severity=dg.AssetCheckSeverity.WARN,
        remedy="decide whether to load the tier",
    )._asdict(),
    retry_policy=RETRY_ONCE,
)
def lists_only_known_tiers(finra: dg.ResourceParam[FinraSource]) -> dg.AssetCheckResult:
    """Name the tiers that are listed and not loaded, with their partitions."""
    published = finra.published()
    unknown = [asdict(tier) for tier in unknown_tiers(published)]
    return dg.AssetCheckResult(
        passed=not unknown,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "partitions_listed": len(published),
            **build_table_if_any("unknown_tiers", unknown),
        },
    )


@dg.asset_check(
    asset=WEEKLY_SUMMARY,
    **describe_check(
        "The source lists exactly the declared fields, with the declared types.",
        remedy="missing or another type: change the declaration; new: decide whether to load it",
    )._asdict(),
    retry_policy=RETRY_ONCE,
)
def has_the_fields_that_we_know(
    finra: dg.ResourceParam[FinraSource],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.AssetCheckResult:
    """Name the fields that are new, missing or retyped, and since when; a load needs all it asks.

    It does not stop a load: one that requests a missing field fails and says so.
    """
    listed = finra.list_fields()
    if listed is None:
        outcome = mark_not_applicable(NO_FIELDS)
        return dg.AssetCheckResult(
            passed=True, description=summarize_result(outcome), metadata=outcome
        )
    seen_frame = remember_fields(warehouse, clock, listed, source=finra.name, dataset=CURRENT)
    drifts = detect_drift(seen_frame, KNOWN_FIELDS)
    is_missing = any(each.what == "missing" for each in drifts)
    return dg.AssetCheckResult(
        passed=not drifts,
        severity=dg.AssetCheckSeverity.ERROR if is_missing else dg.AssetCheckSeverity.WARN,
        metadata={
            "fields_known": len(KNOWN_FIELDS),
            "fields_listed": len(listed),
            **build_table_if_any("differences", [asdict(each) for each in drifts]),
        },
    )


SOURCE_CHECKS = [lists_only_known_tiers, has_the_fields_that_we_know]
