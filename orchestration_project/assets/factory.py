"""Assets, checks and jobs of a declared dataset: one function makes all of them.

A dataset has an asset for its source, which nothing here makes, and one for its table, with a
check for each audit, and a job that loads it. A step that derives a table is made here, too.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from functools import cached_property, partial
from typing import Any

import dagster as dg
import polars as pl
from sqlalchemy import Table

from orchestration_project.assets.specs import (
    FRESHNESS_CHECK,
    SOURCE,
    build_asset_spec,
    check_approval,
    find_paused_result,
    freshness_check,
)
from orchestration_project.engine.announcements import (
    KNOWN_FROM,
    REPORTED_LATE,
    UNCHANGED,
    EarlierMetadata,
    ReportLog,
    is_known_from,
)
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import (
    COMPARE,
    COMPLETE_AUDIT,
    summarize_audits,
)
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.contracts.contract import HELP
from orchestration_project.engine.contracts.field_formulas import list_row_columns
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.contracts.partition_tags import group_consecutive
from orchestration_project.engine.contracts.values import format_decimals
from orchestration_project.engine.dataset import (
    BatchFigures,
    Dataset,
    LoadedPartition,
    LoadLimits,
    build_partitions,
    find_dataset_completeness,
    read_oldest_missing,
)
from orchestration_project.engine.deliveries import (
    Deliveries,
    FieldList,
    RecordedDeliveries,
    SourceDeliveries,
)
from orchestration_project.engine.derived import DerivedLoad, DerivedResult
from orchestration_project.engine.listed_datasets import load_description
from orchestration_project.engine.loader import DatasetLoader
from orchestration_project.engine.loads import (
    LoadOptions,
    record_run_balances,
    refuse_unused_options,
)
from orchestration_project.engine.options import add_default_texts
from orchestration_project.engine.replay_plans import Replay, ReplayRequest, ReplayRuns
from orchestration_project.engine.runner import (
    AssetEvent,
    Checked,
    DatasetReport,
    Report,
    find_loaded,
    load_partitions,
)
from orchestration_project.engine.warehouse import Warehouse, WriteResult
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.registry import AnyJob
from orchestration_project.services.delivery_evidence import collect_evidence, describe_load_rejects
from orchestration_project.services.links import build_captures_path, build_diff_path, link
from orchestration_project.services.metadata import (
    build_load_evaluation,
    build_result,
    build_schema,
    build_table,
    build_table_if_any,
    check_result,
    check_spec,
    label_data,
    mark_not_applicable,
    summarize_result,
)
from orchestration_project.settings import Settings, load_shared_settings, settings_class
from orchestration_project.tables.schema import HISTORY, Quantity, personal_columns

SETTINGS = load_shared_settings()

FIELDS_CHECK = "has_the_fields_that_we_know"
NO_FIELDS = (
    "files and replays have headers of their own, and FINRA may list fields to callers with "
    "credentials alone; each header is judged when it is read"
)
"""Why the fields of a source were not compared."""


@dataclass(frozen=True)
class DatasetAssets:
    """Dagster definitions of a dataset: source asset, table, freshness check, jobs."""

    dataset: Dataset
    source: dg.AssetSpec
    table: dg.AssetsDefinition
    freshness: dg.AssetChecksDefinition
    job: AnyJob

    @property
    def key(self) -> dg.AssetKey:
        """The table's asset."""
        return self.dataset.key

    def published_on(self, key: str) -> date:
        """Return the day on which the source publishes a partition, by its key."""
        partitioning = self.dataset.partitioning
        return partitioning.published_on(partitioning.partition_of(key, today=date.max))

    def existing(self, keys: Iterable[str]) -> list[str]:
        """Return the keys that are partitions: a day before the first one is not."""
        partitions = self.table.partitions_def
        with dg.partition_loading_context():  # of one present
            return [key for key in keys if partitions and partitions.has_partition_key(key)]

    @property
    def replay(self) -> Replay:
        """How the command `replay` replays it."""
        dataset = self.dataset
        return Replay(
            table=dataset.table.name,
            job=dataset.job_name,
            op=dataset.op_name,
            plan=partial(_plan_replay, self),
        )

    @property
    def keys(self) -> Sequence[str]:
        """The keys of all its partitions, in Dagster's order."""
        partitions = self.table.partitions_def
        return partitions.get_partition_keys() if partitions is not None else ()


def build_dataset_assets(dataset: Dataset) -> DatasetAssets:
    """Return the assets, the freshness check and the jobs of a declared dataset."""
    source = _build_source_spec(dataset)
    freshness = _build_freshness(dataset)
    options = _build_options(dataset)
    selection = dg.AssetSelection.assets(*dataset.asset_keys) - dg.AssetSelection.checks(freshness)
    return DatasetAssets(
        dataset,
        source,
        _build_table_asset(dataset, source.key, options),
        freshness,
        dg.define_asset_job(
            dataset.job_name,
            selection=selection,
            tags={"domain": dataset.domain},
            description=describe_job(
                load_description(dataset),
                dataset.op_name,
                options,
            ),
        ),
    )


def _build_options(dataset: Dataset) -> type[LoadOptions]:
    """Return the options of a dataset's runs, whose descriptions name its own defaults."""
    today = Clock(SETTINGS.demo_clock_now).today(dataset.partitioning.calendar.zone)
    ratio = dataset.limits(SETTINGS, today).max_reject_ratio
    named = next(iter(_reject_settings(dataset)), "as declared")
    reject_ratio = f"{named} ({ratio:g})"
    return add_default_texts(LoadOptions, {"full": "false", "max_reject_ratio": reject_ratio})


def _reject_settings(dataset: Dataset) -> Sequence[str]:
    """Return the setting of the share of rejects, if the domain has one."""
    name = f"{dataset.domain}_max_reject_ratio"
    return [name.upper()] if name in settings_class().model_fields else []


def _build_source_spec(dataset: Dataset) -> dg.AssetSpec:
    """Return the dataset as its source has it: nothing makes it here."""
    table_columns = [
        dg.TableColumn(field.name, type=field.kind, description=str(field.column.comment))
        for field in dataset.contract.fields
    ]
    return build_asset_spec(
        dg.AssetKey([dataset.domain, f"{dataset.noun}_source"]),
        f"One record per row of {dataset.table.name}: the source itself, "
        f"{dataset.source_description} or what stands in for it.",
        dg.TableSchema(columns=table_columns),
        SOURCE,
        owners=dataset.owners,
        licence=dataset.licence,
    )


def _build_table_asset(
    dataset: Dataset, source: dg.AssetKey, options: type[LoadOptions]
) -> dg.AssetsDefinition:
    zone = dataset.partitioning.calendar.zone
    today = Clock(SETTINGS.demo_clock_now).today(zone)
    first_day = dataset.limits(SETTINGS, today).first_day

    @dg.multi_asset(
        name=dataset.op_name,
        specs=[
            _build_table_spec(dataset, source),
            *(_build_derived_spec(dataset, table) for table in dataset.transforms),
        ],
        check_specs=_build_check_specs(dataset),
        partitions_def=build_partitions(
            dataset.partitioning, first_day, now=today, machine_now=Clock().today(zone)
        ),
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys={"artifacts", "clock", "settings", "warehouse", dataset.resource},
    )
    def load(
        context: dg.AssetExecutionContext,
        config: options,  # pyright: ignore[reportInvalidTypeForm] - a model of the dataset's own
    ) -> Iterator[AssetEvent]:
        """Extract, validate, load and report each partition of the run."""
        run = _DatasetRun(dataset, context, config, first_day)
        yield from load_partitions(context, run.open_loader, run.build_report())

    return load


@dataclass(frozen=True)
class _DatasetRun:
    """A run that loads partitions of a declared dataset from its first day on."""

    dataset: Dataset
    context: dg.AssetExecutionContext
    config: LoadOptions
    first_day: date

    @cached_property
    def loader(self) -> DatasetLoader[None, pl.DataFrame]:
        """Extracts, validates and loads a partition."""
        dataset, resources = self.dataset, self.context.resources
        limits, ratio = _read_limits(dataset, resources), self.config.max_reject_ratio
        checks_file = resources.settings.checks_of(dataset.domain)
        return DatasetLoader(
            replace(dataset, completeness=find_dataset_completeness(dataset, checks_file)),
            _choose_deliveries(dataset, self.context, self.config),
            resources.warehouse,
            resources.artifacts,
            today=resources.clock.today(dataset.partitioning.calendar.zone),
            run_id=self.context.run.run_id,
            max_reject_ratio=limits.max_reject_ratio if ratio is None else ratio,
            scratch=resources.settings.scratch_path,
            is_reported=self.log,
            first_day=self.first_day,
        )

    @cached_property
    def log(self) -> ReportLog:
        """Reports of the table by earlier runs."""
        return ReportLog(self.context.instance, self.dataset.key, self.context.run.run_id)

    def open_loader(self) -> DatasetLoader[None, pl.DataFrame]:
        """Return the loader, once the config and its acceptance are valid."""
        refuse_unused_options(dict(self.config), type(self.config))
        acceptance, warehouse = self.config.acceptance, self.context.resources.warehouse
        if acceptance is not None:
            self.loader.acceptance = check_approval(
                self.context, self.dataset.key, acceptance, warehouse
            )
        return self.loader

    def build_report(self) -> "_DeclaredReport":
        """Return the report of the run."""
        resources = self.context.resources
        return _DeclaredReport(
            resources.warehouse,
            self.dataset.table,
            self.log,
            resources.clock.now,
            self.dataset,
            resources,
            self.loader,
        )


@dataclass(frozen=True)
class _DeclaredReport(DatasetReport):
    """Report of the asset of a declared dataset."""

    dataset: Dataset
    resources: Any
    loader: DatasetLoader[None, pl.DataFrame]

    def metadata(
        self, loaded: LoadedPartition[None, pl.DataFrame]
    ) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
        """Return figures of a partition, its rejects, and figures of derived tables."""
        values = {
            **_describe_load(loaded, self.dataset, self.log.earlier),
            **describe_load_rejects(self.warehouse, loaded),
        }
        return {self.dataset.key: values, **_describe_derived(loaded, self.dataset)}

    def checks(self) -> Sequence[Checked]:
        """Return the results of audits, of the source's list of fields, and of freshness."""
        lists_fields = self.dataset.lists_fields
        fields = [_check_fields(self.loader.fields, self.dataset)] if lists_fields else []
        fresh = _check_freshness(self.dataset, self.resources)
        return [
            *_read_audit_results(self.warehouse, self.dataset),
            *fields,
            build_load_evaluation(fresh),
        ]

    def evidence(self, error: OrchestrationError) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
        """Return the evidence of the delivery."""
        return collect_evidence(self.warehouse, error, self.dataset.key)


def _build_table_spec(dataset: Dataset, source: dg.AssetKey) -> dg.AssetSpec:
    names = {field.column.key: [field.name] for field in dataset.contract.fields}
    names |= {
        field.column.key: [
            name for column in list_row_columns(field.formula) for name in names[column]
        ]
        for field in dataset.contract.derived
    }
    lineage = {
        column: [dg.TableColumnDep(source, name) for name in named]
        for column, named in names.items()
    }
    return build_asset_spec(
        dataset.key,
        str(dataset.table.comment),
        build_schema(dataset.table.columns),
        "silver",
        source,
        owners=dataset.owners,
        **{
            "dagster/table_name": dataset.table.name,
            "dagster/column_lineage": dg.TableColumnLineage(lineage),
            "licence": dataset.licence,
        },
    ).replace_attributes(skippable=True)  # a partition may be a holiday, or not published yet


def _build_derived_spec(dataset: Dataset, table: Table) -> dg.AssetSpec:
    lineage = {
        name: [dg.TableColumnDep(dataset.key, source.key) for source in sources]
        for name, sources in dataset.made_of.get(table.name, {}).items()
    }
    return build_asset_spec(
        dataset.derived_keys[table],
        str(table.comment),
        build_schema(table.columns),
        "gold",
        dataset.key,
        owners=dataset.owners,
        **{
            "dagster/table_name": table.name,
            "dagster/column_lineage": dg.TableColumnLineage(lineage),
            "licence": dataset.licence,
        },
    ).replace_attributes(skippable=True)


def _build_check_specs(dataset: Dataset) -> list[dg.AssetCheckSpec]:
    return [
        check_spec(
            name,
            asset=dataset.key,
            description=text,
            severity=_choose_severity(dataset, name),
            remedy=FIELDS_REMEDY if name == FIELDS_CHECK else HELP.get(name, COMPARE).remedy,
            settings=_reject_settings(dataset) if name == "has_few_rejects" else (),
            quarantines="partition",
        )
        for name, text in _list_checks(dataset).items()
    ]


def _list_checks(dataset: Dataset) -> Mapping[str, str]:
    """Return the checks that a load evaluates, by name, with what each asserts."""
    fields = "The source lists exactly the declared fields, with the declared types."
    listed = {FIELDS_CHECK: fields} if dataset.lists_fields else {}
    return {**listed, **dataset.contract.audits, **COMPLETE_AUDIT}


FIELDS_REMEDY = "missing or another type: change the declaration; new: decide whether to load it"


def _choose_severity(dataset: Dataset, check: str) -> dg.AssetCheckSeverity:
    is_warning = check == FIELDS_CHECK or dataset.contract.is_warning(check)
    return dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR


def _choose_deliveries(
    dataset: Dataset, context: dg.AssetExecutionContext, config: LoadOptions
) -> Deliveries:
    """Return the deliveries that the run loads: of the source, or in a replay the recorded ones."""
    warehouse: Warehouse = context.resources.warehouse
    if config.replay:
        artifacts: ArtifactStore = context.resources.artifacts
        return RecordedDeliveries(
            dataset, warehouse, artifacts, config.group_id, config.allow_older
        )
    resource: object = getattr(context.resources, dataset.resource)
    return SourceDeliveries(
        dataset,
        resource,
        warehouse,
        context.resources.clock,
        config.allow_conflicts,
        bool(config.full),
        find_loaded(context, dataset.key) if config.full else frozenset(),
    )


def _read_limits(dataset: Dataset, resources: Any) -> LoadLimits:
    settings: Settings = resources.settings
    clock: Clock = resources.clock
    return dataset.limits(settings, clock.today(dataset.partitioning.calendar.zone))


def _read_audit_results(warehouse: Warehouse, dataset: Dataset) -> list[dg.AssetCheckResult]:
    """Return of each audit how the latest delivery of every partition did in it."""
    latest = warehouse.latest_audits(dataset.table)
    return [
        check_result(
            dataset.key,
            audit_summary,
            _choose_severity(dataset, audit_summary.audit),
        )
        for audit_summary in summarize_audits(latest, [*dataset.contract.audits, *COMPLETE_AUDIT])
    ]


def _check_fields(found: FieldList, dataset: Dataset) -> dg.AssetCheckResult:
    """Name the fields that are new or retyped, and since when; a missing one ends the run."""
    metadata: dict[str, Any] = {"fields_known": len(dataset.contract.fields)}
    if found.listed_count is None:
        metadata = {**mark_not_applicable(NO_FIELDS), **metadata}
    else:
        metadata["fields_listed"] = found.listed_count
    return dg.AssetCheckResult(
        asset_key=dataset.key,
        check_name=FIELDS_CHECK,
        passed=not found.differences,
        description=summarize_result(metadata),
        severity=dg.AssetCheckSeverity.WARN,
        metadata=metadata
        | dict(
            build_table_if_any(
                "differences", [asdict(difference) for difference in found.differences]
            )
        ),
    )


def _describe_derived(
    loaded: LoadedPartition[None, pl.DataFrame], dataset: Dataset
) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
    """Return the metadata of the tables that a load of a partition derived."""
    if not loaded.has_data:
        return dict.fromkeys(dataset.derived_keys.values(), loaded.without_data)
    outcome = "unchanged" if loaded.write_result is None else "derived"
    label = label_data(is_synthetic=loaded.source == "demo")
    return {
        key: {"outcome": outcome, **label, "dagster/row_count": loaded.row_counts[table.name]}
        for table, key in dataset.derived_keys.items()
    }


def _describe_load(
    loaded: LoadedPartition[None, pl.DataFrame], dataset: Dataset, earlier: EarlierMetadata
) -> Mapping[str, Any]:
    """Return the metadata of a loaded partition.

    Of an unchanged one these are the figures of the delivery that was loaded, and what the
    ``earlier`` materialization has besides.
    """
    if not loaded.has_data:
        return loaded.without_data
    common = {
        "source": loaded.source,
        "source_version": loaded.source_version,
        **label_data(is_synthetic=loaded.source == "demo"),
        "dagster/row_count": loaded.row_count,
    }
    if loaded.changes:
        common["change"] = " ".join(change.sentence for change in loaded.changes)
    write_result, figures = loaded.write_result, loaded.figures
    if write_result is None or figures is None:
        return {**_describe_unchanged(loaded, dataset.key, earlier), **common}
    values = {}
    if loaded.preview is not None:
        values = {"first_rows": build_table(_render_rows(loaded.preview, dataset))}
    return {
        **common,
        **_describe_rows(write_result, figures),
        **_diff(dataset, write_result),
        **values,
    }


def _describe_rows(write_result: WriteResult[None], figures: BatchFigures) -> Mapping[str, Any]:
    """Return the figures of a delivery that was loaded."""
    return {
        "outcome": write_result.change_cause,
        "group_id": write_result.group_id,
        "captured": link(build_captures_path(write_result.group_id)),
        "rows_added": write_result.rows_added,
        "rows_changed": write_result.rows_changed,
        "rows_removed": write_result.rows_removed,
        "rows_unchanged": write_result.rows_unchanged,
        "rejects": figures.rejects,
        "captures": figures.captures,
        "bytes": figures.bytes,
        "audits_passed": figures.audit_outcomes.get("passed", 0),
        "audits_warning": len(write_result.warnings),
        "balance": write_result.balance,
        KNOWN_FROM: write_result.known_from,
        "seconds": figures.read_seconds + figures.check_seconds + write_result.seconds,
    }


def _diff(dataset: Dataset, write_result: WriteResult[None]) -> Mapping[str, Any]:
    """Return the link to the rows that a load added, changed or removed, if it did any."""
    if not write_result.has_written_rows or HISTORY not in dataset.table.info:
        return {}
    return {"diff": link(build_diff_path(dataset.table.name, write_result.known_from))}


def _render_rows(rows: pl.DataFrame, dataset: Dataset) -> pl.DataFrame:
    """Return ``rows`` of the table for people: decimal numbers, and none of personal columns."""
    rows = rows.drop(personal_columns(dataset.table), strict=False)
    scales = {
        field.column.key: field.scale
        for field in dataset.contract.fields
        if field.scale and not isinstance(field.column.type, Quantity)
    }
    return rows.with_columns(format_decimals(rows[name], scale) for name, scale in scales.items())


def _describe_unchanged(
    loaded: LoadedPartition[None, pl.DataFrame], key: dg.AssetKey, earlier: EarlierMetadata
) -> Mapping[str, Any]:
    load_record, outcome = loaded.earlier, REPORTED_LATE if loaded.changes else UNCHANGED
    if load_record is None:
        return {"outcome": outcome}
    carried = earlier(key, load_record.partition_key)
    is_of_it = is_known_from(carried, load_record.landed_at)
    return {
        "seconds": 0.0,
        **(carried if is_of_it else {}),
        "outcome": outcome,
        "landed_by": dg.MetadataValue.dagster_run(load_record.run_id),
        "group_id": load_record.group_id,
        "captured": link(build_captures_path(load_record.group_id)),
        "rows_added": load_record.rows_added,
        "rows_changed": load_record.rows_changed,
        "rows_removed": load_record.rows_removed,
        "rows_unchanged": load_record.rows_unchanged,
        "rejects": load_record.rejects,
        "captures": load_record.captures,
        "bytes": load_record.bytes,
        "audits_passed": Counter(load_record.audits.values())["passed"],
        "audits_warning": load_record.warning_count,
        **({KNOWN_FROM: load_record.landed_at} if loaded.known_from else {}),
    }


def _build_freshness(dataset: Dataset) -> dg.AssetChecksDefinition:
    grace = f"{dataset.domain}_freshness_grace_hours"

    @freshness_check(
        dataset.key,
        "No partition newer than the loaded ones is overdue.",
        settings=[grace.upper()] if grace in settings_class().model_fields else [],
        required_resource_keys={"clock", "settings", "warehouse"},
    )
    def as_new_as_the_calendar(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        paused = find_paused_result(context.resources.warehouse, dataset.key)
        return paused or _check_freshness(dataset, context.resources)

    return as_new_as_the_calendar


def _check_freshness(dataset: Dataset, resources: Any) -> dg.AssetCheckResult:
    warehouse: Warehouse = resources.warehouse
    clock: Clock = resources.clock
    partitioning = dataset.partitioning
    calendar = partitioning.calendar
    today = clock.today(calendar.zone)
    late = read_oldest_missing(dataset, resources.settings, warehouse, clock)
    loaded = warehouse.changes(dataset.table)
    newest = partitioning.newest_loaded(loaded)
    outcome = {} if loaded else mark_not_applicable("no partition is loaded yet")
    if calendar.is_over(today):
        outcome = mark_not_applicable(f"discontinued: the last partition is of {calendar.last_day}")
    metadata = {
        **outcome,
        "partitions_landed": len(loaded),
        "days_late": 0,
        **build_table_if_any("newest", [asdict(each) for each in newest]),
    }
    if late is not None:
        oldest = partitioning.partition_of(late.partition, today=date.max)
        metadata |= {
            "days_late": (today - partitioning.published_on(oldest)).days,
            "partitions_late": late.missing_count,
            "partitions_quarantined": late.quarantined_count,
        }
    severity = dg.AssetCheckSeverity.WARN
    return build_result(dataset.key, FRESHNESS_CHECK, metadata, severity, passed=late is None)


def _plan_replay(
    assets: DatasetAssets, request: ReplayRequest, _: Settings, warehouse: Warehouse
) -> ReplayRuns | None:
    """Return the runs that replay partitions; None: no delivery of one is recorded.

    Of all partitions, those that are no longer partitions are skipped: the first one advances.

    Raises:
        ConfigurationError: A partition that was asked for does not exist.
    """
    table = assets.dataset.table
    chosen = request.partitions or warehouse.replayable(table)
    keys = assets.existing(chosen)
    unknown = sorted(set(chosen) - set(keys))
    if unknown and request.partitions:
        raise ConfigurationError(
            "the partitions do not exist",
            expected=f"partitions of {table.name} that have ended, e.g. {assets.keys[-1]}",
            found=", ".join(unknown),
            remedy="choose others, or set the domain's first partition to the earliest of them",
        )
    if not keys:
        return None
    skipped = f"; {len(unknown)} before the first partition are not replayed" if unknown else ""
    return ReplayRuns(
        ranges=group_consecutive(keys, assets.keys),
        description=f"{len(keys)} partitions of {table.name}{skipped}",
        count=len(keys),
    )


def derive_partitions(
    context: dg.AssetExecutionContext,
    clock: Clock,
    load: DerivedLoad,
    asset: dg.AssetKey,
    figures: Callable[[DerivedResult], Mapping[str, Any]],
    checks: Callable[[], Sequence[Checked]] = tuple,
) -> Iterator[AssetEvent]:
    """Derive each partition of the run; one whose inputs are the same stays as it is.

    Args:
        context: The run.
        clock: Times of the run's equations.
        load: Derives one table.
        asset: Asset of the table.
        figures: Returns metadata of a derived partition besides its outcome and seconds.
        checks: Returns the results of the asset's checks, once all partitions are derived.

    Raises:
        Failure: A partition was quarantined, or something failed that concerns all of them.
    """

    report = _DerivedTableReport(load, clock.now, asset, figures, checks)
    yield from load_partitions(context, lambda: load, report)


@dataclass(frozen=True)
class DerivedReport(Report[DerivedResult]):
    """Report of assets that a step derives.

    Attributes:
        load: Derives the tables.
        now: Times of the run's equations.
    """

    load: DerivedLoad
    now: Callable[[], datetime]

    def is_unchanged(self, loaded: DerivedResult) -> bool:
        """Whether each table stayed as it was."""
        return not loaded.recomputed

    def record_balances(self, run_id: str, balances: Sequence[Balance]) -> None:
        """Store the equations of the run, as those of the first table."""
        name = self.load.tables[0].table.name
        record_run_balances(self.load.warehouse, name, run_id, balances, self.now())


@dataclass(frozen=True)
class _DerivedTableReport(DerivedReport):
    """Report of the asset of one derived table."""

    asset: dg.AssetKey
    figures: Callable[[DerivedResult], Mapping[str, Any]]
    read_checks: Callable[[], Sequence[Checked]]

    def metadata(self, loaded: DerivedResult) -> dict[dg.AssetKey, dict[str, Any]]:
        """Return outcome, figures and seconds of a partition."""
        outcome = "derived" if loaded.recomputed else "unchanged"
        return {self.asset: {"outcome": outcome, **self.figures(loaded), "seconds": loaded.seconds}}

    def checks(self) -> Sequence[Checked]:
        """Return the results of the asset's checks."""
        return self.read_checks()
