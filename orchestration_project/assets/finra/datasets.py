"""The assets of FINRA's further datasets, each made of its declaration."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.assets.finra.catalogue import (
    GROUP,
    SETTINGS,
    TODAY,
    asset_spec,
)
from orchestration_project.assets.finra.partitions import dataset_partitions, first_finra_week
from orchestration_project.assets.finra.source_checks import NO_FIELDS
from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.rules import summarised
from orchestration_project.domains.finra.dataset_rows import claims_of
from orchestration_project.domains.finra.datasets import newest_landed
from orchestration_project.domains.finra.freshness import is_due
from orchestration_project.engine.loads import ReplayConfig, refuse_strange
from orchestration_project.engine.report_log import (
    KNOWN_FROM,
    UNCHANGED,
    EarlierMetadata,
    earlier_metadata,
)
from orchestration_project.engine.runner import Report, Told, each_partition
from orchestration_project.engine.warehouse import RecordedLanding, Warehouse
from orchestration_project.registry import AnyJob
from orchestration_project.resources.finra.dataset import (
    DatasetLoad,
    LoadedPartition,
    LookAtFields,
)
from orchestration_project.resources.finra.opening import FinraDatasets
from orchestration_project.services.metadata import (
    check_result,
    column_schema,
    data_label,
    evaluated,
    table_if_any,
    table_of,
)
from orchestration_project.settings.domains.finra import FinraSettings
from orchestration_project.tables.finra_datasets import DATASETS, Dataset

FIELDS_CHECK = "has_the_fields_that_we_know"
FRESHNESS_CHECK = "is_as_new_as_the_calendar"


class DatasetRun(ReplayConfig):
    """How a run loads its partitions."""

    force: bool = Field(
        default=False, description="Replace a partition that was landed from another source."
    )
    replay: bool = Field(
        default=False,
        description="Check and land what was kept of each partition's latest delivery, by the "
        "present rules and limits; the source is not asked.",
    )
    max_reject_ratio: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Rejected share of rows (0-1) above which a partition is held back; without "
        "it FINRA_MAX_REJECT_RATIO.",
    )


@dataclass(frozen=True)
class DatasetAssets:
    """What Dagster shows of a dataset: its source, its table, and whether that is new enough."""

    dataset: Dataset
    key: dg.AssetKey
    source: dg.AssetSpec
    table: dg.AssetsDefinition
    freshness: dg.AssetChecksDefinition
    job: AnyJob

    def has(self, partition_key: str) -> bool:
        """Whether there is such a partition: those before FINRA_FIRST_WEEK are none."""
        partitions = self.table.partitions_def
        return partitions is not None and partitions.has_partition_key(partition_key)

    @property
    def keys(self) -> Sequence[str]:
        """The keys of all its partitions, in Dagster's order."""
        partitions = self.table.partitions_def
        return partitions.get_partition_keys() if partitions is not None else ()


def dataset_assets(dataset: Dataset) -> DatasetAssets:
    """Return the assets that a declaration makes."""
    key = dg.AssetKey([GROUP, dataset.noun])
    source = _source_spec(dataset)
    freshness = _freshness(dataset, key)
    job = dg.define_asset_job(
        f"finra_{dataset.noun}",
        selection=dg.AssetSelection.assets(key) - dg.AssetSelection.checks(freshness),
        description=f"Loads {dataset.table.name} of FINRA's {dataset.name}, or what stands in for "
        "it: fetch, check, land.",
        tags={"domain": GROUP},
    )
    table = _table_asset(dataset, key, source.key)
    return DatasetAssets(dataset, key, source, table, freshness, job)


def _source_spec(dataset: Dataset) -> dg.AssetSpec:
    """Return the dataset as its source has it: nothing makes it here."""
    shown = [
        dg.TableColumn(field.name, type=field.kind, description=str(field.column.comment))
        for field in dataset.fields
    ]
    return asset_spec(
        dg.AssetKey([GROUP, f"{dataset.noun}_source"]),
        f"One record per row of {dataset.table.name}: the source itself, the dataset "
        f"{dataset.group}/{dataset.name} or what stands in for it.",
        dg.TableSchema(columns=shown),
        {"http", "source"},
        licence=dataset.licence,
    )


def _table_asset(dataset: Dataset, key: dg.AssetKey, source: dg.AssetKey) -> dg.AssetsDefinition:
    lineage = {
        field.column.name: [dg.TableColumnDep(source, field.name)] for field in dataset.fields
    }
    claims = {
        FIELDS_CHECK: "The source lists every field that a load asks for, in its type, and no "
        "other.",
        **claims_of(dataset),
    }

    @dg.multi_asset(
        name=f"{GROUP}_{dataset.noun}_load",
        specs=[
            asset_spec(
                key,
                str(dataset.table.comment),
                column_schema(dataset.table.columns),
                {"table", "silver"},
                source,
                **{
                    "dagster/table_name": dataset.table.name,
                    "dagster/column_lineage": dg.TableColumnLineage(lineage),
                    "licence": dataset.licence,
                },
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, description=claim) for name, claim in claims.items()
        ],
        partitions_def=dataset_partitions(
            dataset,
            first_finra_week(SETTINGS, TODAY),
            now=TODAY,
            machine_now=Clock().today_in_new_york(),
        ),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def load(
        context: dg.AssetExecutionContext,
        config: DatasetRun,
        artifacts: dg.ResourceParam[ArtifactStore],
        clock: dg.ResourceParam[Clock],
        finra_datasets: dg.ResourceParam[FinraDatasets],
        settings: dg.ResourceParam[FinraSettings],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> Iterator[Told]:
        ratio = config.max_reject_ratio
        load = DatasetLoad(
            dataset,
            finra_datasets,
            warehouse,
            artifacts,
            clock,
            today=clock.today_in_new_york(),
            run_id=context.run.run_id,
            max_reject_ratio=settings.finra_max_reject_ratio if ratio is None else ratio,
            force=config.force,
            replay=config.replay,
            group_id=config.group_id,
            allow_older=config.allow_older,
        )

        def news(loaded: LoadedPartition) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
            return {key: _news(loaded, key, partial(earlier_metadata, context.instance))}

        report = Report(
            news,
            checks=lambda: [
                *_check_results(warehouse, dataset, key),
                _fields_result(load.fields, dataset, key),
                evaluated(_freshness_result(dataset, key, warehouse, settings, clock)),
            ],
            is_unchanged=lambda loaded: loaded.landed is None,
        )

        def opened() -> DatasetLoad:
            refuse_strange(
                config,
                "a replay" if config.replay else "a load",
                is_replay=config.replay,
                replays="replay: true",
                of_loads=("force",),
            )
            return load

        yield from each_partition(context, opened, report)

    return load


def _check_results(
    warehouse: Warehouse, dataset: Dataset, key: dg.AssetKey
) -> list[dg.AssetCheckResult]:
    """Say of each audit how the latest delivery of every retained partition did in it."""
    warns = {claim.name for claim in dataset.claims if claim.only_warns}
    latest = warehouse.latest_audits(dataset.table)
    return [
        check_result(
            key,
            each,
            dg.AssetCheckSeverity.WARN if each.audit in warns else dg.AssetCheckSeverity.ERROR,
        )
        for each in summarised(latest, claims_of(dataset))
    ]


def _fields_result(look: LookAtFields, dataset: Dataset, key: dg.AssetKey) -> dg.AssetCheckResult:
    """Name the fields that are new or retyped, and since when; a missing one ends the run."""
    told: dict[str, Any] = {"fields_known": len(dataset.fields)}
    if look.listed_count is None:
        told["outcome"] = f"not applicable: {NO_FIELDS}"
    else:
        told["fields_listed"] = look.listed_count
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=FIELDS_CHECK,
        passed=not look.differences,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=told
        | dict(table_if_any("differences", [asdict(each) for each in look.differences])),
    )


def _news(loaded: LoadedPartition, key: dg.AssetKey, earlier: EarlierMetadata) -> Mapping[str, Any]:
    """Return what the load of a partition says about it.

    Of an unchanged one these are the figures of the delivery that landed, and what the ``earlier``
    materialization says besides.
    """
    common = {
        "source": loaded.source,
        "source_version": loaded.source_version,
        **data_label(is_synthetic=loaded.source == "demo"),
        "dagster/row_count": loaded.row_count,
    }
    landed, figures = loaded.landed, loaded.figures
    if landed is None or figures is None:
        return {**_unchanged(loaded.earlier, key, earlier), **common}
    shown = {"first_rows": table_of(loaded.first_rows)} if loaded.first_rows is not None else {}
    return {
        **common,
        "outcome": landed.change_cause,
        "group_id": landed.group_id,
        "rows_added": landed.rows_added,
        "rows_changed": landed.rows_changed,
        "rows_removed": landed.rows_removed,
        "rows_unchanged": landed.rows_unchanged,
        "rejects": figures.rejects,
        "captures": figures.captures,
        "bytes": figures.bytes,
        "audits_passed": figures.audit_outcomes.get("passed", 0),
        "audits_warning": len(landed.warnings),
        KNOWN_FROM: landed.known_from.isoformat(),
        "seconds": figures.read_seconds + figures.check_seconds + landed.seconds,
        **shown,
    }


def _unchanged(
    landed: RecordedLanding | None, key: dg.AssetKey, earlier: EarlierMetadata
) -> Mapping[str, Any]:
    if landed is None:
        return {"outcome": UNCHANGED}
    known_from = landed.landed_at.isoformat()
    carried = earlier(key, landed.partition_key)
    is_of_it = KNOWN_FROM in carried and carried[KNOWN_FROM].value == known_from
    return {
        "seconds": 0.0,
        **(carried if is_of_it else {}),
        "outcome": UNCHANGED,
        "landed_by": dg.MetadataValue.dagster_run(landed.run_id),
        "group_id": landed.group_id,
        "rows_added": landed.rows_added,
        "rows_changed": landed.rows_changed,
        "rows_removed": landed.rows_removed,
        "rows_unchanged": landed.rows_unchanged,
        "rejects": landed.rejects,
        "captures": landed.captures,
        "bytes": landed.bytes,
        "audits_passed": Counter(landed.audits.values())["passed"],
        "audits_warning": landed.warning_count,
        KNOWN_FROM: known_from,
    }


def _freshness(dataset: Dataset, key: dg.AssetKey) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=key,
        name=FRESHNESS_CHECK,
        description="Nothing newer than what is landed is overdue, once anything is landed.",
        blocking=False,
    )
    def as_new_as_the_calendar(
        clock: dg.ResourceParam[Clock],
        settings: dg.ResourceParam[FinraSettings],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.AssetCheckResult:
        return _freshness_result(dataset, key, warehouse, settings, clock)

    return as_new_as_the_calendar


def _freshness_result(
    dataset: Dataset, key: dg.AssetKey, warehouse: Warehouse, settings: FinraSettings, clock: Clock
) -> dg.AssetCheckResult:
    now, grace = clock.now(), timedelta(hours=settings.finra_freshness_grace_hours)
    landed = warehouse.changes(dataset.table)
    newest = newest_landed(dataset, landed)
    late = [each.next_due for each in newest if is_due(each.next_due, now=now, grace=grace)]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=FRESHNESS_CHECK,
        passed=not late,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "partitions_landed": len(landed),
            "days_late": max(((clock.today_in_new_york() - due).days for due in late), default=0),
            **table_if_any("newest", [asdict(each) for each in newest]),
        },
    )


DATASET_ASSETS = [dataset_assets(each) for each in DATASETS]
