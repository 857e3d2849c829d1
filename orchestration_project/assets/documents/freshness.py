"""The check whether stable files wait for a run, and its job."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestration_project.assets.documents.catalogue import FILES, GROUP, IN_TIME_CHECK
from orchestration_project.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.documents.waiting import oldest_waiting
from orchestration_project.services.metadata import describe_check, described_result


@dg.asset_check(
    asset=FILES,
    name=IN_TIME_CHECK,
    **describe_check(
        "No stable file waits for a run longer than an hour.",
        severity=dg.AssetCheckSeverity.WARN,
        limit="1 hour after a file is stable",
        remedy="start documents_load, or switch the sensor documents_on_arrival on",
    )._asdict(),
)
def files_are_loaded_in_time(
    clock: dg.ResourceParam[Clock], warehouse: dg.ResourceParam[Warehouse]
) -> dg.AssetCheckResult:
    """Look for files that wait; the source is not asked."""
    late = oldest_waiting(warehouse, clock.now())
    metadata: Mapping[str, Any] = {"outcome": "no file waits for long"}
    if late is not None:
        metadata = {
            "outcome": "late",
            "expected": "a run within an hour",
            "found": late.reason,
            "what_to_do": late.remedy,
        }
    severity = dg.AssetCheckSeverity.WARN
    return described_result(FILES, IN_TIME_CHECK, metadata, severity, passed=late is None)


freshness_job = dg.define_asset_job(
    "documents_freshness",
    selection=dg.AssetSelection.checks(files_are_loaded_in_time),
    description="Checks whether a stable file waits for a run longer than an hour.",
    tags={"domain": GROUP},
)
