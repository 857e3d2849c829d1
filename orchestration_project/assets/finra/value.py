"""Dollar value of a week's shares, once all tiers and the prices of its sessions are loaded."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.assets.factory import derive_partitions
from orchestration_project.assets.finra.catalogue import (
    SYMBOL_WEEK,
    WEEKS_OF_ALL_TIERS,
    build_table_spec,
)
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.domains.finra.tables.weekly import finra_symbol_week_value
from orchestration_project.domains.finra.value import differing_weeks
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.derived import DerivedResult
from orchestration_project.engine.runner import AssetEvent
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.value import (
    coverage_by_week,
    figures_of,
    notional_by_week,
    value_load,
)
from orchestration_project.services.metadata import (
    build_table,
    check_spec,
    mark_not_applicable,
    summarize_result,
)

SYMBOL_WEEK_VALUE = dg.AssetKey(["finra", "symbol_week_value"])
DAILY = dg.AssetKey(["prices", "daily"])
COVERS = "covers_enough_of_the_volume"
AGREES = "agrees_with_finra_notional"
WEEKS_SHOWN = 50
"""The latest of those that are short: an event should stay below 100 KB."""


@dg.multi_asset(
    name="derive_finra_symbol_week_value",
    specs=[
        build_table_spec(SYMBOL_WEEK_VALUE, finra_symbol_week_value, "gold", SYMBOL_WEEK, DAILY)
    ],
    check_specs=[
        check_spec(
            COVERS,
            asset=SYMBOL_WEEK_VALUE,
            description="The share of each week's volume that has prices is above the limit.",
            severity=dg.AssetCheckSeverity.WARN,
            remedy="load the missing prices",
            settings=["finra_symbol_week_value.min_price_coverage"],
        ),
        check_spec(
            AGREES,
            asset=SYMBOL_WEEK_VALUE,
            description="The estimated value of each week and tier is close to FINRA's own.",
            severity=dg.AssetCheckSeverity.WARN,
            remedy="compare prices and splits of its largest symbols with another vendor",
            settings=["finra_symbol_week_value.max_notional_factor"],
        ),
    ],
    partitions_def=WEEKS_OF_ALL_TIERS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def symbol_week_value(
    context: dg.AssetExecutionContext,
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[FinraSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[AssetEvent]:
    """Derive each week of the run; a week whose rows are the same stays as it is."""
    limits = settings.checks_of("finra").finra_symbol_week_value

    def check_weeks() -> list[dg.AssetCheckResult]:
        return [
            _check_result(coverage_by_week(warehouse), limits.min_price_coverage),
            _check_agreement(notional_by_week(warehouse), limits.max_notional_factor),
        ]

    load = value_load(warehouse)
    yield from derive_partitions(context, clock, load, SYMBOL_WEEK_VALUE, _sum_value, check_weeks)


def _sum_value(derived: DerivedResult) -> dict[str, Any]:
    figures = figures_of(derived)
    return {
        "dagster/row_count": figures.row_count,
        "coverage_ratio": figures.coverage_ratio,
        "notional_dollars": figures.notional_dollars,
    }


def _check_result(covered: Mapping[str, float], least: float) -> dg.AssetCheckResult:
    short = {week: ratio for week, ratio in covered.items() if ratio < least}
    latest = list(short.items())[-WEEKS_SHOWN:]
    data_frame = pl.DataFrame(
        latest, {"week_start": pl.String, "coverage_ratio": pl.Float64}, orient="row"
    )
    outcome = {} if covered else mark_not_applicable("no week is derived yet")
    return dg.AssetCheckResult(
        asset_key=SYMBOL_WEEK_VALUE,
        check_name=COVERS,
        passed=not short,
        severity=dg.AssetCheckSeverity.WARN,
        description=summarize_result(outcome),
        metadata={
            **outcome,
            "weeks": len(covered),
            "weeks_short": len(short),
            "least_coverage_ratio": least,
            **({"short": build_table(data_frame)} if short else {}),
        },
    )


def _check_agreement(sums: pl.DataFrame, max_factor: float) -> dg.AssetCheckResult:
    differing = differing_weeks(sums, max_factor=max_factor)
    outcome = (
        {} if len(sums) else mark_not_applicable("FINRA reports no value of symbols with prices")
    )
    tail = differing.tail(WEEKS_SHOWN)
    return dg.AssetCheckResult(
        asset_key=SYMBOL_WEEK_VALUE,
        check_name=AGREES,
        passed=differing.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        description=summarize_result(outcome),
        metadata={
            **outcome,
            "weeks": len(sums),
            "weeks_differing": len(differing),
            "max_notional_factor": max_factor,
            **({"differing": build_table(tail)} if len(tail) else {}),
        },
    )
