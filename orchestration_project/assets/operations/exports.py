"""Exports: declared tables delivered to their targets, once per load; gold as of a time."""

from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.catalogue import (
    EXPORTS,
    build_asset_spec,
    parse_moment,
)
from orchestration_project.assets.operations.evidence import EXPORT_EVIDENCE
from orchestration_project.assets.operations.kinds import AssetEvent, Kind, build_kinds_job
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_kinds import EXPORT
from orchestration_project.engine.contracts.job_options import Moment
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.options import JobOptions
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.as_of import read_day
from orchestration_project.errors import cut
from orchestration_project.registry import Registry
from orchestration_project.services.exports import (
    GoldRequest,
    export_gold,
    read_declared_exports,
    read_domain_exports,
    select_exports,
)
from orchestration_project.services.exports.targets import Surroundings
from orchestration_project.services.exports.work import (
    ExportResult,
    Exports,
    OverdueExport,
    find_overdue_exports,
)
from orchestration_project.services.links import build_file_path, link
from orchestration_project.services.metadata import build_table, check_spec, log_metadata
from orchestration_project.settings import Settings
from orchestration_project.tables.operations_artifacts import operations_exports
from orchestration_project.tables.queries.published import MISSING, NO_FIRST_DAY, REMOVED, UNDATED

CHECK = "delivers_exports_in_time"

REASON_CHARACTERS = 300
MAX_ROWS_LISTED = 100
"""Rows that a table lists, so that an event stays below 100 KB; the counts are of all."""

RESULT_COLUMNS = {
    **dict.fromkeys(("name", "outcome", "from_load", "to_load"), pl.String),
    "row_count": pl.Int64,
    "byte_count": pl.Int64,
    **dict.fromkeys(("sha256", "detail"), pl.String),
}

OVERDUE_COLUMNS = {"name": pl.String, "waiting_since": pl.String, "reason": pl.String}


class ExportOptions(JobOptions):
    """Exports to deliver; targets are declared in EXPORTS_FILE alone."""

    names: list[str] = Field(
        default=[],
        examples=[["weekly_t1"]],
        description="Names of exports in EXPORTS_FILE, or of site files as web/shop/csv; empty: "
        "all of EXPORTS_FILE.",
    )


exports = build_asset_spec(EXPORTS, operations_exports, "ledger")


@dg.multi_asset_check(
    name="check_exports",
    specs=[
        check_spec(
            CHECK,
            asset=EXPORTS,
            description="Each declared export is delivered within its `alert_after_hours`, and "
            "none waits for a correction.",
            remedy="repair the target or correct EXPORTS_FILE; the export is retried",
        )
    ],
)
def check_exports(
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.AssetCheckResult:
    """Look for exports that wait too long."""
    return export_check(clock, registry, settings, warehouse)


def export_check(
    clock: Clock, registry: Registry, settings: Settings, warehouse: Warehouse
) -> dg.AssetCheckResult:
    """Return the result of the check of overdue exports."""
    declared = {**read_domain_exports(registry, settings), **read_declared_exports(settings)}
    overdue = find_overdue_exports(warehouse, clock, declared)
    return dg.AssetCheckResult(
        asset_key=EXPORTS,
        check_name=CHECK,
        passed=not overdue,
        metadata={"overdue_exports": _list_overdue(overdue), "overdue_count": len(overdue)},
    )


def export_tables(
    context: dg.OpExecutionContext,
    config: ExportOptions,
    artifacts: ArtifactStore,
    clock: Clock,
    registry: Registry,
    settings: Settings,
    warehouse: Warehouse,
) -> Iterator[AssetEvent]:
    """Export the rows loaded since, or those that earlier attempts left; report overdue exports."""
    of_domains = read_domain_exports(registry, settings)
    chosen = select_exports(settings, config.names, of_domains)
    work = Exports(warehouse, Surroundings(settings, artifacts), clock)
    is_under_way = cache(partial(is_at_work, context.instance))
    results: list[ExportResult] = []
    for declared_export in chosen:
        result = work.run(declared_export, run_id=context.run.run_id, is_under_way=is_under_way)
        context.log.info(
            f"{result.name}: {result.outcome}: {result.detail}", extra={"event": "export_ended"}
        )
        results.append(result)
    yield dg.MaterializeResult(asset_key=EXPORTS, metadata=log_metadata(_count_outcomes(results)))
    yield export_check(clock, registry, settings, warehouse)


def _count_outcomes(results: Sequence[ExportResult]) -> dict[str, Any]:
    outcomes = [result.outcome for result in results]
    rows = [_build_row(result) for result in results[:MAX_ROWS_LISTED]]
    return {
        "delivered_count": outcomes.count("delivered"),
        "unchanged_count": outcomes.count("unchanged"),
        "failed_count": outcomes.count("failed"),
        "under_way_count": outcomes.count("under_way"),
        "rows": sum(result.export.row_count for result in results if result.export),
        "exports": build_table(pl.DataFrame(rows, RESULT_COLUMNS, orient="row")),
    }


def _build_row(result: ExportResult) -> tuple[Any, ...]:
    export, detail = result.export, cut(result.detail, REASON_CHARACTERS)
    if export is None:
        return (result.name, result.outcome, *[None] * 5, detail)
    since = export.loads.since
    return (
        result.name,
        result.outcome,
        since.isoformat() if since else None,
        export.loads.until.isoformat(),
        export.row_count,
        export.byte_count,
        export.sha256,
        detail,
    )


def _list_overdue(overdue: Sequence[OverdueExport]) -> dg.TableMetadataValue:
    rows = [
        (
            overdue_export.name,
            overdue_export.waiting_since.isoformat(),
            cut(overdue_export.reason, REASON_CHARACTERS),
        )
        for overdue_export in overdue[:MAX_ROWS_LISTED]
    ]
    return build_table(pl.DataFrame(rows, OVERDUE_COLUMNS, orient="row"))


EXPORT_TABLES = Kind(
    "export_tables",
    "Delivers the exports that EXPORTS_FILE declares to their targets, once per load.",
    ExportOptions,
    export_tables,
)

ROWS_SHOWN = 20


class GoldAsOf(JobOptions):
    """Partition of a derived table, and the time of which it is."""

    table: str = Field(examples=["finra_symbols"], description="Derived table.")
    partition: str = Field(
        examples=["T1|2026-10-05"],
        description="Partition, such as T1|2026-10-05, a Monday or day, a symbol, or all.",
    )
    as_of: Moment = Field(
        default=None,
        examples=["2026-11-01T00:00:00Z"],
        description=(
            "Time with zone: only what was loaded by then counts. Default: start of the run."
        ),
    )
    published_by: str | None = Field(
        default=None,
        examples=["2026-11-01"],
        description="Day: only what the source had published by then counts. Default: all.",
    )


def export_gold_as_of(
    context: dg.OpExecutionContext,
    config: GoldAsOf,
    artifacts: ArtifactStore,
    clock: Clock,
    registry: Registry,
    warehouse: Warehouse,
) -> AssetEvent:
    """Derive the partition, and write its file."""
    day = read_day(config.published_by) if config.published_by else None
    at = parse_moment(config.as_of, "as_of") or clock.now()
    gold_request = GoldRequest(config.table, config.partition, at, day)
    gold = export_gold(gold_request, warehouse, registry.whole.tables_as_of, artifacts)
    missing, counts = gold.left_out.keys, gold.left_out.counts
    keys = {"missing_keys": _take_sample(missing)} if len(missing) else {}
    return dg.MaterializeResult(
        asset_key=EXPORTS,
        metadata=log_metadata(
            {
                "file": link(build_file_path(gold_request.artifact)),
                "dagster/row_count": len(gold.rows),
                MISSING: counts.get(MISSING, 0),
                **keys,
                "undated_rows": counts.get(UNDATED, 0),
                NO_FIRST_DAY: counts.get(NO_FIRST_DAY, 0),
                REMOVED: counts.get(REMOVED, 0),
                "first_rows": _take_sample(gold.rows),
            }
        ),
    )


def _take_sample(rows: pl.DataFrame) -> dg.MetadataValue[Any]:
    return build_table(rows.head(ROWS_SHOWN))


EXPORT_GOLD_AS_OF = Kind(
    "export_gold_as_of",
    "Derives a partition of a gold table as of a time, and writes it to a Parquet file.",
    GoldAsOf,
    export_gold_as_of,
)

export_job = build_kinds_job(
    *EXPORT,
    "Exports declared tables, a derived table as of a time, or evidence.",
    [EXPORT_TABLES, EXPORT_GOLD_AS_OF, EXPORT_EVIDENCE],
)
