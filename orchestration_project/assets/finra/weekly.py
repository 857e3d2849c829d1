"""FINRA's OTC data by week and tier: captured, checked, loaded, and derived by symbol and venue."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg

from orchestration_project.assets.finra.catalogue import (
    CAPTURE,
    OTC_WEEKLY,
    STAGED,
    SYMBOL_WEEK,
    VENUE_WEEK,
    WEEKLY_SUMMARY,
    WEEKS,
    asset_spec,
    build_table_spec,
)
from orchestration_project.assets.finra.freshness import as_new_as_the_calendar, check_freshness
from orchestration_project.assets.finra.materialization_metadata import build_metadata
from orchestration_project.assets.specs import check_approval
from orchestration_project.domains.finra.anomaly_bands import WARNINGS, BandLimits
from orchestration_project.domains.finra.audits import AUDITS, HELP, PLAUSIBILITY
from orchestration_project.domains.finra.copies import COPIES
from orchestration_project.domains.finra.options import LOAD_OP, LOADING
from orchestration_project.domains.finra.restatement import WeekChange
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.engine.announcements import (
    ReportLog,
)
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import (
    COMPARE,
    COMPLETE_AUDIT,
    summarize_audits,
)
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.dataset import LoadedPartition, find_completeness
from orchestration_project.engine.deliveries import RecordedDeliveries, SourceDeliveries
from orchestration_project.engine.loader import DatasetLoader
from orchestration_project.engine.loads import (
    LoadOptions,
    refuse_unused_options,
)
from orchestration_project.engine.options import add_default_texts
from orchestration_project.engine.runner import (
    AssetEvent,
    Checked,
    DatasetReport,
    find_loaded,
    load_partitions,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.target import BOOKKEEPING
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.finra import listed
from orchestration_project.resources.finra.preview import WrittenPreview
from orchestration_project.resources.finra.source import FinraSource
from orchestration_project.resources.finra.weekly import WeeklyDataset
from orchestration_project.services.delivery_evidence import collect_evidence, describe_load_rejects
from orchestration_project.services.metadata import (
    build_load_evaluation,
    build_schema,
    check_result,
    check_spec,
)
from orchestration_project.services.presets import Presets, RunPresets
from orchestration_project.settings import load_shared_settings
from orchestration_project.settings.checks import WeeklyLimits
from orchestration_project.tables.spine import captures

WEEKLY_OPTIONS = add_default_texts(LoadOptions, LOADING.default_texts(load_shared_settings()))
"""Options of a load or a replay of weeks."""

BLOCKING = AUDITS | COPIES | COMPLETE_AUDIT
WARNING = WARNINGS | PLAUSIBILITY
SEVERITY = dict.fromkeys(BLOCKING, dg.AssetCheckSeverity.ERROR) | dict.fromkeys(
    WARNING, dg.AssetCheckSeverity.WARN
)
SPECS = [
    asset_spec(
        CAPTURE,
        "One object per fetched page or file of FINRA's weekly data, its bytes unchanged, and one "
        "row per fetch in `captures`.",
        build_schema(captures.columns),
        "bronze",
        WEEKLY_SUMMARY,
    ),
    asset_spec(
        STAGED,
        "One Parquet file per delivery of a partition: the rows that kept the contract.",
        build_schema(
            column for column in finra_otc_weekly.columns if column.name not in BOOKKEEPING
        ),
        "parquet",
        CAPTURE,
    ),
    build_table_spec(OTC_WEEKLY, finra_otc_weekly, "silver", STAGED),
    build_table_spec(SYMBOL_WEEK, finra_symbol_week, "gold", OTC_WEEKLY),
    build_table_spec(VENUE_WEEK, finra_venue_week, "gold", OTC_WEEKLY),
]


@dg.multi_asset(
    name=LOAD_OP,
    specs=[each.replace_attributes(skippable=True) for each in SPECS],  # unpublished: no rows
    check_specs=[
        check_spec(
            name,
            asset=OTC_WEEKLY,
            description=claim,
            severity=SEVERITY[name],
            remedy=HELP.get(name, COMPARE).remedy,
            settings=HELP.get(name, COMPARE).settings,
            quarantines="partition",
        )
        for name, claim in (BLOCKING | WARNING).items()
    ],
    partitions_def=WEEKS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def otc_weekly(
    context: dg.AssetExecutionContext,
    config: WEEKLY_OPTIONS,  # pyright: ignore[reportInvalidTypeForm] - with defaults of its own
    artifacts: dg.ResourceParam[ArtifactStore],
    clock: dg.ResourceParam[Clock],
    finra: dg.ResourceParam[FinraSource],
    settings: dg.ResourceParam[FinraSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[AssetEvent]:
    """Load each partition of the run into the tables: extract, validate, load and derive."""
    load = _WeekLoad(context, config, artifacts, clock, finra, settings, warehouse)
    yield from load_partitions(context, load.open_loader, load.build_report())


class _WeekLoad:
    """Connections, settings and options of a run that loads weeks."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        config: LoadOptions,
        artifacts: ArtifactStore,
        clock: Clock,
        finra: FinraSource,
        settings: FinraSettings,
        warehouse: Warehouse,
    ) -> None:
        self._context, self._config, self._settings = context, config, settings
        self._artifacts, self._clock = artifacts, clock
        self._finra, self._warehouse = finra, warehouse
        self._log = ReportLog(context.instance, OTC_WEEKLY, context.run.run_id)
        self._checks = settings.checks_of("finra")

    def open_loader(self) -> DatasetLoader[WeekChange, WrittenPreview]:
        """Return the loader of the run: it extracts, validates and loads a partition.

        Raises:
            ConfigurationError: The run has an option that it does not use.
        """
        config, acceptance = self._config, self._config.acceptance
        refuse_unused_options(dict(config), type(config))
        values = self._read_values()
        dataset = self._declare_dataset()
        return DatasetLoader(
            dataset,
            self._open_deliveries(dataset, full=values["full"]),
            self._warehouse,
            self._artifacts,
            today=self._clock.today_in_new_york(),
            run_id=self._context.run.run_id,
            max_reject_ratio=values["max_reject_ratio"],
            scratch=self._settings.scratch_path,
            is_reported=self._log,
            acceptance=acceptance
            and check_approval(self._context, OTC_WEEKLY, acceptance, self._warehouse),
        )

    def build_report(self) -> "_WeekReport":
        """Return the report of the assets of a loaded week."""
        return _WeekReport(
            self._warehouse,
            finra_otc_weekly,
            self._log,
            self._clock.now,
            self._settings,
            self._clock,
            self._checks.finra_otc_weekly.restatement_notice_ratio,
        )

    def _read_values(self) -> Mapping[str, Any]:
        presets = Presets(self._warehouse, self._clock)
        run, instance = self._context.run, self._context.instance
        return RunPresets(instance, run.run_id, self._settings, presets).values(
            LOADING, self._config
        )

    def _declare_dataset(self) -> WeeklyDataset:
        return WeeklyDataset(
            limits=build_limits(self._checks.finra_otc_weekly),
            force=self._config.allow_conflicts,
            completeness=find_completeness(self._checks, finra_otc_weekly),
        )

    def _open_deliveries(
        self, dataset: WeeklyDataset, *, full: bool
    ) -> RecordedDeliveries | SourceDeliveries:
        """Return where the run takes deliveries from: those that are recorded, or FINRA."""
        config, warehouse = self._config, self._warehouse
        if config.replay:
            artifacts, group_id = self._artifacts, config.group_id
            return RecordedDeliveries(dataset, warehouse, artifacts, group_id, config.allow_older)
        return SourceDeliveries(
            dataset,
            self._finra,
            warehouse,
            self._clock,
            config.allow_conflicts,
            full,
            find_loaded(self._context, OTC_WEEKLY),
        )


@dataclass(frozen=True)
class _WeekReport(DatasetReport):
    """Report of the assets of a week."""

    settings: FinraSettings
    clock: Clock
    notice_limit: float

    def metadata(
        self, loaded: LoadedPartition[Any, Any]
    ) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
        """Return the figures of a week by asset."""
        return build_metadata(
            loaded,
            rejects=partial(describe_load_rejects, self.warehouse),
            earlier=self.log.earlier,
            notice_limit=self.notice_limit,
        )

    def checks(self) -> Sequence[Checked]:
        """Return the results of audits and of freshness."""
        fresh = check_freshness(self.warehouse, self.settings, self.clock)
        return [*_check_results(self.warehouse), build_load_evaluation(fresh)]

    def evidence(self, error: OrchestrationError) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
        """Return the evidence of the delivery, for both assets."""
        return collect_evidence(self.warehouse, error, STAGED, OTC_WEEKLY)


def _check_results(warehouse: Warehouse) -> list[dg.AssetCheckResult]:
    """Say of each audit how the latest delivery of every retained partition did in it."""
    latest = warehouse.latest_audits(finra_otc_weekly)
    return [
        check_result(OTC_WEEKLY, audit_summary, SEVERITY[audit_summary.audit])
        for audit_summary in summarize_audits(latest, SEVERITY)
    ]


otc_weekly_job = dg.define_asset_job(
    listed.WEEKLY.job,
    selection=dg.AssetSelection.assets(*(spec.key for spec in SPECS))
    - dg.AssetSelection.checks(as_new_as_the_calendar),
    description=describe_job(
        listed.WEEKLY.description,
        LOAD_OP,
        WEEKLY_OPTIONS,
    ),
    tags={"domain": "finra"},
)


def build_limits(limits: WeeklyLimits) -> BandLimits:
    """Return when to warn, as `checks.yaml` says."""
    return BandLimits(
        weeks=limits.outliers.weeks,
        min_weeks=limits.outliers.min_weeks,
        width=limits.outliers.sigma,
        floor=limits.outliers.min_factor,
        cap=limits.outliers.max_factor,
        large_venue_share=limits.large_venues.min_ratio,
        large_venue_weeks=limits.large_venues.weeks,
        max_row_shares=limits.max_row_shares,
    )
