"""FINRA's OTC data by week and tier: captured, checked, landed, and derived by symbol and venue."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.assets.finra.catalogue import (
    CAPTURE,
    OTC_WEEKLY,
    STAGED,
    SYMBOL_WEEK,
    VENUE_WEEK,
    WEEKLY_SUMMARY,
    WEEKS,
    asset_spec,
    table_spec,
)
from orchestration_project.assets.finra.restatement import change_metadata
from orchestration_project.assets.finra.shown import image, partition_link, table_of
from orchestration_project.contracts import OFFENDERS_KEPT
from orchestration_project.domains.finra.audits import AUDITS, Verdict, verdicts
from orchestration_project.domains.finra.usual import WARNINGS, Limits
from orchestration_project.partitions import Report, Told, each_partition
from orchestration_project.plots.sparkline import sparkline
from orchestration_project.resources.artifacts import ArtifactStore
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.finra import FinraSource
from orchestration_project.resources.finra.weekly import LoadedWeek, WeeklyLoad
from orchestration_project.resources.intake import IntakeFigures
from orchestration_project.resources.warehouse import Landed, Warehouse
from orchestration_project.resources.warehouse.difference import BOOKKEEPING
from orchestration_project.settings import Settings
from orchestration_project.tables.finra import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.tables.spine import captures

SHOWN_OF_A_FAILURE = ("partition_key", "expected", "found", "offenders", "group_id", "run_id")
SEVERITY = dict.fromkeys(AUDITS, dg.AssetCheckSeverity.ERROR) | dict.fromkeys(
    WARNINGS, dg.AssetCheckSeverity.WARN
)
SPECS = [
    asset_spec(
        CAPTURE,
        "One object per fetched page or file of FINRA's weekly data, its bytes unchanged, and one "
        "row per fetch in `captures`.",
        captures.columns,
        {"http", "bronze"},
        WEEKLY_SUMMARY,
    ),
    asset_spec(
        STAGED,
        "One Parquet file per delivery of a partition: the rows that kept the contract.",
        (column for column in finra_otc_weekly.columns if column.name not in BOOKKEEPING),
        {"polars", "parquet"},
        CAPTURE,
    ),
    table_spec(OTC_WEEKLY, finra_otc_weekly, "silver", STAGED),
    table_spec(SYMBOL_WEEK, finra_symbol_week, "gold", OTC_WEEKLY),
    table_spec(VENUE_WEEK, finra_venue_week, "gold", OTC_WEEKLY),
]
_SECONDS = {"seconds": 0.0}
NOTHING_DONE: Mapping[dg.AssetKey, Mapping[str, float]] = {
    CAPTURE: {"captures": 0, "bytes": 0, "stored_bytes": 0, **_SECONDS},
    STAGED: {"rejects": 0, **_SECONDS},
    OTC_WEEKLY: {
        **{f"rows_{what}": 0 for what in ("added", "changed", "removed", "unchanged")},
        "audits_passed": 0,
        "audits_not_applicable": 0,
        "audits_warning": 0,
        "captures": 0,
        **_SECONDS,
    },
    SYMBOL_WEEK: _SECONDS,
    VENUE_WEEK: _SECONDS,
}
"""What a load that found nothing new tells: numbers, so that their plots have no holes."""


class FinraLoad(dg.Config):
    """How a run loads its partitions."""

    full: bool = Field(
        default=False,
        description="Read a partition again although the source says that it did not change.",
    )
    force: bool = Field(
        default=False, description="Replace a partition that was landed from another source."
    )
    max_reject_ratio: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Rejected share of rows (0-1) above which a partition is held back; "
        "without it, FINRA_MAX_REJECT_RATIO.",
    )


@dg.multi_asset(
    name="finra_otc_weekly_load",
    specs=SPECS,
    check_specs=[
        dg.AssetCheckSpec(name, asset=OTC_WEEKLY, description=claim)
        for name, claim in (AUDITS | WARNINGS).items()
    ],
    partitions_def=WEEKS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def otc_weekly(
    context: dg.AssetExecutionContext,
    config: FinraLoad,
    artifacts: dg.ResourceParam[ArtifactStore],
    clock: dg.ResourceParam[Clock],
    finra: dg.ResourceParam[FinraSource],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[Told]:
    """Load each partition of the run from its source into the tables."""
    load = WeeklyLoad(
        finra,
        warehouse,
        artifacts,
        today=clock.today_in_new_york(),
        run_id=context.run.run_id,
        max_reject_ratio=settings.finra_max_reject_ratio
        if config.max_reject_ratio is None
        else config.max_reject_ratio,
        limits=_limits(settings),
        full=config.full,
        force=config.force,
    )
    news = partial(_report, notice_limit=settings.finra_restatement_notice_ratio)
    report = Report(news, checks=lambda: _check_results(warehouse))
    yield from each_partition(context, load, report)


def _limits(settings: Settings) -> Limits:
    """Return when to warn."""
    return Limits(
        weeks=settings.finra_band_weeks,
        min_weeks=settings.finra_band_min_weeks,
        width=settings.finra_band_width,
        floor=settings.finra_band_floor,
        cap=settings.finra_band_cap,
        large_venue_share=settings.finra_large_venue_share,
        large_venue_weeks=settings.finra_large_venue_weeks,
    )


def _report(loaded: LoadedWeek, *, notice_limit: float) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    """Return what the load of a partition says about each asset."""
    common = {"source": loaded.source, "source_version": loaded.source_version}
    own = _news(loaded.figures, loaded.landed, loaded.staged_name)
    counts = {
        spec.key: {"dagster/row_count": loaded.row_counts[table]}
        for spec in SPECS
        if (table := "_".join(spec.key.path)) in loaded.row_counts
    }
    seen = _glimpse(loaded)
    changes = {OTC_WEEKLY: change_metadata(loaded, notice_limit=notice_limit)}
    return {
        key: {
            **common,
            **counts.get(key, {}),
            **own[key],
            **changes.get(key, {}),
            **seen.get(key, {}),
        }
        for key in (spec.key for spec in SPECS)
    }


def _glimpse(loaded: LoadedWeek) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    """Return what a person sees of a partition that landed: rows, captures, the last weeks."""
    seen = loaded.glimpse
    if seen is None:
        return {}
    largest = {
        spec.key: {"largest": table_of(seen.largest[table])}
        for spec in SPECS
        if (table := "_".join(spec.key.path)) in seen.largest
    }
    origin = {
        "recent_shares": image("Shares of the tier by week", sparkline(seen.recent_shares)),
        "first_captures": table_of(seen.captures),
        "captured_as": dg.MetadataValue.md(partition_link(CAPTURE, seen.partition_key)),
    }
    return {**largest, OTC_WEEKLY: {**origin, **largest[OTC_WEEKLY]}}


def _news(
    figures: IntakeFigures | None, landed: Landed[Any] | None, staged_name: str
) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    if figures is None or landed is None:
        return {key: {"outcome": "unchanged", **numbers} for key, numbers in NOTHING_DONE.items()}
    return {
        CAPTURE: {
            "group_id": landed.group_id,
            "dagster/row_count": figures.lines,
            "captures": figures.captures,
            "bytes": figures.bytes,
            "stored_bytes": figures.stored_bytes,
            "seconds": figures.read_seconds,
        },
        STAGED: {
            "dagster/row_count": figures.rows,
            "rejects": figures.rejects,
            "artifact": staged_name,
            "seconds": figures.check_seconds,
        },
        OTC_WEEKLY: {
            "outcome": landed.change_cause,
            "rows_added": landed.rows_added,
            "rows_changed": landed.rows_changed,
            "rows_removed": landed.rows_removed,
            "rows_unchanged": landed.rows_unchanged,
            "captures": figures.captures,
            "audits_passed": figures.audit_outcomes.get("passed", 0),
            "audits_not_applicable": figures.audit_outcomes.get("not_applicable", 0),
            "audits_warning": len(landed.warnings),
            "known_from": landed.known_from.isoformat(),
            "seconds": landed.seconds - sum(landed.derived_seconds.values()),
        },
        SYMBOL_WEEK: {"seconds": landed.derived_seconds.get(finra_symbol_week.name, 0.0)},
        VENUE_WEEK: {"seconds": landed.derived_seconds.get(finra_venue_week.name, 0.0)},
    }


def _check_results(warehouse: Warehouse) -> list[dg.AssetCheckResult]:
    """Say of each audit how the latest delivery of every retained partition did in it."""
    latest = warehouse.latest_audits(finra_otc_weekly)
    return [_check_result(summary) for summary in verdicts(latest)]


def _check_result(verdict: Verdict) -> dg.AssetCheckResult:
    offenders = [
        dg.TableRecord({name: str(failure[name]) for name in SHOWN_OF_A_FAILURE})
        for failure in verdict.failed[:OFFENDERS_KEPT]
    ]
    metadata: dict[str, Any] = {
        "partitions_passed": verdict.passed_count,
        "partitions_not_applicable": verdict.not_applicable_count,
        "partitions_failed": len(verdict.failed),
    }
    if len(verdict.limits) == 1:  # Record-Total differs from partition to partition
        metadata["limit"] = verdict.limits[0]
    if offenders:
        metadata["failures"] = dg.MetadataValue.table(offenders)
    return dg.AssetCheckResult(
        asset_key=OTC_WEEKLY,
        check_name=verdict.audit,
        passed=verdict.holds,
        severity=SEVERITY[verdict.audit],
        metadata=metadata,
    )
